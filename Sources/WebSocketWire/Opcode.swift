/// The kind of a frame (RFC 6455 §5.2 and §11.8).
public enum Opcode: UInt8, Sendable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    /// Whether the frame is no part of a message.
    public var isControl: Bool { rawValue >= 8 }
}
