#if NIO
    internal import NIOCore
    internal import TransportPluginAPI
    internal import WebSocketWire

    // Why not NIOWebSocket's encoder and decoder. The encoder writes header and payload of every frame as two buffers
    // and masks byte by byte in a copy; here the frames of one tick go into one buffer, and a payload is masked word by
    // word while it is copied there. The decoder hands out whole frames, which makes three checks impossible: text is
    // looked at, and reserved bits and opcodes are noticed, only when the whole payload has come, be it a megabyte; how
    // a length was encoded is forgotten, so that one in more bytes than needed (RFC 6455 §5.2) passes; and a limit
    // holds for a frame, not for a message. It also collects the payload in a buffer that grows as the bytes come, from
    // which it must be copied once more.

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
