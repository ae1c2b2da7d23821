internal import Glibc

/// The URL of a STUN or TURN server (RFC 7064 §3.1, RFC 7065 §3.1).
public struct ICEServerURL: Sendable, Hashable {
    /// What kind of server it is, and whether TLS is spoken.
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
    /// What carries the messages.
    public enum Transport: String, Sendable {
        /// Datagrams.
        case udp
        /// A stream, with TLS or without.
        case tcp
    }

    /// What kind of server it is.
    public let scheme: Scheme
    /// A name or an IP address, without brackets.
    public let host: String
    /// 1 to 65,535; 3478, or 5349 with TLS, when the URL has none.
    public let port: UInt16
    /// How the server is reached; with TLS always over TCP.
    public let transport: Transport

    /// Throws `.invalidArgument`, which names the URL.
    public init(_ text: String) throws(TransportError) {
        func unusable(_ why: String) -> TransportError {
            TransportError(.invalidArgument, "the ICE server URL '\(text.prefix(256))' cannot be used: \(why)")
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
            guard scheme == .turn || scheme == .turns, query.hasPrefix("transport="),
                let named = Transport(rawValue: String(query.dropFirst("transport=".count)))
            else { throw unusable("after '?' only transport=udp or transport=tcp may follow, on turn: and turns:") }
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
            guard Self.isIPv6(host) else { throw unusable("in brackets there is no IPv6 address") }
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
