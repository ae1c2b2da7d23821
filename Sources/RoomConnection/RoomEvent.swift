public import RoomProtocol
public import TransportPluginAPI

/// What happens to a room. New cases may be added: always have a `default`.
public enum RoomEvent: Sendable {
    case signaling(SignalingStatus)
    /// We are in the room: for the first time, or back.
    case joined(RoomMembership)
    /// Never twice for one stay without a `peerLeft` between, also across outages.
    case peerJoined(RoomParticipant)
    case peerLeft(RoomParticipant, reason: LeaveReason)
    /// Metadata or the host role changed.
    case peerChanged(RoomParticipant)
    case hostChanged(ParticipantID)
    case peer(ParticipantID, PeerStatus)
    /// A recovery has ended; its steps with their times.
    case incident(RoomIncident)
    /// Messages towards a participant that will never arrive: he left for good, or was broken with a full buffer.
    case undelivered(ParticipantID, count: Int)
    /// Something was refused; the room goes on.
    case error(RoomError)
    /// The last event: left, or refused for good.
    case left(RoomError?)
}

/// What is known of the connection to the room server. `connected` is claimed only with signs of life within the deadline.
public enum SignalingStatus: Sendable, Hashable {
    /// The attempt runs (`nextAttemptAt` nil) or waits.
    case connecting(attempt: Int, nextAttemptAt: Timestamp?, cause: String?)
    case connected
    case disconnected(cause: String?)
    /// For good.
    case closed(reason: String)
}

/// How we are in the room.
public struct RoomMembership: Sendable, Hashable {
    public let participant: ParticipantID
    public let isHost: Bool
    public let epoch: Epoch
    /// The others never noticed that we were away.
    public let isResumed: Bool
}

/// Somebody else in the room.
public struct RoomParticipant: Sendable, Hashable {
    public let id: ParticipantID
    /// One stay in the room; a new one begins with a clean delivery state.
    public let session: SessionID
    public let name: String
    public let isHost: Bool
    public let metadata: [String: String]
    /// Whether `.reliable` outlives peer connections towards this participant.
    public let hasDelivery: Bool

    init(_ participant: Participant) {
        id = participant.id
        session = participant.session
        name = participant.name
        isHost = participant.isHost
        metadata = participant.metadata
        hasDelivery = participant.capabilities.contains(DeliveryProtocol.capability)
    }
}

/// What is known of the connection to a participant.
public enum PeerStatus: Sendable, Hashable {
    /// Waits for its turn or for the handshake.
    case connecting
    case connected(PeerPath?)
    /// It was connected and is being healed; messages on `.reliable` are kept.
    case recovering(rung: String)
}

/// How a recovery went.
public struct RoomIncident: Sendable, Hashable {
    public struct Step: Sendable, Hashable {
        public let name: String
        public let at: Timestamp
        public let cause: String?
    }
    /// Nil: the connection to the room server.
    public let participant: ParticipantID?
    /// `silence`, `pathLost`, `networkChanged`, …
    public let cause: String
    public let startedAt: Timestamp
    public let endedAt: Timestamp
    public let hasRecovered: Bool
    public let steps: [Step]

    public var duration: Duration { endedAt - startedAt }
}
