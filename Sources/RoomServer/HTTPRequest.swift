internal import Glibc

/// The head of an HTTP/1 request (RFC 9112), as far as this server needs one: it answers one request per connection, without a body.
struct HTTPRequest: Equatable {
    struct Header: Equatable {
        /// In lower case.
        var name: String
        /// ASCII: every other byte is a question mark (RFC 9110 §5.5 calls them opaque), so that no comparison has to normalise.
        var value: String
    }

    static let maximumHeadBytes = 16 << 10
    static let maximumHeaders = 100

    var method: String
    /// Without the query.
    var path: String
    var isHTTP11: Bool
    var headers: [Header]

    /// Reads a head without its final empty line; nil when it is malformed.
    init?(head: some Collection<UInt8>) {
        var lines = Self.lines(head).makeIterator()
        guard let first = lines.next() else { return nil }
        let parts = first.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard parts.count == 3, !parts[0].isEmpty, parts[0].allSatisfy(Self.isToken),
            parts[1].first == UInt8(ascii: "/"), parts[1].allSatisfy({ $0 > 0x20 && $0 < 0x7F }),
            parts[2].elementsEqual("HTTP/1.1".utf8) || parts[2].elementsEqual("HTTP/1.0".utf8)
        else { return nil }
        method = Self.text(parts[0])
        path = Self.text(parts[1].prefix { $0 != UInt8(ascii: "?") })
        isHTTP11 = parts[2].last == UInt8(ascii: "1")
        headers = []
        while let line = lines.next() {
            // RFC 9112 §5: no space before the colon, no folded lines.
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), headers.count < Self.maximumHeaders else {
                return nil
            }
            let name = line[..<colon]
            guard !name.isEmpty, name.allSatisfy(Self.isToken) else { return nil }
            let value = line[(colon + 1)...]
            guard value.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else { return nil }
            headers.append(Header(name: Self.text(name).lowercased(), value: Self.trimmed(Self.text(value)[...])))
        }
    }

    /// All values of a header, split at commas, in lower case.
    func tokens(of name: String) -> [String] {
        headers.filter { $0.name == name }.flatMap { $0.value.split(separator: ",") }
            .map { Self.trimmed($0).lowercased() }
    }

    func value(of name: String) -> String? {
        let values = headers.filter { $0.name == name }
        return values.count == 1 ? values[0].value : nil
    }

    private static func lines(_ head: some Collection<UInt8>) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var line: [UInt8] = []
        var previous: UInt8 = 0
        for byte in head {
            if byte == 0x0A, previous == 0x0D {
                line.removeLast()
                lines.append(line)
                line = []
            } else {
                line.append(byte)
            }
            previous = byte
        }
        if !line.isEmpty { lines.append(line) }
        return lines
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.map { $0 < 0x80 ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }

    private static func trimmed(_ text: Substring) -> String {
        let isBlank: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        var text = text.drop(while: isBlank)
        while let last = text.last, isBlank(last) { text.removeLast() }
        return String(text)
    }

    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}

/// What the server answers to a request.
struct HTTPResponse: Equatable {
    var status: String
    var headers: [(name: String, value: String)] = []
    var body = ""

    static func == (left: Self, right: Self) -> Bool { left.bytes == right.bytes }

    var isUpgrade: Bool { status.hasPrefix("101") }

    var bytes: [UInt8] {
        var text = "HTTP/1.1 \(status)\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        if !isUpgrade { text += "Content-Length: \(body.utf8.count)\r\nConnection: close\r\n" }
        return Array((text + "\r\n" + body).utf8)
    }

    /// With the time of the answer in it (RFC 9110 §6.6.1). `time`: seconds since 1970.
    func dated(_ time: Int) -> HTTPResponse {
        var response = self
        response.headers.append(("Date", Self.date(time)))
        return response
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7). `time`: seconds since 1970.
    static func date(_ time: Int) -> String {
        let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        func padded(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        var seconds = time_t(time)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        let clock = [parts.tm_hour, parts.tm_min, parts.tm_sec].map(padded).joined(separator: ":")
        let (weekday, month) = (weekdays[Int(parts.tm_wday)], months[Int(parts.tm_mon)])
        return "\(weekday), \(padded(parts.tm_mday)) \(month) \(parts.tm_year + 1900) \(clock) GMT"
    }
}
