/// The head of an HTTP/1 response (RFC 9112 §4).
public struct ResponseHead: HTTPHead, Hashable {
    /// Yes: nothing stands behind a client that could read it otherwise.
    public static let allowsBareLineFeeds = true

    /// 100 to 999.
    public let status: Int
    /// The header fields.
    public let fields: HTTPFields

    /// Whether another response follows this one (RFC 9110 §15.2). One that switches protocols is final.
    public var isInterim: Bool { status < 200 && status != 101 }

    /// Whether the bytes are the beginning of a status line, as far as they go.
    public static func mayBegin(_ bytes: [UInt8]) -> Bool { zip(bytes, "HTTP/1.".utf8).allSatisfy(==) }

    /// Reads a head without the empty line at its end. Returns nil when it is malformed.
    public init?(_ bytes: some Collection<UInt8>) {
        let lines = Array(bytes).split(separator: 0x0A, omittingEmptySubsequences: false)
            .map { $0.last == 0x0D ? $0.dropLast() : $0 }
        guard let first = lines.first, let status = Self.status(first),
            let fields = HTTPFields(lines.dropFirst().filter { !$0.isEmpty })
        else { return nil }
        self.status = status
        self.fields = fields
    }

    private static func status(_ line: ArraySlice<UInt8>) -> Int? {
        // HTTP/1.1 101 Switching Protocols
        let line = Array(line)
        guard line.count >= 12, mayBegin(line), line[7] == UInt8(ascii: "1") || line[7] == UInt8(ascii: "0"),
            line[8] == UInt8(ascii: " "), line.count == 12 || line[12] == UInt8(ascii: " ")
        else { return nil }
        var status = 0
        for digit in line[9..<12] {
            guard (0x30...0x39).contains(digit) else { return nil }
            status = status * 10 + Int(digit - 0x30)
        }
        return status >= 100 ? status : nil
    }
}
