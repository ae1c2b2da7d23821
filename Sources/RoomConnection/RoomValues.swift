public import RoomProtocol
public import TransportPluginAPI

/// What a channel of a room promises.
public enum RoomChannel: String, Sendable, Hashable, CaseIterable {
    /// In order and exactly once, across path changes, rebuilt peer connections and rejoins, as long as both
    /// participants keep their session. Towards a member that does not speak the delivery protocol (a plain browser
    /// page): what a reliable data channel promises, for the life of one peer connection.
    case reliable
    /// Each message arrives, in any order, while the peer connection lives.
    case unordered
    /// May be lost, may come in any order, is never sent twice. Not kept while there is no connection.
    case lossy
}

/// A message that came from another participant.
public struct RoomMessage: Sendable, Hashable {
    /// The sender.
    public let from: ParticipantID
    /// The channel that it came on.
    public let channel: RoomChannel
    /// Whether the sender sent text.
    public let isText: Bool
    /// The bytes.
    public let payload: Payload

    /// The payload as text, nil when it is not valid UTF-8.
    public var text: String? { payload.utf8Text }
}

/// A message as the `onMessage` handler sees it: the bytes are borrowed from the transport and valid until the handler
/// returns.
public struct BorrowedMessage: ~Copyable {
    /// The sender.
    public let from: ParticipantID
    /// The channel that it came on.
    public let channel: RoomChannel
    /// Whether the sender sent text.
    public let isText: Bool
    let bytes: UnsafeRawBufferPointer

    /// Bytes.
    public var count: Int { bytes.count }

    /// The bytes, which must not escape `body`.
    public func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(bytes)
    }

    /// The bytes as a span, which cannot escape `body`.
    public func withBytes<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(bytes.bytes)
    }

    /// A copy to keep.
    public func copy() -> RoomMessage {
        RoomMessage(from: from, channel: channel, isText: isText, payload: Payload(copying: bytes))
    }
}

/// Why a call on a room failed.
public struct RoomError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of a failure. New codes may be added: always have a `default`.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        let name: String
        public var description: String { name }

        /// The room was left, or the connection to it has ended for good.
        public static let left = Code(name: "left")
        /// The server refused; `RoomError.protocolCode` tells why.
        public static let refused = Code(name: "refused")
        /// Nobody of that id is in the room.
        public static let peerNotFound = Code(name: "peer_not_found")
        /// The message is longer than the receiver accepts or than the room's limit.
        public static let messageTooLarge = Code(name: "message_too_large")
        /// The buffer towards the participant is full; nothing was taken. Only from `trySend`.
        public static let wouldBlock = Code(name: "would_block")
        /// A deadline passed.
        public static let timedOut = Code(name: "timed_out")
        /// The surrounding task was cancelled.
        public static let cancelled = Code(name: "cancelled")
        /// A configuration value cannot be used; the message names it.
        public static let configuration = Code(name: "configuration")
        /// A transport cannot run on this machine; the message names what is missing.
        public static let unavailable = Code(name: "unavailable")
    }

    /// The kind of the failure: what programs look at.
    public var code: Code
    /// One sentence: what happened, to what, and what to do.
    public var message: String
    /// What the server answered, as in the wire protocol (`room_not_found`, `name_taken`, …).
    public var protocolCode: String?
    /// Whether the same call may succeed later.
    public var isRetryable: Bool

    /// An error that is not worth a retry, but for what is given.
    public init(_ code: Code, _ message: String, protocolCode: String? = nil, isRetryable: Bool = false) {
        self.code = code
        self.message = message
        self.protocolCode = protocolCode
        self.isRetryable = isRetryable
    }

    public var description: String { "\(protocolCode ?? code.name): \(message)" }
}
