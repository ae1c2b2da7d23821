/// Writes one JSON object, member by member, without spaces. Optional members that are nil are left out.
package struct JSONWriter {
    package private(set) var bytes: [UInt8] = []

    package init() { bytes.reserveCapacity(512) }

    /// Writes an object whose members `body` adds.
    package mutating func object(_ body: (inout JSONWriter) -> Void) {
        openObject(body)
        bytes.append(UInt8(ascii: "}"))
    }

    /// Writes an object without its closing brace.
    package mutating func openObject(_ body: (inout JSONWriter) -> Void) {
        bytes.append(UInt8(ascii: "{"))
        body(&self)
    }

    /// Writes the members of a message: its type, and those that `body` writes.
    package mutating func message(_ type: String, _ body: (inout JSONWriter) -> Void = { _ in }) {
        member("type", type)
        body(&self)
    }

    package mutating func name(_ name: StaticString) {
        separate()
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
    }

    package mutating func member(_ name: StaticString, _ value: String?) {
        guard let value else { return }
        self.name(name)
        string(value)
    }

    package mutating func member(_ name: StaticString, _ value: UInt64?) {
        guard let value else { return }
        self.name(name)
        bytes.append(decimal: value)
    }

    package mutating func member(_ name: StaticString, _ value: Int?) {
        guard let value else { return }
        self.name(name)
        bytes.append(contentsOf: String(value).utf8)
    }

    package mutating func member(_ name: StaticString, _ value: Bool) {
        self.name(name)
        bytes.append(contentsOf: (value ? "true" : "false").utf8)
    }

    /// Writes seconds, rounded down to microseconds. A negative duration is written as 0.
    package mutating func member(_ name: StaticString, _ value: Duration?) {
        guard let value else { return }
        self.name(name)
        let (seconds, attoseconds) = max(value, .zero).components
        bytes.append(contentsOf: String(seconds).utf8)
        let microseconds = attoseconds / 1_000_000_000_000
        guard microseconds > 0 else { return }
        bytes.append(UInt8(ascii: "."))
        var digits = String(microseconds)
        digits = String(repeating: "0", count: 6 - digits.utf8.count) + digits
        while digits.utf8.last == UInt8(ascii: "0") { digits.removeLast() }
        bytes.append(contentsOf: digits.utf8)
    }

    package mutating func member(_ name: StaticString, _ value: [String]) {
        array(name, value) { writer, element in writer.string(element) }
    }

    /// Writes the members in the order of their names, so that equal dictionaries give equal bytes.
    package mutating func member(_ name: StaticString, _ value: [String: String]) {
        self.name(name)
        object { writer in
            let members = value.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
            for (key, value) in members {
                writer.separate()
                writer.string(key)
                writer.bytes.append(UInt8(ascii: ":"))
                writer.string(value)
            }
        }
    }

    package mutating func member(_ name: StaticString, object body: (inout JSONWriter) -> Void) {
        self.name(name)
        object(body)
    }

    package mutating func array<Element>(
        _ name: StaticString, _ elements: [Element], _ body: (inout JSONWriter, Element) -> Void
    ) {
        self.name(name)
        bytes.append(UInt8(ascii: "["))
        for element in elements {
            separate()
            body(&self, element)
        }
        bytes.append(UInt8(ascii: "]"))
    }

    private mutating func separate() {
        switch bytes.last {
        case nil, UInt8(ascii: "{"), UInt8(ascii: "["): break
        default: bytes.append(UInt8(ascii: ","))
        }
    }

    private mutating func string(_ text: String) {
        var text = text
        bytes.append(UInt8(ascii: "\""))
        text.withUTF8 { string(UnsafeRawBufferPointer($0)) }
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func string(_ text: UnsafeRawBufferPointer) {
        var start = 0
        while true {
            let end = PlainText.end(text, from: start)
            bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: text[start..<end]))
            guard end < text.count else { return }
            escape(text[end])
            start = end + 1
        }
    }

    private mutating func escape(_ byte: UInt8) {
        bytes.append(UInt8(ascii: "\\"))
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(byte)
        case 0x0A: bytes.append(UInt8(ascii: "n"))
        case 0x0D: bytes.append(UInt8(ascii: "r"))
        case 0x09: bytes.append(UInt8(ascii: "t"))
        default:
            let hexadecimal = String(byte, radix: 16)
            bytes.append(contentsOf: (hexadecimal.utf8.count == 1 ? "u000" : "u00").utf8)
            bytes.append(contentsOf: hexadecimal.utf8)
        }
    }
}

extension [UInt8] {
    /// Appends the digits of a number.
    mutating func append(decimal number: UInt64) {
        var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
        Swift.withUnsafeMutableBytes(of: &digits) { digits in
            var (start, rest) = (digits.count, number)
            repeat {
                let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
                start -= 1
                digits[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: digit)
                rest = quotient
            } while rest > 0
            append(contentsOf: UnsafeRawBufferPointer(rebasing: digits[start...]))
        }
    }
}
