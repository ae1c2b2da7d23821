public import RoomProtocol
public import TransportValues

/// An event of a room. New cases may be added: always have a `default`.
public enum RoomEvent: Sendable, Hashable {
    /// The connection to the room server came, went, or is being tried.
    case signaling(SignalingStatus)
    /// This participant is in the room: for the first time, or back.
    case joined(RoomMembership)
    /// Never twice for one stay without a `peerLeft` between, also across outages.
    case peerJoined(RoomParticipant)
    /// The participant left, was removed, or did not come back in time.
    case peerLeft(RoomParticipant, reason: LeaveReason)
    /// Metadata, the epoch or the host role changed; the session is the same. The second value says what is new.
    case peerChanged(RoomParticipant, ParticipantChanges)
    /// The host has set other attributes of the room: all of them, and the keys that are new, different or gone. Also
    /// behind the first `joined`, when there are any.
    case attributesChanged([String: String], changes: Set<String>)
    /// The room has another host.
    case hostChanged(ParticipantID, term: HostTerm)
    /// The connection to a participant came, went, or is being healed.
    case peer(ParticipantID, PeerStatus)
    /// A participant has not been connected, or data to it has not been acknowledged, for eight to ten seconds: the
    /// reason, and what to do about it. Reported again when the reason changes, and every two minutes while it does
    /// not. The room goes on trying.
    case stalled(ParticipantID, PeerStall)
    /// A stall is over: the participant is connected, or acknowledges again.
    case resolved(ParticipantID, PeerStall)
    /// A recovery has ended; its steps with their times.
    case incident(RoomIncident)
    /// Messages of `.reliable` and `.unordered` towards a participant were dropped: it left permanently, or its
    /// connection was broken and the buffer full. A long message counts once. Of `.reliable` these are the messages
    /// that were never acknowledged (the last of them may have arrived); of `.unordered` those that no connection had
    /// taken. Lossy messages are not counted here.
    case undelivered(ParticipantID, count: Int)
    /// Something was refused; the room goes on.
    case error(RoomError)
    /// The last event: left, or refused permanently.
    case left(EndReason)
}

/// How this participant is in the room.
public struct RoomMembership: Sendable, Hashable {
    /// How a connection came into the room.
    public enum Kind: Sendable, Hashable {
        /// The first join.
        case first
        /// Back in the same session; the others never noticed.
        case resumed
        /// Back with a higher epoch.
        case rejoined
    }

    /// The id of this participant: kept through every resume and rejoin.
    public let participant: ParticipantID
    /// One stay in the room. With a new one, delivery starts afresh with all participants.
    public let session: SessionID
    /// Counts the connections of this participant that were not resumed.
    public let epoch: Epoch
    /// Whether this participant is the room's host.
    public package(set) var isHost: Bool
    /// Counts the hosts of the room.
    public package(set) var hostTerm: HostTerm
    /// Whether it is the first join, or how the connection came back.
    public let kind: Kind

    /// Whether the others never noticed that this participant was away.
    public var isResumed: Bool { kind == .resumed }

    package init(
        participant: ParticipantID, session: SessionID, epoch: Epoch, isHost: Bool, hostTerm: HostTerm, kind: Kind
    ) {
        self.participant = participant
        self.session = session
        self.epoch = epoch
        self.isHost = isHost
        self.hostTerm = hostTerm
        self.kind = kind
    }
}

/// Another participant of a room.
public typealias RoomParticipant = Participant

extension Participant {
    /// Whether `.reliable` outlives peer connections towards this participant.
    public var hasDelivery: Bool { capabilities.contains(DeliveryProtocol.capability) }
    /// Whether topics, requests and streams are possible with this participant.
    public var hasExchange: Bool {
        hasDelivery && capabilities.contains(ExchangeProtocol.capability)
    }
    /// Bytes of the longest message that this participant takes on `.reliable`, where it says so.
    public var maximumMessageSize: Int? { DeliveryProtocol.messageLimit(in: capabilities) }
}
