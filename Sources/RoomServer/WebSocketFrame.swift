internal import NIOCore

/// Frames as a server writes them: whole, without a mask (RFC 6455 §5.1).
enum WebSocketFrame {
    static func writeText(_ payload: [UInt8], into buffer: inout ByteBuffer) { write(opcode: 1, payload, &buffer) }

    static func writePong(_ payload: [UInt8], into buffer: inout ByteBuffer) { write(opcode: 10, payload, &buffer) }

    /// `reason` is cut to what a control frame holds.
    static func writeClose(_ code: UInt16?, _ reason: String = "", into buffer: inout ByteBuffer) {
        guard let code else { return write(opcode: 8, [], &buffer) }
        var text = reason
        while text.utf8.count > 123 { text.removeLast() }
        write(opcode: 8, [UInt8(code >> 8), UInt8(code & 0xFF)] + text.utf8, &buffer)
    }

    private static func write(opcode: UInt8, _ payload: [UInt8], _ buffer: inout ByteBuffer) {
        buffer.reserveCapacity(minimumWritableBytes: payload.count + 10)
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
    }
}
