/// The header fields of an HTTP/1.1 message, in their order.
public struct HTTPFields: Sendable, Hashable {
    /// A name in lower case with a value.
    private struct Field: Sendable, Hashable {
        var name: String
        var value: String
    }

    /// Fields of one message.
    public static let maximumCount = 100

    private var fields: [Field] = []

    /// Reads the lines behind the first one, without their ends. Returns nil when one of them is malformed (RFC 9112
    /// §5).
    init?(_ lines: some Sequence<ArraySlice<UInt8>>) {
        for line in lines {
            // No space before the colon, no folded lines.
            guard fields.count < Self.maximumCount, let colon = line.firstIndex(of: UInt8(ascii: ":")),
                HTTPToken.isValid(line[..<colon])
            else { return nil }
            let value = line[(colon + 1)...].trimmed
            guard value.allSatisfy({ $0 == 0x09 || $0 >= 0x20 && $0 != 0x7F }) else { return nil }
            fields.append(Field(name: line[..<colon].text.lowercased(), value: value.text))
        }
    }

    /// The number of fields.
    public var count: Int { fields.count }

    /// The values of all fields of this name (in lower case), without the blanks around them.
    ///
    /// They are ASCII: every other byte is a question mark (RFC 9110 §5.5 calls them opaque), so that no comparison has
    /// to normalise.
    public func values(_ name: String) -> [String] { fields.filter { $0.name == name }.map(\.value) }

    /// The value of the one field of this name (in lower case). Returns nil when there is none, or more than one.
    public func value(_ name: String) -> String? {
        let values = values(name)
        return values.count == 1 ? values[0] : nil
    }

    /// The members of a list, over all fields of this name in lower case (RFC 9110 §5.6.1).
    public func members(_ name: String) -> [String] {
        values(name).flatMap { value in
            Array(value.utf8).split(separator: UInt8(ascii: ",")).map(\.trimmed.text)
        }
    }
}

/// A name of HTTP (RFC 9110 §5.6.2).
public enum HTTPToken {
    /// Whether the bytes are one.
    public static func isValid(_ bytes: some Collection<UInt8>) -> Bool { !bytes.isEmpty && bytes.allSatisfy(isMember) }

    private static func isMember(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E...0x60, 0x7C, 0x7E: true
        default: false
        }
    }
}

extension ArraySlice<UInt8> {
    /// ASCII; every other byte is a question mark.
    var text: String { String(decoding: map { $0 < 0x80 ? $0 : UInt8(ascii: "?") }, as: UTF8.self) }

    /// Without the blanks around it.
    var trimmed: ArraySlice<UInt8> {
        let isBlank: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 }
        guard let first = firstIndex(where: { !isBlank($0) }), let last = lastIndex(where: { !isBlank($0) }) else {
            return self[endIndex...]
        }
        return self[first...last]
    }
}
