internal import Glibc

/// The URL of a STUN or TURN server (RFC 7064 §3.1, RFC 7065 §3.1).
///
/// `?transport=udp` is also accepted for `stun:`, where it has no effect: public lists contain it, though RFC 7064 does
/// not.
public struct ICEServerURL: Sendable, Hashable {
    /// The kind of the server.
    public let scheme: Scheme
    /// The host: a name, or an IP address without brackets.
    public let host: String
    /// The port, 1 to 65,535; 3478, or 5349 with TLS, when the URL has none.
    public let port: UInt16
    /// The transport protocol of the server; always TCP with TLS.
    public let transport: Transport

    /// Parses a URL. Throws `.invalidArgument`, naming the URL.
    public init(_ text: String) throws(TransportError) {
        func unusable(_ reason: String) -> TransportError {
            TransportError(.invalidArgument, "the ICE server URL '\(Self.displayed(text))' cannot be used: \(reason)")
        }
        guard text.utf8.count <= 512, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw unusable("it has blanks, control or non-ASCII characters, or is too long")
        }
        guard let colon = text.firstIndex(of: ":"), let scheme = Scheme(rawValue: text[..<colon].lowercased()) else {
            throw unusable("it must begin with stun:, stuns:, turn: or turns:")
        }
        self.scheme = scheme
        var rest = text[text.index(after: colon)...]
        var transport: Transport?
        if let mark = rest.firstIndex(of: "?") {
            let query = rest[rest.index(after: mark)...].lowercased()
            rest = rest[..<mark]
            guard query.hasPrefix("transport="),
                let named = Transport(rawValue: String(query.dropFirst("transport=".count)))
            else { throw unusable("after '?' only transport=udp or transport=tcp may follow") }
            guard scheme != .stun || named == .udp, scheme != .stuns || named == .tcp else {
                throw unusable("\(scheme): is not supported over \(named.rawValue)")
            }
            transport = named
        }
        let isSecure = scheme == .stuns || scheme == .turns
        self.transport = transport ?? (isSecure ? .tcp : .udp)

        var portText: Substring?
        if rest.first == "[" {
            guard let end = rest.firstIndex(of: "]") else { throw unusable("a bracket is not closed") }
            host = String(rest[rest.index(after: rest.startIndex)..<end])
            let after = rest[rest.index(after: end)...]
            guard after.isEmpty || after.first == ":" else { throw unusable("its port is not a number") }
            if !after.isEmpty { portText = after.dropFirst() }
            guard Self.isIPv6(host) else { throw unusable("there is no IPv6 address in the brackets") }
        } else {
            let end = rest.firstIndex(of: ":") ?? rest.endIndex
            host = String(rest[..<end])
            if end < rest.endIndex { portText = rest[rest.index(after: end)...] }
            guard !host.isEmpty, host.utf8.count <= 253, host.utf8.allSatisfy(Self.isHostCharacter) else {
                throw unusable("its host is not a name or an address")
            }
        }
        if let portText {
            guard portText.utf8.count <= 5, portText.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
                let port = UInt16(portText), port > 0
            else { throw unusable("its port is not a number from 1 to 65535") }
            self.port = port
        } else {
            port = isSecure ? 5349 : 3478
        }
    }

    /// Parses a URL of `server`, which must have credentials if it is a TURN server. Throws `.invalidArgument`, naming
    /// the URL.
    public init(_ text: String, of server: ICEServer) throws(TransportError) {
        try self.init(text)
        guard scheme == .turn || scheme == .turns else { return }
        guard let username = server.username, let credential = server.credential, !username.isEmpty else {
            throw TransportError(
                .invalidArgument, "the ICE server '\(text)' cannot be used: it needs a username and a credential")
        }
        // C libraries take them as zero-terminated strings.
        guard username.utf8.count <= 512, credential.utf8.count <= 512, !username.utf8.contains(0),
            !credential.utf8.contains(0)
        else {
            throw TransportError(
                .invalidArgument,
                "the ICE server '\(text)' cannot be used: its username or credential has over 512 bytes or a zero byte"
            )
        }
    }

    /// The URL for messages, without the password of a `turn:user:password@host`, which is not a valid URL but is used
    /// in practice.
    private static func displayed(_ text: String) -> String {
        guard let at = text.lastIndex(of: "@"), let scheme = text.firstIndex(of: ":"), scheme < at,
            let colon = text[text.index(after: scheme)..<at].firstIndex(of: ":")
        else { return String(text.prefix(256)) }
        return text[...colon].prefix(128) + "…" + text[at...].prefix(128)
    }

    private static func isIPv6(_ text: String) -> Bool {
        var address = in6_addr()
        return inet_pton(AF_INET6, text, &address) == 1
    }

    private static func isHostCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
        default: false
        }
    }
}

extension ICEServerURL {
    /// The kind of a server, and whether it uses TLS.
    public enum Scheme: String, Sendable {
        /// STUN.
        case stun
        /// STUN over TLS.
        case stuns
        /// TURN.
        case turn
        /// TURN over TLS.
        case turns
    }

    /// The transport protocol of the messages.
    public enum Transport: String, Sendable {
        /// Datagrams.
        case udp
        /// A stream, with or without TLS.
        case tcp
    }
}
