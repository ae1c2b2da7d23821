/// The address of a server, and the conditions of a connection to it.
public struct SignalingEndpoint: Sendable, Hashable {
    /// Whether the scheme is `wss` rather than `ws`.
    public var isSecure: Bool
    /// The host: a name or a numeric address. IPv6 has no brackets, and its zone, if any, after `%` (`fe80::1%eth0`).
    public var host: String
    /// The port, 1 to 65,535.
    public var port: UInt16
    /// The path and query, beginning with `/`. The query may be a secret: never log it.
    public var path: String
    /// The trusted certificates, when `isSecure`.
    public var tls = TLSTrust()
    /// Additional request headers; refused with `.notSupported` by a transport that cannot carry them. Values may be
    /// secrets: never log them.
    public var headers: [(name: String, value: String)] = []
    /// The subprotocols, offered in `Sec-WebSocket-Protocol`; the server must choose one of them when there are any.
    /// Refused with `.notSupported` by a transport that cannot carry them.
    public var subprotocols: [String] = []
    /// The HTTP proxy to connect through, for backends that declare `.proxy`.
    public var proxy: Proxy?
    /// The time limit for all of `connect`.
    public var connectTimeout: Duration = .seconds(5)
    /// The maximum size of a message in bytes, for both directions.
    public var maximumMessageSize = 1 << 20
    /// The number of bytes that may wait in the connection, for each direction.
    public var bufferLimit = 4 << 20

    /// Parses a `ws://` or `wss://` URL. Throws `.invalidArgument` with the reason.
    ///
    /// A zone may be written as in RFC 6874 (`[fe80::1%25eth0]`) or plainly (`[fe80::1%eth0]`).
    public init(url: String) throws(TransportError) {
        self = try Self.parse(url)
    }

    init(isSecure: Bool, host: String, port: UInt16, path: String) {
        self.isSecure = isSecure
        self.host = host
        self.port = port
        self.path = path
    }

    /// The URL for people and logs, without the query, headers and credentials, which may be secrets.
    public var url: String {
        let path = path.firstIndex(of: "?").map { "\(self.path[..<$0])?…" } ?? path
        return "\(isSecure ? "wss" : "ws")://\(bracketedHost(zone: true)):\(port)\(path)"
    }

    /// The value of the request's Host field: without a zone, which has no meaning to others (RFC 6874 §4), and without
    /// a default port.
    public var hostHeader: String {
        let host = bracketedHost(zone: false)
        return port == (isSecure ? 443 : 80) ? host : "\(host):\(port)"
    }

    /// The name or numeric address that the server's certificate must contain: without a zone and a final dot (RFC 6066
    /// §3).
    public var certificateName: String {
        tls.serverName ?? plainHost
    }

    /// The host without a zone and a final dot.
    var plainHost: String {
        let name = host.contains(":") ? host.prefix { $0 != "%" } : host[...]
        return String(name.hasSuffix(".") ? name.dropLast() : name)
    }

    /// The host and port for a CONNECT request (RFC 9110 §9.3.6): without a zone, always with the port.
    public var authority: String { "\(bracketedHost(zone: false)):\(port)" }

    private func bracketedHost(zone: Bool) -> String {
        guard host.contains(":") else { return host }
        guard let mark = host.firstIndex(of: "%") else { return "[\(host)]" }
        return zone ? "[\(host[..<mark])%25\(host[host.index(after: mark)...])]" : "[\(host[..<mark])]"
    }

    public static func == (left: Self, right: Self) -> Bool {
        left.isSecure == right.isSecure && left.host == right.host && left.port == right.port
            && left.path == right.path && left.tls == right.tls
            && left.headers.elementsEqual(right.headers, by: ==)
            && left.subprotocols == right.subprotocols && left.proxy == right.proxy
            && left.connectTimeout == right.connectTimeout && left.maximumMessageSize == right.maximumMessageSize
            && left.bufferLimit == right.bufferLimit
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(isSecure)
        hasher.combine(host)
        hasher.combine(port)
        hasher.combine(path)
    }
}

extension SignalingEndpoint: CustomStringConvertible, CustomReflectable {
    /// The same as `url`: contains no secrets.
    public var description: String { url }
    /// Only the description, so that dumps and test reports contain no secrets either.
    public var customMirror: Mirror { Mirror(self, children: ["url": url]) }
}

/// The certificates that a `wss` connection trusts. There is no option to trust all of them.
public struct TLSTrust: Sendable, Hashable {
    /// A PEM file with the authorities to trust. Nil: those of the system.
    public var authoritiesFile: String?
    /// The name that the certificate must contain. Nil: the endpoint's host.
    public var serverName: String?

    /// Trusts these authorities and this name only. Nil stands for the system's authorities and the endpoint's host.
    public init(authoritiesFile: String? = nil, serverName: String? = nil) {
        self.authoritiesFile = authoritiesFile
        self.serverName = serverName
    }
}
