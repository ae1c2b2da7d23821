package import Logging
internal import RoomProtocol
internal import RoomServerCore

/// The configuration of a room server: its address, its secrets, and its limits.
public struct RoomServerConfiguration: Sendable {
    /// The host to listen on: a numeric address or a name.
    public var host = "127.0.0.1"
    /// The port to listen on. 0: any free port, which `RoomServer.address` contains.
    public var port = 0
    /// The certificate and key. Nil: `ws://` only. Needs the trait `NIOSSL`.
    public var tls: TLS?
    /// The secret of join tokens. Nil: everybody may join. Otherwise first joins need a ``JoinToken`` signed with this
    /// secret of at least 4 bytes; use 32 or more.
    public var joinTokenSecret: [UInt8]?
    /// The key that signs session tokens. Use `.file` for a server that should recognise its participants after a
    /// restart.
    public var sessionKey = SessionKey.generated
    /// The STUN and TURN servers for participants.
    public var ice = ICE()
    /// The pages that may connect, in the form of browsers: `https://example.org`, with the port unless it is the
    /// scheme's default; `null` for pages without an origin. Nil: pages of every site. Programs that send no origin may
    /// always connect.
    public var allowedOrigins: [String]?
    /// The policy for a name that is in use.
    public var duplicateNames = DuplicateNames.reject
    /// The server's limits and times.
    public var limits = Limits()

    /// The defaults: `ws://` on 127.0.0.1, any free port, open to everybody.
    public init() {}

    /// The policy for a first join under a name that is in use in the room. When join tokens are required, a newcomer
    /// takes over a name only with a token for exactly this name.
    public enum DuplicateNames: String, Sendable, CaseIterable {
        /// The newcomer gets `name_taken` while the name's owner is connected. A disconnected owner loses the name,
        /// although it could still return: so a program that was restarted gets its name, and its role as host, at
        /// once.
        case reject
        /// The newest participant gets the name. The older one gets `replaced`, permanently.
        case replace
    }

    /// A certificate and its key, as PEM files.
    public struct TLS: Sendable, Hashable {
        /// The file with the server's certificate, followed by those that lead to an authority.
        public var certificateChainFile: String
        /// The file with the key of the server's certificate.
        public var privateKeyFile: String
        /// Creates a pair of files. They are read when the server starts.
        public init(certificateChainFile: String, privateKeyFile: String) {
            self.certificateChainFile = certificateChainFile
            self.privateKeyFile = privateKeyFile
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
        /// A STUN or TURN server that is sent to all participants unchanged.
        public struct Server: Sendable, Hashable {
            /// The URLs: `stun:host:port`, `turn:host:port?transport=udp`, …
            public var urls: [String]
            /// The user name; nil for STUN.
            public var username: String?
            /// The password. Everybody gets it: use `TURN` instead where the server supports it.
            public var credential: String?
            /// Creates a server with these values.
            public init(urls: [String], username: String? = nil, credential: String? = nil) {
                self.urls = urls
                self.username = username
                self.credential = credential
            }
        }

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
        /// The servers that are sent unchanged; at most 15 in addition to `turn`.
        public var servers: [Server] = []
        /// The TURN servers with credentials for each participant.
        public var turn: TURN?

        /// Creates a configuration without servers.
        public init() {}
    }

    /// The limits and times of a server.
    public struct Limits: Sendable, Hashable {
        /// The number of WebSocket connections.
        public var connections = 10_000
        /// The number of connections that have not sent `hello` yet.
        public var handshakes = 512
        /// The number of rooms.
        public var rooms = 1000
        /// The number of participants in a room, at most 64.
        public var participantsPerRoom = 16
        /// The number of messages that one participant may send per second on average, over all of its connections.
        public var messagesPerSecond = 200
        /// The number of messages that one participant may send at once.
        public var messageBurst = 600
        /// Bytes that may wait for a slow client; at least 1 MiB. Over it the connection is closed; the session can be
        /// resumed.
        public var sendBuffer = 1 << 20
        /// Bytes that may wait for all clients together, including incomplete messages from them. Over it the
        /// connection that uses most is closed; its session can be resumed.
        public var totalBuffer = 64 << 20
        /// The time limit for the HTTP request, and again for the `hello`.
        public var handshakeTimeout: Duration = .seconds(10)
        /// How long a session may be resumed, and how long a room waits for its host.
        public var grace: Duration = .seconds(60)
        /// How long a session token is valid. A connected participant gets a new one half-way. Never less than twice
        /// `grace`.
        public var sessionLifetime: Duration = .seconds(86_400)
        /// How long a room without participants is kept.
        public var emptyRoomTTL: Duration = .seconds(30)
        /// The silence after which a client is pinged. Clients do the same.
        public var pingInterval: Duration = .seconds(5)
        /// The time limit of the answer. Then the connection is closed, and the session can be resumed.
        public var pingDeadline: Duration = .seconds(4)
        /// The time limit of the WebSocket closing handshake.
        public var closeTimeout: Duration = .seconds(2)
        /// When the server shuts down, clients return at a random time within this window.
        public var drainWindow: Duration = .seconds(2)

        /// Creates the default limits.
        public init() {}

        func core(_ duplicateNames: DuplicateNames) -> RoomServerLimits {
            var limits = RoomServerLimits()
            limits.duplicateNames = duplicateNames == .replace ? .replace : .reject
            limits.connections = connections
            limits.handshakes = handshakes
            limits.helloDeadline = handshakeTimeout
            limits.rooms = rooms
            limits.participantsPerRoom = participantsPerRoom
            limits.messagesPerSecond = messagesPerSecond
            limits.messageBurst = messageBurst
            limits.grace = grace
            limits.sessionLifetime = sessionLifetime
            limits.emptyRoomTTL = emptyRoomTTL
            limits.pingInterval = pingInterval
            limits.pingDeadline = pingDeadline
            return limits
        }
    }
}

/// The reason why a server cannot start, in one sentence that says what to do.
public struct RoomServerError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The reason, in one sentence.
    public var message: String
    public var description: String { message }
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
    /// RFC 7518 §3.2: a key of HS256 has at least as many bits as its hash.
    private static let safeTokenSecretBytes = 32
    private static let safeTURNSecretBytes = 16

    /// Refuses invalid secrets, and logs a warning for those that can be guessed from signed values.
    func checkSecrets(_ logger: Logger) throws(RoomServerError) {
        try Self.check(joinTokenSecret, "join token secret", Self.safeTokenSecretBytes, logger)
        try Self.check(ice.turn?.secret, "TURN secret", Self.safeTURNSecretBytes, logger)
    }

    private static func check(
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
