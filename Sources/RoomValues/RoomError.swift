public import RoomProtocol

/// Why a call on a room failed.
public struct RoomError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of the failure: what programs look at.
    public var code: Code
    /// One sentence: what happened, to what, and what to do.
    public var message: String
    /// The code of the server's answer, as in the wire protocol, or one of this side's own
    /// (`ProtocolError.Code` of `RoomProtocol`).
    public var protocolCode: ProtocolError.Code?
    /// Whether the same call may succeed later.
    public var isRetryable: Bool
    /// Of a message to everybody that failed or was cancelled on the way: for whom it was accepted.
    public var report: SendReport?

    /// The kind of a failure. New codes may be added: always have a `default`.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        private let kind: Kind
        public var description: String { kind.rawValue }

        private enum Kind: String {
            case left, refused, timedOut = "timed_out", cancelled, configuration, unavailable
            case peerNotFound = "peer_not_found", messageTooLarge = "message_too_large", wouldBlock = "would_block"
            case notSupported = "not_supported"
        }

        /// The room was left, or the connection to it has ended permanently.
        public static let left = Code(kind: .left)
        /// The server refused; `RoomError.protocolCode` says why.
        public static let refused = Code(kind: .refused)
        /// No participant of that id is in the room.
        public static let peerNotFound = Code(kind: .peerNotFound)
        /// The message is longer than the receiver accepts or than the room's limit.
        public static let messageTooLarge = Code(kind: .messageTooLarge)
        /// The buffer towards the participant is full; nothing was taken. Only from `trySend`.
        public static let wouldBlock = Code(kind: .wouldBlock)
        /// The program of a participant has no topics, requests and streams; the message names it.
        public static let notSupported = Code(kind: .notSupported)
        /// A deadline passed.
        public static let timedOut = Code(kind: .timedOut)
        /// The surrounding task was cancelled.
        public static let cancelled = Code(kind: .cancelled)
        /// A configuration value cannot be used; the message names it.
        public static let configuration = Code(kind: .configuration)
        /// A transport cannot run on this machine; the message names what is missing.
        public static let unavailable = Code(kind: .unavailable)
    }

    /// Creates an error; by default one that is not worth a retry.
    public init(_ code: Code, _ message: String, protocolCode: ProtocolError.Code? = nil, isRetryable: Bool = false) {
        self.code = code
        self.message = message
        self.protocolCode = protocolCode
        self.isRetryable = isRetryable
    }

    public var description: String { "\(protocolCode?.rawValue ?? code.description): \(message)" }
}

extension RoomError {
    /// The server refused a message of this participant.
    package static func refused(_ refusal: ProtocolError) -> RoomError {
        RoomError(.refused, refusal.message, protocolCode: refusal.code, isRetryable: refusal.isRetryable)
    }

    /// More was to be sent than the queue holds while signaling was down; the room is rejoined and everything
    /// renegotiated.
    package static func queueOverflow(dropped: Int) -> RoomError {
        RoomError(
            .refused, "\(dropped) messages to the room server did not fit into the queue; the room is rejoined",
            protocolCode: .queueOverflow, isRetryable: true)
    }

    /// The server sent something that cannot be read.
    package static func malformed(_ error: ProtocolError) -> RoomError {
        RoomError(
            .refused, "the room server sent something unreadable: \(error.message)", protocolCode: error.code,
            isRetryable: true)
    }
}

/// Codes that this side gives, beside those of the server.
extension ProtocolError.Code {
    /// More messages to the room server than the queue holds.
    public static let queueOverflow = Self(rawValue: "queue_overflow")
    /// This machine is out of something that a connection needs.
    public static let resourceExhausted = Self(rawValue: "resource_exhausted")
    /// The provider of ICE servers has failed.
    public static let iceProviderFailed = Self(rawValue: "ice_provider_failed")
    /// An ICE server is left out.
    public static let iceServerUnusable = Self(rawValue: "ice_server_unusable")
    /// The peer transport can use none of the ICE servers.
    public static let noUsableICEServer = Self(rawValue: "no_usable_ice_server")
    /// Only relayed paths are allowed, and there is no relay that the peer transport can use.
    public static let noUsableRelay = Self(rawValue: "no_usable_relay")
}
