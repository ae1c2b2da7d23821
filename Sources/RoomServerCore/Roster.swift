import RoomProtocol
import TransportValues

/// The members of one room, and the messages to them and between them.
struct Roster: Sendable {
    let room: RoomName
    var members: [ParticipantID: Member] = [:]
    private var arrivals: UInt64 = 0

    init(room: RoomName) { self.room = room }

    /// The members, the longest-present first.
    var inOrder: [Member] { members.values.sorted { $0.order < $1.order } }

    func member(named name: String) -> Member? {
        members.values.first { $0.participant.name.hasSameBytes(as: name) }
    }

    mutating func insert(
        _ participant: Participant, role: Hello.Role?, allowance: Allowance, _ effects: inout Effects
    ) {
        members[participant.id] = Member(
            participant, role: role, allowance: allowance, order: arrivals, limits: effects.limits)
        arrivals += 1
        effects.participants += 1
    }

    mutating func remove(_ id: ParticipantID, _ effects: inout Effects) -> Member? {
        guard var member = members.removeValue(forKey: id) else { return nil }
        member.outbound.removeAll(&effects.streamBytes)
        effects.participants -= 1
        return member
    }

    // MARK: To the members

    /// Numbers a message, keeps it until it is acknowledged, and sends it if the member is connected.
    mutating func deliver(_ message: ServerMessage, to id: ParticipantID, _ effects: inout Effects) {
        guard let sequence = members[id]?.outbound.append(message, &effects.streamBytes) else { return }
        transmit(message, sequence, to: id, &effects)
    }

    mutating func deliver(_ message: ServerMessage, toAllBut id: ParticipantID, _ effects: inout Effects) {
        for member in inOrder where member.participant.id != id {
            deliver(message, to: member.participant.id, &effects)
        }
    }

    /// Sends a message together with an acknowledgement.
    func transmit(
        _ message: ServerMessage, _ sequence: SequenceNumber?, to id: ParticipantID, _ effects: inout Effects
    ) {
        guard let member = members[id], let connection = member.connection else { return }
        let ack = member.inbound.received > 0 ? member.inbound.received : nil
        effects.actions.append(.send(Envelope(sequence: sequence, ack: ack, message), to: connection))
    }

    func report(_ error: ProtocolError, to id: ParticipantID, _ effects: inout Effects) {
        transmit(.error(error), nil, to: id, &effects)
    }

    // MARK: From the members

    /// Processes the number and the acknowledgement of a message. Throws if they are invalid.
    mutating func take(
        sequence: SequenceNumber?, ack: SequenceNumber?, from id: ParticipantID, _ effects: inout Effects
    ) throws(ProtocolError) -> InboundStream.Verdict {
        confirm(id, &effects)
        if let ack, members[id]?.outbound.acknowledge(ack, &effects.streamBytes) == false {
            throw .malformed("A message was acknowledged that was never sent.")
        }
        guard let sequence, let verdict = try members[id]?.inbound.take(sequence) else { return .next }
        if let time = members[id]?.inbound.scheduleAcknowledgement(effects.limits, at: effects.now) {
            acknowledge(id, time, &effects)
        }
        return verdict
    }

    /// The member has sent a message: the session whose name it has taken cannot return any longer.
    private mutating func confirm(_ id: ParticipantID, _ effects: inout Effects) {
        members[id]?.isConfirmed = true
        guard let session = members[id]?.formerSession else { return }
        members[id]?.formerSession = nil
        effects.departures.sessionReplaced(session)
    }

    mutating func acknowledgementDeadline(_ id: ParticipantID, _ effects: inout Effects) {
        guard let member = members[id] else { return }
        acknowledge(id, member.inbound.acknowledgement(at: effects.now), &effects)
    }

    private mutating func acknowledge(
        _ id: ParticipantID, _ time: InboundStream.Acknowledgement, _ effects: inout Effects
    ) {
        switch time {
        case .none: break
        case .at(let time): effects.deadlines.schedule(.acknowledgement(room, id), at: time)
        case .now:
            guard let member = members[id], let connection = member.connection else { return }
            members[id]?.inbound.acknowledged()
            effects.actions.append(.send(Envelope(.ack(received: member.inbound.received)), to: connection))
        }
    }

    // MARK: Between the members

    mutating func signal(
        _ signal: Signal, from id: ParticipantID, sequence: SequenceNumber?, _ effects: inout Effects
    ) throws(ProtocolError) {
        guard let sender = members[id]?.participant else { return }
        guard signal.peer != id, members[signal.peer]?.participant.session == signal.session else {
            throw .peerNotFound(sequence)
        }
        let target = signal.peer
        var signal = signal
        signal.peer = id
        signal.session = sender.session
        deliver(.signal(signal), to: target, &effects)
    }

    mutating func update(_ metadata: [String: String], of id: ParticipantID, _ effects: inout Effects) {
        guard let former = members[id]?.participant.metadata, !former.hasSameBytes(as: metadata) else { return }
        members[id]?.participant.metadata = metadata
        members[id]?.hasUnsentUpdate = true
        sendUpdate(of: id, &effects)
    }

    /// Sends the newest metadata to the others as soon as the participant's allowance permits.
    mutating func sendUpdate(of id: ParticipantID, _ effects: inout Effects) {
        guard let member = members[id], member.hasUnsentUpdate else { return }
        let cost = member.updateSize * (members.count - 1)
        if let time = members[id]?.allowance.takeUpdate(cost, effects) {
            effects.deadlines.schedule(.update(room, id), at: time)
            return
        }
        members[id]?.hasUnsentUpdate = false
        deliver(.peerChanged(member.participant), toAllBut: id, &effects)
    }

    // MARK: ICE servers

    /// Returns fresh ICE servers for a member, and schedules their renewal for half of their credentials' life.
    mutating func makeICEServers(for id: ParticipantID, _ effects: Effects) -> ICEServerList {
        let servers = effects.authority.iceServers(for: id)
        members[id]?.iceRefreshAt = servers.ttl.map { effects.now + $0 / 2 }
        return servers
    }

    mutating func refreshICEServers(of id: ParticipantID, _ effects: inout Effects) {
        guard let time = members[id]?.iceRefreshAt, time <= effects.now else { return }
        transmit(.iceServers(makeICEServers(for: id, effects)), nil, to: id, &effects)
    }
}
