/// Writes big-endian numbers and counted texts.
struct ByteWriter {
    var bytes: [UInt8] = []

    mutating func add<Number: FixedWidthInteger>(_ number: Number) {
        for shift in stride(from: Number.bitWidth - 8, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }

    mutating func add(raw: some Collection<UInt8>) { bytes.append(contentsOf: raw) }

    /// Adds text behind its length in two bytes. A text over `limit` bytes is cut.
    mutating func add(text: String, limit: Int = Int(UInt16.max)) {
        let utf8 = text.utf8.count <= limit ? Array(text.utf8) : Array(text.utf8.prefix(limit))
        add(UInt16(utf8.count))
        bytes.append(contentsOf: utf8)
    }
}

/// Reads what `ByteWriter` writes. Every read throws `Malformed` where the bytes end.
struct ByteReader {
    struct Malformed: Error {}

    private let bytes: ArraySlice<UInt8>
    private var position: Int

    init(_ bytes: some Sequence<UInt8>) {
        self.bytes = Array(bytes)[...]
        position = self.bytes.startIndex
    }

    var count: Int { bytes.endIndex - position }
    var isAtEnd: Bool { count == 0 }

    mutating func number<Number: FixedWidthInteger>(_: Number.Type = Number.self) throws(Malformed) -> Number {
        var value: Number = 0
        for byte in try raw(Number.bitWidth / 8) {
            value = value << 8 | Number(truncatingIfNeeded: byte)
        }
        return value
    }

    mutating func raw(_ length: Int) throws(Malformed) -> ArraySlice<UInt8> {
        guard length <= count else { throw Malformed() }
        defer { position += length }
        return bytes[position..<(position + length)]
    }

    mutating func text() throws(Malformed) -> String {
        let length = try number(UInt16.self)
        guard let text = String(validating: try raw(Int(length)), as: UTF8.self) else { throw Malformed() }
        return text
    }

    mutating func rest() -> ArraySlice<UInt8> {
        defer { position = bytes.endIndex }
        return bytes[position...]
    }
}
