/// Writes final frames: a client's with a masking key (RFC 6455 §5.3), a server's without one.
///
/// The bytes of a `key` in memory are the masking key; nobody else may be able to foresee it (RFC 6455 §10.3).
public enum FrameWriter {
    /// Bytes of the longest header.
    public static let maximumHeader = 14
    /// Bytes of the longest header of a frame without a mask.
    public static let maximumUnmaskedHeader = 10
    /// Bytes of the longest payload of a control frame (RFC 6455 §5.5).
    public static let maximumControlPayload = 125

    /// Writes a header to `target`, which has room for `maximumHeader` bytes, and returns its length.
    public static func writeHeader(
        _ opcode: Opcode, length: Int, key: UInt32?, to target: UnsafeMutableRawPointer
    ) -> Int {
        let masked: UInt8 = key == nil ? 0 : 0x80
        target.storeBytes(of: 0x80 | opcode.rawValue, as: UInt8.self)
        var count = 2
        switch length {
        case ..<126: target.storeBytes(of: masked | UInt8(length), toByteOffset: 1, as: UInt8.self)
        case ...0xFFFF:
            target.storeBytes(of: masked | 126, toByteOffset: 1, as: UInt8.self)
            target.storeBytes(of: UInt16(length).bigEndian, toByteOffset: 2, as: UInt16.self)
            count = 4
        default:
            target.storeBytes(of: masked | 127, toByteOffset: 1, as: UInt8.self)
            target.storeBytes(of: UInt64(length).bigEndian, toByteOffset: 2, as: UInt64.self)
            count = 10
        }
        guard let key else { return count }
        target.storeBytes(of: key, toByteOffset: count, as: UInt32.self)
        return count + 4
    }

    /// Copies a part of a payload, and masks it on the way.
    /// - Parameters:
    ///   - part: the bytes.
    ///   - target: has room for as many bytes.
    ///   - key: the masking key of the frame, or nil.
    ///   - offset: where the part begins in the payload.
    public static func copy(
        _ part: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer, key: UInt32?, offset: Int = 0
    ) {
        (key.map { Mask($0, offset: offset) } ?? .none).copy(part, to: target)
    }

    /// Writes a whole frame to `target`, which has room for `maximumHeader` bytes and the payload, and returns its
    /// length.
    public static func write(
        _ opcode: Opcode, _ payload: UnsafeRawBufferPointer, key: UInt32?, to target: UnsafeMutableRawPointer
    ) -> Int {
        let header = writeHeader(opcode, length: payload.count, key: key, to: target)
        copy(payload, to: target + header, key: key)
        return header + payload.count
    }

    /// Returns a whole control frame. Only the first 125 bytes of the payload are sent.
    public static func control(_ opcode: Opcode, _ payload: some Collection<UInt8>, key: UInt32?) -> [UInt8] {
        let payload = Array(payload.prefix(maximumControlPayload))
        return [UInt8](unsafeUninitializedCapacity: maximumHeader + payload.count) { buffer, count in
            guard let start = buffer.baseAddress else { return }
            payload.withUnsafeBytes { count = write(opcode, $0, key: key, to: UnsafeMutableRawPointer(start)) }
        }
    }
}
