import RoomProtocol
import TransportValues

/// The members of one room, and the messages to them and between them.
struct Roster: Sendable {
    let room: RoomName
    typealias Members = [ParticipantID: Member]
    var members: Members = [:]
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
        guard let index = members.index(forKey: id) else { return }
        let sequence = members.values[index].outbound.append(message, &effects.streamBytes)
        transmit(message, sequence, to: index, &effects)
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
        if let index = members.index(forKey: id) { transmit(message, sequence, to: index, &effects) }
    }

    private func transmit(
        _ message: ServerMessage, _ sequence: SequenceNumber?, to index: Members.Index, _ effects: inout Effects
    ) {
        guard let connection = members.values[index].connection else { return }
        let received = members.values[index].inbound.received
        let ack = received > 0 ? received : nil
        effects.actions.append(.send(Envelope(sequence: sequence, ack: ack, message), to: connection))
    }

    /// The member has been silent for a while: memory for its next messages can wait until they come.
    mutating func idle(_ id: ParticipantID) { members[id]?.outbound.releaseMemory() }

    func report(_ error: ProtocolError, to id: ParticipantID, _ effects: inout Effects) {
        transmit(.error(error), nil, to: id, &effects)
    }

    // MARK: From the members

    /// Processes the number and the acknowledgement of a message. Throws if they are invalid.
    mutating func take(
        sequence: SequenceNumber?, ack: SequenceNumber?, from id: ParticipantID, _ effects: inout Effects
    ) throws(ProtocolError) -> InboundStream.Verdict {
        guard let index = members.index(forKey: id) else { return .next }
        confirm(index, &effects)
        if let ack, !members.values[index].outbound.acknowledge(ack, &effects.streamBytes) {
            throw .malformed("A message was acknowledged that was never sent.")
        }
        guard let sequence else { return .next }
        let verdict = try members.values[index].inbound.take(sequence)
        let time = members.values[index].inbound.scheduleAcknowledgement(effects.limits, at: effects.now)
        acknowledge(id, index, time, &effects)
        return verdict
    }

    /// The member has sent a message: the session whose name it has taken cannot return any longer.
    private mutating func confirm(_ index: Members.Index, _ effects: inout Effects) {
        members.values[index].isConfirmed = true
        guard let session = members.values[index].formerSession else { return }
        members.values[index].formerSession = nil
        effects.departures.sessionReplaced(session, in: room)
    }

    mutating func acknowledgementDeadline(_ id: ParticipantID, _ effects: inout Effects) {
        guard let index = members.index(forKey: id) else { return }
        acknowledge(id, index, members.values[index].inbound.acknowledgement(at: effects.now), &effects)
    }

    private mutating func acknowledge(
        _ id: ParticipantID, _ index: Members.Index, _ time: InboundStream.Acknowledgement, _ effects: inout Effects
    ) {
        switch time {
        case .none: break
        case .at(let time): effects.deadlines.schedule(.acknowledgement(room, id), at: time)
        case .now:
            guard let connection = members.values[index].connection else { return }
            members.values[index].inbound.acknowledged()
            let received = members.values[index].inbound.received
            effects.actions.append(.send(Envelope(.ack(received: received)), to: connection))
        }
    }

    // MARK: Between the members

    mutating func signal(
        _ signal: Signal, from id: ParticipantID, sequence: SequenceNumber?, _ effects: inout Effects
    ) throws(ProtocolError) {
        guard let session = members[id]?.participant.session else { return }
        guard signal.peer != id, let target = members.index(forKey: signal.peer),
            members.values[target].participant.session == signal.session
        else { throw .peerNotFound(sequence) }
        var signal = signal
        signal.peer = id
        signal.session = session
        let message = ServerMessage.signal(signal)
        let number = members.values[target].outbound.append(message, &effects.streamBytes)
        transmit(message, number, to: target, &effects)
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
