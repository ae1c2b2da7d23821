public import RoomProtocol
public import TransportPluginAPI

/// A channel of a room, with its guarantees.
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
