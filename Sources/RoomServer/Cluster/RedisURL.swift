/// The place of a Redis or Valkey server, and the credentials for it.
///
/// - `redis://user:password@host:6379/0`, `rediss://…` with TLS
/// - `redis+sentinel://user:password@host:26379,host:26379/NAME` or `rediss+sentinel://…`: the master called NAME
/// - `redis+unix://user:password@/path/to/socket`
///
/// User and password may be percent-encoded. A password without a user (`redis://:password@host`) is the default
/// user's.
struct RedisURL: Sendable, Hashable {
    struct Host: Sendable, Hashable, CustomStringConvertible {
        var name: String
        var port: Int
        var description: String { name.contains(":") ? "[\(name)]:\(port)" : "\(name):\(port)" }
    }

    enum Place: Sendable, Hashable {
        case server(Host)
        case socket(path: String)
        /// The master that these Sentinels know by this name.
        case sentinels([Host], master: String)
    }

    var place: Place
    var user: String?
    var password: String?
    var database = 0
    var isSecure = false

    /// Reads a URL. The error says what is wrong with it, and does not contain it.
    init(_ text: String) throws(RoomServerError) {
        func wrong(_ reason: String) -> RoomServerError {
            RoomServerError(
                message: "The URL of Redis \(reason). It has the form redis://user:password@host:6379/0, rediss://… "
                    + "with TLS, or redis+sentinel://host:26379,host:26379/NAME.")
        }
        guard let (scheme, rest) = Self.split(text, at: "://") else { throw wrong("has no scheme") }
        let parts = rest.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        var authority = parts[0]
        let path = parts.count > 1 ? parts[1] : ""
        if let at = authority.lastIndex(of: "@") {
            let userinfo = authority[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            authority = String(authority[authority.index(after: at)...])
            guard let user = Self.decoded(userinfo[0]), let password = Self.decoded(userinfo.last ?? "") else {
                throw wrong("has a user or password that is not percent-encoded correctly")
            }
            guard userinfo.count == 2, !password.isEmpty else { throw wrong("has a user without a password") }
            self.user = user.isEmpty ? nil : user
            self.password = password
        }
        switch scheme {
        case "redis", "rediss":
            guard let host = Self.host(authority, port: 6379) else { throw wrong("has no valid host and port") }
            place = .server(host)
            isSecure = scheme == "rediss"
            if !path.isEmpty {
                guard let number = Int(path), 0...65_535 ~= number else {
                    throw wrong("has a path that is no number of a database")
                }
                database = number
            }
        case "redis+sentinel", "rediss+sentinel":
            let names = authority.split(separator: ",", omittingEmptySubsequences: false)
            let hosts = names.compactMap { Self.host(String($0), port: 26_379) }
            guard hosts.count == names.count, hosts.count <= 16 else {
                throw wrong("has no valid list of Sentinels: 1 to 16 hosts with their ports")
            }
            guard let name = Self.decoded(path[...]), !name.isEmpty, !name.contains("/") else {
                throw wrong("has no name of a master after the Sentinels")
            }
            place = .sentinels(hosts, master: name)
            isSecure = scheme == "rediss+sentinel"
        case "redis+unix":
            guard authority.isEmpty, !path.isEmpty else { throw wrong("has no path of a socket") }
            place = .socket(path: "/" + path)
        default: throw wrong("has an unknown scheme")
        }
    }

    private static func split(_ text: String, at separator: String) -> (String, String)? {
        let bytes = Array(text.utf8)
        let mark = Array(separator.utf8)
        guard let start = bytes.indices.first(where: { bytes[$0...].starts(with: mark) }) else { return nil }
        return (
            String(decoding: bytes[..<start], as: UTF8.self),
            String(decoding: bytes[(start + mark.count)...], as: UTF8.self)
        )
    }

    /// Reads `host`, `host:port`, `[address]` or `[address]:port`.
    private static func host(_ text: String, port standard: Int) -> Host? {
        var name = text[...]
        var port = standard
        let end = name.lastIndex(of: "]") ?? name.startIndex
        if let colon = name[end...].lastIndex(of: ":") {
            guard let number = Int(name[name.index(after: colon)...]), 1...65_535 ~= number else { return nil }
            port = number
            name = name[..<colon]
        }
        if name.hasPrefix("[") {
            guard name.hasSuffix("]") else { return nil }
            name = name.dropFirst().dropLast()
        } else if name.contains(":") {
            return nil
        }
        guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        return Host(name: String(name), port: port)
    }

    /// Decodes `%41`. Nil when a percent sign begins nothing of the kind.
    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2, digits.first != UInt8(ascii: "+"), digits.first != UInt8(ascii: "-"),
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
