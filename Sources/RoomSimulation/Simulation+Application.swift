internal import RoomCore
internal import RoomProtocol
internal import TransportValues

extension Simulation {
    /// Checks an event that an application would see.
    func observe(_ event: RoomEvent, of node: Node) {
        note("\(node.name) \(event)")
        if node.end != nil { report("\(node.name) says something after its end: \(event)") }
        switch event {
        case .joined(let membership):
            let isNew = node.membership?.session != membership.session
            if let before = node.membership, before.participant == membership.participant {
                let isHigher = membership.epoch > before.epoch
                if membership.kind == .resumed ? membership.epoch != before.epoch || isNew : !isHigher {
                    report("\(node.name) is \(membership.kind) in epoch \(membership.epoch) after \(before.epoch)")
                }
            }
            node.membership = membership
            directory[membership.participant] = node.index
            if isNew {
                noteTakenName(by: node)
                for participant in node.roster.values.sorted(by: { $0.id < $1.id }) {
                    makeStream(node, to: participant)
                }
            }
        case .peerJoined(let participant):
            if node.roster[participant.id] != nil { report("\(node.name) sees \(participant.name) join twice") }
            if participant.id == node.membership?.participant { report("\(node.name) sees itself join") }
            node.roster[participant.id] = participant
            makeStream(node, to: participant)
        case .peerLeft(let participant, _):
            if node.roster[participant.id]?.session != participant.session {
                report("\(node.name) sees \(participant.name) leave who was not there")
            }
            node.roster[participant.id] = nil
            dropStream(node, to: participant.id)
        case .peerChanged(let participant, _):
            if node.roster[participant.id]?.session != participant.session {
                report("\(node.name) sees \(participant.name) change who was not there")
            }
            node.roster[participant.id] = participant
        case .peer(let participant, let status):
            if node.roster[participant] == nil { report("\(node.name) hears of a peer that is not there") }
            statusChanged(node, participant, status)
        case .stalled(let participant, let stall):
            if case .connected = node.machine.peerStatus(of: participant), stall.code != .notAcknowledged {
                report("\(node.name) says that \(participant) is not connected, and it is: \(stall)")
            }
        case .incident(let incident):
            if incident.steps.map(\.at) != incident.steps.map(\.at).sorted() {
                report("\(node.name) has an incident out of order")
            }
            node.incidents.append(incident)
        case .left(let reason):
            for id in node.streams.keys.sorted() { dropStream(node, to: id) }
            handleEnd(node, reason)
        case .hostChanged(let host, _):
            for id in node.roster.keys { node.roster[id]?.isHost = id == host }
        case .signaling, .attributesChanged, .resolved, .error, .undelivered: break
        }
    }

    private func handleEnd(_ node: Node, _ reason: EndReason) {
        node.end = reason
        if node.hasLeft { return }
        // A first join that comes at the wrong moment is tried again by its user.
        if node.membership == nil, case .refused(let failure) = reason {
            joinAnew(node, as: failure.code == .roomNotFound ? .host : .guest, after: .seconds(1))
        } else if case .refused(let failure) = reason, failure.code == .replaced, mayBeReplaced(node) {
            joinAnew(node, after: .seconds(1))
        } else if case .kicked = reason, node.isKicked {
            return
        } else if case .replaced = reason, !node.countsAttempts {
            // Late attempts of its own have won twice, and it cannot be told that they were its own: its user joins
            // again.
            joinAnew(node, after: .seconds(1))
        } else {
            report("\(node.name) was thrown out: \(reason)")
        }
    }

    /// The same user comes again, as somebody new.
    func joinAnew(_ node: Node, as role: Hello.Role = .guest, after delay: Duration) {
        let life = node.life + 1
        for id in node.endpoints.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            if let endpoint = node.endpoints[id] { removeEndpoint(endpoint) }
        }
        node.endpoints = [:]
        for id in node.streams.keys.sorted() { dropStream(node, to: id) }
        if let name = node.nameAfterReplacement {
            node.participantName = name
            node.nameAfterReplacement = nil
        }
        node.machine = makeMachine(node.participantName, role, hasExchange: node.hasExchange)
        node.life = life
        node.timers = [:]
        node.memory = DeliveryMemory()
        node.unread = [:]
        node.reading = []
        node.sentUp = []
        node.taken = 0
        node.newestGeneration = nil
        node.membership = nil
        node.roster = [:]
        node.end = nil
        node.hasLeft = false
        node.tokenProvider.reset()
        node.iceServerProvider.reset()
        node.metadata = [:]
        queue.push(.machine(node: node.index, life: life, .started), at: now + delay)
        queue.push(.delivery(.sendMessages(node: node.index, life: life)), at: now + delay)
    }
}
