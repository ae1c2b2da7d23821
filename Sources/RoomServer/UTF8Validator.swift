/// Checks UTF-8 byte by byte (Unicode 15 §3.9, table 3-7), so that a wrong byte is noticed when it comes.
struct UTF8Validator {
    private var remaining = 0
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xBF

    /// Whether the text may end here.
    var isComplete: Bool { remaining == 0 }

    /// False: no valid text begins with what has come so far.
    mutating func append(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        var index = 0
        while index < bytes.count {
            if remaining == 0, bytes[index] < 0x80 {
                index += 1
                continue
            }
            guard append(bytes[index]) else { return false }
            index += 1
        }
        return true
    }

    private mutating func append(_ byte: UInt8) -> Bool {
        guard remaining == 0 else {
            guard byte >= lowest && byte <= highest else { return false }
            remaining -= 1
            lowest = 0x80
            highest = 0xBF
            return true
        }
        switch byte {
        case 0...0x7F: return true
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
