#if NIO
    internal import NIOCore
    internal import TransportPluginAPI
    internal import WebSocketWire

    // The reasons not to use NIOWebSocket's encoder and decoder: The encoder writes the header and the payload of every
    // frame as two buffers, and masks byte by byte in a copy. Here the frames of one tick go into one buffer, and a
    // payload is masked word by word while it is copied there. The decoder returns whole frames, which makes three
    // checks impossible. Text, reserved bits and opcodes are checked only when the whole payload has arrived, even if
    // it has a megabyte. The encoding of a length is lost, so that one with more bytes than needed (RFC 6455 §5.2) is
    // accepted. And a limit applies to a frame, not to a message. The decoder also collects the payload in a growing
    // buffer, from which it must be copied once more.

    extension ByteBuffer {
        mutating func writeFrame(_ message: SignalingMessage, key: UInt32) {
            message.payload.withUnsafeBytes { writeFrame(message.opcode, $0, key: key) }
        }

        mutating func writeFrame(_ opcode: Opcode, _ payload: [UInt8], key: UInt32) {
            payload.withUnsafeBytes { writeFrame(opcode, $0, key: key) }
        }

        private mutating func writeFrame(_ opcode: Opcode, _ payload: UnsafeRawBufferPointer, key: UInt32) {
            writeWithUnsafeMutableBytes(minimumWritableBytes: FrameWriter.maximumHeader + payload.count) { target in
                target.baseAddress.map { FrameWriter.write(opcode, payload, key: key, to: $0) } ?? 0
            }
        }
    }
#endif
