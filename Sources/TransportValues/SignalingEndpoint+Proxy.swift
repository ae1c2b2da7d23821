internal import Glibc

extension SignalingEndpoint {
    /// An HTTP proxy that supports CONNECT (RFC 9110 §9.3.6), for `ws` and `wss` alike.
    public struct Proxy: Sendable, Hashable, CustomStringConvertible, CustomReflectable {
        /// The host: a name or a numeric address (IPv6 without brackets).
        public var host: String
        /// The port, 1 to 65,535.
        public var port: UInt16
        /// The user name, sent with `password` by the Basic scheme (RFC 7617). Nil: the proxy needs none.
        public var user: String?
        /// The password. A secret: never log it.
        public var password: String?

        /// Creates a proxy at this host and port.
        public init(host: String, port: UInt16, user: String? = nil, password: String? = nil) {
            self.host = host
            self.port = port
            self.user = user
            self.password = password
        }

        /// Parses `http://host:port`, with `user:password@` before the host where the proxy requires it. The scheme and
        /// the port (80) may be left out. Throws `.invalidArgument` with the reason: SOCKS and TLS to the proxy are not
        /// supported.
        public init(url: String) throws(TransportError) {
            do throws(URLText.Malformed) {
                let parts = try URLText(url.contains("://") ? url : "http://\(url)")
                switch parts.scheme {
                case "http": break
                case "https": throw .init("TLS to the proxy itself is not supported; write http:// if it accepts that")
                case _ where parts.scheme.hasPrefix("socks"): throw .init("SOCKS is not supported; name an HTTP proxy")
                default: throw .init("its scheme is not http")
                }
                guard ["", "/"].contains(parts.rest) else { throw .init("it has a path") }
                self.init(host: try parts.plainHost(), port: parts.port ?? 80)
                guard let userinfo = parts.userinfo else { return }
                let colon = userinfo.firstIndex(of: ":") ?? userinfo.endIndex
                guard let user = URLText.decoded(userinfo[..<colon]),
                    let password = URLText.decoded(userinfo[colon...].dropFirst()), !user.contains(":")
                else { throw .init("its user or password is not percent-encoded UTF-8") }
                self.user = user
                self.password = password
            } catch {
                throw TransportError(
                    .invalidArgument,
                    "'\(SignalingEndpoint.redacted(url))' is not a proxy URL: \(error.reason); "
                        + "write http://host:port or http://user:password@host:port"
                )
            }
        }

        /// The host and port, without user and password.
        public var description: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }
        /// Only the description, so that dumps and test reports contain no secrets either.
        public var customMirror: Mirror { Mirror(self, children: ["proxy": description]) }
    }
}
