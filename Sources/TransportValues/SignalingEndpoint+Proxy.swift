internal import Glibc

extension SignalingEndpoint {
    /// An HTTP proxy, which is asked to CONNECT (RFC 9110 §9.3.6), for `ws` and `wss` alike.
    public struct Proxy: Sendable, Hashable, CustomStringConvertible, CustomReflectable {
        /// A name or a numeric address (IPv6 without brackets).
        public var host: String
        /// 1 to 65,535.
        public var port: UInt16
        /// Sent with `password` by the scheme Basic (RFC 7617), where there is one.
        public var user: String?
        /// A secret: never log it.
        public var password: String?

        /// The proxy at this host and port.
        public init(host: String, port: UInt16, user: String? = nil, password: String? = nil) {
            self.host = host
            self.port = port
            self.user = user
            self.password = password
        }

        /// Reads `http://host:port`, with `user:password@` in front of the host where the proxy asks for it; the scheme may be left
        /// out, and port 80 with it. Throws `.invalidArgument` saying what is wrong: SOCKS and TLS to the proxy are not supported.
        public init(url: String) throws(TransportError) {
            do throws(URLText.Malformed) {
                let parts = try URLText(url.contains("://") ? url : "http://\(url)")
                switch parts.scheme {
                case "http": break
                case "https": throw .init("TLS to the proxy itself is not supported; write http:// if it takes that")
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
                    "'\(SignalingEndpoint.redacted(url))' is no proxy: \(error.why); write http://host:port or http://user:password@host:port"
                )
            }
        }

        /// Host and port, without user and password.
        public var description: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }
        /// Nothing but the description, so that dumps and test reports have no secrets either.
        public var customMirror: Mirror { Mirror(self, children: ["proxy": description]) }
    }
}
