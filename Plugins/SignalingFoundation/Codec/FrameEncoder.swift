/// RFC 6455 §5.2 and §11.8.
enum Opcode: UInt8 {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    var isControl: Bool { rawValue >= 8 }
}

/// Writes a client's frames: final, and masked with a key that nobody can foresee (RFC 6455 §5.3).
enum FrameEncoder {
    /// Bytes of the longest header.
    static let maximumHeader = 14

    /// Writes a header to `target`, which has room for `maximumHeader` bytes, and returns its length.
    /// - Parameter key: its bytes in memory are the masking key.
    static func writeHeader(_ opcode: Opcode, length: Int, key: UInt32, to target: UnsafeMutableRawPointer) -> Int {
        target.storeBytes(of: 0x80 | opcode.rawValue, as: UInt8.self)
        var count = 2
        switch length {
        case ..<126: target.storeBytes(of: 0x80 | UInt8(length), toByteOffset: 1, as: UInt8.self)
        case ...0xFFFF:
            target.storeBytes(of: 0x80 | 126, toByteOffset: 1, as: UInt8.self)
            target.storeBytes(of: UInt16(length).bigEndian, toByteOffset: 2, as: UInt16.self)
            count = 4
        default:
            target.storeBytes(of: 0x80 | 127, toByteOffset: 1, as: UInt8.self)
            target.storeBytes(of: UInt64(length).bigEndian, toByteOffset: 2, as: UInt64.self)
            count = 10
        }
        target.storeBytes(of: key, toByteOffset: count, as: UInt32.self)
        return count + 4
    }

    /// Copies a part of a payload and masks it on the way, eight bytes at a time.
    /// - Parameter offset: where the part begins in the payload.
    static func mask(_ part: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer, key: UInt32, offset: Int) {
        // The key, turned so that its first byte in memory is the one for the part's first.
        let turn = UInt32(truncatingIfNeeded: 8 * (offset & 3))
        let plain = UInt32(littleEndian: key)
        let turned = turn == 0 ? plain : plain >> turn | plain << (32 - turn)
        let word = (UInt64(turned) << 32 | UInt64(turned)).littleEndian
        guard let source = part.baseAddress else { return }
        var index = 0
        while index + 8 <= part.count {
            let value = source.loadUnaligned(fromByteOffset: index, as: UInt64.self) ^ word
            target.storeBytes(of: value, toByteOffset: index, as: UInt64.self)
            index += 8
        }
        var rest = UInt64(littleEndian: word)
        while index < part.count {
            let value = source.load(fromByteOffset: index, as: UInt8.self) ^ UInt8(truncatingIfNeeded: rest)
            target.storeBytes(of: value, toByteOffset: index, as: UInt8.self)
            rest >>= 8
            index += 1
        }
    }

    /// A whole control frame.
    /// - Parameter payload: 125 bytes at most.
    static func control(_ opcode: Opcode, _ payload: some Collection<UInt8>, key: UInt32) -> [UInt8] {
        let payload = Array(payload.prefix(125))
        return [UInt8](unsafeUninitializedCapacity: maximumHeader + payload.count) { buffer, count in
            guard let start = buffer.baseAddress else { return }
            let target = UnsafeMutableRawPointer(start)
            let header = writeHeader(opcode, length: payload.count, key: key, to: target)
            payload.withUnsafeBytes { mask($0, to: target + header, key: key, offset: 0) }
            count = header + payload.count
        }
    }
}
