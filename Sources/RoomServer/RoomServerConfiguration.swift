package import Logging
internal import RoomProtocol
internal import RoomServerCore

/// Where a room server listens, whom it believes, and what it may hold.
public struct RoomServerConfiguration: Sendable {
    /// A numeric address or a name.
    public var host = "127.0.0.1"
    /// 0: any free port; `RoomServer.address` tells which.
    public var port = 0
    /// Nil: `ws://` only. Needs the trait `NIOSSL`.
    public var tls: TLS?
    /// Nil: everybody may join. Otherwise first joins need a ``JoinToken`` signed with this secret: 32 bytes or more, 4 at the least.
    public var joinTokenSecret: [UInt8]?
    /// Signs what participants come back with. `.file` for a server that is to know its guests after a restart.
    public var sessionKey = SessionKey.generated
    /// STUN and TURN servers for the participants.
    public var ice = ICE()
    /// Pages that may connect, as browsers name them: `https://example.org`, with the port where it is not the scheme's own; `null` for
    /// pages without an origin. Nil: pages of every site. Programs that name no origin may always connect.
    public var allowedOrigins: [String]?
    /// What happens to a name that is in use already.
    public var duplicateNames = DuplicateNames.reject
    /// What the server may hold, and its times.
    public var limits = Limits()

    /// The defaults: `ws://` on 127.0.0.1, any free port, open to everybody.
    public init() {}

    /// What happens when somebody joins anew under the name of a participant of the room. Where join tokens are asked for, nobody
    /// gives way to a newcomer whose token is not for this very name.
    public enum DuplicateNames: String, Sendable, CaseIterable {
        /// The newcomer gets `name_taken` while the participant is connected. One whose connection is gone gives way, though it
        /// could still come back: so a program that was started anew has its name, and its place as host, at once.
        case reject
        /// The newest has the name. The older one gets `replaced`, for good.
        case replace
    }

    /// PEM files.
    public struct TLS: Sendable, Hashable {
        /// The server's certificate first, then those that lead to an authority.
        public var certificateChainFile: String
        /// The key of the server's certificate.
        public var privateKeyFile: String
        /// The files are read when the server starts.
        public init(certificateChainFile: String, privateKeyFile: String) {
            self.certificateChainFile = certificateChainFile
            self.privateKeyFile = privateKeyFile
        }
    }

    /// The key that signs session tokens. A server that is restarted with the same one rebuilds its rooms from those who come back;
    /// with another one, they can only join anew.
    public enum SessionKey: Sendable {
        /// A new one for each process.
        case generated
        /// 32 bytes at least.
        case bytes([UInt8])
        /// A file of 32 to 4096 bytes; made, readable by its owner only, where there is none. Refused when everybody can write it.
        case file(String)
    }

    /// The ICE servers that clients are given.
    public struct ICE: Sendable {
        /// A STUN or TURN server that is told to everybody as it stands here.
        public struct Server: Sendable, Hashable {
            /// `stun:host:port`, `turn:host:port?transport=udp`, …
            public var urls: [String]
            /// Nil for STUN.
            public var username: String?
            /// A password that everybody gets: use `TURN` instead where the server can.
            public var credential: String?
            /// A server of these values.
            public init(urls: [String], username: String? = nil, credential: String? = nil) {
                self.urls = urls
                self.username = username
                self.credential = credential
            }
        }

        /// TURN servers that share a secret with this server, as coturn does with `use-auth-secret`: every participant gets
        /// credentials of its own, and new ones half-way through their life.
        public struct TURN: Sendable {
            /// `turn:host:port?transport=udp`, …; 8 at most.
            public var urls: [String]
            /// What the TURN servers call `static-auth-secret`.
            public var secret: [UInt8]
            /// One minute at least.
            public var ttl: Duration
            /// TURN servers that share `secret`; credentials are good for `ttl`, 1 minute to 366 days.
            public init(urls: [String], secret: [UInt8], ttl: Duration = .seconds(3600)) {
                self.urls = urls
                self.secret = secret
                self.ttl = ttl
            }
        }
        /// Told to everybody as they are; 15 at most beside `turn`.
        public var servers: [Server] = []
        /// TURN servers with credentials for each participant.
        public var turn: TURN?

        /// None.
        public init() {}
    }

    /// What a server may hold, and its times.
    public struct Limits: Sendable, Hashable {
        /// WebSocket connections.
        public var connections = 10_000
        /// Connections that have not said `hello` yet.
        public var handshakes = 512
        /// Rooms at a time.
        public var rooms = 1000
        /// 64 at most.
        public var participantsPerRoom = 16
        /// Messages that one participant may send over all of its connections, on average and at once.
        public var messagesPerSecond = 200
        /// See `messagesPerSecond`.
        public var messageBurst = 600
        /// Bytes that may wait for a client that does not read; 1 MiB at least. Over it the connection is closed; the session can be resumed.
        public var sendBuffer = 1 << 20
        /// Bytes that may wait for all clients together, parts of messages that have come from them included. Over it the connection
        /// that takes most is closed; its session can be resumed.
        public var totalBuffer = 64 << 20
        /// For the HTTP request and for the `hello`, each.
        public var handshakeTimeout: Duration = .seconds(10)
        /// How long a session may be resumed, and how long a room waits for its host.
        public var grace: Duration = .seconds(60)
        /// How long what a participant comes back with is good, unless it is renewed: a participant that is here has it renewed half-way.
        /// Never less than twice `grace`.
        public var sessionLifetime: Duration = .seconds(86_400)
        /// How long a room without participants is kept.
        public var emptyRoomTTL: Duration = .seconds(30)
        /// Silence after which a client is asked for a sign of life; clients are told to do the same.
        public var pingInterval: Duration = .seconds(5)
        /// How long the answer may take; then the connection is given up, and the session can be resumed.
        public var pingDeadline: Duration = .seconds(4)
        /// For the closing handshake of WebSocket.
        public var closeTimeout: Duration = .seconds(2)
        /// When the server ends, clients come back at random within this time.
        public var drainWindow: Duration = .seconds(2)

        /// The defaults.
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

/// Why a server cannot be started, in one sentence that says what to do.
public struct RoomServerError: Error, Sendable, Hashable, CustomStringConvertible {
    /// One sentence.
    public var message: String
    public var description: String { message }
}

extension RoomServerConfiguration.SessionKey {
    /// The key itself. Blocks for as long as the file system does.
    package func load(_ logger: Logger) throws(RoomServerError) -> [UInt8] {
        switch self {
        case .generated: return Crypto.randomBytes(SecretFile.minimumKeyBytes)
        case .file(let path): return try SecretFile.key(path, logger)
        case .bytes(let key):
            guard key.count >= SecretFile.minimumKeyBytes else {
                throw RoomServerError(
                    message: "The session key has \(key.count) bytes; give it \(SecretFile.minimumKeyBytes) at least.")
            }
            return key
        }
    }
}

extension RoomServerConfiguration {
    /// RFC 7518 §3.2: a key of HS256 has as many bits as its hash.
    private static let safeTokenSecretBytes = 32
    private static let safeTURNSecretBytes = 16

    /// Refuses secrets that are none, and warns of those that can be guessed from what they sign.
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
                message: "The \(name) has \(secret.count) bytes and is guessed at once; make one with "
                    + "'openssl rand -hex 32'.")
        }
        if secret.count < safe {
            logger.warning(
                "a secret is so short that it can be guessed from what it signs: make one with 'openssl rand -hex 32'",
                metadata: ["secret": "\(name)", "bytes": "\(secret.count)", "least": "\(safe)"])
        }
    }
}
