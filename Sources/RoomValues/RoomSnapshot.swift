public import RoomProtocol
public import TransportValues

/// The state of a room at one time: everything that a user interface shows, as one value.
public struct RoomSnapshot: Sendable, Hashable {
    /// Another participant, with the state of the connection to it.
    public struct Member: Sendable, Hashable, Identifiable {
        /// The participant: its id, name, metadata, and whether it is the host.
        public package(set) var participant: RoomParticipant
        /// The connection to it. `.waiting` before the first status.
        public package(set) var status = PeerStatus.waiting
        /// Why it is not reached, while there is a stall.
        public package(set) var stall: PeerStall?

        /// The participant's id.
        public var id: ParticipantID { participant.id }
        /// The path of the connection, while it is connected and the transport has reported it.
        public var path: PeerPath? { if case .connected(let path) = status { path } else { nil } }

        package init(_ participant: RoomParticipant) { self.participant = participant }
    }

    /// The room's name.
    public let room: String
    /// How this participant is in the room. Nil before the first join.
    public package(set) var membership: RoomMembership?
    /// The connection to the room server.
    public package(set) var signaling = SignalingStatus.disconnected(cause: nil)
    /// The attributes that the host has set.
    public package(set) var attributes: [String: String] = [:]
    /// The other participants in the order of their ids.
    public package(set) var members: [Member] = []
    /// Why the room has ended. Nil while it goes on.
    public package(set) var endReason: EndReason?

    /// This participant's id. Nil before the first join.
    public var selfID: ParticipantID? { membership?.participant }
    /// Whether this participant is the room's host.
    public var isHost: Bool { membership?.isHost ?? false }
    /// The room's host. Nil before the first join, and while the room waits for one.
    public var host: ParticipantID? { isHost ? selfID : members.first { $0.participant.isHost }?.id }

    package init(room: String) { self.room = room }

    /// Takes up an event. An event that changes no state is ignored.
    package mutating func apply(_ event: RoomEvent) {
        switch event {
        case .signaling(let status): signaling = status
        case .joined(let membership): self.membership = membership
        case .peerJoined(let participant):
            let index = members.firstIndex { !($0.id < participant.id) } ?? members.endIndex
            if index < members.endIndex, members[index].id == participant.id {
                members[index] = Member(participant)
            } else {
                members.insert(Member(participant), at: index)
            }
        case .peerLeft(let participant, _): members.removeAll { $0.id == participant.id }
        case .peerChanged(let participant, _): change(participant.id) { $0.participant = participant }
        case .attributesChanged(let values, _): attributes = values
        case .hostChanged(let host, let term):
            let isHost = host == membership?.participant
            membership?.isHost = isHost
            membership?.hostTerm = term
            for index in members.indices { members[index].participant.isHost = members[index].id == host }
        case .peer(let participant, let status): change(participant) { $0.status = status }
        case .stalled(let participant, let stall): change(participant) { $0.stall = stall }
        case .resolved(let participant, _): change(participant) { $0.stall = nil }
        case .left(let reason): endReason = reason
        case .incident, .undelivered, .error: break
        }
    }

    private mutating func change(_ participant: ParticipantID, _ body: (inout Member) -> Void) {
        guard let index = members.firstIndex(where: { $0.id == participant }) else { return }
        body(&members[index])
    }

    /// The events that lead a new consumer to this state.
    package var events: [RoomEvent] {
        var events: [RoomEvent] = [.signaling(signaling)]
        if let membership { events.append(.joined(membership)) }
        if !attributes.isEmpty { events.append(.attributesChanged(attributes, changes: Set(attributes.keys))) }
        for member in members { events.append(.peerJoined(member.participant)) }
        for member in members {
            if member.status != .waiting { events.append(.peer(member.id, member.status)) }
            if let stall = member.stall { events.append(.stalled(member.id, stall)) }
        }
        if let endReason { events.append(.left(endReason)) }
        return events
    }
}
