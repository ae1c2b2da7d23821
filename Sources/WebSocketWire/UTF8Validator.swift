/// Checks UTF-8 as it comes (Unicode 15 §3.9, table 3-7), so that a wrong byte is noticed before the text ends.
public struct UTF8Validator: Sendable {
    /// Continuation bytes that are still due, and the bounds of the next one.
    private var remaining: UInt8 = 0
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xBF

    /// Creates a validator of an empty text.
    public init() {}

    /// Whether the text may end here.
    public var isComplete: Bool { remaining == 0 }

    /// Takes the next bytes of the text. Returns false when no valid text begins with all that has come so far.
    public mutating func append(_ bytes: UnsafeRawBufferPointer) -> Bool { append(bytes, Mask.none) }

    /// Takes the next bytes of a text that lies masked in memory.
    mutating func append(_ bytes: UnsafeRawBufferPointer, masked mask: Mask) -> Bool {
        mask.isNone ? append(bytes, Mask.none) : append(bytes, mask)
    }

    /// Inlined, so that a mask that is known to be none costs nothing.
    @inline(__always)
    private mutating func append(_ bytes: UnsafeRawBufferPointer, _ mask: Mask) -> Bool {
        var index = 0
        while index < bytes.count {
            if remaining == 0 {
                // ASCII, eight bytes at a time.
                let word = mask.word(from: index)
                while index + 8 <= bytes.count,
                    (bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) ^ word) & 0x8080_8080_8080_8080 == 0
                { index += 8 }
                guard index < bytes.count else { return true }
            }
            guard append(bytes[index] ^ mask.byte(at: index)) else { return false }
            index += 1
        }
        return true
    }

    private mutating func append(_ byte: UInt8) -> Bool {
        guard remaining == 0 else {
            guard byte >= lowest, byte <= highest else { return false }
            remaining -= 1
            lowest = 0x80
            highest = 0xBF
            return true
        }
        switch byte {
        case 0...0x7F: break
        case 0xC2...0xDF: remaining = 1
        case 0xE0...0xEF:
            remaining = 2
            // Neither overlong nor a surrogate.
            if byte == 0xE0 { lowest = 0xA0 }
            if byte == 0xED { highest = 0x9F }
        case 0xF0...0xF4:
            remaining = 3
            // Neither overlong nor over U+10FFFF.
            if byte == 0xF0 { lowest = 0x90 }
            if byte == 0xF4 { highest = 0x8F }
        default: return false
        }
        return true
    }
}
