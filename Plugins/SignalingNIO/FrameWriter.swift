#if NIO
    internal import Glibc
    internal import NIOCore
    internal import TransportPluginAPI

    /// Writes the frames of a client (RFC 6455 §5.2, §5.3): whole messages, each with a fresh mask. Pure but for the masks.
    ///
    /// **Why not NIOWebSocket's `WebSocketFrameEncoder`.** It writes header and payload of every frame as two buffers and masks byte by
    /// byte in a copy. Here the frames of one tick go into one buffer, and a payload is masked word by word while it is copied there.
    struct FrameWriter {
        private enum Opcode: UInt8 {
            case text = 1
            case binary = 2
            case close = 8
            case pong = 10
        }

        private var masks = MaskPool()

        mutating func write(_ message: SignalingMessage, to buffer: inout ByteBuffer) {
            switch message {
            case .text(let payload): payload.withUnsafeBytes { write(.text, $0, to: &buffer) }
            case .binary(let payload): payload.withUnsafeBytes { write(.binary, $0, to: &buffer) }
            }
        }

        mutating func writePong(_ payload: [UInt8], to buffer: inout ByteBuffer) {
            payload.withUnsafeBytes { write(.pong, $0, to: &buffer) }
        }

        /// 1005 stands for a close frame without a code.
        mutating func writeClose(_ close: SignalingClose, to buffer: inout ByteBuffer) {
            let payload =
                close.code == 1005
                ? [] : [UInt8(close.code >> 8), UInt8(close.code & 0xFF)] + Array(close.limitedReason.utf8)
            payload.withUnsafeBytes { write(.close, $0, to: &buffer) }
        }

        private mutating func write(_ opcode: Opcode, _ payload: UnsafeRawBufferPointer, to buffer: inout ByteBuffer) {
            let mask = masks.next()
            buffer.reserveCapacity(minimumWritableBytes: payload.count + 14)
            switch payload.count {
            case ...125: buffer.writeMultipleIntegers(0x80 | opcode.rawValue, 0x80 | UInt8(payload.count))
            case ...65_535:
                buffer.writeMultipleIntegers(0x80 | opcode.rawValue, 0x80 | UInt8(126), UInt16(payload.count))
            default: buffer.writeMultipleIntegers(0x80 | opcode.rawValue, 0x80 | UInt8(127), UInt64(payload.count))
            }
            buffer.writeInteger(mask, endianness: .host)
            guard !payload.isEmpty else { return }
            _ = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: payload.count) { target in
                Self.copy(payload, masking: mask, to: target)
                return payload.count
            }
        }

        /// `mask` holds the key's bytes in the order of memory.
        private static func copy(
            _ source: UnsafeRawBufferPointer, masking mask: UInt32, to target: UnsafeMutableRawBufferPointer
        ) {
            let word = UInt64(mask) << 32 | UInt64(mask)
            var index = 0
            while index + 8 <= source.count {
                let value = source.loadUnaligned(fromByteOffset: index, as: UInt64.self) ^ word
                target.storeBytes(of: value, toByteOffset: index, as: UInt64.self)
                index += 8
            }
            withUnsafeBytes(of: word) { key in
                while index < source.count {
                    target[index] = source[index] ^ key[index & 7]
                    index += 1
                }
            }
        }
    }

    /// Masking keys from the system's generator (RFC 6455 §10.3: nobody may be able to guess them), 64 in one call.
    private struct MaskPool {
        private var keys = [UInt32](repeating: 0, count: 64)
        private var used = 64

        mutating func next() -> UInt32 {
            if used == keys.count {
                let filled = keys.withUnsafeMutableBytes { getentropy($0.baseAddress, $0.count) == 0 }
                if !filled { for index in keys.indices { keys[index] = .random(in: .min ... .max) } }
                used = 0
            }
            defer { used += 1 }
            return keys[used]
        }
    }

    extension SignalingClose {
        /// The reason cut to what a close frame holds: 123 bytes, at a character's border (RFC 6455 §5.5).
        fileprivate var limitedReason: String {
            var cut = ""
            for character in reason {
                guard cut.utf8.count + character.utf8.count <= 123 else { break }
                cut.append(character)
            }
            return cut
        }
    }
#endif
