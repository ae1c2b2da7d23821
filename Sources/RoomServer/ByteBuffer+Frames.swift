internal import NIOCore
internal import WebSocketWire

extension ByteBuffer {
    /// Writes a frame of a server: whole, without a mask (RFC 6455 §5.1).
    mutating func writeFrame(_ opcode: Opcode, _ payload: [UInt8]) {
        writeWithUnsafeMutableBytes(minimumWritableBytes: FrameWriter.maximumUnmaskedHeader + payload.count) { target in
            guard let start = target.baseAddress else { return 0 }
            return payload.withUnsafeBytes { FrameWriter.write(opcode, $0, key: nil, to: start) }
        }
    }
}
