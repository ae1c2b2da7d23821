package import RoomProtocol
package import TransportValues

/// The messages of clients: what each may send, and what it does.
extension RoomServerMachine {
    /// A frame has arrived that is not a message: a ping, a pong, a part of a message. It is charged like a message,
    /// but does not count as a sign of life.
    package mutating func receivedFrame(from id: ConnectionID, at now: Timestamp) -> [ServerAction] {
        effects.now = now
        if let phase = connections[id]?.phase { _ = admit(id, phase, place(of: phase), bytes: 0) }
        return effects.takeActions()
    }

    /// A message of `bytes` bytes has arrived.
    package mutating func received(
        _ envelope: Envelope<ClientMessage>, bytes: Int = 0, from id: ConnectionID, at now: Timestamp
    ) -> [ServerAction] {
        effects.now = now
        guard let phase = noteActivity(of: id) else { return effects.takeActions() }
        let place = place(of: phase)
        guard admit(id, phase, place, bytes: bytes) else { return effects.takeActions() }
        switch (phase, envelope.message) {
        case (.waitingForHello, .hello(let hello)):
            handleHello(hello, id)
            admitWaiting()
        case (.waitingForRoom, .ping(let ping)): effects.send(.pong(id: ping), to: id)
        case (.waitingForRoom, .pong): break
        case (.waitingForRoom, .leave):
            effects.actions.append(.close(id, .normal))
            removeConnection(id)
        case (.waitingForRoom, _): refuse(.malformed("A client that waits for its room sends only ping and pong."), id)
        case (.waitingForHello, .ping(let ping)): effects.send(.pong(id: ping), to: id)
        case (.waitingForHello, _): refuse(.malformed("The first message of a connection must be hello."), id)
        case (.joined, .hello): refuse(.malformed("A connection must send only one hello."), id)
        case (.joined(let room, let participant), _):
            guard let place else { break }
            // Still the room's place: what was done above neither adds nor removes a room.
            do throws(ProtocolError) {
                let verdict = try rooms.values[place].roster
                    .take(sequence: envelope.sequence, ack: envelope.ack, from: participant, &effects)
                guard verdict == .next else { break }
                if case .signal(let signal) = envelope.message {
                    try rooms.values[place].roster
                        .signal(signal, from: participant, sequence: envelope.sequence, &effects)
                } else {
                    try handle(envelope, from: participant, in: room, id)
                }
            } catch {
                if error.isFatal {
                    refuse(error, id)
                } else {
                    rooms[room]?.roster.report(error, to: participant, &effects)
                }
            }
        }
        return effects.takeActions()
    }

    /// A message has arrived that could not be decoded.
    package mutating func receivedInvalid(
        _ error: ProtocolError, bytes: Int = 0, from id: ConnectionID, at now: Timestamp
    ) -> [ServerAction] {
        effects.now = now
        guard let phase = noteActivity(of: id), admit(id, phase, place(of: phase), bytes: bytes) else {
            return effects.takeActions()
        }
        switch phase {
        case .waitingForHello, .waitingForRoom: refuse(error, id)
        case .joined(let room, let participant):
            do throws(ProtocolError) {
                // Counted as received, otherwise it would be sent again after every resume.
                _ = try rooms[room]?.roster.take(sequence: error.sequence, ack: nil, from: participant, &effects)
                if error.isFatal { throw error }
                rooms[room]?.roster.report(error, to: participant, &effects)
            } catch {
                refuse(error, id)
            }
        }
        return effects.takeActions()
    }

    /// Records a sign of life, and returns the phase of the connection. Only whole messages count.
    private mutating func noteActivity(of id: ConnectionID) -> Connection.Phase? {
        guard let index = connections.index(forKey: id) else { return nil }
        return connections.values[index].heard(at: effects.now)
    }

    /// The place of the connection's room among all rooms, until one is added or removed.
    private func place(of phase: Connection.Phase) -> Dictionary<RoomName, ServerRoom>.Index? {
        if case .joined(let room, _) = phase { rooms.index(forKey: room) } else { nil }
    }

    /// Charges a frame or a message. Returns false when a client has sent too much, and is refused.
    private mutating func admit(
        _ id: ConnectionID, _ phase: Connection.Phase, _ place: Dictionary<RoomName, ServerRoom>.Index?, bytes: Int
    ) -> Bool {
        let cost = 1 + bytes / effects.limits.bytesPerMessage
        let (rate, burst) = (effects.limits.messagesPerSecond, effects.limits.messageBurst)
        var isAllowed: Bool?
        switch phase {
        case .waitingForHello, .waitingForRoom:
            isAllowed = connections[id]?.bucket.take(cost, rate: rate, burst: burst, now: effects.now)
        case .joined(_, let participant):
            guard let place else { break }
            isAllowed = rooms.values[place].roster
                .takeMessages(cost, from: participant, rate: rate, burst: burst, now: effects.now)
        }
        guard isAllowed != false else {
            refuse(.tooManyRequests("Too many messages.", effects.limits.retryAfter), id)
            return false
        }
        return true
    }

    private mutating func handle(
        _ envelope: Envelope<ClientMessage>, from participant: ParticipantID, in room: RoomName, _ id: ConnectionID
    ) throws(ProtocolError) {
        switch envelope.message {
        case .kick(let target, let reason):
            try removeMember(target, from: room, reason: reason, by: participant, sequence: envelope.sequence)
        case .update(let metadata): rooms[room]?.roster.update(metadata, of: participant, &effects)
        case .updateRoom(let attributes):
            try rooms[room]?.update(attributes, by: participant, sequence: envelope.sequence, &effects)
        case .ack(let received):
            _ = try rooms[room]?.roster.take(sequence: nil, ack: received, from: participant, &effects)
        case .ping(let ping): rooms[room]?.roster.transmit(.pong(id: ping), nil, to: participant, &effects)
        case .pong: break
        case .leave:
            rooms[room]?.leave(participant, &effects)
            connections[id] = nil
            effects.actions.append(.close(id, .normal))
        case .closeRoom(let reason):
            guard rooms[room]?.host == participant else { throw .notHost(envelope.sequence) }
            closeRoom(room, reason: reason, by: .host)
        case .signal(let signal):
            try rooms[room]?.roster.signal(signal, from: participant, sequence: envelope.sequence, &effects)
        // Refused before.
        case .hello: break
        }
    }
}
