/// A QR code of model 2 (ISO/IEC 18004), in byte mode, of version 1 to 10: as in `Sources/RoomPage/Page/qr-code.js`.
package struct QRCode: Sendable {
    /// Rows of modules without the quiet zone: true is dark.
    package let rows: [[Bool]]

    private enum Level: CaseIterable {
        case medium
        case low

        var format: Int { self == .medium ? 0 : 1 }
        /// By version: codewords of error correction in each block (ISO/IEC 18004, table 9).
        var correction: [Int] {
            self == .medium ? [10, 16, 26, 18, 24, 16, 18, 22, 22, 26] : [7, 10, 15, 20, 26, 18, 20, 24, 30, 18]
        }
        /// By version: the number of blocks.
        var blocks: [Int] { self == .medium ? [1, 1, 1, 2, 2, 4, 4, 4, 5, 5] : [1, 1, 1, 1, 1, 2, 2, 2, 2, 4] }
    }

    /// By version: codewords of data and error correction together.
    private static let codewords = [26, 44, 70, 100, 134, 172, 196, 242, 292, 346]
    /// By version: the centres of the alignment patterns.
    private static let alignment = [
        [], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50],
    ]

    /// Creates the code of a text, with error correction of level M where that fits, else L. Nil: it is too long (271
    /// bytes).
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        for level in Level.allCases {
            for version in 1...10 {
                let correction = level.correction[version - 1] * level.blocks[version - 1]
                let capacity = Self.codewords[version - 1] - correction
                guard 4 + (version < 10 ? 8 : 16) + bytes.count * 8 <= capacity * 8 else { continue }
                let data = Self.dataCodewords(bytes, version, capacity)
                let all = Self.interleave(
                    data, blocks: level.blocks[version - 1], correction: level.correction[version - 1])
                var canvas = Canvas(version)
                rows = canvas.draw(all, format: level.format)
                return
            }
        }
        return nil
    }

    /// The code for a terminal: two rows of modules in a line, dark on light whatever its colours are.
    package var terminalLines: [String] {
        let size = rows.count
        func isDark(_ x: Int, _ y: Int) -> Bool {
            (0..<size).contains(x) && (0..<size).contains(y) && rows[y][x]
        }
        return stride(from: -4, to: size + 4, by: 2).map { y in
            let line = (-4..<(size + 4)).map { x in
                switch (isDark(x, y), isDark(x, y + 1)) {
                case (true, true): "█"
                case (true, false): "▀"
                case (false, true): "▄"
                case (false, false): " "
                }
            }
            return "\u{1B}[30;107m" + line.joined() + "\u{1B}[0m"
        }
    }

    // MARK: Codewords

    private static func dataCodewords(_ bytes: [UInt8], _ version: Int, _ capacity: Int) -> [Int] {
        var bits: [Int] = []
        func add(_ value: Int, _ count: Int) {
            for bit in stride(from: count - 1, through: 0, by: -1) { bits.append(value >> bit & 1) }
        }
        add(4, 4)
        add(bytes.count, version < 10 ? 8 : 16)
        for byte in bytes { add(Int(byte), 8) }
        add(0, min(4, capacity * 8 - bits.count))
        while bits.count % 8 != 0 { bits.append(0) }
        var words = stride(from: 0, to: bits.count, by: 8).map { bits[$0..<($0 + 8)].reduce(0) { $0 << 1 | $1 } }
        var pad = 0xEC
        while words.count < capacity {
            words.append(pad)
            pad ^= 0xEC ^ 0x11
        }
        return words
    }

    private static func interleave(_ data: [Int], blocks count: Int, correction: Int) -> [Int] {
        let divisor = generator(correction)
        let short = data.count / count
        var position = 0
        let blocks = (0..<count).map { block in
            let length = short + (block >= count - data.count % count ? 1 : 0)
            defer { position += length }
            return Array(data[position..<(position + length)])
        }
        let remainders = blocks.map { remainder($0, divisor) }
        let words = (0...short).flatMap { index in blocks.compactMap { index < $0.count ? $0[index] : nil } }
        return words + (0..<correction).flatMap { index in remainders.map { $0[index] } }
    }

    /// Multiplies in GF(2⁸) modulo x⁸ + x⁴ + x³ + x² + 1.
    private static func multiply(_ left: Int, _ right: Int) -> Int {
        var product = 0
        for bit in stride(from: 7, through: 0, by: -1) {
            product = product << 1 ^ (product >> 7) * 0x11D
            if right >> bit & 1 == 1 { product ^= left }
        }
        return product
    }

    /// The product of (x − 2⁰) … (x − 2ⁿ⁻¹), without its first coefficient, which is 1.
    private static func generator(_ degree: Int) -> [Int] {
        var result = [Int](repeating: 0, count: degree)
        result[degree - 1] = 1
        var root = 1
        for _ in 0..<degree {
            for index in 0..<degree {
                result[index] = multiply(result[index], root) ^ (index + 1 < degree ? result[index + 1] : 0)
            }
            root = multiply(root, 2)
        }
        return result
    }

    private static func remainder(_ words: [Int], _ divisor: [Int]) -> [Int] {
        var result = [Int](repeating: 0, count: divisor.count)
        for word in words {
            let factor = word ^ result.removeFirst()
            result.append(0)
            for (index, coefficient) in divisor.enumerated() { result[index] ^= multiply(coefficient, factor) }
        }
        return result
    }

    /// The modules while they are drawn.
    private struct Canvas {
        private let version: Int
        private let size: Int
        private var modules: [[Bool]]
        private var reserved: [[Bool]]

        init(_ version: Int) {
            self.version = version
            size = version * 4 + 17
            modules = Array(repeating: Array(repeating: false, count: size), count: size)
            reserved = modules
        }

        private mutating func set(_ x: Int, _ y: Int, _ isDark: Bool) {
            guard (0..<size).contains(x), (0..<size).contains(y) else { return }
            modules[y][x] = isDark
            reserved[y][x] = true
        }

        mutating func draw(_ codewords: [Int], format: Int) -> [[Bool]] {
            drawPatterns()
            drawFormat(format, mask: 0)
            place(codewords)
            var best: (modules: [[Bool]], penalty: Int)?
            for mask in 0..<8 {
                var masked = self
                for y in 0..<size {
                    for x in 0..<size where !reserved[y][x] && Self.isInverted(mask, x, y) {
                        masked.modules[y][x].toggle()
                    }
                }
                masked.drawFormat(format, mask: mask)
                let penalty = masked.penalty
                if penalty < best?.penalty ?? .max { best = (masked.modules, penalty) }
            }
            return best?.modules ?? modules
        }

        private static func isInverted(_ mask: Int, _ x: Int, _ y: Int) -> Bool {
            switch mask {
            case 0: (x + y) % 2 == 0
            case 1: y % 2 == 0
            case 2: x % 3 == 0
            case 3: (x + y) % 3 == 0
            case 4: (x / 3 + y / 2) % 2 == 0
            case 5: x * y % 2 + x * y % 3 == 0
            case 6: (x * y % 2 + x * y % 3) % 2 == 0
            default: ((x + y) % 2 + x * y % 3) % 2 == 0
            }
        }

        private mutating func drawPatterns() {
            for position in 0..<size {
                set(6, position, position % 2 == 0)
                set(position, 6, position % 2 == 0)
            }
            for (x, y) in [(3, 3), (size - 4, 3), (3, size - 4)] {
                drawRings(x, y, radius: 4) { $0 != 2 && $0 != 4 }
            }
            let centres = QRCode.alignment[version - 1]
            for x in centres {
                for y in centres where ![(6, 6), (6, size - 7), (size - 7, 6)].contains(where: { $0 == (x, y) }) {
                    drawRings(x, y, radius: 2) { $0 != 1 }
                }
            }
            guard version >= 7 else { return }
            let bits = version << 12 | Self.checkBits(version, 12, 0x1F25)
            for bit in 0..<18 {
                set(size - 11 + bit % 3, bit / 3, bits >> bit & 1 == 1)
                set(bit / 3, size - 11 + bit % 3, bits >> bit & 1 == 1)
            }
        }

        private mutating func drawRings(_ x: Int, _ y: Int, radius: Int, _ isDark: (Int) -> Bool) {
            for dy in -radius...radius {
                for dx in -radius...radius { set(x + dx, y + dy, isDark(max(abs(dx), abs(dy)))) }
            }
        }

        /// The remainder of the division of a value by a polynomial: the bits that protect it.
        private static func checkBits(_ value: Int, _ count: Int, _ polynomial: Int) -> Int {
            (0..<count).reduce(value) { rest, _ in rest << 1 ^ (rest >> (count - 1)) * polynomial }
        }

        private mutating func drawFormat(_ format: Int, mask: Int) {
            let value = format << 3 | mask
            let bits = (value << 10 | Self.checkBits(value, 10, 0x537)) ^ 0x5412
            for bit in 0..<15 {
                let isDark = bits >> bit & 1 == 1
                if bit < 8 {
                    set(8, bit < 6 ? bit : bit + 1, isDark)
                    set(size - 1 - bit, 8, isDark)
                } else {
                    set(bit == 8 ? 7 : 14 - bit, 8, isDark)
                    set(8, size - 15 + bit, isDark)
                }
            }
            set(8, size - 8, true)
        }

        /// Places the bits in columns of two, from the right, up and down in turn.
        private mutating func place(_ codewords: [Int]) {
            var bit = 0
            for column in stride(from: size - 1, through: 1, by: -2) {
                let right = column <= 6 ? column - 1 : column
                for step in 0..<size {
                    let y = (right + 1) & 2 == 0 ? size - 1 - step : step
                    for x in [right, right - 1] where !reserved[y][x] && bit < codewords.count * 8 {
                        modules[y][x] = codewords[bit >> 3] >> (7 - bit & 7) & 1 == 1
                        bit += 1
                    }
                }
            }
        }

        /// How hard the code is to read (ISO/IEC 18004 §7.8.3).
        private var penalty: Int {
            var score = 0
            let finder = [true, false, true, true, true, false, true, false, false, false, false]
            for line in modules + (0..<size).map({ x in modules.map { $0[x] } }) {
                var run = 0
                for index in 0..<size {
                    run = index > 0 && line[index] == line[index - 1] ? run + 1 : 1
                    if run == 5 { score += 3 } else if run > 5 { score += 1 }
                    guard index + 11 <= size else { continue }
                    let part = line[index..<(index + 11)]
                    if part.elementsEqual(finder) || part.elementsEqual(finder.reversed()) { score += 40 }
                }
            }
            for y in 1..<size {
                for x in 1..<size {
                    let isDark = modules[y][x]
                    if isDark == modules[y][x - 1], isDark == modules[y - 1][x], isDark == modules[y - 1][x - 1] {
                        score += 3
                    }
                }
            }
            let dark = modules.reduce(0) { $0 + $1.count { $0 } }
            return score + abs(dark * 100 - 50 * size * size) / (5 * size * size) * 10
        }
    }
}
