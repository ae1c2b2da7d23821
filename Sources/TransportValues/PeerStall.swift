/// The reason why a peer connection does not come up, or carries no data.
///
/// A transport returns it from `PeerConnection.stall`, and the room reports it to the application.
public struct PeerStall: Sendable, Hashable {
    /// The kind of a stall, for programs. A transport may have codes of its own, and new ones may be added here.
    public struct Code: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
        /// The name of the code.
        public let rawValue: String
        /// Creates a code with this name, in lower camel case.
        public init(rawValue: String) { self.rawValue = rawValue }
        public var description: String { rawValue }
    }

    /// The kind of the stall.
    public var code: Code
    /// One sentence that says what is missing. It must not contain secrets.
    public var message: String
    /// One sentence that says what to do about it.
    public var cure: String

    /// Creates a stall of this kind.
    public init(_ code: Code, _ message: String, cure: String) {
        self.code = code
        self.message = message
        self.cure = cure
    }
}

extension PeerStall.Code {
    // MARK: Outside of the transport

    /// There is no connection to the room server, through which the two sides would negotiate.
    public static let signalingDown = Self(rawValue: "signalingDown")
    /// The other side has not returned to the room server.
    public static let participantAbsent = Self(rawValue: "participantAbsent")
    /// Other pairs connect first.
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
    /// The connection fails repeatedly.
    public static let connectionFailed = Self(rawValue: "connectionFailed")
    /// The transport does not say what it waits for.
    public static let notConnected = Self(rawValue: "notConnected")

    // MARK: Within a transport

    /// An option or a server of the configuration cannot be used.
    public static let invalidConfiguration = Self(rawValue: "invalidConfiguration")
    /// This machine has no network.
    public static let noNetwork = Self(rawValue: "noNetwork")
    /// A limit of this machine was reached: descriptors, ports, memory.
    public static let resourceExhausted = Self(rawValue: "resourceExhausted")
    /// This side has found no candidate to offer.
    public static let noLocalCandidates = Self(rawValue: "noLocalCandidates")
    /// Only relayed candidates may be offered, and no relay provides any.
    public static let noRelay = Self(rawValue: "noRelay")
    /// Candidates are still being gathered.
    public static let gathering = Self(rawValue: "gathering")
    /// The other side has sent no candidate.
    public static let noRemoteCandidates = Self(rawValue: "noRemoteCandidates")
    /// The other side's candidates cannot be used here: unresolvable names, other address families or protocols.
    public static let noUsableCandidates = Self(rawValue: "noUsableCandidates")
    /// Connectivity checks are sent, and none is answered.
    public static let checksUnanswered = Self(rawValue: "checksUnanswered")
    /// There is a path, but the other side does not answer the handshake of the encryption.
    public static let handshakeUnanswered = Self(rawValue: "handshakeUnanswered")
    /// The other side's certificate is not the one that its description announced.
    public static let fingerprintMismatch = Self(rawValue: "fingerprintMismatch")
    /// The encryption is up, but the other side does not answer the handshake of the channels (SCTP).
    public static let channelsUnanswered = Self(rawValue: "channelsUnanswered")
    /// A path was found, and nothing arrives over it.
    public static let pathSilent = Self(rawValue: "pathSilent")
    /// Large datagrams do not arrive, small ones do.
    public static let datagramsTooLarge = Self(rawValue: "datagramsTooLarge")
}
