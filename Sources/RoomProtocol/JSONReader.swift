/// A JSON value (RFC 8259). Numbers that are whole, not negative and written without fraction or exponent are kept
/// exactly.
package enum JSONValue: Equatable {
    case null
    case bool(Bool)
    case integer(UInt64)
    /// Any other number. It may be infinite, when the text was out of range.
    case real(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)
}

/// The members of a JSON object, in the order in which they came. Names are the same when their bytes are.
package struct JSONObject: Equatable {
    package private(set) var members: [(name: String, value: JSONValue)] = []
    /// The names, once there are so many that a look at each would cost more.
    private var names: Set<ByteText>?
    private static let fewNames = 16

    package var count: Int { members.count }

    package subscript(name: String) -> JSONValue? {
        for index in members.indices where members[index].name.hasSameBytes(as: name) { return members[index].value }
        return nil
    }

    /// Adds a member; false when there is one of that name.
    mutating func insert(_ name: String, _ value: JSONValue) -> Bool {
        if members.count < Self.fewNames {
            for index in members.indices where members[index].name.hasSameBytes(as: name) { return false }
        } else {
            if names == nil { names = Set(members.map { ByteText($0.name) }) }
            guard names?.insert(ByteText(name)).inserted == true else { return false }
        }
        members.append((name, value))
        return true
    }

    package static func == (left: Self, right: Self) -> Bool {
        left.count == right.count && left.members.allSatisfy { right[$0.name] == $0.value }
    }
}

/// The reason why a text is not accepted as JSON. Never quotes the text, which may contain secrets.
package struct JSONError: Error, Equatable {
    package var reason: StaticString
    /// The offset in bytes from the beginning of the text.
    package var offset: Int

    package static func == (left: Self, right: Self) -> Bool {
        left.offset == right.offset && left.reason.description == right.reason.description
    }
}

/// A reader of one JSON text: valid UTF-8 only, nothing after the value, and limits on depth, number of values and
/// length of numbers. The time is linear in the bytes.
///
/// A byte order mark is ignored (RFC 8259 §8.1). Half a surrogate pair, which `JSON.stringify` writes as an escape, is
/// read as U+FFFD. Duplicate names are refused (RFC 8259 §4 leaves it open), so that no two readers see different
/// messages.
package struct JSONReader {
    private let bytes: UnsafeRawBufferPointer
    private let nameLimit: Int
    private var index = 0
    private var flaw: Flaw?
    private var depth = 0
    private var values = 0

    /// A defect of a text that is JSON: it can be read to its end, but must have no effect.
    package enum Flaw: Equatable {
        case duplicateName(JSONError)
        case longName
    }

    private init(_ bytes: UnsafeRawBufferPointer, nameLimit: Int) {
        self.bytes = bytes
        self.nameLimit = nameLimit
    }

    /// Reads a text without a flaw.
    package static func read(_ bytes: UnsafeRawBufferPointer) throws(JSONError) -> JSONValue {
        let (value, flaw) = try read(bytes, nameLimit: .max)
        if case .duplicateName(let error)? = flaw { throw error }
        return value
    }

    /// Reads a text, and reports its first flaw. Of a name that occurs twice, the first value is kept. Members whose
    /// names are longer than `nameLimit` bytes are left out.
    package static func read(
        _ bytes: UnsafeRawBufferPointer, nameLimit: Int
    ) throws(JSONError) -> (JSONValue, Flaw?) {
        var reader = JSONReader(bytes, nameLimit: nameLimit)
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { reader.index = 3 }
        reader.skipWhitespace()
        let value = try reader.value()
        reader.skipWhitespace()
        guard reader.index == bytes.count else { throw reader.error("something follows the value") }
        return (value, reader.flaw)
    }

    private func error(_ reason: StaticString) -> JSONError { JSONError(reason: reason, offset: index) }

    /// The byte at the index; nil at the end. Every access uses it: the buffer itself checks nothing in release builds.
    private var current: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func skipWhitespace() {
        while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { index += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard current == byte else { return false }
        index += 1
        return true
    }

    private mutating func value() throws(JSONError) -> JSONValue {
        values += 1
        guard values <= Limits.jsonValues else { throw error("too many values") }
        switch current {
        case UInt8(ascii: "{"): return .object(try object())
        case UInt8(ascii: "["): return .array(try array())
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "-"), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return try number()
        case nil: throw error("the text ends early")
        default: throw error("a value was expected")
        }
    }

    private mutating func literal(_ text: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
        for offset in 0..<text.utf8CodeUnitCount {
            guard take(text.utf8Start[offset]) else { throw error("a value was expected") }
        }
        return value
    }

    private mutating func enter() throws(JSONError) {
        index += 1
        depth += 1
        guard depth <= Limits.jsonDepth else { throw error("nested too deeply") }
        skipWhitespace()
    }

    private mutating func object() throws(JSONError) -> JSONObject {
        try enter()
        defer { depth -= 1 }
        var members = JSONObject()
        if take(UInt8(ascii: "}")) { return members }
        while true {
            guard current == UInt8(ascii: "\"") else { throw error("a name was expected") }
            let name = try string()
            skipWhitespace()
            guard take(UInt8(ascii: ":")) else { throw error("a colon was expected") }
            skipWhitespace()
            let value = try value()
            if name.utf8.count > nameLimit {
                flaw = flaw ?? .longName
            } else if !members.insert(name, value) {
                flaw = flaw ?? .duplicateName(error("a name occurs twice"))
            }
            skipWhitespace()
            if take(UInt8(ascii: "}")) { return members }
            guard take(UInt8(ascii: ",")) else { throw error("a comma or brace was expected") }
            skipWhitespace()
        }
    }

    private mutating func array() throws(JSONError) -> [JSONValue] {
        try enter()
        defer { depth -= 1 }
        var elements: [JSONValue] = []
        if take(UInt8(ascii: "]")) { return elements }
        while true {
            elements.append(try value())
            skipWhitespace()
            if take(UInt8(ascii: "]")) { return elements }
            guard take(UInt8(ascii: ",")) else { throw error("a comma or bracket was expected") }
            skipWhitespace()
        }
    }

    private mutating func string() throws(JSONError) -> String {
        index += 1
        let start = index
        skipPlain()
        guard current != UInt8(ascii: "\"") else {
            defer { index += 1 }
            return try text(UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
        }
        // Escapes only ever make a string shorter.
        var unescaped = [UInt8](UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
        while let byte = current {
            switch byte {
            case UInt8(ascii: "\""):
                index += 1
                return try unescaped.span.bytes.withUnsafeBytes { bytes throws(JSONError) in try text(bytes) }
            case UInt8(ascii: "\\"):
                index += 1
                try escape(into: &unescaped)
            case 0..<0x20: throw error("a control character in a string")
            default:
                let first = index
                skipPlain()
                unescaped.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[first..<index]))
            }
        }
        throw error("the text ends early")
    }

    /// Skips to the next special byte inside a string, or to the end.
    private mutating func skipPlain() { index = PlainText.end(bytes, from: index) }

    private func text(_ bytes: UnsafeRawBufferPointer) throws(JSONError) -> String {
        // The general way is a generic one, and slow.
        if bytes.allSatisfy({ $0 < 0x80 }) { return String(decoding: bytes, as: UTF8.self) }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw error("a string is not valid UTF-8") }
        return text
    }

    private mutating func escape(into bytes: inout [UInt8]) throws(JSONError) {
        guard let byte = current else { throw error("the text ends early") }
        index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(byte)
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "f"): bytes.append(0x0C)
        case UInt8(ascii: "n"): bytes.append(0x0A)
        case UInt8(ascii: "r"): bytes.append(0x0D)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "u"):
            var code = UInt32(try hexadecimal())
            if code >= 0xD800 && code < 0xDC00 {
                let next = index
                if take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) {
                    let low = UInt32(try hexadecimal())
                    if low >= 0xDC00 && low < 0xE000 {
                        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                    }
                }
                // Without its other half: the following text is separate.
                if code < 0x10000 { index = next }
            }
            // There is no scalar for half of a surrogate pair.
            bytes.append(contentsOf: Unicode.Scalar(code).flatMap(UTF8.encode) ?? UTF8.encodedReplacementCharacter)
        default: throw error("an unknown escape")
        }
    }

    private mutating func hexadecimal() throws(JSONError) -> UInt16 {
        var code: UInt16 = 0
        for _ in 0..<4 {
            let digit: UInt8
            switch current {
            case .some(let byte) where byte >= 0x30 && byte <= 0x39: digit = byte - 0x30
            case .some(let byte) where byte >= 0x41 && byte <= 0x46: digit = byte - 0x41 + 10
            case .some(let byte) where byte >= 0x61 && byte <= 0x66: digit = byte - 0x61 + 10
            default: throw error("four hexadecimal digits were expected")
            }
            code = code << 4 | UInt16(digit)
            index += 1
        }
        return code
    }

    private mutating func number() throws(JSONError) -> JSONValue {
        let start = index
        let isNegative = take(UInt8(ascii: "-"))
        var isWhole = true
        let first = index
        let integerDigits = digits()
        guard integerDigits == 1 || (integerDigits > 1 && bytes[first] != UInt8(ascii: "0")) else {
            throw error("a number is not written as JSON asks")
        }
        if take(UInt8(ascii: ".")) {
            isWhole = false
            guard digits() > 0 else { throw error("digits were expected") }
        }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            isWhole = false
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            guard digits() > 0 else { throw error("digits were expected") }
        }
        guard index - start <= Limits.numberLength else { throw error("a number is too long") }
        if isWhole, !isNegative, let integer = integer(first..<index) { return .integer(integer) }
        return .real(Double(String(decoding: bytes[start..<index], as: UTF8.self)) ?? .infinity)
    }

    /// The value of digits; nil above the largest number.
    private func integer(_ digits: Range<Int>) -> UInt64? {
        var value: UInt64 = 0
        for index in digits {
            let (tenfold, isTooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflows) = tenfold.addingReportingOverflow(UInt64(bytes[index] - UInt8(ascii: "0")))
            guard !isTooLarge, !overflows else { return nil }
            value = sum
        }
        return value
    }

    private mutating func digits() -> Int {
        let start = index
        while let byte = current, byte >= 0x30 && byte <= 0x39 { index += 1 }
        return index - start
    }
}
