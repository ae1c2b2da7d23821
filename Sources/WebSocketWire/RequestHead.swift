/// The head of an HTTP/1 request (RFC 9112 §3).
public struct RequestHead: HTTPHead, Hashable {
    /// A line that ends with LF alone is malformed: what stands in between could have read it otherwise.
    public static let allowsBareLineFeeds = false

    /// The method, a token.
    public let method: String
    /// Path and query: visible ASCII that begins with a slash.
    public let target: String
    /// False: HTTP/1.0.
    public let isHTTP11: Bool
    /// The header fields.
    public let fields: HTTPFields

    /// The target without its query.
    public var path: String { String(target.prefix { $0 != "?" }) }

    /// Always: it is seen at the end of the first line.
    public static func mayBegin(_ bytes: [UInt8]) -> Bool { true }

    /// Reads a head without the empty line at its end. Returns nil when it is malformed.
    public init?(_ bytes: some Collection<UInt8>) {
        var lines = Array(bytes).split(separator: 0x0A, omittingEmptySubsequences: false)
        // The last line has no end, unless nothing follows it.
        guard let last = lines.popLast() else { return nil }
        for index in lines.indices {
            guard lines[index].popLast() == 0x0D else { return nil }
        }
        if !last.isEmpty { lines.append(last) }
        guard let first = lines.first, let fields = HTTPFields(lines.dropFirst()) else { return nil }
        let parts = first.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard parts.count == 3, HTTPToken.isValid(parts[0]), parts[1].first == UInt8(ascii: "/"),
            parts[1].allSatisfy({ $0 > 0x20 && $0 < 0x7F }),
            parts[2].elementsEqual("HTTP/1.1".utf8) || parts[2].elementsEqual("HTTP/1.0".utf8)
        else { return nil }
        method = parts[0].text
        target = parts[1].text
        isHTTP11 = parts[2].last == UInt8(ascii: "1")
        self.fields = fields
    }
}
