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
