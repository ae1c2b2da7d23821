/// The version of the protocol that these types describe.
public let protocolVersion = 1

/// A message from a client to the room server.
public enum ClientMessage: Sendable, Hashable {
    /// The first message of every connection: create, join, resume or rejoin.
    case hello(Hello)
    /// To another participant; numbered and acknowledged.
    case signal(Signal)
    /// The host removes a participant; numbered and acknowledged.
    case kick(Kick)
    /// New metadata of the sender; numbered and acknowledged.
    case update(metadata: [String: String])
    /// All of the server's numbered messages up to `received` have come.
    case ack(received: SequenceNumber)
    case ping(id: UInt64)
    case pong(id: UInt64)
    /// The session ends; nobody waits for it to resume.
    case leave
    /// The host ends the room for everybody; numbered and acknowledged.
    case closeRoom(reason: String)
}

/// A message from the room server to a client.
public enum ServerMessage: Sendable, Hashable {
    /// The answer to `hello`.
    case joined(Joined)
    /// Numbered and acknowledged, as are `peerLeft`, `peerChanged`, `hostChanged` and `signal`.
    case peerJoined(Participant)
    case peerLeft(ParticipantID, SessionID, reason: LeaveReason)
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
    case ping(id: UInt64)
    case pong(id: UInt64)
    /// The server ends; come back after a delay chosen at random within the window.
    case goingAway(retryAfter: RetryWindow)
    /// What was wrong. A fatal one is the last message of the connection.
    case error(ProtocolError)
}

/// A message with its number and the acknowledgement that travels with it.
public struct Envelope<Message: Sendable & Hashable>: Sendable, Hashable {
    /// Nil for messages that are not numbered (hello, joined, ack, ping, pong, goingAway, error, leave, iceServers).
    public var sequence: SequenceNumber?
    /// All numbered messages of the other side up to this have come.
    public var ack: SequenceNumber?
    public var message: Message

    public init(sequence: SequenceNumber? = nil, ack: SequenceNumber? = nil, _ message: Message) {
        self.sequence = sequence
        self.ack = ack
        self.message = message
    }
}

public struct Hello: Sendable, Hashable {
    public enum Role: String, Sendable {
        /// Creates the room and is its host. A rejoin as host becomes guest where a newer host term exists.
        case host
        /// Joins a room that exists.
        case guest
    }
    /// The highest version that the client speaks, and the lowest.
    public var version = protocolVersion
    public var minimumVersion = protocolVersion
    public var room: RoomName
    public var role: Role
    /// The name to be shown; unique in a room.
    public var name: String
    public var metadata: [String: String]
    /// A join token, where the server asks for one. A secret.
    public var token: String?
    public var resume: Resume?
    /// What the client can do: `delivery.v1`.
    public var capabilities: [String]

    public init(
        room: RoomName, role: Role, name: String, metadata: [String: String] = [:], token: String? = nil,
        resume: Resume? = nil, capabilities: [String] = []
    ) {
        self.room = room
        self.role = role
        self.name = name
        self.metadata = metadata
        self.token = token
        self.resume = resume
        self.capabilities = capabilities
    }
}

/// What a client that was in the room before shows to come back.
public struct Resume: Sendable, Hashable {
    /// As the server signed it in `joined`. A secret.
    public var sessionToken: String
    /// The last numbered message of the server that has come.
    public var received: SequenceNumber
    /// True: never resume, take the rejoin with a higher epoch (the client has lost its place in the stream).
    public var mustRejoin: Bool
    /// Counts the session's connection attempts up from 1, so that the late success of one that was given up cannot replace a
    /// newer one. 0: the client does not count.
    public var attempt: UInt64

    public init(sessionToken: String, received: SequenceNumber, mustRejoin: Bool = false, attempt: UInt64 = 0) {
        self.sessionToken = sessionToken
        self.received = received
        self.mustRejoin = mustRejoin
        self.attempt = attempt
    }
}

public struct Joined: Sendable, Hashable {
    public var version: Int
    public var participant: ParticipantID
    public var session: SessionID
    public var epoch: Epoch
    public var isHost: Bool
    /// Of the host that the room has now; 0 while it waits for one.
    public var hostTerm: HostTerm
    /// True: the same epoch goes on, both streams are continued, and the others never saw a leave. False: a first join or a
    /// rejoin; both streams start again at 1.
    public var isResumed: Bool
    /// All of the client's numbered messages up to this have come (a resume only).
    public var received: SequenceNumber
    /// For the next `Resume`. A secret.
    public var sessionToken: String
    /// Everybody else, as of now.
    public var roster: [Participant]
    public var iceServers: ICEServerList
    /// A client that heard nothing for `pingInterval` pings, and gives the connection up `pingDeadline` later.
    public var pingInterval: Duration
    public var pingDeadline: Duration
    /// For how long a session may be resumed.
    public var grace: Duration

    public init(
        version: Int = protocolVersion, participant: ParticipantID, session: SessionID, epoch: Epoch, isHost: Bool,
        hostTerm: HostTerm, isResumed: Bool, received: SequenceNumber = 0, sessionToken: String,
        roster: [Participant], iceServers: ICEServerList, pingInterval: Duration = .seconds(5),
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
    public var id: ParticipantID
    public var session: SessionID
    public var epoch: Epoch
    public var name: String
    public var isHost: Bool
    public var metadata: [String: String]
    public var capabilities: [String]

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
}

/// Negotiation between two participants, relayed by the server.
public struct Signal: Sendable, Hashable {
    /// To the server: the receiver. From the server: the sender, stamped by it.
    public var peer: ParticipantID
    /// The session of the receiver that is meant (to the server) or of the sender (from the server). A signal for a session
    /// that is no more is dropped.
    public var session: SessionID
    public var connection: PeerConnectionID
    public var negotiation: NegotiationID
    public var body: Body

    public enum Body: Sendable, Hashable {
        case description(Description)
        case candidate(Candidate)
        case endOfCandidates(usernameFragment: String)
        /// The answering side asks the offerer for a new path.
        case restartRequest(reason: String)
        /// The answering side asks the offerer for a new peer connection.
        case rebuildRequest(reason: String)
    }

    public struct Description: Sendable, Hashable {
        public enum Kind: String, Sendable { case offer, answer }
        public var kind: Kind
        public var sdp: String
        public init(kind: Kind, sdp: String) {
            self.kind = kind
            self.sdp = sdp
        }
    }

    public struct Candidate: Sendable, Hashable {
        public var candidate: String
        public var mediaID: String?
        public var mediaLineIndex: Int?
        public var usernameFragment: String?
        public init(
            candidate: String, mediaID: String? = nil, mediaLineIndex: Int? = nil, usernameFragment: String? = nil
        ) {
            self.candidate = candidate
            self.mediaID = mediaID
            self.mediaLineIndex = mediaLineIndex
            self.usernameFragment = usernameFragment
        }
    }

    public init(
        peer: ParticipantID, session: SessionID, connection: PeerConnectionID, negotiation: NegotiationID, body: Body
    ) {
        self.peer = peer
        self.session = session
        self.connection = connection
        self.negotiation = negotiation
        self.body = body
    }
}

public struct Kick: Sendable, Hashable {
    public var participant: ParticipantID
    public var reason: String
    public init(participant: ParticipantID, reason: String) {
        self.participant = participant
        self.reason = reason
    }
}

/// ICE servers with the time for which their credentials are good, counted from the message's arrival.
public struct ICEServerList: Sendable, Hashable {
    public struct Server: Sendable, Hashable {
        public var urls: [String]
        public var username: String?
        /// A secret.
        public var credential: String?
        public init(urls: [String], username: String? = nil, credential: String? = nil) {
            self.urls = urls
            self.username = username
            self.credential = credential
        }
    }
    public var servers: [Server]
    /// Nil: they do not expire.
    public var ttl: Duration?

    public init(servers: [Server] = [], ttl: Duration? = nil) {
        self.servers = servers
        self.ttl = ttl
    }
}

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

/// Seconds within which clients spread their return.
public struct RetryWindow: Sendable, Hashable {
    public var earliest: Duration
    public var latest: Duration
    public init(earliest: Duration, latest: Duration) {
        self.earliest = earliest
        self.latest = latest
    }
}

/// What the server refuses, and whether it makes sense to ask again.
public struct ProtocolError: Error, Sendable, Hashable {
    public struct Code: Sendable, Hashable, RawRepresentable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        public static let malformed = Code(rawValue: "malformed")
        public static let unknownType = Code(rawValue: "unknown_type")
        public static let limitExceeded = Code(rawValue: "limit_exceeded")
        public static let versionMismatch = Code(rawValue: "version_mismatch")
        public static let unauthorized = Code(rawValue: "unauthorized")
        public static let tokenExpired = Code(rawValue: "token_expired")
        public static let roomNotFound = Code(rawValue: "room_not_found")
        public static let roomExists = Code(rawValue: "room_exists")
        public static let roomFull = Code(rawValue: "room_full")
        public static let nameTaken = Code(rawValue: "name_taken")
        /// The connection belongs to an older epoch than the one the server knows.
        public static let staleEpoch = Code(rawValue: "stale_epoch")
        /// The same session came back over a newer connection: this one ends, silently for the application.
        public static let replaced = Code(rawValue: "replaced")
        public static let kicked = Code(rawValue: "kicked")
        public static let roomClosed = Code(rawValue: "room_closed")
        public static let notHost = Code(rawValue: "not_host")
        public static let peerNotFound = Code(rawValue: "peer_not_found")
        public static let tooManyRequests = Code(rawValue: "too_many_requests")
        public static let shuttingDown = Code(rawValue: "shutting_down")
        public static let internalError = Code(rawValue: "internal")
    }

    public var code: Code
    /// One sentence for people.
    public var message: String
    /// Whether the same hello may succeed later.
    public var isRetryable: Bool
    /// Whether the connection ends with this.
    public var isFatal: Bool
    public var retryAfter: RetryWindow?
    /// The number of the client's message that is answered, where there is one.
    public var sequence: SequenceNumber?

    public init(
        code: Code, message: String, isRetryable: Bool, isFatal: Bool, retryAfter: RetryWindow? = nil,
        sequence: SequenceNumber? = nil
    ) {
        self.code = code
        self.message = message
        self.isRetryable = isRetryable
        self.isFatal = isFatal
        self.retryAfter = retryAfter
        self.sequence = sequence
    }
}
