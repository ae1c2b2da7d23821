#if NIO
    /// Checks UTF-8 in pieces (Unicode §3.9, table 3-7): a wrong byte is noticed in the piece that brings it.
    struct UTF8Checker {
        /// Continuation bytes that are still due, and the bounds of the next one.
        private var due: UInt8 = 0
        private var lowest: UInt8 = 0x80
        private var highest: UInt8 = 0xBF

        /// Whether the text may end here.
        var isComplete: Bool { due == 0 }

        /// False: no valid text begins with what has come so far.
        mutating func accepts(_ bytes: UnsafeRawBufferPointer) -> Bool {
            var index = 0
            while index < bytes.count {
                if due == 0 {
                    index = Self.skipASCII(bytes, from: index)
                    guard index < bytes.count else { return true }
                }
                guard accepts(bytes[index]) else { return false }
                index += 1
            }
            return true
        }

        /// Where the first byte that is not ASCII stands.
        private static func skipASCII(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
            var index = start
            while index + 8 <= bytes.count,
                bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
            {
                index += 8
            }
            while index < bytes.count, bytes[index] < 0x80 { index += 1 }
            return index
        }

        private mutating func accepts(_ byte: UInt8) -> Bool {
            guard due == 0 else {
                guard byte >= lowest, byte <= highest else { return false }
                due -= 1
                lowest = 0x80
                highest = 0xBF
                return true
            }
            switch byte {
            case 0...0x7F: return true
            case 0xC2...0xDF: due = 1
            case 0xE0...0xEF:
                due = 2
                // Neither overlong nor a surrogate.
                if byte == 0xE0 { lowest = 0xA0 }
                if byte == 0xED { highest = 0x9F }
            case 0xF0...0xF4:
                due = 3
                // Neither overlong nor over U+10FFFF.
                if byte == 0xF0 { lowest = 0x90 }
                if byte == 0xF4 { highest = 0x8F }
            default: return false
            }
            return true
        }
    }
#endif
