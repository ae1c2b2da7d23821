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

extension Participant: ParticipantReference {
    /// The same as `id`.
    public var participantID: ParticipantID { id }
}
