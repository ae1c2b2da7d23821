internal import RoomCore
internal import RoomProtocol
internal import TransportPluginAPI

extension Simulation {
    /// What must be true at any time.
    func inspect() {
        for node in nodes {
            guard node.suspendedUntil <= now else {
                // Asleep, it can't know.
                node.deadSince = nil
                node.calmSince = nil
                continue
            }
            inspectTraffic(node)
            node.opens.removeAll { now - $0 > .seconds(10) }
            if node.opens.count > 40 { report("\(node.name) opened \(node.opens.count) connections in ten seconds") }
            if node.machine.queuedMessages > SignalingConfiguration().queueLimit {
                report("\(node.name) keeps \(node.machine.queuedMessages) messages")
            }
            inspectStatus(node)
        }
        noteWell(now >= .zero + scenario.faultsEnd && isWell)
    }

    /// Nobody is given up who is in the room, or was a moment ago.
    func inspectLeaves(_ actions: [RoomMachine.Action], of node: Node) {
        for case .emit(.peerLeft(let participant, let reason)) in actions where node.end == nil {
            guard let other = directory[participant.id].map({ nodes[$0] }), !other.isKicked, other.end == nil,
                other.membership?.session == participant.session, let last = other.lastInTouch
            else { continue }
            // By the clock of whoever waited: a machine cannot know that the time it is told has jumped.
            let jumped = node.clockJumps.filter { $0.at > last }.reduce(Duration.zero) { $0 + $1.by }
            guard now - last + jumped < (reason == .left ? .seconds(4) : Self.grace - .seconds(5)) else { continue }
            report(
                "\(node.name) gives up \(other.name) (\(reason)), who was in the room \((now - last).inSeconds) s ago")
        }
    }

    /// The server's.
    static var grace: Duration { .seconds(20) }

    private func inspectTraffic(_ node: Node) {
        node.sends.removeAll { now - $0 > .seconds(10) }
        mostSends = max(mostSends, node.sends.count)
        if node.sends.count > Self.sendLimit {
            report("\(node.name) sent \(node.sends.count) messages to the server in ten seconds")
        }
    }

    /// Messages of one participant to the server in ten seconds.
    static var sendLimit: Int { 600 }

    /// A status is never a lie for longer than the evidence allows.
    private func inspectStatus(_ node: Node) {
        let isHealthy =
            node.signalingUpCuts == 0 && node.signalingDownCuts == 0 && !isServerSilent
            && node.links.values.contains { $0.isOpenAtClient && $0.isOpenAtServer && !$0.isDead }
        let isConnected = if case .connected = node.machine.signalingStatus { true } else { false }
        if isConnected, isHealthy { node.lastInTouch = now }
        node.calmSince = isConnected && isHealthy ? node.calmSince ?? now : nil
        if isConnected, !isHealthy {
            node.deadSince = node.deadSince ?? now
            // Ping interval and deadline, and the second between two looks.
            if let since = node.deadSince, now - since > .seconds(12) {
                report("\(node.name) calls a dead connection connected for \((now - since).inSeconds) s")
            }
        } else {
            node.deadSince = nil
        }
        for endpoint in node.endpoints.values {
            var isCalledConnected = false
            if case .connected = node.machine.peerStatus(of: endpoint.remote) { isCalledConnected = true }
            if !isCalledConnected || endpoint.isClosed || hears(endpoint) {
                endpoint.deadSince = nil
                continue
            }
            endpoint.deadSince = endpoint.deadSince ?? now
            if let since = endpoint.deadSince, now - since > .seconds(3), node.suspendedUntil <= now - .seconds(3) {
                report("\(node.name) calls a dead peer connected for \((now - since).inSeconds) s")
            }
        }
    }

    /// Everybody is connected to everybody, and nobody sees anybody else.
    private var isWell: Bool { complaints.isEmpty }

    func inspectEnd() {
        for complaint in complaints { report(complaint) }
    }

    private var complaints: [String] {
        var complaints: [String] = []
        let present = nodes.filter { $0.end == nil }
        let hosts = Set(present.map(host(accordingTo:)))
        if hosts.count > 1
            || !present.isEmpty && hosts != Set(present.filter(\.isHost).map { $0.membership?.participant })
        {
            complaints.append("there is no agreement about the host: \(present.map { "\($0.name): \($0.isHost)" })")
        }
        for node in present {
            guard let us = node.membership else {
                complaints.append("\(node.name) never got in: \(node.machine.signalingStatus)")
                continue
            }
            guard case .connected = node.machine.signalingStatus else {
                complaints.append("\(node.name) is not connected: \(node.machine.signalingStatus)")
                continue
            }
            let others = Set(present.filter { $0.index != node.index }.compactMap { $0.membership?.session })
            let seen = Set(node.roster.values.map(\.session))
            if seen != others {
                let names = node.roster.values.map { "\($0.name)/\($0.session)" }.sorted()
                complaints.append("\(node.name) sees \(names) instead of \(others.count) others")
            }
            if Set(node.machine.participants.map(\.id)) != Set(node.roster.keys) {
                complaints.append("\(node.name)'s events tell another roster than its machine")
            }
            for peer in node.roster.values {
                guard let other = directory[peer.id].map({ nodes[$0] }), other.metadata != peer.metadata else {
                    continue
                }
                complaints.append("\(node.name) knows old metadata of \(peer.name): \(peer.metadata)")
            }
            for peer in node.roster.values.sorted(by: { $0.id < $1.id }) {
                complaints += complaintsOf(node, us.participant, about: peer)
            }
        }
        return complaints
    }

    private func host(accordingTo node: Node) -> ParticipantID? {
        node.isHost ? node.membership?.participant : node.machine.participants.first(where: \.isHost)?.id
    }

    private func complaintsOf(_ node: Node, _ us: ParticipantID, about peer: Participant) -> [String] {
        guard let status = node.machine.peerStatus(of: peer.id), case .connected = status else {
            let status = node.machine.peerStatus(of: peer.id).map { "\($0)" } ?? "nothing"
            return ["\(node.name) is not connected to \(peer.name): \(status)"]
        }
        let living = node.endpoints.values.filter { $0.remote == peer.id && !$0.isClosed }
        guard living.count == 1, let endpoint = living.first else {
            return ["\(node.name) has \(living.count) connections to \(peer.name)"]
        }
        guard works(endpoint.line), let other = endpoint.line.other(than: endpoint), other.remote == us else {
            return ["\(node.name)'s connection to \(peer.name) carries nothing"]
        }
        guard let stream = node.streams[peer.id] else { return ["\(node.name) has no stream to \(peer.name)"] }
        if stream.machine.unacknowledged > 0 || !stream.kept.isEmpty {
            return ["\(stream.machine.unacknowledged) frames of \(node.name) to \(peer.name) are not acknowledged"]
        }
        let ledger = ledgers[stream.outgoing]
        if ledger.delivered < ledger.sent, !ledger.isGivenUp(ledger.sent) {
            return ["\(peer.name) got \(ledger.delivered) of \(ledger.sent) messages of \(node.name)"]
        }
        return []
    }
}
