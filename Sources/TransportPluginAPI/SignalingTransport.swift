/// Opens WebSocket connections to a room server. Knows nothing of rooms, and never retries.
///
/// One instance serves any number of connections at a time. Its methods may be called from any task.
public protocol SignalingTransport: Sendable {
    /// What `connect(to:)` returns.
    associatedtype Connection: SignalingConnection

    /// Opens one connection: name resolution, TCP, TLS where the endpoint says `wss`, and the opening handshake.
    ///
    /// - Name resolution never blocks a transport loop or the cooperative pool.
    /// - Returns only when the server's handshake answer was checked (RFC 6455 §4.1).
    /// - Takes no longer than `endpoint.connectTimeout`, else throws `.timedOut`. An attempt that is given up is aborted: it
    ///   must not finish later.
    /// - When the task is cancelled, throws `.cancelled` soon, and aborts the attempt.
    ///
    /// Throws `.nameNotResolved`, `.unreachable`, `.refused` (`status` carries an HTTP status other than 101, `retryAfter` its
    /// `Retry-After`), `.tlsFailed`, `.handshakeFailed`, `.timedOut`, `.cancelled`, `.notSupported` (an endpoint's demand that
    /// the backend does not declare), `.closed` after `shutdown()`, `.resourceExhausted`.
    nonisolated(nonsending) func connect(to endpoint: SignalingEndpoint) async throws(TransportError) -> Connection

    /// Where the connections live, when that is an executor: tasks that prefer it send and receive without a thread hop. Work on
    /// it must not block. Nil, the default: there is none.
    ///
    /// ```swift
    /// await withTaskExecutorPreference(transport.preferredExecutor) { … }
    /// ```
    var preferredExecutor: (any TaskExecutor)? { get }

    /// Aborts what is still open and gives back threads and descriptors. Returns when they are gone. Idempotent.
    nonisolated(nonsending) func shutdown() async
}

extension SignalingTransport {
    public var preferredExecutor: (any TaskExecutor)? { nil }
}

/// One open WebSocket connection: whole messages out and in.
///
/// Its methods may be called from any task. At most one `receive()` may wait at a time.
public protocol SignalingConnection: AnyObject, Sendable {
    /// Hands over one message. Messages go out in the order of the calls that have returned.
    ///
    /// Returns when the connection has taken the message into its bounded buffer, which is no proof of arrival. Suspends
    /// while the buffer is at its limit. Throws `.messageTooLarge` over the endpoint's maximum (the connection stays usable),
    /// `.closed` when the connection is or gets closed, `.cancelled` (then the message was not sent).
    nonisolated(nonsending) func send(_ message: SignalingMessage) async throws(TransportError)

    /// The next message, in the order of arrival; suspends until there is one.
    ///
    /// A connection reads ahead within its bounded buffer and stops reading from the socket at the limit: nothing is dropped.
    /// Messages that came before a close are delivered first. Returns nil when the other side closed with a close handshake
    /// (`closeReason` tells how), and throws when the connection broke: `.closed` (the TCP connection ended without a close
    /// frame), `.protocolViolation`, `.messageTooLarge` (a message over the maximum came; the connection is then closed with
    /// 1009), `.tlsFailed`, `.io`, `.cancelled`.
    nonisolated(nonsending) func receive() async throws(TransportError) -> SignalingMessage?

    /// How the other side closed, once `receive()` has returned nil (RFC 6455 §7.4).
    var closeReason: SignalingClose? { get }

    /// The address of this machine that the connection leaves from, numeric and without a port. When the machine loses it, the connection
    /// is given up at once instead of waiting for silence. Nil (the default) when it is not known.
    var localAddress: String? { get }

    /// Sends what was accepted, closes with a close handshake, and returns when it is done or `deadline` (from now) has
    /// passed; then it aborts. Idempotent.
    nonisolated(nonsending) func close(_ reason: SignalingClose, within deadline: Duration) async

    /// Ends the connection at once, without a close handshake, and wakes whoever waits. For dead links. Idempotent.
    func abort()
}

extension SignalingConnection {
    /// Not known.
    public var localAddress: String? { nil }
}

/// A whole WebSocket message.
public enum SignalingMessage: Sendable, Hashable {
    /// Valid UTF-8; a connection refuses any other with `.protocolViolation` and close code 1007 (RFC 6455 §8.1).
    case text(Payload)
    /// Any bytes.
    case binary(Payload)

    /// The content, whatever its kind.
    public var payload: Payload {
        switch self {
        case .text(let payload), .binary(let payload): payload
        }
    }
}

/// A WebSocket close code with its reason.
public struct SignalingClose: Sendable, Hashable {
    /// 1000 to 4999 (RFC 6455 §7.4); 1005 stands for a close frame without a code.
    public var code: UInt16
    /// 123 bytes of UTF-8 at most; cut when it is longer.
    public var reason: String

    /// Takes both as they are.
    public init(code: UInt16, reason: String = "") {
        self.code = code
        self.reason = reason
    }

    /// 1000: the purpose is fulfilled.
    public static let normal = SignalingClose(code: 1000)
    /// 1001: this side ends.
    public static let goingAway = SignalingClose(code: 1001)
}

/// Where to connect, and under which conditions.
public struct SignalingEndpoint: Sendable, Hashable {
    /// `wss` when true, else `ws`.
    public var isSecure: Bool
    /// A name or a numeric address (IPv6 without brackets).
    public var host: String
    /// 1 to 65,535.
    public var port: UInt16
    /// Path and query, beginning with `/`.
    public var path: String
    /// Which certificates are trusted, where `isSecure`.
    public var tls = TLSTrust()
    /// Additional request headers; refused with `.notSupported` by a transport that cannot carry them. Values may be secrets: never
    /// log them.
    public var headers: [(name: String, value: String)] = []
    /// Offered in `Sec-WebSocket-Protocol`; the server must choose one of them when there are any. Refused with `.notSupported` by a
    /// transport that cannot carry them.
    public var subprotocols: [String] = []
    /// An HTTP proxy that is asked to CONNECT, where the backend declares `.proxy`.
    public var proxy: Proxy?
    /// For the whole of `connect`.
    public var connectTimeout: Duration = .seconds(5)
    /// Bytes; for both directions.
    public var maximumMessageSize = 1 << 20
    /// Bytes that may wait in the connection, for each direction.
    public var bufferLimit = 4 << 20

    /// Reads a `ws://` or `wss://` URL. Throws `.invalidArgument` naming what is wrong with it.
    public init(url: String) throws(TransportError) {
        self = try Self.parse(url)
    }

    init(isSecure: Bool, host: String, port: UInt16, path: String) {
        self.isSecure = isSecure
        self.host = host
        self.port = port
        self.path = path
    }

    /// The URL, without headers and credentials.
    public var url: String {
        let host = self.host.contains(":") ? "[\(self.host)]" : self.host
        return "\(isSecure ? "wss" : "ws")://\(host):\(port)\(path)"
    }

    /// An HTTP proxy (RFC 9110 §9.3.6).
    public struct Proxy: Sendable, Hashable {
        /// A name or a numeric address (IPv6 without brackets).
        public var host: String
        /// 1 to 65,535.
        public var port: UInt16
        /// The proxy at this host and port.
        public init(host: String, port: UInt16) {
            self.host = host
            self.port = port
        }
    }

    public static func == (left: Self, right: Self) -> Bool {
        left.url == right.url && left.tls == right.tls && left.headers.elementsEqual(right.headers, by: ==)
            && left.subprotocols == right.subprotocols && left.proxy == right.proxy
            && left.connectTimeout == right.connectTimeout && left.maximumMessageSize == right.maximumMessageSize
            && left.bufferLimit == right.bufferLimit
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(url) }
}

/// Which certificates a `wss` connection trusts. There is no way to trust them all.
public struct TLSTrust: Sendable, Hashable {
    /// A PEM file with the authorities to trust. Nil: those of the system.
    public var authoritiesFile: String?
    /// The name that the certificate must carry. Nil: the endpoint's host.
    public var serverName: String?

    /// Trusts what is given, and only that; nil stands for the system's authorities and the endpoint's host.
    public init(authoritiesFile: String? = nil, serverName: String? = nil) {
        self.authoritiesFile = authoritiesFile
        self.serverName = serverName
    }
}

extension SignalingEndpoint {
    private static func parse(_ url: String) throws(TransportError) -> SignalingEndpoint {
        func invalid(_ what: String) -> TransportError {
            TransportError(
                .invalidArgument,
                "'\(url.prefix(200))' is not a WebSocket URL: \(what); write ws://host:port/ or wss://host:port/")
        }
        guard url.utf8.count <= 2048 else { throw invalid("it is longer than 2048 bytes") }
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw invalid("it has a blank, control or non-ASCII character")
        }
        var rest = url[...]
        let isSecure: Bool
        if rest.lowercased().hasPrefix("wss://") {
            isSecure = true
            rest = rest.dropFirst(6)
        } else if rest.lowercased().hasPrefix("ws://") {
            isSecure = false
            rest = rest.dropFirst(5)
        } else {
            throw invalid("its scheme is neither ws nor wss")
        }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let authority = rest[..<end]
        var path = String(rest[end...])
        guard !path.contains("#") else { throw invalid("a fragment (#) is not allowed") }
        if !path.hasPrefix("/") { path = "/" + path }
        guard !authority.contains("@") else { throw invalid("credentials do not belong in it") }

        var host = authority
        var port: UInt16 = isSecure ? 443 : 80
        let afterHost: Substring
        if authority.hasPrefix("[") {
            guard let close = authority.firstIndex(of: "]") else { throw invalid("'[' is not closed") }
            host = authority[authority.index(after: authority.startIndex)..<close]
            afterHost = authority[authority.index(after: close)...]
        } else {
            let colon = authority.firstIndex(of: ":") ?? authority.endIndex
            host = authority[..<colon]
            afterHost = authority[colon...]
        }
        guard !host.isEmpty else { throw invalid("the host is missing") }
        if !afterHost.isEmpty {
            guard afterHost.hasPrefix(":"), let number = UInt16(afterHost.dropFirst()), number > 0 else {
                throw invalid("the port is not a number from 1 to 65535")
            }
            port = number
        }
        return SignalingEndpoint(isSecure: isSecure, host: String(host), port: port, path: path)
    }
}
