package import RoomServerCore

extension RoomServerConfiguration {
    /// The admin API: HTTP on an address of its own, for the server's operators. See the article *Operations*.
    public struct Admin: Sendable {
        /// The host to listen on: a numeric address or a name.
        public var host = "127.0.0.1"
        /// The port to listen on; 0: any free port. Nil: only the Unix socket.
        public var port: Int?
        /// The path of a Unix socket, which is created with the mode 0600: everybody that can open it needs no token.
        /// Nil: only the port.
        public var socketPath: String?
        /// The token of requests to the port, at least 16 bytes. Required with a port.
        public var token: [UInt8]?

        /// Creates a configuration that listens nowhere yet: set `port` or `socketPath`.
        public init() {}
    }

    /// The receivers of events, by webhooks as *Standard Webhooks* defines them. See the article *Operations*.
    public struct Webhooks: Sendable {
        /// The URLs, `http` or `https`. Each gets every event.
        public var urls: [String] = []
        /// The secrets that sign events, each of at least 24 bytes. Every event is signed with all of them: one, or two
        /// while a new one replaces the old one.
        public var secrets: [[UInt8]] = []
        /// The trusted authorities of `https`, PEM. Nil: the system's.
        public var authoritiesFile: String?
        package var limits = WebhookLimits()

        /// Creates a configuration without receivers.
        public init() {}
    }

    static let leastAdminTokenBytes = 16

    /// Refuses an admin API and webhooks that cannot work. Returns the settings of the webhooks.
    func checkControl() throws(RoomServerError) -> WebhookSettings {
        if let admin {
            guard admin.port != nil || admin.socketPath != nil else {
                throw RoomServerError(message: "The admin API needs a port or the path of a Unix socket.")
            }
            if admin.port != nil {
                guard let token = admin.token else {
                    throw RoomServerError(
                        message: "The admin API on a port needs a token: name a file with --admin-token-file, which is "
                            + "made when it does not exist, or use --admin-socket alone.")
                }
                guard token.count >= Self.leastAdminTokenBytes else {
                    throw RoomServerError(
                        message: "The admin token has \(token.count) bytes, and needs at least "
                            + "\(Self.leastAdminTokenBytes); make one with 'openssl rand -hex 32'.")
                }
                guard token.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                    throw RoomServerError(
                        message: "The admin token has characters that no HTTP header can carry: use letters and "
                            + "digits, as 'openssl rand -hex 32' makes them.")
                }
            }
        }
        return try WebhookSettings(webhooks)
    }
}
