/// Reads the fields of one JSON object, and reports which field is missing, wrong or over its limit.
///
/// `null` counts as absent. Fields that are not read are ignored.
package struct FieldReader {
    private let object: JSONObject
    /// Of the object that holds this one: the prefix of a field's name in errors.
    private let parent: String
    /// The name of this object in the other one, and its place in an array.
    private let field: String
    private let index: Int?

    package init(_ object: JSONObject) { self.init(object, parent: "", field: "") }

    private init(_ object: JSONObject, parent: String, field: String, index: Int? = nil) {
        self.object = object
        self.parent = parent
        self.field = field
        self.index = index
    }

    /// The prefix of a field's name in errors: `resume.`, `roster[3].`.
    private var path: String {
        if field.isEmpty { return parent }
        return parent + field + (index.map { "[\($0)]" } ?? "") + "."
    }

    package enum Characters {
        /// No control characters except tab, line feed and carriage return.
        case text
        /// No control characters.
        case line
        /// Printable ASCII without space.
        case token
        /// `A-Z a-z 0-9 - _`
        case identifier

        /// Returns whether all bytes of the text are allowed.
        func allow(_ text: String) -> Bool {
            text.utf8.withContiguousStorageIfAvailable { $0.allSatisfy(allow) } ?? text.utf8.allSatisfy(allow)
        }

        func allow(_ byte: UInt8) -> Bool {
            switch self {
            case .text: byte >= 0x20 && byte != 0x7F || byte == 0x09 || byte == 0x0A || byte == 0x0D
            case .line: byte >= 0x20 && byte != 0x7F
            case .token: byte > 0x20 && byte < 0x7F
            case .identifier:
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "_"): true
                default: false
                }
            }
        }
    }

    // MARK: Errors

    package func wrong(_ field: String, _ problem: StaticString) -> ProtocolError {
        .malformed("The field \(path)\(field) \(problem).")
    }

    package func tooMuch(_ field: String, _ limit: Int, _ unit: StaticString) -> ProtocolError {
        .limitExceeded("The field \(path)\(field) is over its limit of \(limit) \(unit).")
    }

    // MARK: Fields

    private func value(_ field: String) -> JSONValue? {
        switch object[field] {
        case nil, .null: nil
        case .some(let value): value
        }
    }

    private func required<Value>(_ field: String, _ value: Value?) throws(ProtocolError) -> Value {
        guard let value else { throw wrong(field, "is missing") }
        return value
    }

    private func check(
        _ text: String, _ field: String, _ limit: Int, _ characters: Characters, _ minimum: Int
    ) throws(ProtocolError) {
        guard text.utf8.count <= limit else { throw tooMuch(field, limit, "bytes") }
        guard text.utf8.count >= minimum else { throw wrong(field, "is empty") }
        guard characters.allow(text) else { throw wrong(field, "has characters that it must not have") }
    }

    package func optionalString(
        _ field: String, limit: Int, _ characters: Characters = .text, minimum: Int = 0
    ) throws(ProtocolError) -> String? {
        guard let text = try text(field) else { return nil }
        try check(text, field, limit, characters, minimum)
        return text
    }

    package func string(
        _ field: String, limit: Int, _ characters: Characters = .text, minimum: Int = 0
    ) throws(ProtocolError) -> String {
        try required(field, optionalString(field, limit: limit, characters, minimum: minimum))
    }

    /// Reads text for people: control characters except tab, line feed and carriage return become U+FFFD, which counts
    /// for the limit.
    package func freeText(_ field: String, limit: Int) throws(ProtocolError) -> String? {
        guard let text = try text(field) else { return nil }
        let shown = Self.withoutControls(text)
        guard shown.utf8.count <= limit else { throw tooMuch(field, limit, "bytes") }
        return shown
    }

    private static func withoutControls(_ text: String) -> String {
        guard !Characters.text.allow(text) else { return text }
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            if Characters.text.allow(byte) { bytes.append(byte) } else { bytes += [0xEF, 0xBF, 0xBD] }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Reads a name of a room or participant. Throws `invalid_name`, naming the character.
    package func name(_ field: String, limit: Int) throws(ProtocolError) -> String {
        let text = try required(field, text(field))
        guard text.utf8.count <= limit else { throw tooMuch(field, limit, "bytes") }
        guard !text.isEmpty else { throw wrong(field, "is empty") }
        if let scalar = text.unicodeScalars.first(where: \.isForbiddenInNames) {
            throw .invalidName("\(path)\(field)", scalar)
        }
        return text
    }

    private func text(_ field: String) throws(ProtocolError) -> String? {
        guard let value = value(field) else { return nil }
        guard case .string(let text) = value else { throw wrong(field, "is not a string") }
        return text
    }

    package func identifier(_ field: String) throws(ProtocolError) -> String {
        try string(field, limit: Limits.identifier, .identifier, minimum: 1)
    }

    package func optionalInteger(_ field: String, limit: UInt64 = .max) throws(ProtocolError) -> UInt64? {
        guard let value = value(field) else { return nil }
        let integer: UInt64
        switch value {
        case .integer(let exact): integer = exact
        // `1.0` and `1e3`, in the range in which every whole number has one floating-point form.
        case .real(let real) where real >= 0 && real < 0x1p53 && real.rounded() == real: integer = UInt64(real)
        default: throw wrong(field, "is not a whole number that is not negative")
        }
        guard integer <= limit else { throw tooMuch(field, Int(clamping: limit), "as a number") }
        return integer
    }

    package func integer(_ field: String, limit: UInt64 = .max) throws(ProtocolError) -> UInt64 {
        try required(field, optionalInteger(field, limit: limit))
    }

    package func boolean(_ field: String, default: Bool? = nil) throws(ProtocolError) -> Bool {
        guard let value = value(field) else { return try required(field, `default`) }
        guard case .bool(let boolean) = value else { throw wrong(field, "is neither true nor false") }
        return boolean
    }

    private func optionalNumber(_ field: String) throws(ProtocolError) -> Double? {
        switch value(field) {
        case nil: return nil
        case .integer(let integer): return Double(integer)
        case .real(let real): return real
        default: throw wrong(field, "is not a number")
        }
    }

    /// Reads seconds since 1970, which may have a fraction (RFC 7519 §2: NumericDate).
    package func optionalDate(_ field: String) throws(ProtocolError) -> Double? {
        guard let seconds = try optionalNumber(field) else { return nil }
        guard seconds >= 0, seconds <= 0x1p53 else { throw wrong(field, "is not a time, in seconds since 1970") }
        return seconds
    }

    package func optionalDuration(_ field: String) throws(ProtocolError) -> Duration? {
        guard let seconds = try optionalNumber(field) else { return nil }
        // Compared before the conversion, which would trap for an infinite or huge number.
        guard seconds >= 0 else { throw wrong(field, "is negative") }
        guard seconds <= Limits.duration.wholeSeconds else {
            throw tooMuch(field, Int(Limits.duration.wholeSeconds), "seconds")
        }
        return .microseconds(Int64((seconds * 1e6).rounded()))
    }

    package func duration(_ field: String) throws(ProtocolError) -> Duration {
        try required(field, optionalDuration(field))
    }

    package func optionalObject(_ field: String) throws(ProtocolError) -> FieldReader? {
        guard let value = value(field) else { return nil }
        guard case .object(let members) = value else { throw wrong(field, "is not an object") }
        return FieldReader(members, parent: path, field: field)
    }

    package func object(_ field: String) throws(ProtocolError) -> FieldReader {
        try required(field, optionalObject(field))
    }

    private func elements(_ field: String, limit: Int) throws(ProtocolError) -> [JSONValue]? {
        guard let value = value(field) else { return nil }
        guard case .array(let elements) = value else { throw wrong(field, "is not an array") }
        guard elements.count <= limit else { throw tooMuch(field, limit, "entries") }
        return elements
    }

    /// Reads an array of strings. An absent one is empty.
    package func strings(
        _ field: String, count: Int, limit: Int, _ characters: Characters, minimum: Int = 1
    ) throws(ProtocolError) -> [String] {
        var result: [String] = []
        for (index, element) in (try elements(field, limit: count) ?? []).enumerated() {
            guard case .string(let text) = element else { throw wrong("\(field)[\(index)]", "is not a string") }
            try check(text, "\(field)[\(index)]", limit, characters, minimum)
            result.append(text)
        }
        return result
    }

    package func objects(_ field: String, count: Int) throws(ProtocolError) -> [FieldReader] {
        var result: [FieldReader] = []
        for (index, element) in (try required(field, elements(field, limit: count))).enumerated() {
            guard case .object(let members) = element else { throw wrong("\(field)[\(index)]", "is not an object") }
            result.append(FieldReader(members, parent: path, field: field, index: index))
        }
        return result
    }

    /// Reads metadata. Absent metadata are empty. Keys are lines of at least 1 byte.
    package func metadata(_ field: String = "metadata") throws(ProtocolError) -> [String: String] {
        guard let reader = try optionalObject(field) else { return [:] }
        guard reader.object.count <= Limits.metadataEntries else {
            throw tooMuch(field, Limits.metadataEntries, "entries")
        }
        var result: [String: String] = [:]
        var total = 0
        for (name, value) in reader.object.members {
            guard case .string(let raw) = value else { throw wrong(field, "has a value that is not a string") }
            let (key, text) = (name, Self.withoutControls(raw))
            guard key.utf8.count <= Limits.metadataKey else {
                throw tooMuch(field, Limits.metadataKey, "bytes for a key")
            }
            guard !key.isEmpty, Characters.line.allow(key) else {
                throw wrong(field, "has a key that is empty or has control characters")
            }
            guard text.utf8.count <= Limits.metadataValue else {
                throw tooMuch(field, Limits.metadataValue, "bytes for a value")
            }
            total += key.utf8.count + text.utf8.count
            // Different bytes, but the same key for `String`, and for people.
            guard result.updateValue(text, forKey: key) == nil else {
                throw wrong(field, "has two keys that are canonically equivalent")
            }
        }
        guard total <= Limits.metadataBytes else { throw tooMuch(field, Limits.metadataBytes, "bytes in all") }
        return result
    }

    package func capabilities() throws(ProtocolError) -> [String] {
        try strings("capabilities", count: Limits.capabilities, limit: Limits.capability, .token)
    }

    package func hasField(_ field: String) -> Bool { value(field) != nil }
}

extension Duration {
    fileprivate var wholeSeconds: Double { Double(components.seconds) }
}
