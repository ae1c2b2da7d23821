/// A masking key (RFC 6455 §5.3) at some place of a payload, repeated to the width that is masked at once.
struct Mask: Sendable {
    /// The key twice, in the order of memory; its first byte is the next one's.
    private let key: UInt64

    /// The mask of frames without one.
    static var none: Mask { Mask(key: 0) }

    var isNone: Bool { key == 0 }

    private init(key: UInt64) { self.key = key }

    /// - Parameters:
    ///   - key: its bytes in memory are the masking key.
    ///   - offset: the place in the payload where the mask is to be applied.
    init(_ key: UInt32, offset: Int = 0) {
        self = Mask(key: UInt64(key) << 32 | UInt64(key)).advanced(by: offset)
    }

    /// The mask of the bytes that begin `count` further.
    @inline(__always)
    func advanced(by count: Int) -> Mask { Mask(key: word(from: count)) }

    /// The mask of the eight bytes from `index` on.
    @inline(__always)
    func word(from index: Int) -> UInt64 {
        let bits = UInt64(truncatingIfNeeded: 8 * (index & 3))
        let plain = UInt64(littleEndian: key)
        // Shifts of 64 bits are none of these: the key has a period of 32.
        return (plain >> bits | plain << (32 - bits)).littleEndian
    }

    @inline(__always)
    func byte(at index: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: UInt64(littleEndian: key) >> UInt64(truncatingIfNeeded: 8 * (index & 7)))
    }

    /// Copies bytes and masks, or unmasks, them on the way, eight at a time.
    /// - Parameter target: has room for as many bytes.
    func copy(_ bytes: UnsafeRawBufferPointer, to target: UnsafeMutableRawPointer) {
        guard let source = bytes.baseAddress else { return }
        guard !isNone else { return target.copyMemory(from: source, byteCount: bytes.count) }
        var index = 0
        while index + 8 <= bytes.count {
            let value = source.loadUnaligned(fromByteOffset: index, as: UInt64.self) ^ key
            target.storeBytes(of: value, toByteOffset: index, as: UInt64.self)
            index += 8
        }
        while index < bytes.count {
            let value = source.load(fromByteOffset: index, as: UInt8.self) ^ byte(at: index)
            target.storeBytes(of: value, toByteOffset: index, as: UInt8.self)
            index += 1
        }
    }
}
