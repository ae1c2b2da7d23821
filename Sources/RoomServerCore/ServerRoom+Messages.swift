import RoomProtocol
import TransportValues

extension ServerRoom {
    // MARK: To the participants

    /// Numbers a message and keeps it until it is acknowledged; sends it where there is a connection.
    mutating func deliver(_ message: ServerMessage, to id: ParticipantID, _ effects: inout Effects) {
        guard let sequence = members[id]?.outbound.append(message, &effects.streamBytes) else { return }
        transmit(message, sequence, to: id, &effects)
    }

    mutating func tellOthers(_ message: ServerMessage, than id: ParticipantID, _ effects: inout Effects) {
        for member in inOrder where member.participant.id != id {
            deliver(message, to: member.participant.id, &effects)
        }
    }

    /// Sends with the acknowledgement of what has come.
    func transmit(
        _ message: ServerMessage, _ sequence: SequenceNumber?, to id: ParticipantID, _ effects: inout Effects
    ) {
        guard let member = members[id], let connection = member.connection else { return }
        let ack = member.received > 0 ? member.received : nil
        effects.actions.append(.send(Envelope(sequence: sequence, ack: ack, message), to: connection))
    }

    func report(_ error: ProtocolError, to id: ParticipantID, _ effects: inout Effects) {
        transmit(.error(error), nil, to: id, &effects)
    }

    // MARK: From the participants

    enum Verdict {
        /// Act on it.
        case next
        /// It came before, or is not to be acted upon.
        case ignore
    }

    /// Takes the number and the acknowledgement of a message. Throws where they make no sense.
    mutating func take(
        sequence: SequenceNumber?, ack: SequenceNumber?, from id: ParticipantID, _ effects: inout Effects
    ) throws(ProtocolError) -> Verdict {
        confirm(id, &effects)
        if let ack, members[id]?.outbound.acknowledge(ack, &effects.streamBytes) == false {
            throw .malformed("A message was acknowledged that was never sent.")
        }
        guard let sequence, let received = members[id]?.received else { return .next }
        guard sequence > received else {
            scheduleAck(id, &effects)
            return .ignore
        }
        guard sequence - received == 1 else {
            throw .malformed("The number \(sequence) came after \(received).", sequence: sequence)
        }
        members[id]?.received = sequence
        scheduleAck(id, &effects)
        return .next
    }

    private mutating func scheduleAck(_ id: ParticipantID, _ effects: inout Effects) {
        members[id]?.unacknowledged += 1
        guard let member = members[id] else { return }
        if member.unacknowledged >= effects.limits.ackEvery {
            sendAck(id, &effects)
        } else if member.ackDue == nil {
            let due = effects.now + effects.limits.ackDelay
            members[id]?.ackDue = due
            effects.deadlines.schedule(.acknowledgement(name, id), at: due)
        }
    }

    private mutating func sendAck(_ id: ParticipantID, _ effects: inout Effects) {
        guard let member = members[id], let connection = member.connection else { return }
        members[id]?.unacknowledged = 0
        members[id]?.ackDue = nil
        effects.actions.append(.send(Envelope(.ack(received: member.received)), to: connection))
    }

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

    /// Returns the connection that has to be forgotten.
    mutating func kick(
        _ kick: Kick, by id: ParticipantID, sequence: SequenceNumber?, _ effects: inout Effects
    ) throws(ProtocolError) -> ConnectionID? {
        guard host?.id == id else { throw .notHost(sequence) }
        guard kick.participant != id, let target = members[kick.participant] else { throw .peerNotFound(sequence) }
        if let connection = target.connection {
            var error = ProtocolError.kicked
            if !kick.reason.isEmpty { error.message += " Reason: \(kick.reason)" }
            effects.send(.error(error), to: connection)
            effects.actions.append(.close(connection, .refused))
        }
        remove(kick.participant, .kicked, &effects)
        return target.connection
    }

    mutating func update(_ metadata: [String: String], of id: ParticipantID, _ effects: inout Effects) {
        guard let former = members[id]?.participant.metadata, !former.hasSameBytes(as: metadata) else { return }
        members[id]?.participant.metadata = metadata
        members[id]?.hasUntoldUpdate = true
        tellUpdate(of: id, &effects)
    }

    /// Tells the others of the newest metadata, as soon as the participant may cost them that much.
    mutating func tellUpdate(of id: ParticipantID, _ effects: inout Effects) {
        guard let member = members[id], member.hasUntoldUpdate else { return }
        let bytes = member.participant.metadata.reduce(512) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        let cost = bytes * (members.count - 1)
        if let time = members[id]?.allowance.takeUpdate(cost, effects) {
            effects.deadlines.schedule(.update(name, id), at: time)
            return
        }
        members[id]?.hasUntoldUpdate = false
        tellOthers(.peerChanged(member.participant), than: id, &effects)
    }

    // MARK: Time

    mutating func graceDeadline(_ id: ParticipantID, _ effects: inout Effects) {
        guard let disconnectedAt = members[id]?.disconnectedAt else { return }
        let end = disconnectedAt + effects.limits.grace
        if end <= effects.now {
            remove(id, .timedOut, &effects)
        } else {
            effects.deadlines.schedule(.grace(name, id), at: end)
        }
    }

    mutating func acknowledgementDeadline(_ id: ParticipantID, _ effects: inout Effects) {
        guard let due = members[id]?.ackDue else { return }
        if due <= effects.now {
            sendAck(id, &effects)
        } else {
            effects.deadlines.schedule(.acknowledgement(name, id), at: due)
        }
    }

    /// Renews the credentials of the ICE servers, where half of their life is over.
    mutating func refreshICEServers(of id: ParticipantID, _ effects: inout Effects) {
        guard let time = members[id]?.iceRefreshAt, time <= effects.now else { return }
        let ice = effects.authority.iceServers(for: id)
        noteICERefresh(id, ice, effects)
        transmit(.iceServers(ice), nil, to: id, &effects)
    }

    /// True: nobody has been here for long enough, the room is to be removed.
    mutating func roomDeadline(_ effects: inout Effects) -> Bool {
        if electHostIfDue(&effects) { announceHost(&effects) }
        if let emptySince {
            let end = emptySince + effects.limits.emptyRoomTTL
            if end <= effects.now { return true }
            effects.deadlines.schedule(.room(name), at: end)
        }
        if let hostDeadline, hostDeadline > effects.now {
            effects.deadlines.schedule(.room(name), at: hostDeadline)
        }
        return false
    }
}
