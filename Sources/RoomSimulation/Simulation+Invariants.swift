internal import RoomCore
internal import RoomProtocol
internal import TransportValues

extension Simulation {
    /// Checks what must be true at any time.
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
            let queued = node.reading { $0.queuedMessages }
            if queued > SignalingConfiguration().queueLimit { report("\(node.name) keeps \(queued) messages") }
            inspectStatus(node)
        }
        inspectNames()
        noteWell(now >= .zero + scenario.faults.end && isWell)
    }

    /// Nobody is given up who is in the room, or was a moment ago.
    func inspectLeaves(_ event: RoomMachine.Event, _ actions: [RoomMachine.Action], of node: Node) {
        var isNews = false
        if case .received = event { isNews = true }
        for case .emit(.peerLeft(let participant, let reason)) in actions where node.end == nil {
            guard let other = directory[participant.id].map({ nodes[$0] }), !other.isKicked, other.end == nil,
                !mayBeReplaced(other), !isDisputed(other.participantName, except: other),
                other.membership?.session == participant.session, let last = other.lastInTouch
            else { continue }
            // Each of two servers gives up those who are with the other one.
            if second != nil || lastSplit.map({ now - $0 < Self.grace * 2 }) ?? false { continue }
            // The news of its return are still under way.
            if let since = other.calmSince, now - since < .seconds(1) { continue }
            // What the server said while the node did not run was true then.
            if isNews, last > node.suspendedSince, now - node.suspendedUntil < .seconds(1) { continue }
            // By the clock of whoever waited: a machine cannot know that the time it is told has jumped. Except where
            // the jump is longer than its patience: its timer then comes far too late, and it waits once more.
            var jumps = node.clockJumps.filter { $0.at > last }.map(\.by)
            if let longest = jumps.indices.max(by: { jumps[$0] < jumps[$1] }), jumps[longest] > Self.grace + .seconds(1)
            {
                jumps.remove(at: longest)
            }
            let jumped = jumps.reduce(Duration.zero, +)
            guard now - last + jumped < Self.grace - .seconds(5) else { continue }
            report(
                "\(node.name) gives up \(other.name) (\(reason)), who was in the room \((now - last).inSeconds) s ago")
        }
    }

    /// The server's.
    static var grace: Duration { .seconds(20) }

    /// Checks that a path or connection from an address that is gone is not called connected.
    func inspectAddresses(_ event: RoomMachine.Event, of node: Node) {
        switch event {
        case .peer(_, let id, .pathChanged(let path)): node.endpoints[id]?.pathAddress = path.localAddress
        case .networkChanged(let change):
            func isLost(_ address: String?) -> Bool {
                guard let addresses = change.addresses, let address else { return false }
                return !addresses.contains(address)
            }
            if isLost(change.signalingAddress), case .connected = node.reading({ $0.signalingStatus }) {
                report("\(node.name) calls signaling connected over an address that it has lost")
            }
            for endpoint in node.endpoints.values where !endpoint.isClosed && isLost(endpoint.pathAddress) {
                if case .connected = node.reading({ $0.peerStatus(of: endpoint.remote) }) {
                    report("\(node.name) calls a peer connected over an address that it has lost")
                }
            }
        default: break
        }
    }

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
            node.signalingUpCuts == 0 && node.signalingDownCuts == 0
            && node.connections.values.contains {
                $0.isOpenAtClient && $0.isOpenAtServer && !$0.isDead && !isSilent($0)
            }
        let isConnected = if case .connected = node.reading({ $0.signalingStatus }) { true } else { false }
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
            guard !endpoint.isClosed, !hears(endpoint),
                case .connected = node.reading({ $0.peerStatus(of: endpoint.remote) })
            else {
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
    private var isWell: Bool { complaints(limit: 1).isEmpty }

    func inspectEnd() {
        for complaint in complaints() { report(complaint) }
    }

    /// Returns what is not as it should be in the end; not much more than `limit`.
    private func complaints(limit: Int = .max) -> [String] {
        var complaints: [String] = []
        let present = nodes.filter { $0.end == nil }
        if !agreeOnHost(present) {
            complaints.append("there is no agreement about the host: \(present.map { "\($0.name): \($0.isHost)" })")
        }
        for node in present where complaints.count < limit {
            let status = node.reading { $0.signalingStatus }
            guard let us = node.membership else {
                complaints.append("\(node.name) never got in: \(status)")
                continue
            }
            guard case .connected = status else {
                complaints.append("\(node.name) is not connected: \(status)")
                continue
            }
            let others = present.filter { $0 !== node }.compactMap(\.membership)
            if others.count != node.roster.count
                || !others.allSatisfy({ node.roster[$0.participant]?.session == $0.session })
            {
                let names = node.roster.values.map { "\($0.name)/\($0.session)" }.sorted()
                complaints.append("\(node.name) sees \(names) instead of \(others.count) others")
            }
            let participants = node.reading { $0.participants }
            let agrees =
                participants.count == node.roster.count && participants.allSatisfy { node.roster[$0.id] == $0 }
            if !agrees {
                complaints.append("\(node.name)'s events tell another roster than its machine")
            }
            for peer in node.roster.values {
                guard let other = directory[peer.id].map({ nodes[$0] }), other.metadata != peer.metadata else {
                    continue
                }
                complaints.append("\(node.name) knows old metadata of \(peer.name): \(peer.metadata)")
            }
            // The machine's are in the order of their ids.
            let peers = agrees ? participants : node.roster.values.sorted { $0.id < $1.id }
            for peer in peers where complaints.count < limit {
                complaints += complaintsOf(node, us.participant, about: peer)
            }
        }
        return complaints
    }

    private func agreeOnHost(_ present: [Node]) -> Bool {
        let hosts = present.map { node in
            node.isHost ? node.membership?.participant : node.roster.values.first(where: \.isHost)?.id
        }
        guard let host = hosts.first else { return true }
        let claiming = present.filter(\.isHost)
        return hosts.allSatisfy { $0 == host } && claiming.count == 1 && claiming.first?.membership?.participant == host
    }

    private func complaintsOf(_ node: Node, _ us: ParticipantID, about peer: Participant) -> [String] {
        let status = node.reading { $0.peerStatus(of: peer.id) }
        guard case .connected = status else {
            let status = status.map { "\($0)" } ?? "nothing"
            return ["\(node.name) is not connected to \(peer.name): \(status)"]
        }
        var living = 0
        var found: Endpoint?
        for endpoint in node.endpoints.values where endpoint.remote == peer.id && !endpoint.isClosed {
            living += 1
            found = endpoint
        }
        guard living == 1, let endpoint = found else {
            return ["\(node.name) has \(living) connections to \(peer.name)"]
        }
        guard works(endpoint.pair), let other = endpoint.pair.other(than: endpoint), other.remote == us else {
            return ["\(node.name)'s connection to \(peer.name) carries nothing"]
        }
        if endpoint.relayExpiry <= now {
            return ["\(node.name) has ICE servers for \(peer.name) that have expired"]
        }
        guard let stream = node.streams[peer.id] else { return ["\(node.name) has no stream to \(peer.name)"] }
        let machine = stream.link.machine
        if machine.unacknowledged > 0 || stream.outbox.messageCount(on: .reliable) > 0 {
            let pipe = endpoint.pair.pipe(fromOfferer: endpoint.isOfferer)
            let next = machine.nextToTransmit.map { "\($0)" } ?? "none"
            let state = [
                machine.isOpen ? "open" : "closed", stream.link.isReady ? "ready" : "not ready",
                stream.link.writable(.reliable) == nil ? "blocked" : "writable",
                stream.endpoint === endpoint ? "on the connection" : "not on the connection",
            ]
            return [
                "\(machine.unacknowledged) frames of \(node.name) to \(peer.name) are not acknowledged (the stream is "
                    + "\(state.joined(separator: ", ")), \(pipe.frames.count) frames under way, next \(next))"
            ]
        }
        let (delivered, sent) = (ledgers[stream.outgoing].delivered, ledgers[stream.outgoing].sent)
        if delivered < sent, !ledgers[stream.outgoing].isGivenUp(sent) {
            return ["\(peer.name) got \(delivered) of \(sent) messages of \(node.name)"]
        }
        let unfinished = complaintsOfTransfers(stream)
        if !unfinished.isEmpty { return unfinished }
        let unanswered = complaintsOfExchange(stream)
        if !unanswered.isEmpty { return unanswered }
        for channel in DeliveryChannel.allCases where !stream.outbox.outbox.hasCredit(on: channel, mayDrop: false) {
            return ["\(node.name)'s buffer to \(peer.name) is full, \(channel), and nothing is under way"]
        }
        for channel in [DeliveryChannel.unordered, .lossy] {
            let index = plainLedger(stream.outgoing, channel)
            let open = plainLedgers[index].open.count
            let waiting = stream.outbox.messageCount(on: channel)
            if channel == .unordered, open + waiting > 0 {
                return [
                    "\(open) unordered messages of \(node.name) have not come to \(peer.name), and \(waiting) wait"
                ]
            }
            let known = plainLedgers[index].ended + UInt64(open + waiting)
            let sent = plainLedgers[index].sent
            if known != sent {
                return ["\(node.name) knows the end of \(known) of \(sent) messages to \(peer.name), \(channel)"]
            }
        }
        return []
    }
}
