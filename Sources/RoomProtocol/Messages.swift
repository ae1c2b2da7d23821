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
    /// Asks for a sign of life; answered by a `pong` with the same id.
    case ping(id: UInt64)
    /// The answer to a `ping`.
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

/// A message with its number and the acknowledgement that travels with it.
public struct Envelope<Message: Sendable & Hashable>: Sendable, Hashable {
    /// Nil for messages that are not numbered (hello, joined, ack, ping, pong, goingAway, error, leave, iceServers).
    public var sequence: SequenceNumber?
    /// All numbered messages of the other side up to this have come.
    public var ack: SequenceNumber?
    /// What is said.
    public var message: Message

    /// Without a number and an acknowledgement unless they are given.
    public init(sequence: SequenceNumber? = nil, ack: SequenceNumber? = nil, _ message: Message) {
        self.sequence = sequence
        self.ack = ack
        self.message = message
    }
}

/// Who wants to be in which room.
public struct Hello: Sendable, Hashable {
    /// How somebody comes into a room for the first time.
    public enum Role: String, Sendable {
        /// Creates the room and is its host. A rejoin as host becomes guest where a newer host term exists.
        case host
        /// Joins a room that exists.
        case guest
    }
    /// The highest version that the client speaks, and the lowest.
    public var version = protocolVersion
    /// The lowest version that the client speaks.
    public var minimumVersion = protocolVersion
    /// The room to be in.
    public var room: RoomName
    /// Host or guest. Means nothing with `resume`.
    public var role: Role
    /// The name to be shown; unique in a room.
    public var name: String
    /// What the participant shows of itself.
    public var metadata: [String: String]
    /// A join token, where the server asks for one. A secret.
    public var token: String?
    /// For those who were in the room before.
    public var resume: Resume?
    /// What the client can do: `delivery.v1`, `message.max.4194304`.
    public var capabilities: [String]

    /// A hello of this version.
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

    /// What was received last, with the token.
    public init(sessionToken: String, received: SequenceNumber, mustRejoin: Bool = false, attempt: UInt64 = 0) {
        self.sessionToken = sessionToken
        self.received = received
        self.mustRejoin = mustRejoin
        self.attempt = attempt
    }
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

/// Negotiation between two participants, relayed by the server.
public struct Signal: Sendable, Hashable {
    /// To the server: the receiver. From the server: the sender, stamped by it.
    public var peer: ParticipantID
    /// The session of the receiver that is meant (to the server) or of the sender (from the server). A signal for a session
    /// that is no more is dropped.
    public var session: SessionID
    /// The peer connection that is meant; one that was replaced is recognised by it.
    public var connection: PeerConnectionID
    /// The round of this connection that is meant.
    public var negotiation: NegotiationID
    /// What is said.
    public var body: Body

    /// What one peer says to another.
    public enum Body: Sendable, Hashable {
        /// An offer or an answer.
        case description(Description)
        /// A candidate (trickle ICE, RFC 8838).
        case candidate(Candidate)
        /// All candidates of this generation were told.
        case endOfCandidates(usernameFragment: String)
        /// The answering side asks the offerer for a new path.
        case restartRequest(reason: String)
        /// The answering side asks the offerer for a new peer connection.
        case rebuildRequest(reason: String)
    }

    /// As a browser's `RTCSessionDescription` gives it as JSON.
    public struct Description: Sendable, Hashable {
        /// Which of the two it is.
        public enum Kind: String, Sendable {
            /// Of the offerer.
            case offer
            /// Of the other side, to an offer.
            case answer
        }
        /// Offer or answer.
        public var kind: Kind
        /// The session description (RFC 8829). It holds an ICE password: a secret.
        public var sdp: String
        /// A description of these values.
        public init(kind: Kind, sdp: String) {
            self.kind = kind
            self.sdp = sdp
        }
    }

    /// As a browser's `RTCIceCandidate` gives it as JSON.
    public struct Candidate: Sendable, Hashable {
        /// A line as in RFC 8839 §5.1, without `a=`.
        public var candidate: String
        /// `sdpMid`.
        public var mediaID: String?
        /// `sdpMLineIndex`.
        public var mediaLineIndex: Int?
        /// The generation that the candidate belongs to.
        public var usernameFragment: String?
        /// A candidate of these values.
        public init(
            candidate: String, mediaID: String? = nil, mediaLineIndex: Int? = nil, usernameFragment: String? = nil
        ) {
            self.candidate = candidate
            self.mediaID = mediaID
            self.mediaLineIndex = mediaLineIndex
            self.usernameFragment = usernameFragment
        }
    }

    /// A signal of these values.
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

/// Whom the host removes, and why.
public struct Kick: Sendable, Hashable {
    /// Who is to go.
    public var participant: ParticipantID
    /// Shown to the one who goes; may be empty.
    public var reason: String
    /// A kick of these values.
    public init(participant: ParticipantID, reason: String) {
        self.participant = participant
        self.reason = reason
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

/// Seconds within which clients spread their return.
public struct RetryWindow: Sendable, Hashable {
    /// Not before this.
    public var earliest: Duration
    /// Not after this.
    public var latest: Duration
    /// A window between the two.
    public init(earliest: Duration, latest: Duration) {
        self.earliest = earliest
        self.latest = latest
    }
}

/// What the server refuses, and whether it makes sense to ask again.
public struct ProtocolError: Error, Sendable, Hashable {
    /// Who has taken a connection's place.
    public struct Replacement: Sendable, Hashable, RawRepresentable {
        public let rawValue: String
        /// Takes the text as it is.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// The same session, over a newer connection.
        public static let session = Replacement(rawValue: "session")
        /// Another participant, who has joined under the same name. The older one is out for good.
        public static let participant = Replacement(rawValue: "participant")
    }

    /// What was wrong. Codes that are not known here are kept as they came.
    public struct Code: Sendable, Hashable, RawRepresentable {
        public let rawValue: String
        /// Takes the text as it is.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// No JSON, a field that is missing or of the wrong kind, numbers that make no sense. Fatal only where the message's number
        /// could not be read.
        public static let malformed = Code(rawValue: "malformed")
        /// A type, or a body of a signal, that is not known.
        public static let unknownType = Code(rawValue: "unknown_type")
        /// A field, or a whole message, over its limit.
        public static let limitExceeded = Code(rawValue: "limit_exceeded")
        /// The name of a room or participant has a character that no name may have.
        public static let invalidName = Code(rawValue: "invalid_name")
        /// No common version.
        public static let versionMismatch = Code(rawValue: "version_mismatch")
        /// The join token or the session token is missing, not signed by this server, or for something else.
        public static let unauthorized = Code(rawValue: "unauthorized")
        /// The join token has expired.
        public static let tokenExpired = Code(rawValue: "token_expired")
        /// A first join as guest of a room that does not exist.
        public static let roomNotFound = Code(rawValue: "room_not_found")
        /// A first join as host of a room that exists.
        public static let roomExists = Code(rawValue: "room_exists")
        /// As many participants as the room may have.
        public static let roomFull = Code(rawValue: "room_full")
        /// Somebody else in the room has this name.
        public static let nameTaken = Code(rawValue: "name_taken")
        /// The connection belongs to an older epoch than the one the server knows.
        public static let staleEpoch = Code(rawValue: "stale_epoch")
        /// The same session came back over a newer connection, and this one ends, silently for the application; or somebody else has
        /// taken the name: `replacedBy` tells.
        public static let replaced = Code(rawValue: "replaced")
        /// The host has removed the participant, or somebody of this name.
        public static let kicked = Code(rawValue: "kicked")
        /// The host has closed the room.
        public static let roomClosed = Code(rawValue: "room_closed")
        /// Only the host may do this.
        public static let notHost = Code(rawValue: "not_host")
        /// A signal or a kick for nobody.
        public static let peerNotFound = Code(rawValue: "peer_not_found")
        /// Too many messages, rooms or connections.
        public static let tooManyRequests = Code(rawValue: "too_many_requests")
        /// The server ends.
        public static let shuttingDown = Code(rawValue: "shutting_down")
        /// The server's own mistake.
        public static let internalError = Code(rawValue: "internal")
    }

    /// What programs look at.
    public var code: Code
    /// One sentence for people.
    public var message: String
    /// Whether the same hello may succeed later.
    public var isRetryable: Bool
    /// Whether the connection ends with this.
    public var isFatal: Bool
    /// When to come back, where the server asks for it.
    public var retryAfter: RetryWindow?
    /// The number of the client's message that is answered, where there is one.
    public var sequence: SequenceNumber?
    /// Of `replaced`: by whom. Nil: the server does not say.
    public var replacedBy: Replacement?

    /// An error of these values.
    public init(
        code: Code, message: String, isRetryable: Bool, isFatal: Bool, retryAfter: RetryWindow? = nil,
        sequence: SequenceNumber? = nil, replacedBy: Replacement? = nil
    ) {
        self.code = code
        self.message = message
        self.isRetryable = isRetryable
        self.isFatal = isFatal
        self.retryAfter = retryAfter
        self.sequence = sequence
        self.replacedBy = replacedBy
    }
}
