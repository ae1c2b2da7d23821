/// A message from the room server to a client.
public enum ServerMessage: Sendable, Hashable {
    /// The answer to `hello`.
    case joined(Joined)
    /// The room does not exist yet, and the client's `hello` waits for it: `joined` or an error follows when it does.
    /// Meanwhile the server sends a `ping` whenever it has heard nothing for `pingInterval`; a client that has heard
    /// nothing for both durations together reconnects.
    case waiting(pingInterval: Duration, pingDeadline: Duration)
    /// A participant has joined. Numbered and acknowledged, as are `peerLeft`, `peerChanged`, `hostChanged` and
    /// `signal`.
    case peerJoined(Participant)
    /// A session has ended permanently.
    case peerLeft(ParticipantID, SessionID, reason: LeaveReason)
    /// New metadata, another host role, or a higher epoch: the participant has rejoined.
    case peerChanged(Participant)
    /// The host has changed. `sessionToken` is the receiver's own, newly signed: when the server loses its state, the
    /// highest term wins, so everybody must be able to prove this one. A secret.
    case hostChanged(ParticipantID, term: HostTerm, sessionToken: String)
    /// The room's attributes have changed. For clients with the capability `attributes.v1`; numbered and acknowledged.
    case roomChanged(RoomAttributes)
    /// A signal from another participant; the server sets `peer`.
    case signal(Signal)
    /// Fresh ICE servers outside of a join.
    case iceServers(ICEServerList)
    /// All of the client's numbered messages up to `received` have arrived.
    case ack(received: SequenceNumber)
    /// Requests a `pong` with the same id, as evidence of life.
    case ping(id: UInt64)
    /// The answer to a `ping`.
    case pong(id: UInt64)
    /// The server is shutting down. Clients return after a delay chosen at random within the window.
    case goingAway(retryAfter: RetryWindow)
    /// An error. A fatal one is the last message of the connection.
    case error(ProtocolError)
}

/// The answer to `hello`: the client's identity, and the state of the room.
public struct Joined: Sendable, Hashable {
    /// The version that both sides speak.
    public var version: Int
    /// The client's own id, which never changes.
    public var participant: ParticipantID
    /// The client's own session.
    public var session: SessionID
    /// The epoch of the client's own session.
    public var epoch: Epoch
    /// Whether the client is the room's host.
    public var isHost: Bool
    /// The term of the current host; 0 while the room waits for one.
    public var hostTerm: HostTerm
    /// Whether the same epoch continues with both streams, and the others never saw a leave. False: a first join or a
    /// rejoin; both streams start again at 1.
    public var isResumed: Bool
    /// The number up to which all of the client's messages have arrived (a resume only).
    public var received: SequenceNumber
    /// The number of the server's last message before this one (a resume only): repeated messages up to it are older
    /// than the roster. Nil: the server does not say.
    public var sent: SequenceNumber?
    /// The token for the next `Resume`. A secret.
    public var sessionToken: String
    /// All other participants at this time.
    public var roster: [Participant]
    /// The attributes of the room at this time.
    public var attributes: RoomAttributes
    /// The ICE servers, valid from now on for their time to live.
    public var iceServers: ICEServerList
    /// The silence after which a client pings. It closes the connection `pingDeadline` later.
    public var pingInterval: Duration
    /// See `pingInterval`.
    public var pingDeadline: Duration
    /// How long a session may be resumed.
    public var grace: Duration

    /// Creates a `joined` message.
    public init(
        version: Int = protocolVersion, participant: ParticipantID, session: SessionID, epoch: Epoch, isHost: Bool,
        hostTerm: HostTerm, isResumed: Bool, received: SequenceNumber = 0, sent: SequenceNumber? = nil,
        sessionToken: String, roster: [Participant], attributes: RoomAttributes = RoomAttributes(),
        iceServers: ICEServerList, pingInterval: Duration = .seconds(5), pingDeadline: Duration = .seconds(5),
        grace: Duration
    ) {
        self.version = version
        self.participant = participant
        self.session = session
        self.epoch = epoch
        self.isHost = isHost
        self.hostTerm = hostTerm
        self.isResumed = isResumed
        self.received = received
        self.sent = sent
        self.sessionToken = sessionToken
        self.roster = roster
        self.attributes = attributes
        self.iceServers = iceServers
        self.pingInterval = pingInterval
        self.pingDeadline = pingDeadline
        self.grace = grace
    }
}

/// A roster entry.
public struct Participant: Sendable, Hashable {
    /// The id, kept through every resume and rejoin.
    public var id: ParticipantID
    /// The session. A new one is a different participant, whatever the id.
    public var session: SessionID
    /// The epoch, which is higher after each rejoin.
    public var epoch: Epoch
    /// The name to show; unique in the room.
    public var name: String
    /// Whether this is the room's host.
    public var isHost: Bool
    /// The metadata that the participant shows to others.
    public var metadata: [String: String]
    /// The features of the participant's client: `delivery.v1`, `message.max.4194304`.
    public var capabilities: [String]

    /// Creates an entry with these values.
    public init(
        id: ParticipantID, session: SessionID, epoch: Epoch, name: String, isHost: Bool,
        metadata: [String: String] = [:], capabilities: [String] = []
    ) {
        self.id = id
        self.session = session
        self.epoch = epoch
        self.name = name
        self.isHost = isHost
        self.metadata = metadata
        self.capabilities = capabilities
    }

    // Names and metadata are equal when their bytes are.
    public static func == (left: Self, right: Self) -> Bool {
        left.id == right.id && left.session == right.session && left.epoch == right.epoch && left.isHost == right.isHost
            && left.capabilities == right.capabilities && left.name.hasSameBytes(as: right.name)
            && left.metadata.hasSameBytes(as: right.metadata)
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(id)
        hasher.combine(session)
        hasher.combine(epoch)
    }
}

/// ICE servers with the life of their credentials, counted from the message's arrival.
public struct ICEServerList: Sendable, Hashable {
    /// One STUN or TURN server.
    public struct Server: Sendable, Hashable {
        /// The URLs: `stun:host:port`, `turn:host:port?transport=udp`, …
        public var urls: [String]
        /// The user name; nil for STUN.
        public var username: String?
        /// The password. A secret.
        public var credential: String?
        /// Creates a server with these values.
        public init(urls: [String], username: String? = nil, credential: String? = nil) {
            self.urls = urls
            self.username = username
            self.credential = credential
        }
    }
    /// The servers.
    public var servers: [Server]
    /// The life of the credentials. Nil: they do not expire.
    public var ttl: Duration?

    /// Creates a list with these values.
    public init(servers: [Server] = [], ttl: Duration? = nil) {
        self.servers = servers
        self.ttl = ttl
    }
}

/// The reason why a session has ended.
public enum LeaveReason: String, Sendable, CaseIterable {
    /// The participant left.
    case left
    /// The participant did not return within the grace period.
    case timedOut = "timed_out"
    /// The host removed the participant.
    case kicked
    /// The room was closed.
    case roomClosed = "room_closed"
}
