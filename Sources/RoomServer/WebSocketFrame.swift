internal import NIOCore

/// Frames as a server writes them: whole, without a mask (RFC 6455 §5.1).
enum WebSocketFrame {
    static func text(_ payload: [UInt8]) -> ByteBuffer { frame(opcode: 1, payload) }

    static func pong(_ payload: [UInt8]) -> ByteBuffer { frame(opcode: 10, payload) }

    /// `reason` is cut to what a control frame holds.
    static func close(_ code: UInt16?, _ reason: String = "") -> ByteBuffer {
        guard let code else { return frame(opcode: 8, []) }
        var text = reason
        while text.utf8.count > 123 { text.removeLast() }
        return frame(opcode: 8, [UInt8(code >> 8), UInt8(code & 0xFF)] + text.utf8)
    }

    private static func frame(opcode: UInt8, _ payload: [UInt8]) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(payload.count + 10)
        buffer.writeInteger(0x80 | opcode)
        switch payload.count {
        case ...125: buffer.writeInteger(UInt8(payload.count))
        case ...65_535:
            buffer.writeInteger(UInt8(126))
            buffer.writeInteger(UInt16(payload.count))
        default:
            buffer.writeInteger(UInt8(127))
            buffer.writeInteger(UInt64(payload.count))
        }
        buffer.writeBytes(payload)
        return buffer
    }
}
