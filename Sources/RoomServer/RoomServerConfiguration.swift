internal import Glibc
internal import Hashing
package import Logging
internal import NIOCore
internal import RoomProtocol
public import RoomServerCore
public import TransportValues

/// The configuration of a room server: its address, its secrets, and its limits.
public struct RoomServerConfiguration: Sendable {
    /// The host to listen on: a numeric address or a name.
    public var host = "127.0.0.1"
    /// The port to listen on. 0: any free port, which `RoomServer.address` contains.
    public var port = 0
    /// The number of event loops, 1 to 256; a room and the connections of its members live on one of them. More than
    /// one serves more rooms, not larger ones.
    public var threads = 1
    /// A TCP socket that listens already, in place of `host` and `port`: one that systemd has opened, for example. The
    /// server closes it. Nil: the server opens one.
    public var listeningDescriptor: Int32?
    /// The certificate and key. Nil: `ws://` only.
    public var tls: TLS?
    /// A secret of join tokens of at least 4 bytes; use 32 or more. Nil, and without keys in `joinTokens`: everybody
    /// may join. Otherwise first joins need a ``JoinToken`` signed with this secret or another key.
    public var joinTokenSecret: [UInt8]?
    /// Keys of join tokens in files, which `RoomServer.reload(_:)` reads again.
    public var joinTokens = JoinTokens()
    /// The key that signs session tokens. Use `.file` for a server that should recognise its participants after a
    /// restart.
    public var sessionKey = SessionKey.generated
    /// Files with keys that signed session tokens before, which stay valid until they expire. With `sessionKey` in a
    /// file, the one of the same name with `.previous` after it needs not be listed.
    public var previousSessionKeyFiles: [String] = []
    /// The file by which a server remembers after a restart who left or was kicked, and which rooms were closed. It is
    /// created when it does not exist, and belongs to one server at a time. Nil: a restart forgets that.
    public var departuresFile: String?
    /// Whether the server ends when the file of departures cannot be used. Otherwise it goes on with a warning.
    package var requiresDeparturesFile = true
    /// The STUN and TURN servers for participants.
    public var ice = ICE()
    /// The pages that may connect, in the form of browsers: `https://example.org`, with the port unless it is the
    /// scheme's default; `null` for pages without an origin. Nil: pages of every site. Programs that send no origin may
    /// always connect.
    public var allowedOrigins: [String]?
    /// The addresses of proxies in front, as ranges (`10.0.0.0/8`, `2001:db8::/32`) or addresses. They are believed for
    /// whom they connect: in the field `X-Forwarded-For` of a WebSocket handshake, or with `expectsProxyProtocol`. What
    /// comes from them without that counts for no address.
    public var trustedProxies: [String] = []
    /// Whether each connection begins with a header of the PROXY protocol, version 2, before TLS. Then only
    /// `trustedProxies` may connect.
    public var expectsProxyProtocol = false
    /// The addresses without `RoomServerLimits.perAddress`, as ranges or addresses. The default is this machine.
    public var unlimitedAddresses = ["127.0.0.0/8", "::1"]
    /// Whether the server serves the page for browsers at `/` and `/ROOM`, and the browser client, whose entry is
    /// `/client/room.js`. A WebSocket handshake opens a connection on these paths, too.
    public var servesPage = false
    /// Whether `GET /metrics` answers with the metrics of the server in the text format of Prometheus, to everybody.
    public var servesMetrics = false
    /// The node of a cluster that this server is. Nil: it has all rooms itself. The session key must then be the same
    /// for all nodes.
    public var cluster: Cluster?
    /// The policy for a name that is in use.
    public var duplicateNames = DuplicateNames.reject
    /// The server's limits and times.
    public var limits = Limits()
    /// The admin API. Nil: there is none.
    public var admin: Admin?
    /// The receivers of events.
    public var webhooks = Webhooks()

    /// The defaults: `ws://` on 127.0.0.1, any free port, open to everybody, without the page.
    public init() {}

    /// The policy for a first join under a name that is in use in the room.
    public typealias DuplicateNames = RoomServerCore.DuplicateNames

    /// The limits and times of a server.
    public typealias Limits = RoomServerLimits

    /// A certificate and its key, as PEM files.
    public struct TLS: Sendable, Hashable {
        /// The file with the server's certificate, followed by those that lead to an authority.
        public var certificateChainFile: String
        /// The file with the key of the server's certificate.
        public var privateKeyFile: String
        /// A certificate in memory, in place of the files.
        package var certificate: SelfSignedCertificate?

        /// Creates a pair of files. They are read when the server starts.
        public init(certificateChainFile: String, privateKeyFile: String) {
            self.certificateChainFile = certificateChainFile
            self.privateKeyFile = privateKeyFile
        }

        /// Creates TLS with a certificate in memory.
        package init(_ certificate: SelfSignedCertificate) {
            self.init(certificateChainFile: "", privateKeyFile: "")
            self.certificate = certificate
        }
    }

    /// The key that signs session tokens. A server that restarts with the same key rebuilds its rooms from returning
    /// participants; with another key, they can only join anew.
    public enum SessionKey: Sendable {
        /// A new key for each process.
        case generated
        /// A key of at least 32 bytes.
        case bytes([UInt8])
        /// A file of 32 to 4096 bytes. It is created, readable by its owner only, when it does not exist, and refused
        /// when everybody can write it.
        case file(String)
    }

    /// The ICE servers for clients.
    public struct ICE: Sendable {
        /// TURN servers that share a secret with this server, as coturn does with `use-auth-secret`: every participant
        /// gets its own credentials, and new ones half-way through their life.
        public struct TURN: Sendable {
            /// The URLs: `turn:host:port?transport=udp`, …; at most 8.
            public var urls: [String]
            /// The secret, called `static-auth-secret` in coturn.
            public var secret: [UInt8]
            /// The life of credentials, at least one minute.
            public var ttl: Duration
            /// Creates TURN servers that share `secret`. Credentials are valid for `ttl`, 1 minute to 366 days.
            public init(urls: [String], secret: [UInt8], ttl: Duration = .seconds(3600)) {
                self.urls = urls
                self.secret = secret
                self.ttl = ttl
            }
        }
        /// The STUN and TURN servers that are sent to all participants unchanged; at most 15 in addition to `turn`. All
        /// participants get their credentials: use `turn` instead where the server supports it.
        public var servers: [ICEServer] = []
        /// The TURN servers with credentials for each participant.
        public var turn: TURN?

        /// Creates a configuration without servers.
        public init() {}
    }
}

/// The reason why a server cannot start, in one sentence that says what to do.
public struct RoomServerError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The reason, in one sentence.
    public var message: String
    /// Whether it may go away by itself, as an address that is in use or a full disk. Else the configuration is wrong.
    package var isTransient = false
    public var description: String { message }
}

extension RoomServerError {
    /// The error of a socket that cannot listen.
    static func cannotListen(_ place: String, _ error: any Error) -> RoomServerError {
        let code = (error as? IOError)?.errnoCode
        return RoomServerError(message: "\(place): \(error)", isTransient: code.map(isTransient) ?? false)
    }

    /// Whether an error of the system may go away by itself.
    static func isTransient(_ code: Int32) -> Bool {
        ![EACCES, EPERM, ENOENT, ENOTDIR, EISDIR, ELOOP, ENAMETOOLONG, EROFS, EINVAL, EAFNOSUPPORT].contains(code)
    }
}

extension RoomServerConfiguration.SessionKey {
    /// Returns the key. Blocks as long as the file system does.
    package func load(_ logger: Logger) throws(RoomServerError) -> [UInt8] {
        switch self {
        case .generated: return Crypto.randomBytes(SecretFile.minimumKeyBytes)
        case .file(let path): return try SecretFile.key(path, logger)
        case .bytes(let key):
            guard key.count >= SecretFile.minimumKeyBytes else {
                throw RoomServerError(
                    message: "The session key has \(key.count) bytes; it needs at least \(SecretFile.minimumKeyBytes).")
            }
            return key
        }
    }
}

extension RoomServerConfiguration {
    private static let safeTURNSecretBytes = 16

    /// Refuses invalid secrets, and logs a warning for those that can be guessed from signed values.
    func checkSecrets(_ logger: Logger) throws(RoomServerError) {
        try Self.check(joinTokenSecret, "join token secret", JoinTokenKeyFile.safeSecretBytes, logger)
        try Self.check(ice.turn?.secret, "TURN secret", Self.safeTURNSecretBytes, logger)
    }

    static func check(
        _ secret: [UInt8]?, _ name: String, _ safe: Int, _ logger: Logger
    ) throws(RoomServerError) {
        guard let secret else { return }
        guard secret.count >= SecretFile.minimumSecretBytes else {
            throw RoomServerError(
                message: "The \(name) has \(secret.count) bytes and is easily guessed; make one with "
                    + "'openssl rand -hex 32'.")
        }
        if secret.count < safe {
            logger.warning(
                "a secret is so short that it can be guessed from what it signs: make one with 'openssl rand -hex 32'",
                metadata: ["secret": "\(name)", "bytes": "\(secret.count)", "least": "\(safe)"])
        }
    }
}
