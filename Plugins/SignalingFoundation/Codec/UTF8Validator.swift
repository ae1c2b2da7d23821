/// Checks UTF-8 as it comes (Unicode 15 §3.9, table 3-7), so that a wrong byte is noticed before the message ends.
struct UTF8Validator {
    private var remaining = 0
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xBF

    /// Whether the text may end here.
    var isComplete: Bool { remaining == 0 }

    /// False: no valid text begins with what has come so far.
    mutating func append(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index < bytes.count {
            if remaining == 0 {
                // ASCII, eight bytes at a time.
                while index + 8 <= bytes.count,
                    bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
                { index += 8 }
                guard index < bytes.count else { return true }
            }
            guard append(bytes[index]) else { return false }
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
            if byte == 0xE0 { lowest = 0xA0 }
            if byte == 0xED { highest = 0x9F }
        case 0xF0...0xF4:
            remaining = 3
            if byte == 0xF0 { lowest = 0x90 }
            if byte == 0xF4 { highest = 0x8F }
        default: return false
        }
        return true
    }
}
