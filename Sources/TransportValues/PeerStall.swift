/// The reason why a peer connection does not come up, or carries no data.
///
/// A transport gives it when it is asked (`PeerConnection.stall`); the room tells it to the application.
public struct PeerStall: Sendable, Hashable {
    /// The kind of a stall: what programs look at. A transport may have codes of its own, and new ones may be added here.
    public struct Code: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
        /// The name that programs see.
        public let rawValue: String
        /// A code of this name, in lower camel case.
        public init(rawValue: String) { self.rawValue = rawValue }
        public var description: String { rawValue }
    }

    /// The kind of the stall.
    public var code: Code
    /// One sentence: what is missing. It must not carry secrets.
    public var message: String
    /// One sentence: what to do about it.
    public var cure: String

    /// A stall of this kind.
    public init(_ code: Code, _ message: String, cure: String) {
        self.code = code
        self.message = message
        self.cure = cure
    }
}

/// What the pair waits for, apart from its transport.
extension PeerStall.Code {
    /// There is no connection to the room server, over which the two sides would negotiate.
    public static let signalingDown = Self(rawValue: "signalingDown")
    /// The other side has not come back to the room server.
    public static let participantAbsent = Self(rawValue: "participantAbsent")
    /// Other pairs are connected first.
    public static let waitingForTurn = Self(rawValue: "waitingForTurn")
    /// The other side has not offered a connection.
    public static let noOffer = Self(rawValue: "noOffer")
    /// The other side has not answered the offer.
    public static let noAnswer = Self(rawValue: "noAnswer")
    /// One side does not accept the other's description.
    public static let descriptionRefused = Self(rawValue: "descriptionRefused")
    /// The other side has not opened the channel that messages travel on, or has closed it.
    public static let channelNotOpen = Self(rawValue: "channelNotOpen")
    /// Data was sent, and the other side acknowledges none of it.
    public static let notAcknowledged = Self(rawValue: "notAcknowledged")
    /// The connection ends again and again.
    public static let connectionFailed = Self(rawValue: "connectionFailed")
    /// The transport does not say what it waits for.
    public static let notConnected = Self(rawValue: "notConnected")
}

/// What a transport lacks.
extension PeerStall.Code {
    /// An option or a server of the configuration cannot be used.
    public static let invalidConfiguration = Self(rawValue: "invalidConfiguration")
    /// This machine has no network.
    public static let noNetwork = Self(rawValue: "noNetwork")
    /// A limit of this machine was reached: descriptors, ports, memory.
    public static let resourceExhausted = Self(rawValue: "resourceExhausted")
    /// This side has found no candidate that it could offer.
    public static let noLocalCandidates = Self(rawValue: "noLocalCandidates")
    /// Only relayed candidates may be offered, and no relay gives any.
    public static let noRelay = Self(rawValue: "noRelay")
    /// Candidates are still being gathered.
    public static let gathering = Self(rawValue: "gathering")
    /// The other side has told of no candidate.
    public static let noRemoteCandidates = Self(rawValue: "noRemoteCandidates")
    /// The other side's candidates cannot be used here: unresolvable names, other address families or protocols.
    public static let noUsableCandidates = Self(rawValue: "noUsableCandidates")
    /// Connectivity checks go out, and none is answered.
    public static let checksUnanswered = Self(rawValue: "checksUnanswered")
    /// There is a path, but the other side is silent in the handshake of the encryption.
    public static let handshakeUnanswered = Self(rawValue: "handshakeUnanswered")
    /// The other side's certificate is not the one that its description announced.
    public static let fingerprintMismatch = Self(rawValue: "fingerprintMismatch")
    /// The encryption is up, but the other side is silent in the handshake of the channels (SCTP).
    public static let channelsUnanswered = Self(rawValue: "channelsUnanswered")
    /// A path was found, and nothing comes over it.
    public static let pathSilent = Self(rawValue: "pathSilent")
    /// Large datagrams do not come through, small ones do.
    public static let datagramsTooLarge = Self(rawValue: "datagramsTooLarge")
}
