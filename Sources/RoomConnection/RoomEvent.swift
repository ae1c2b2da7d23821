public import RoomProtocol
public import TransportPluginAPI

/// What happens to a room. New cases may be added: always have a `default`.
public enum RoomEvent: Sendable {
    /// The connection to the room server came, went, or is being tried.
    case signaling(SignalingStatus)
    /// We are in the room: for the first time, or back.
    case joined(RoomMembership)
    /// Never twice for one stay without a `peerLeft` between, also across outages.
    case peerJoined(RoomParticipant)
    /// The participant left, was removed, or did not come back in time.
    case peerLeft(RoomParticipant, reason: LeaveReason)
    /// Metadata or the host role changed.
    case peerChanged(RoomParticipant)
    /// The room has another host.
    case hostChanged(ParticipantID)
    /// The connection to a participant came, went, or is being healed.
    case peer(ParticipantID, PeerStatus)
    /// A participant has not been connected, or data to it has not been acknowledged, for eight to ten seconds: the
    /// reason, and what to do about it. Told again when the reason changes, and every two minutes while it does not.
    /// The room goes on trying.
    case stalled(ParticipantID, PeerStall)
    /// What `stalled` told is over: the participant is connected, or acknowledges again.
    case resolved(ParticipantID, PeerStall)
    /// A recovery has ended; its steps with their times.
    case incident(RoomIncident)
    /// Messages of `.reliable` and `.unordered` towards a participant that were given up: he left for good, or was
    /// broken with a full buffer. A long message counts once. Of `.reliable` that is what was never acknowledged (the
    /// last of them may have arrived); of `.unordered` what no connection had taken. Lossy messages are not counted
    /// here.
    case undelivered(ParticipantID, count: Int)
    /// Something was refused; the room goes on.
    case error(RoomError)
    /// The last event: left, or refused for good.
    case left(RoomError?)
}

/// What is known of the connection to the room server. `connected` is claimed only with signs of life within the
/// deadline.
public enum SignalingStatus: Sendable, Hashable {
    /// The attempt runs (`nextAttemptAt` nil) or waits.
    case connecting(attempt: Int, nextAttemptAt: Timestamp?, cause: String?)
    /// In the room, with signs of life within the deadline.
    case connected
    /// Not connected, and no attempt is under way yet.
    case disconnected(cause: String?)
    /// For good.
    case closed(reason: String)
}

/// How we are in the room.
public struct RoomMembership: Sendable, Hashable {
    /// Our id: kept through every resume and rejoin.
    public let participant: ParticipantID
    /// Whether we are the room's host.
    public let isHost: Bool
    /// Counts our connections that were not resumed.
    public let epoch: Epoch
    /// The others never noticed that we were away.
    public let isResumed: Bool
}

/// Somebody else in the room.
public struct RoomParticipant: Sendable, Hashable {
    /// Chosen by the server; kept through every resume and rejoin.
    public let id: ParticipantID
    /// One stay in the room; a new one begins with a clean delivery state.
    public let session: SessionID
    /// The name to be shown, unique in the room.
    public let name: String
    /// Whether this is the room's host.
    public let isHost: Bool
    /// What the participant shows of itself.
    public let metadata: [String: String]
    /// Whether `.reliable` outlives peer connections towards this participant.
    public let hasDelivery: Bool
    /// Bytes of the longest message that this participant takes on `.reliable`, where it says so.
    public let maximumMessageSize: Int?

    init(_ participant: Participant) {
        id = participant.id
        session = participant.session
        name = participant.name
        isHost = participant.isHost
        metadata = participant.metadata
        hasDelivery = participant.capabilities.contains(DeliveryProtocol.capability)
        maximumMessageSize = DeliveryProtocol.messageLimit(in: participant.capabilities)
    }
}

/// What is known of the connection to a participant.
public enum PeerStatus: Sendable, Hashable {
    /// Waits for its turn or for the handshake.
    case connecting
    /// Messages flow. The path, where the transport has told it.
    case connected(PeerPath?)
    /// It was connected and is being healed; messages on `.reliable` are kept.
    case recovering(rung: String)
}

/// How a recovery went.
public struct RoomIncident: Sendable, Hashable {
    /// One step of a recovery.
    public struct Step: Sendable, Hashable {
        /// Of a peer: `detected`, `probed`, `held`, `restartRequested`, `rebuildRequested`, `described`, `answered`,
        /// `gathered`, `checked`, `nominated`, `connected`, `recovered`, `firstData`. Of signaling: `lost`, `attempt`,
        /// `connected`, `resumed`, `rejoined`.
        public let name: String
        /// When it happened.
        public let at: Timestamp
        /// Why, where the step has a reason of its own.
        public let cause: String?
        /// Of an `attempt`: which one it is, from 1.
        public let number: Int?
    }
    /// Nil: the connection to the room server.
    public let participant: ParticipantID?
    /// `silence`, `pathLost`, `networkChanged`, `connectionLost`, …
    public let cause: String
    /// When the trouble was noticed.
    public let startedAt: Timestamp
    /// When the path was up again or the server had let us in, or when the participant was gone.
    public let endedAt: Timestamp
    /// False: the participant, or we, left before it was healed.
    public let hasRecovered: Bool
    /// In the order of time; at most 65. Of a peer the first ones; of signaling the first and the latest. `firstData`
    /// may come up to a second after `endedAt`: the record waits for it so long.
    public let steps: [Step]

    /// From being noticed to being healed.
    public var duration: Duration { endedAt - startedAt }
}
