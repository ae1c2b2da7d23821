import Testing

@testable import RoomProtocol

@Suite("Bytes eight at a time, and digits")
struct PlainTextTests {
    private static func isSpecial(_ byte: UInt8, isASCII: Bool) -> Bool {
        byte < 0x20 || byte == 0x22 || byte == 0x5C || isASCII && byte >= 0x7F
    }

    /// The end that is found, and that which a loop over the bytes finds.
    private static func ends(_ bytes: [UInt8], from start: Int, isASCII: Bool) -> (found: Int, expected: Int) {
        let found = bytes.withUnsafeBytes { PlainText.end($0, from: start, isASCII: isASCII) }
        return (found, bytes[start...].firstIndex { isSpecial($0, isASCII: isASCII) } ?? bytes.count)
    }

    /// Every byte at each place of texts of up to two words and one byte, with each of these on both sides of it.
    @Test(arguments: [false, true])
    func specialByteIsFoundAtEachPlaceOfEachLength(_ isASCII: Bool) {
        let sides = [0x61, 0x20, 0x21, 0x23, 0x5B, 0x5D, 0x7E, 0x80, 0x9F, 0xA2, 0xDC, 0xFF] as [UInt8]
        for length in 0...17 {
            for side in sides {
                var bytes = [UInt8](repeating: side, count: length)
                for place in 0..<length {
                    for byte in UInt8.min...UInt8.max {
                        bytes[place] = byte
                        for start in [0, place] {
                            let (found, expected) = Self.ends(bytes, from: start, isASCII: isASCII)
                            if found != expected { Issue.record("\(bytes) from \(start): \(found), not \(expected)") }
                        }
                    }
                    bytes[place] = side
                }
                let (found, expected) = Self.ends(bytes, from: length, isASCII: isASCII)
                #expect(found == expected)
            }
        }
    }

    /// Those of the upper half, which the words must not take for special ones, nor overlook one behind them.
    @Test func bytesOfTheUpperHalfArePlain() {
        for special in [0x00, 0x1F, 0x22, 0x5C] as [UInt8] {
            for place in 0...17 {
                for high in 0x80...0xFF as ClosedRange<UInt8> {
                    let before = [UInt8](repeating: high, count: place) + [special]
                    let behind = [UInt8](repeating: 0x61, count: place) + [special] + [high, high, high]
                    for bytes in [before, behind] {
                        let (found, expected) = Self.ends(bytes, from: 0, isASCII: false)
                        if found != expected || found != place { Issue.record("\(bytes): \(found), not \(place)") }
                    }
                }
            }
        }
    }

    @Test func digitsAreThoseOfTheNumber() {
        var numbers: [UInt64] = [0, 1, 9, .max, .max - 1, 1 << 53, 9_007_199_254_740_991]
        for power in 1...19 {
            let ten = (0..<power).reduce(1 as UInt64) { number, _ in number * 10 }
            numbers += [ten - 1, ten, ten + 1]
        }
        for number in numbers {
            var bytes = Array("x".utf8)
            bytes.append(decimal: number)
            #expect(String(decoding: bytes, as: UTF8.self) == "x\(number)")
        }
    }
}
