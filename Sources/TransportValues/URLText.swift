internal import Glibc

/// The parts of a URL with an authority (RFC 3986 §3), as text.
struct URLText {
    var scheme: String
    /// The text `user:password`, not decoded. Nil: there is no `@`.
    var userinfo: Substring?
    /// The host as written: an IPv6 address with brackets.
    var host: Substring
    /// The port. Nil: there is none, or an empty one, which stands for the scheme's default.
    var port: UInt16?
    /// The text from the first `/`, `?` or `#` on.
    var rest: Substring

    /// The reason why a text is not such a URL.
    struct Malformed: Error {
        var reason: String
        init(_ reason: String) { self.reason = reason }
    }

    init(_ text: String) throws(Malformed) {
        guard text.utf8.count <= 2048 else { throw Malformed("it is longer than 2048 bytes") }
        guard text.utf8.allSatisfy({ $0 < 0x80 }) else {
            throw Malformed("it has a non-ASCII character; write an international name in its ASCII form (xn--…)")
        }
        guard text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else {
            throw Malformed("it has a control character")
        }
        guard !text.hasPrefix(" "), !text.hasSuffix(" ") else { throw Malformed("it begins or ends with a blank") }
        guard let mark = text.firstRange(of: "://") else { throw Malformed("it has no scheme") }
        scheme = text[..<mark.lowerBound].lowercased()
        let afterScheme = text[mark.upperBound...]
        let end = afterScheme.firstIndex { "/?#".contains($0) } ?? afterScheme.endIndex
        rest = afterScheme[end...]
        var authority = afterScheme[..<end]
        if let at = authority.lastIndex(of: "@") {
            userinfo = authority[..<at]
            authority = authority[authority.index(after: at)...]
        }
        let portText: Substring
        if authority.hasPrefix("[") {
            guard let close = authority.firstIndex(of: "]") else { throw Malformed("'[' is not closed") }
            host = authority[...close]
            portText = authority[authority.index(after: close)...]
        } else {
            let colon = authority.firstIndex(of: ":") ?? authority.endIndex
            host = authority[..<colon]
            portText = authority[colon...]
            if portText.dropFirst().contains(":") { throw Malformed("an IPv6 address must be in brackets") }
        }
        guard !host.isEmpty else { throw Malformed("the host is missing") }
        guard !portText.isEmpty, portText != ":" else { return }
        guard portText.hasPrefix(":"), portText.dropFirst().allSatisfy(\.isNumber),
            let number = UInt16(portText.dropFirst()), number > 0
        else { throw Malformed("the port is not a number from 1 to 65535") }
        port = number
    }

    /// Returns the host for the system: an IPv6 address without brackets, its zone after `%`.
    func plainHost() throws(Malformed) -> String {
        guard host.hasPrefix("[") else {
            if let fault = SignalingEndpoint.fault(inHostName: host.utf8) { throw Malformed("its host \(fault)") }
            return String(host)
        }
        let inner = host.dropFirst().dropLast()
        let address = inner.prefix { $0 != "%" }
        var binary = in6_addr()
        guard inet_pton(AF_INET6, String(address), &binary) == 1 else {
            throw Malformed("there is no IPv6 address in the brackets")
        }
        guard address.endIndex < inner.endIndex else { return String(address) }
        var zone = inner[inner.index(after: address.endIndex)...]
        // RFC 6874 §2: the zone's own % is written %25.
        if zone.hasPrefix("25"), zone.count > 2 { zone = zone.dropFirst(2) }
        guard let decoded = Self.decoded(zone), !decoded.isEmpty,
            decoded.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "%") })
        else { throw Malformed("the zone after % is not the name of an interface") }
        return "\(address)%\(decoded)"
    }

    /// Decodes percent-encoding. Nil: the text is malformed, or not UTF-8.
    static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = String(decoding: rest.prefix(2), as: UTF8.self)
            guard digits.utf8.count == 2, digits.allSatisfy(\.isHexDigit), let value = UInt8(digits, radix: 16) else {
                return nil
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

extension SignalingEndpoint {
    /// Returns the parts of a URL that may be logged: no query, no fragment, nothing before an `@`; at most 200
    /// characters. The text may be malformed.
    public static func redacted(_ text: String) -> String {
        var shown = text[...]
        var end = ""
        if let mark = shown.firstIndex(where: { $0 == "?" || $0 == "#" }) {
            end = "\(shown[mark])…"
            shown = shown[..<mark]
        }
        if let at = shown.lastIndex(of: "@") {
            let start = shown.firstRange(of: "://")?.upperBound ?? shown.startIndex
            shown = "\(shown[..<min(start, at)])…\(shown[at...])"[...]
        }
        return String(shown.prefix(200)) + end
    }

    static func parse(_ url: String) throws(TransportError) -> SignalingEndpoint {
        func invalid(_ reason: String) -> TransportError {
            TransportError(
                .invalidArgument,
                "'\(redacted(url))' is not a WebSocket URL: \(reason); write ws://host:port/ or wss://host:port/")
        }
        do throws(URLText.Malformed) {
            let parts = try URLText(url)
            switch parts.scheme {
            case "ws", "wss": break
            case "http": throw .init("its scheme is http; for WebSocket it must be ws")
            case "https": throw .init("its scheme is https; for WebSocket it must be wss")
            default: throw .init("its scheme is neither ws nor wss")
            }
            guard parts.userinfo == nil else {
                throw .init("it must not contain credentials: use a join token or a header")
            }
            guard !parts.rest.contains("#") else { throw .init("a fragment (#) is not allowed") }
            let isSecure = parts.scheme == "wss"
            let path = parts.rest.hasPrefix("/") ? String(parts.rest) : "/\(parts.rest)"
            let host = try parts.plainHost()
            if let fault = fault(inPath: path.utf8) { throw .init("its path \(fault)") }
            return SignalingEndpoint(
                isSecure: isSecure, host: host, port: parts.port ?? (isSecure ? 443 : 80), path: path)
        } catch { throw invalid(error.reason) }
    }
}
