/// The kind of a frame (RFC 6455 §5.2 and §11.8).
public enum Opcode: UInt8, Sendable {
    /// A further part of the message that is under way.
    case continuation = 0
    /// A message of UTF-8, or its first part.
    case text = 1
    /// A message of any bytes, or its first part.
    case binary = 2
    /// The last frame of a side.
    case close = 8
    /// A question for a sign of life.
    case ping = 9
    /// The answer to a ping, with its payload.
    case pong = 10

    /// Whether the frame is no part of a message.
    public var isControl: Bool { rawValue >= 8 }
}
