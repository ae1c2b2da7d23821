/// A message from the room server to a client.
public enum ServerMessage: Sendable, Hashable {
    /// The answer to `hello`.
    case joined(Joined)
    /// Numbered and acknowledged, as are `peerLeft`, `peerChanged`, `hostChanged` and `signal`.
    case peerJoined(Participant)
    /// A session has ended for good.
    case peerLeft(ParticipantID, SessionID, reason: LeaveReason)
    /// New metadata, another host role, or a higher epoch: the participant has rejoined.
    case peerChanged(Participant)
    /// `sessionToken` is the receiver's own, signed anew: after a loss of the server's state the highest term wins, so everybody
    /// must be able to show that they know of this one. A secret.
    case hostChanged(ParticipantID, term: HostTerm, sessionToken: String)
    /// From another participant; `peer` is stamped by the server.
    case signal(Signal)
    /// Fresh ICE servers outside of a join.
    case iceServers(ICEServerList)
    /// All of the client's numbered messages up to `received` have come.
    case ack(received: SequenceNumber)
    /// Asks for a sign of life; answered by a `pong` with the same id.
    case ping(id: UInt64)
    /// The answer to a `ping`.
    case pong(id: UInt64)
    /// The server ends; come back after a delay chosen at random within the window.
    case goingAway(retryAfter: RetryWindow)
    /// What was wrong. A fatal one is the last message of the connection.
    case error(ProtocolError)
}

/// The answer to `hello`: who the client is, and what it needs to know.
public struct Joined: Sendable, Hashable {
    /// The version that both speak.
    public var version: Int
    /// The client's own id; kept for ever.
    public var participant: ParticipantID
    /// The client's own session.
    public var session: SessionID
    /// Of the client's own session.
    public var epoch: Epoch
    /// Whether the client is the room's host.
    public var isHost: Bool
    /// Of the host that the room has now; 0 while it waits for one.
    public var hostTerm: HostTerm
    /// True: the same epoch goes on, both streams are continued, and the others never saw a leave. False: a first join or a
    /// rejoin; both streams start again at 1.
    public var isResumed: Bool
    /// All of the client's numbered messages up to this have come (a resume only).
    public var received: SequenceNumber
    /// The number of the server's last message before this one (a resume only): what is sent again up to it is older than the
    /// roster. Nil: the server does not say.
    public var sent: SequenceNumber?
    /// For the next `Resume`. A secret.
    public var sessionToken: String
    /// Everybody else, as of now.
    public var roster: [Participant]
    /// Good from now on for their time to live.
    public var iceServers: ICEServerList
    /// A client that heard nothing for `pingInterval` pings, and gives the connection up `pingDeadline` later.
    public var pingInterval: Duration
    /// See `pingInterval`.
    public var pingDeadline: Duration
    /// For how long a session may be resumed.
    public var grace: Duration

    /// An answer of these values.
    public init(
        version: Int = protocolVersion, participant: ParticipantID, session: SessionID, epoch: Epoch, isHost: Bool,
        hostTerm: HostTerm, isResumed: Bool, received: SequenceNumber = 0, sent: SequenceNumber? = nil,
        sessionToken: String, roster: [Participant], iceServers: ICEServerList, pingInterval: Duration = .seconds(5),
        pingDeadline: Duration = .seconds(5), grace: Duration
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
        self.iceServers = iceServers
        self.pingInterval = pingInterval
        self.pingDeadline = pingDeadline
        self.grace = grace
    }
}

/// A roster entry.
public struct Participant: Sendable, Hashable {
    /// Kept through every resume and rejoin.
    public var id: ParticipantID
    /// One stay; a new one is somebody new, whatever the id.
    public var session: SessionID
    /// Higher after each rejoin.
    public var epoch: Epoch
    /// To be shown; unique in the room.
    public var name: String
    /// Whether this is the room's host.
    public var isHost: Bool
    /// What the participant shows of itself.
    public var metadata: [String: String]
    /// What the participant's client can do: `delivery.v1`, `message.max.4194304`.
    public var capabilities: [String]

    /// An entry of these values.
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

    // Names and metadata are the same where their bytes are.
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

/// ICE servers with the time for which their credentials are good, counted from the message's arrival.
public struct ICEServerList: Sendable, Hashable {
    /// One STUN or TURN server.
    public struct Server: Sendable, Hashable {
        /// `stun:host:port`, `turn:host:port?transport=udp`, …
        public var urls: [String]
        /// Nil for STUN.
        public var username: String?
        /// A secret.
        public var credential: String?
        /// A server of these values.
        public init(urls: [String], username: String? = nil, credential: String? = nil) {
            self.urls = urls
            self.username = username
            self.credential = credential
        }
    }
    /// The servers.
    public var servers: [Server]
    /// Nil: they do not expire.
    public var ttl: Duration?

    /// A list of these values.
    public init(servers: [Server] = [], ttl: Duration? = nil) {
        self.servers = servers
        self.ttl = ttl
    }
}

/// Why a session has ended.
public enum LeaveReason: String, Sendable, CaseIterable {
    /// The participant left.
    case left
    /// The participant did not come back within the grace period.
    case timedOut = "timed_out"
    /// The host removed the participant.
    case kicked
    /// The room was closed.
    case roomClosed = "room_closed"
}
