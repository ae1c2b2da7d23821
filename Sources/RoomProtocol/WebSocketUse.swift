/// The WebSocket subprotocol of this version. A client may offer it or none.
public let webSocketSubprotocol = "room.v1"

/// The WebSocket close codes that the server uses (RFC 6455 §7.4). Clients decide by the last `error` or `goingAway`
/// message. Without one, every code means: reconnect, and resume.
public struct CloseCode: Sendable, Hashable, RawRepresentable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// After `leave`.
    public static let normal = CloseCode(rawValue: 1000)
    /// After `goingAway`.
    public static let goingAway = CloseCode(rawValue: 1001)
    /// A frame that RFC 6455 does not allow.
    public static let protocolError = CloseCode(rawValue: 1002)
    /// A binary message.
    public static let unsupportedData = CloseCode(rawValue: 1003)
    /// A text message that is not UTF-8.
    public static let invalidPayload = CloseCode(rawValue: 1007)
    /// A message over `Limits.clientMessageBytes`.
    public static let messageTooBig = CloseCode(rawValue: 1009)
    /// After a fatal `error`, which says why.
    public static let refused = CloseCode(rawValue: 4000)
    /// The client does not read its messages; its session can be resumed.
    public static let tooSlow = CloseCode(rawValue: 4001)
}
