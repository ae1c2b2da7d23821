/// A URL of `http` or `https` (RFC 3986, RFC 9110 §4.2), without user and fragment.
package struct HTTPURL: Sendable, Hashable, CustomStringConvertible {
    package var isSecure: Bool
    /// A name or a numeric address, without brackets.
    package var host: String
    package var port: Int
    /// Path and query: visible ASCII that begins with a slash.
    package var target: String

    /// Reads a URL. Throws a sentence that says what is wrong.
    package init(_ text: String) throws(RoomServerError) {
        func wrong(_ reason: String) -> RoomServerError {
            RoomServerError(message: "The URL '\(text)' cannot be used: \(reason).")
        }
        guard text.utf8.count <= 2048, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw wrong("it has more than 2048 characters, or some that must be percent-encoded")
        }
        let lowered = text.lowercased()
        guard let scheme = ["http://", "https://"].first(where: lowered.hasPrefix) else {
            throw wrong("it does not begin with http:// or https://")
        }
        isSecure = scheme == "https://"
        let rest = text.dropFirst(scheme.count)
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let path = rest.dropFirst(authority.count)
        guard !path.contains("#") else { throw wrong("it has a fragment") }
        guard !authority.contains("@") else { throw wrong("it has a user; use a secret in a file") }
        target = path.hasPrefix("/") ? String(path) : "/" + path
        let digits: Substring?
        if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
            host = String(authority[authority.index(after: authority.startIndex)..<end])
            let behind = authority[authority.index(after: end)...]
            guard behind.isEmpty || behind.hasPrefix(":") else { throw wrong("something follows the address") }
            digits = behind.isEmpty ? nil : behind.dropFirst()
        } else {
            let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count <= 2 else { throw wrong("an IPv6 address needs brackets: http://[::1]:8080/") }
            host = String(parts.first ?? "")
            digits = parts.count == 2 ? parts[1] : nil
        }
        guard !host.isEmpty else { throw wrong("it names no host") }
        guard let digits else {
            port = isSecure ? 443 : 80
            return
        }
        guard let port = UInt16(digits), port > 0 else { throw wrong("its port is not a number from 1 to 65535") }
        self.port = Int(port)
    }

    /// The value of the field `Host`.
    package var authority: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port == (isSecure ? 443 : 80) ? name : "\(name):\(port)"
    }

    package var description: String { "\(isSecure ? "https" : "http")://\(authority)\(target)" }
}
