/// A message from a client to the room server.
public enum ClientMessage: Sendable, Hashable {
    /// The first message of every connection: create, join, resume or rejoin.
    indirect case hello(Hello)
    /// A signal to another participant; numbered and acknowledged.
    case signal(Signal)
    /// The host removes a participant; numbered and acknowledged. The reason is shown to it, and may be empty.
    case kick(ParticipantID, reason: String)
    /// New metadata of the sender; numbered and acknowledged.
    case update(metadata: [String: String])
    /// The host sets the room's attributes; numbered and acknowledged. The server makes the version higher than every
    /// one that it knows; one that has lost its state goes on from the one given here.
    case updateRoom(RoomAttributes)
    /// All of the server's numbered messages up to `received` have arrived.
    case ack(received: SequenceNumber)
    /// Requests a `pong` with the same id, as evidence of life.
    case ping(id: UInt64)
    /// The answer to a `ping`.
    case pong(id: UInt64)
    /// The session ends, and nobody waits for it to resume.
    case leave
    /// The host ends the room for everybody; numbered and acknowledged.
    case closeRoom(reason: String)
}

/// The request of a client to be in a room.
public struct Hello: Sendable, Hashable {
    /// The way in which a participant first joins a room.
    public enum Role: String, Sendable {
        /// Creates the room as its host. A rejoin as host becomes guest when a newer host term exists.
        case host
        /// Joins a room that exists.
        case guest
        /// Creates the room as its host where there is none, else joins it as a guest. A join token for one role
        /// decides.
        case first
    }
    /// The highest version that the client speaks.
    public var version = protocolVersion
    /// The lowest version that the client speaks.
    public var minimumVersion = protocolVersion
    /// The room.
    public var room: RoomName
    /// Host, guest, or whichever is possible. Ignored with `resume`.
    public var role: Role
    /// Whether a guest waits for a room that does not exist yet. Ignored with `resume`.
    public var waitsForRoom: Bool
    /// The name to show; unique in a room.
    public var name: String
    /// The metadata that the participant shows to others.
    public var metadata: [String: String]
    /// A join token, when the server requires one. A secret.
    public var token: String?
    /// The resumption data of a client that was in the room before.
    public var resume: Resume?
    /// The features of the client: `delivery.v1`, `message.max.4194304`.
    public var capabilities: [String]

    /// Creates a hello of this version.
    public init(
        room: RoomName, role: Role, waitsForRoom: Bool = false, name: String, metadata: [String: String] = [:],
        token: String? = nil, resume: Resume? = nil, capabilities: [String] = []
    ) {
        self.room = room
        self.role = role
        self.waitsForRoom = waitsForRoom
        self.name = name
        self.metadata = metadata
        self.token = token
        self.resume = resume
        self.capabilities = capabilities
    }
}
