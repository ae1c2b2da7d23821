internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// Writes values of the machines as JSON, in the form that both languages share:
///
/// - a case with values: an object of its name (`type`) and its values, unlabelled ones as `value` (or `value0`,
///   `value1`); a case without: the same if other cases of the enum have values, otherwise its bare name
/// - a struct: an object of its stored properties; what is nil is left out
/// - times: seconds; identifiers and codes: their text; bytes: `{"$bytes": "base64"}`
/// - integers from 2⁵³ on: strings
/// - sets and the keys of dictionaries: sorted
struct VectorEncoder {
    private(set) var text = ""
    private var hasPayloads: [ObjectIdentifier: Bool] = [:]
    private var kinds: [ObjectIdentifier: Kind] = [:]

    /// The JSON of a value; nil is `null`.
    mutating func encode(_ value: Any) -> String {
        text = ""
        write(value)
        return text
    }

    private mutating func write(_ value: Any) {
        switch kind(of: type(of: value)) {
        case .json: if let json = value as? VectorJSON { text += json.text }
        case .boolean: if let value = value as? Bool { text += value ? "true" : "false" }
        case .string: if let value = value as? String { write(string: value) }
        case .timestamp: if let value = value as? Timestamp { write(nanoseconds: value.nanoseconds) }
        case .duration: if let value = value as? Duration { write(nanoseconds: value.saturatedNanoseconds) }
        case .int: if let value = value as? Int { write(integer: value) }
        case .number: if let value = value as? UInt64 { write(integer: value) }
        case .integer: if let value = value as? any BinaryInteger { write(integer: value) }
        case .double: if let value = value as? Double { text += "\(value)" }
        case .bytes: if let bytes = value as? [UInt8] { write(bytes: bytes) }
        case .byteText: if let value = value as? ByteText { write(string: value.text) }
        case .identifier:
            if let value = value as? ParticipantID { write(string: value.rawValue) }
            if let value = value as? SessionID { write(string: value.rawValue) }
            if let value = value as? PeerConnectionID { write(string: value.rawValue) }
            if let value = value as? RoomName { write(string: value.rawValue) }
        case .code:
            if let value = value as? TransportError.Code { write(string: value.description) }
            if let value = value as? RoomError.Code { write(string: value.description) }
        case .other: reflect(value)
        }
    }

    /// How values of a type are written. Found once for each type: casts are slow.
    private enum Kind {
        case json, boolean, string, timestamp, duration, int, number, integer, double, bytes, byteText, identifier, code
        case other

        init(_ type: Any.Type) {
            self =
                switch type {
                case is VectorJSON.Type: .json
                case is Bool.Type: .boolean
                case is String.Type: .string
                case is Timestamp.Type: .timestamp
                case is Duration.Type: .duration
                case is Int.Type: .int
                case is UInt64.Type: .number
                case is any BinaryInteger.Type: .integer
                case is Double.Type: .double
                case is [UInt8].Type: .bytes
                case is ByteText.Type: .byteText
                case is ParticipantID.Type, is SessionID.Type, is PeerConnectionID.Type, is RoomName.Type: .identifier
                case is TransportError.Code.Type, is RoomError.Code.Type: .code
                default: .other
                }
        }
    }

    private mutating func kind(of type: Any.Type) -> Kind {
        let key = ObjectIdentifier(type)
        if let known = kinds[key] { return known }
        let kind = Kind(type)
        kinds[key] = kind
        return kind
    }

    private mutating func reflect(_ value: Any) {
        let mirror = Mirror(reflecting: value)
        switch mirror.displayStyle {
        case .optional: if let wrapped = mirror.children.first?.value { write(wrapped) } else { text += "null" }
        case .collection: write(elements: mirror.children.map(\.value))
        case .set:
            // Sorted by what is written.
            var elements: [String] = []
            for child in mirror.children { elements.append(fragment(child.value)) }
            text += "[\(elements.sorted().joined(separator: ","))]"
        case .dictionary:
            var members: [(name: String, value: String)] = []
            for child in mirror.children {
                let pair = Mirror(reflecting: child.value).children.map(\.value)
                members.append(("\(pair[0])", fragment(pair[1])))
            }
            write(members: members.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) })
        case .enum: write(case: mirror, of: value)
        default:
            let children = mirror.children
            if children.count == 1, let only = children.first, only.label == "rawValue" { return write(only.value) }
            write(members: properties(children))
        }
    }

    private mutating func write(case mirror: Mirror, of value: Any) {
        guard let payload = mirror.children.first, let name = payload.label else {
            // Its description is a sentence.
            let name = (value as? EndReason).flatMap(Self.caseName) ?? "\(value)"
            guard hasPayloadCases(type(of: value)) else { return write(string: name) }
            return write(members: [("type", quoted(name))])
        }
        var members = [("type", quoted(name))]
        let values = Mirror(reflecting: payload.value)
        if values.displayStyle == .tuple {
            members += properties(values.children)
        } else if let value = optionalFragment(payload.value) {
            members.append(("value", value))
        }
        write(members: members)
    }

    private static func caseName(_ value: EndReason) -> String? { enumCaseName(value).map { String(cString: $0) } }

    /// The members of a struct or of a tuple; without those that are nil.
    private mutating func properties(_ children: Mirror.Children) -> [(String, String)] {
        func isUnlabelled(_ label: String?) -> Bool { label.map { $0.hasPrefix(".") } ?? true }
        let unlabelled = children.count { isUnlabelled($0.label) }
        var number = 0
        var members: [(String, String)] = []
        for child in children {
            var name = child.label ?? ""
            if isUnlabelled(child.label) {
                name = unlabelled == 1 ? "value" : "value\(number)"
                number += 1
            }
            if let value = optionalFragment(child.value) { members.append((name, value)) }
        }
        return members
    }

    // MARK: Text

    private mutating func fragment(_ value: Any) -> String {
        let outer = text
        defer { text = outer }
        return encode(value)
    }

    private mutating func optionalFragment(_ value: Any) -> String? {
        let fragment = fragment(value)
        return fragment == "null" ? nil : fragment
    }

    private mutating func write(elements: [Any]) {
        text += "["
        for (index, element) in elements.enumerated() {
            if index > 0 { text += "," }
            write(element)
        }
        text += "]"
    }

    private mutating func write(members: [(name: String, value: String)]) {
        text += "{"
        for (index, member) in members.enumerated() {
            if index > 0 { text += "," }
            write(string: member.name)
            text += ":\(member.value)"
        }
        text += "}"
    }

    private mutating func write(integer value: some BinaryInteger) {
        text += value.magnitude < 1 << 53 ? "\(value)" : "\"\(value)\""
    }

    private mutating func write(nanoseconds: Int64) {
        let magnitude = nanoseconds.magnitude
        var fraction = "\(magnitude % 1_000_000_000)"
        fraction = String(repeating: "0", count: 9 - fraction.count) + fraction
        while fraction.hasSuffix("0") { fraction.removeLast() }
        text += "\(nanoseconds < 0 ? "-" : "")\(magnitude / 1_000_000_000)\(fraction.isEmpty ? "" : ".\(fraction)")"
    }

    private mutating func write(bytes: [UInt8]) { text += "{\"$bytes\":\"\(Self.base64(bytes))\"}" }

    private static func base64(_ bytes: [UInt8]) -> String {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var result: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var bits: UInt32 = 0
            for byte in group { bits = bits << 8 | UInt32(byte) }
            bits <<= UInt32(3 - group.count) * 8
            for index in 0..<4 {
                result.append(
                    index <= group.count ? digits[Int(bits >> UInt32(18 - index * 6) & 63)] : UInt8(ascii: "="))
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private mutating func write(string: String) { text += quoted(string) }

    private func quoted(_ string: String) -> String {
        func isPlain(_ byte: UInt8) -> Bool {
            (0x20...0x7E).contains(byte) && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
        }
        if string.utf8.allSatisfy(isPlain) { return "\"\(string)\"" }
        var result = "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\u{20}"..."\u{7E}": result.unicodeScalars.append(scalar)
            default:
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            }
        }
        return result + "\""
    }

    /// Whether any case of the enum has values, from the type's descriptor (its sixth word counts them); a value
    /// without any does not tell.
    private mutating func hasPayloadCases(_ type: Any.Type) -> Bool {
        let key = ObjectIdentifier(type)
        if let known = hasPayloads[key] { return known }
        let metadata = unsafeBitCast(type, to: UnsafePointer<UnsafePointer<UInt32>>.self)
        let result = metadata[1][5] & 0xFF_FFFF != 0
        hasPayloads[key] = result
        return result
    }
}

/// JSON that is written as it is.
struct VectorJSON {
    var text: String
}

/// The name of an enum's case, which the runtime knows.
@_silgen_name("swift_EnumCaseName")
private func enumCaseName<Value>(_ value: Value) -> UnsafePointer<CChar>?
