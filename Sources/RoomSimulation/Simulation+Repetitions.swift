internal import RoomCore
internal import RoomProtocol
internal import RoomServerCore

// Both sides of a signaling stream may repeat after a resume what the other one has already, and a connection that was
// given up may still say something: none of it may have any effect.
extension Simulation {
    private static var kept: Int { 4 }

    func note(_ envelope: Envelope<ClientMessage>, sentBy node: Node) {
        guard scenario.repeats else { return }
        node.sentUp.append(envelope)
        if node.sentUp.count > Self.kept { node.sentUp.removeFirst() }
    }

    /// The client has come back.
    func repeatUp(_ connection: SignalingConnection, behind joined: Joined) {
        let node = nodes[connection.node]
        if !joined.isResumed { node.sentUp = [] }
        for envelope in node.sentUp where (envelope.sequence ?? .max) <= joined.received {
            sendUp(connection, .message(envelope))
        }
    }

    /// Sends a message of the server.
    func sendDown(_ connection: SignalingConnection, _ envelope: Envelope<ServerMessage>) {
        let node = nodes[connection.node]
        sendDown(connection, .message(envelope))
        if case .joined(let joined) = envelope.message {
            connection.joined = (joined.session, joined.epoch)
            noteAdmission(of: connection)
            if !joined.isResumed {
                node.sentDown = []
                connection.server?.taken[joined.session] = nil
            }
            let received = connection.resume?.received ?? 0
            // A server that has not noticed yet that the participant is with another one goes on writing.
            for (former, repeated) in node.sentDown
            where former.server === connection.server && former.joined?.epoch == joined.epoch
                && (repeated.sequence ?? .max) <= received
            {
                sendDown(connection, .message(repeated))
            }
        } else if envelope.sequence != nil, scenario.repeats {
            node.sentDown.append((connection, envelope))
            if node.sentDown.count > Self.kept { node.sentDown.removeFirst() }
        }
    }

    /// Nobody is let in with an epoch that is older than one that its client has used.
    func inspectEpoch(of connection: SignalingConnection) {
        guard let resume = connection.resume, let claims = authority.claims(ofSessionToken: resume.sessionToken),
            let confirmed = connection.server?.confirmed[claims.session], claims.epoch < confirmed
        else { return }
        report("\(nodes[connection.node].name) is let in with epoch \(claims.epoch) after \(confirmed)")
    }

    /// Checks that a message that has come before is acknowledged, and nothing else; a machine that did not run for a
    /// while also asks the server first.
    func inspectRepetition(_ event: RoomMachine.Event, _ actions: [RoomMachine.Action], of node: Node) {
        guard case .received(let envelope, let generation) = event, node.connections[generation] != nil else { return }
        if case .joined(let joined) = envelope.message, !joined.isResumed { node.taken = 0 }
        guard let sequence = envelope.sequence else { return }
        defer { node.taken = max(node.taken, sequence) }
        guard sequence <= node.taken else { return }
        for action in actions {
            switch action {
            case .scheduleTimer, .cancelTimer: continue
            case .send(let answer, _):
                switch answer.message {
                case .ack, .ping: continue
                default: break
                }
            default: break
            }
            report("\(node.name) acts on message \(sequence), which came before: \(action)")
        }
    }

    func inspectRepetition(
        _ envelope: Envelope<ClientMessage>, _ actions: [ServerAction], from connection: SignalingConnection
    ) {
        guard let sequence = envelope.sequence, let session = connection.joined?.session, let server = connection.server
        else {
            return
        }
        let taken = server.taken[session] ?? 0
        server.taken[session] = max(taken, sequence)
        guard sequence <= taken else { return }
        for action in actions {
            if case .send(let answer, connection.id) = action, case .ack = answer.message { continue }
            report(
                "the server acts on message \(sequence) of \(nodes[connection.node].name), which came before: \(action)"
            )
        }
    }

    /// Checks that news of a connection that was given up change nothing.
    func inspectLateNews(_ event: RoomMachine.Event, _ actions: [RoomMachine.Action], of node: Node) {
        let generation: ConnectionGeneration
        switch event {
        case .received(_, let of), .receivedMalformed(_, let of), .transportClosed(let of, _): generation = of
        default: return
        }
        guard let newest = node.newestGeneration, generation < newest, !actions.isEmpty else { return }
        report("\(node.name) acts on news of a connection that was given up: \(actions)")
    }
}
