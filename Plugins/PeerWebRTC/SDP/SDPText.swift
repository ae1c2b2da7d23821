internal import TransportPluginAPI

/// A session description, split into its lines (RFC 8866), independent of WebRTC.
///
/// Never traps; text beyond the limits is refused.
struct SDPText: Equatable {
    /// `a=name:value` or `a=name`.
    struct Attribute: Equatable {
        var name: String
        var value: String
    }

    /// An `m=` line with what follows it.
    struct Media: Equatable {
        var kind: String
        var port: Int
        var `protocol`: String
        var formats: [String]
        var attributes: [Attribute] = []
    }

    static let maximumLength = 65_536
    static let maximumLineLength = 4096
    static let maximumMedia = 64
    static let maximumAttributes = 2048

    var attributes: [Attribute] = []
    var media: [Media] = []

    /// Throws `.protocolViolation`.
    init(parsing text: String) throws(TransportError) {
        let bytes = text.utf8
        guard bytes.count <= Self.maximumLength else { throw Self.malformed("longer than \(Self.maximumLength) bytes") }
        var count = 0
        var isFirst = true
        for line in bytes.split(omittingEmptySubsequences: true, whereSeparator: { $0 == 10 || $0 == 13 }) {
            guard line.count <= Self.maximumLineLength else { throw Self.malformed("a line is too long") }
            guard let type = line.first, line.dropFirst().first == UInt8(ascii: "=") else {
                throw Self.malformed("a line without '='")
            }
            // All lines that matter are ASCII. Other text is a comment, and is not split into characters, which would
            // take a time that grows with the square of its combining marks.
            guard line.allSatisfy({ $0 < 0x80 }) else {
                guard !isFirst, type != UInt8(ascii: "m") else { throw Self.malformed("a line is not plain text") }
                continue
            }
            let value = Substring(line.dropFirst(2))
            if isFirst {
                guard type == UInt8(ascii: "v"), value == "0" else {
                    throw Self.malformed("it does not begin with v=0")
                }
                isFirst = false
            }
            switch type {
            case UInt8(ascii: "m"):
                guard media.count < Self.maximumMedia else { throw Self.malformed("too many media sections") }
                media.append(try Self.media(value))
            case UInt8(ascii: "a"):
                count += 1
                guard count <= Self.maximumAttributes else { throw Self.malformed("too many attributes") }
                let parts = value.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                // Blanks around a value have no meaning, but should not be there.
                let attribute = Attribute(name: String(parts[0]), value: parts.count > 1 ? trimmed(parts[1]) : "")
                if media.isEmpty {
                    attributes.append(attribute)
                } else {
                    media[media.count - 1].attributes.append(attribute)
                }
            default: break
            }
        }
        guard !isFirst else { throw Self.malformed("it is empty") }
    }

    /// `m=<media> <port>[/<count>] <proto> <fmt> …` (RFC 8866 §5.14)
    private static func media(_ value: Substring) throws(TransportError) -> Media {
        let words = value.split(separator: " ")
        guard words.count >= 4, let portText = words[1].split(separator: "/").first, let port = Int(portText),
            (0...65_535).contains(port)
        else { throw malformed("an unusable m= line") }
        return Media(
            kind: String(words[0]), port: port, protocol: String(words[2]),
            formats: words.dropFirst(3).map { String($0) })
    }

    static func malformed(_ reason: String) -> TransportError {
        TransportError(.protocolViolation, "the session description cannot be used: \(reason)")
    }
}

private func trimmed(_ text: Substring) -> String {
    var bytes = text.utf8[...]
    while bytes.first == 0x20 || bytes.first == 0x09 { bytes.removeFirst() }
    while bytes.last == 0x20 || bytes.last == 0x09 { bytes.removeLast() }
    return String(Substring(bytes))
}

extension [SDPText.Attribute] {
    /// The value of the first attribute of that name.
    subscript(name: String) -> String? { first { $0.name == name }?.value }

    func values(_ name: String) -> [String] { filter { $0.name == name }.map(\.value) }

    func has(_ name: String) -> Bool { contains { $0.name == name } }
}
