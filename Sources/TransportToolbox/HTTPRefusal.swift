internal import Glibc
public import TransportValues
public import WebSocketWire

/// An HTTP answer that opens no WebSocket, and its meaning (RFC 9110 §15): whether the same request may succeed later,
/// what is wrong, and what to do. The same for every backend.
public struct HTTPRefusal: Sendable, Hashable {
    /// The status: any except a correct 101.
    public var status: Int
    /// The value of `Location`, if there is one.
    public var location: String?
    /// The value of `Retry-After`, if there is one.
    public var retryAfter: String?
    /// The value of `Date`, if there is one.
    public var date: String?

    /// Creates a refusal with the values as received.
    public init(status: Int, location: String? = nil, retryAfter: String? = nil, date: String? = nil) {
        self.status = status
        self.location = location
        self.retryAfter = retryAfter
        self.date = date
    }

    /// Creates a refusal with the values of a response.
    public init(_ response: ResponseHead) {
        let fields = response.fields
        self.init(
            status: response.status, location: fields.values("location").first,
            retryAfter: fields.values("retry-after").first, date: fields.values("date").first)
    }

    /// Returns the error of `SignalingTransport.connect(to:)` for this answer of the server: `.refused`, with the
    /// status, `retryAfter`, the target of a redirection, and what to do.
    public func error(connectingTo endpoint: SignalingEndpoint) -> TransportError {
        error("\(endpoint.url) answered \(status): \(meaning(for: endpoint))")
    }

    /// Returns the error of `SignalingTransport.connect(to:)` for this answer of the endpoint's proxy to CONNECT.
    public func error(fromProxyFor endpoint: SignalingEndpoint) -> TransportError {
        let proxy = endpoint.proxy.map { "the proxy \($0)" } ?? "the proxy"
        let explanation =
            switch status {
            case 407: "it requires a user name and a password: write http://user:password@host:port/ for it"
            case 403, 405: "it does not allow connections to this host and port"
            case 502, 503, 504: "it could not reach the server"
            default: Self.meaning(of: status)
            }
        return error("\(proxy) answered \(status) to the request for \(endpoint.url): \(explanation)")
    }

    private func error(_ message: String) -> TransportError {
        TransportError(
            .refused, message, isRetryable: Self.isRetryable(status), status: status,
            retryAfter: delay(now: time(nil)))
    }

    /// Whether the same request may succeed later without any change: the server asks for a retry, or the fault is its
    /// own.
    public static func isRetryable(_ status: Int) -> Bool {
        switch status {
        // An interim answer without a final one.
        case 100..<200: true
        case 408, 425, 429: true
        // A request that the server does not support, and a network that requires a person to log in first (RFC 6585
        // §6).
        case 501, 505, 511: false
        default: status >= 500
        }
    }

    /// Returns how long to wait (RFC 9110 §10.2.3), at most a day. A time is measured against the answer's own clock,
    /// if it has one.
    /// - Parameter now: Seconds since 1970 by this machine's clock.
    func delay(now: Int) -> Duration? {
        guard let text = retryAfter, !text.isEmpty else { return nil }
        let seconds: Int
        if text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            seconds = Int(text) ?? .max
        } else if let time = HTTPDate.parse(text, now: now) {
            seconds = time - (date.flatMap { HTTPDate.parse($0, now: now) } ?? now)
        } else {
            return nil
        }
        return .seconds(min(max(seconds, 0), 86_400))
    }

    private func meaning(for endpoint: SignalingEndpoint) -> String {
        guard (300..<400).contains(status), status != 304 else { return Self.meaning(of: status) }
        return target(from: endpoint).map { "it wants \($0)" } ?? "it redirects, but does not say where to"
    }

    static func meaning(of status: Int) -> String {
        switch status {
        case 101: "it did not switch to WebSocket"
        case 100..<200: "an interim answer, and no final one"
        case 200..<300: "a page instead of a WebSocket: is it a room server, or the login page of this network?"
        case 400: "it considers the request malformed: do the proxies on the way support WebSocket?"
        case 401: "it requires credentials: check the token"
        case 403: "it does not allow this request: check the token, and proxies on the way"
        case 404, 410: "there is nothing at this path: check the URL"
        case 407: "a proxy on the way requires a user name and a password"
        case 408, 504: "it timed out: it may be overloaded"
        case 421: "it does not serve this host name: check the URL"
        case 425, 429: "there were too many requests: try again later"
        case 426: "it requires another protocol: do the proxies on the way support WebSocket?"
        case 501, 505: "it does not support WebSocket: check the URL, and proxies on the way"
        case 502, 503: "the server is not ready, or the proxy in front cannot reach it"
        case 511: "this network requires a login first: open a web page"
        case 500...: "the server failed: see its log"
        default: "it refuses the request: check the URL"
        }
    }

    /// Returns the target of a redirection (RFC 9110 §10.2.2), as a WebSocket URL for an HTTP one, without possible
    /// secrets.
    private func target(from endpoint: SignalingEndpoint) -> String? {
        guard let location, !location.isEmpty, location.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        let scheme = endpoint.isSecure ? "wss" : "ws"
        let lower = location.lowercased()
        let url: String
        if lower.hasPrefix("https:") {
            url = "wss:" + location.dropFirst(6)
        } else if lower.hasPrefix("http:") {
            url = "ws:" + location.dropFirst(5)
        } else if location.hasPrefix("//") {
            url = "\(scheme):\(location)"
        } else if location.hasPrefix("/") {
            url = "\(scheme)://\(endpoint.hostHeader)\(location)"
        } else if location.prefix(while: { !"/?#".contains($0) }).contains(":") {
            url = location
        } else {
            let path = endpoint.path.prefix { $0 != "?" }
            let folder = path[...(path.lastIndex(of: "/") ?? path.startIndex)]
            url = "\(scheme)://\(endpoint.hostHeader)\(folder)\(location)"
        }
        return SignalingEndpoint.redacted(url)
    }
}
