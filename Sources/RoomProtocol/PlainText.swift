/// Finds the bytes of a text that need attention, eight at a time.
enum PlainText {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highBits: UInt64 = 0x8080_8080_8080_8080

    /// Returns the first index from `start` on whose byte is special inside a JSON string: a quote, a backslash, a
    /// control character below 0x20. The end if there is none.
    ///
    /// - Parameter isASCII: Bytes from 0x7F on are special as well.
    @inline(__always)
    static func end(_ bytes: UnsafeRawBufferPointer, from start: Int, isASCII: Bool = false) -> Int {
        var index = start
        while index + 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            // Each may be wrong about bytes after the first that is special, never about whether there is one.
            var found = ((word &- ones &* 0x20) & ~word) | zeros(word ^ ones &* 0x22) | zeros(word ^ ones &* 0x5C)
            if isASCII { found |= word | zeros(word ^ ones &* 0x7F) }
            if found & highBits != 0 { break }
            index += 8
        }
        while index < bytes.count, !isSpecial(bytes[index], isASCII: isASCII) { index += 1 }
        return index
    }

    /// The high bit of a byte of the result is set where a byte is zero.
    @inline(__always)
    private static func zeros(_ word: UInt64) -> UInt64 { (word &- ones) & ~word }

    @inline(__always)
    private static func isSpecial(_ byte: UInt8, isASCII: Bool) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || isASCII && byte >= 0x7F
    }
}
