import RoomProtocol
import TransportValues

/// The members of one room, and the messages to them and between them.
struct Roster: Sendable {
    let room: RoomName
    var members = Members()

    init(room: RoomName) { self.room = room }

    /// The members, the longest-present first.
    var inOrder: [Member] { members.all }

    func member(named name: String) -> Member? {
        members.all.first { $0.participant.name.hasSameBytes(as: name) }
    }

    mutating func insert(
        _ participant: Participant, role: Hello.Role?, allowance: Allowance, _ effects: inout Effects
    ) {
        var participant = participant
        // One list for all clients that can do the same.
        let alike = members.all.first { $0.participant.capabilities == participant.capabilities }
        participant.capabilities = alike?.participant.capabilities ?? participant.capabilities
        members.append(Member(participant, role: role, allowance: allowance, limits: effects.limits))
        effects.participants += 1
    }

    mutating func remove(_ id: ParticipantID, _ effects: inout Effects) -> Member? {
        guard var member = members.remove(id) else { return nil }
        member.outbound.removeAll(&effects.streamBytes)
        effects.participants -= 1
        return member
    }

    // MARK: To the members

    /// Numbers a message, keeps it until it is acknowledged, and sends it if the member is connected.
    mutating func deliver(_ message: ServerMessage, to id: ParticipantID, _ effects: inout Effects) {
        if let index = members.index(of: id) { deliver(message, to: index, &effects) }
    }

    mutating func deliver(_ message: ServerMessage, toAllBut id: ParticipantID, _ effects: inout Effects) {
        for index in 0..<members.count where members[index].participant.id != id {
            deliver(message, to: index, &effects)
        }
    }

    private mutating func deliver(_ message: ServerMessage, to index: Int, _ effects: inout Effects) {
        let sequence = members[index].outbound.append(message, &effects.streamBytes)
        transmit(message, sequence, to: index, &effects)
    }

    /// Sends a message together with an acknowledgement, which then needs no message of its own.
    mutating func transmit(
        _ message: ServerMessage, _ sequence: SequenceNumber?, to id: ParticipantID, _ effects: inout Effects
    ) {
        if let index = members.index(of: id) { transmit(message, sequence, to: index, &effects) }
    }

    private mutating func transmit(
        _ message: ServerMessage, _ sequence: SequenceNumber?, to index: Int, _ effects: inout Effects
    ) {
        guard let connection = members[index].connection else { return }
        let ack = members[index].inbound.takeAcknowledgement()
        effects.actions.append(.send(Envelope(sequence: sequence, ack: ack, message), to: connection))
    }

    mutating func report(_ error: ProtocolError, to id: ParticipantID, _ effects: inout Effects) {
        transmit(.error(error), nil, to: id, &effects)
    }

    // MARK: From the members

    /// Returns false when the member has sent more than it may; nil when there is none.
    mutating func takeMessages(
        _ count: Int, from id: ParticipantID, rate: Int, burst: Int, now: Timestamp
    ) -> Bool? {
        guard let index = members.index(of: id) else { return nil }
        return members[index].allowance.messages.take(count, rate: rate, burst: burst, now: now)
    }

    /// Processes the number and the acknowledgement of a message. Throws if they are invalid.
    mutating func take(
        sequence: SequenceNumber?, ack: SequenceNumber?, from id: ParticipantID, _ effects: inout Effects
    ) throws(ProtocolError) -> InboundStream.Verdict {
        guard let index = members.index(of: id) else { return .next }
        confirm(index, &effects)
        if let ack, !members[index].outbound.acknowledge(ack, &effects.streamBytes) {
            throw .malformed("A message was acknowledged that was never sent.")
        }
        guard let sequence else { return .next }
        let verdict = try members[index].inbound.take(sequence)
        let time = members[index].inbound.scheduleAcknowledgement(effects.limits, at: effects.now)
        acknowledge(index, time, &effects)
        return verdict
    }

    /// The member has sent a message: the session whose name it has taken cannot return any longer.
    private mutating func confirm(_ index: Int, _ effects: inout Effects) {
        members[index].isConfirmed = true
        guard let session = members[index].formerSession else { return }
        members[index].formerSession = nil
        effects.departures.sessionReplaced(session, in: room)
    }

    mutating func acknowledgementDeadline(_ id: ParticipantID, _ effects: inout Effects) {
        guard let index = members.index(of: id) else { return }
        let time = members[index].inbound.acknowledgement(at: effects.now)
        acknowledge(index, time, &effects)
    }

    private mutating func acknowledge(
        _ index: Int, _ time: InboundStream.Acknowledgement, _ effects: inout Effects
    ) {
        guard let connection = members[index].connection else { return }
        switch time {
        case .none: break
        case .at(let time): effects.schedule(.acknowledgement(connection), at: time)
        case .now:
            guard let received = members[index].inbound.takeAcknowledgement() else { return }
            effects.actions.append(.send(Envelope(.ack(received: received)), to: connection))
        }
    }

    // MARK: Between the members

    mutating func signal(
        _ signal: Signal, from id: ParticipantID, sequence: SequenceNumber?, _ effects: inout Effects
    ) throws(ProtocolError) {
        guard let sender = members.index(of: id) else { return }
        guard signal.peer != id, let target = members.index(of: signal.peer),
            members[target].participant.session == signal.session
        else { throw .peerNotFound(sequence) }
        var signal = signal
        signal.peer = id
        signal.session = members[sender].participant.session
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
            effects.schedule(.update(room, id), at: time)
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
