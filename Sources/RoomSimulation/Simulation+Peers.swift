internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// An event of a peer connection.
enum PeerOccurrence {
    case describe(Endpoint, round: Int, SessionDescription.Kind)
    case tryPath(PeerPair, round: Int)
    case reportPath(Endpoint, round: Int)
    case checkHeartbeats(PeerPair)
    case becomeSuspect(Endpoint, assessment: Int, since: Timestamp)
    case becomeDisconnected(Endpoint, assessment: Int)
    case recover(Endpoint, assessment: Int)
    case answerProbe(Endpoint)
    case remoteClosed(Endpoint)
    /// Relays take the credentials of the round no more (RFC 8656 §7).
    case expire(PeerPair, round: Int)
}

// A model of a WebRTC connection: offer and answer name their round; a path comes up when both ends have described a
// round on their present networks, a candidate has come through, and nothing is cut between them.
extension Simulation {
    func perform(
        _ command: PeerCommand, on id: PeerConnectionID, to remote: ParticipantID, of node: Node
    ) {
        if case .create(let isOfferer, let servers) = command {
            create(id, isOfferer: isOfferer, to: remote, of: node)
            node.endpoints[id]?.relayExpiry = SimulatedAuthority.expiry(of: servers)
            return
        }
        guard let endpoint = node.endpoints[id] else {
            report("\(node.name) speaks of a connection that it does not have: \(command)")
            return
        }
        if endpoint.isClosed, command != .close { return }
        let pair = endpoint.pair
        switch command {
        case .create: break
        case .updateICEServers(let servers): endpoint.relayExpiry = SimulatedAuthority.expiry(of: servers)
        case .close:
            node.endpoints[id] = nil
            removeEndpoint(endpoint)
        case .makeOffer:
            if !pair.rounds.isEmpty { report("\(node.name) offers twice") }
            offer(endpoint)
        case .restartPath(let servers):
            endpoint.relayExpiry = SimulatedAuthority.expiry(of: servers)
            note(restartOf: endpoint)
            guard pair.rounds.contains(where: \.isAnswered) else {
                report("\(node.name) restarts before the first round is complete")
                return
            }
            offer(endpoint)
        case .setRemoteDescription(let description): take(description, at: endpoint)
        case .addRemoteCandidate(let candidate):
            guard let round = Int(candidate.usernameFragment ?? ""), pair.rounds.indices.contains(round) else { return }
            pair.rounds[round].candidates += 1
            schedule(.tryPath(pair, round: round), after: .milliseconds(5))
        case .probe:
            // What is lost is asked again.
            schedule(.answerProbe(endpoint), after: latency(endpoint.node))
        case .diagnose: notify(endpoint, .diagnosed(nil))
        case .sendHint(let hint):
            if hint == .leaving, let stream = endpoint.stream, stream.endpoint === endpoint { sendAcks(stream) }
            send(hint, from: endpoint)
        }
    }

    private func create(_ id: PeerConnectionID, isOfferer: Bool, to remote: ParticipantID, of node: Node) {
        if node.endpoints.values.contains(where: { $0.remote == remote && !$0.isClosed }) {
            report("\(node.name) has two connections to the same participant")
        }
        let pair = pairs[id] ?? PeerPair(id: id)
        pairs[id] = pair
        let endpoint = Endpoint(pair: pair, node: node, remote: remote, isOfferer: isOfferer)
        if isOfferer { pair.offerer = endpoint } else { pair.answerer = endpoint }
        node.endpoints[id] = endpoint
        if let stream = endpoint.stream { attach(stream, endpoint) }
    }

    private func offer(_ endpoint: Endpoint) {
        endpoint.pair.rounds.append(
            PeerPair.Round(
                offererNetwork: endpoint.node.reachableNetwork, offererAddress: endpoint.node.address,
                expiry: endpoint.relayExpiry, hasOffererRelay: endpoint.hasRelay,
                patience: Int.random(in: 15...100, using: &random)))
        let round = endpoint.pair.rounds.count - 1
        schedule(.describe(endpoint, round: round, .offer), after: .milliseconds(2))
    }

    private func take(_ description: SessionDescription, at endpoint: Endpoint) {
        let pair = endpoint.pair
        guard let round = Int(description.text), pair.rounds.indices.contains(round) else { return }
        if endpoint.node.refusesNext {
            endpoint.node.refusesNext = false
            notify(endpoint, .descriptionRefused(PeerFailure("not acceptable")))
            return
        }
        switch description.kind {
        case .offer:
            pair.rounds[round].answererNetwork = endpoint.node.reachableNetwork
            pair.rounds[round].answererAddress = endpoint.node.address
            pair.rounds[round].expiry = min(pair.rounds[round].expiry, endpoint.relayExpiry)
            pair.rounds[round].hasAnswererRelay = endpoint.hasRelay
            schedule(.describe(endpoint, round: round, .answer), after: .milliseconds(2))
        case .answer:
            if round != pair.rounds.count - 1 || pair.rounds[round].isAnswered {
                report("\(endpoint.node.name) applies a stale answer")
            }
            pair.rounds[round].isAnswered = true
            schedule(.tryPath(pair, round: round), after: latency())
        }
        if endpoint.state == .new {
            endpoint.state = .connecting
            notify(endpoint, .state(.connecting))
        }
    }

    func schedule(_ occurrence: PeerOccurrence, after delay: Duration) {
        queue.push(.peer(occurrence), at: now + delay)
    }

    func notify(_ endpoint: Endpoint, _ fact: PeerFact) {
        queue.push(
            .machine(node: endpoint.node.index, life: endpoint.life, .peer(endpoint.remote, endpoint.pair.id, fact)),
            at: now + .milliseconds(1))
    }

    func handle(_ occurrence: PeerOccurrence) {
        switch occurrence {
        case .describe(let endpoint, let round, let kind): describe(endpoint, round, kind)
        case .tryPath(let pair, let round): tryPath(pair, round)
        case .reportPath(let endpoint, let round): reportPath(endpoint, round)
        case .checkHeartbeats(let pair): checkHeartbeats(pair)
        case .becomeSuspect(let endpoint, let assessment, let since):
            guard endpoint.assessment == assessment, !endpoint.isClosed else { return }
            endpoint.isSuspect = true
            notify(endpoint, .liveness(.suspect(since: since + endpoint.node.clockOffset)))
        case .becomeDisconnected(let endpoint, let assessment):
            guard endpoint.assessment == assessment, !endpoint.isClosed, endpoint.state == .connected else { return }
            endpoint.state = .disconnected
            notify(endpoint, .state(.disconnected))
        case .recover(let endpoint, let assessment):
            guard endpoint.assessment == assessment, !endpoint.isClosed else { return }
            endpoint.isSuspect = false
            if endpoint.state != .connected {
                endpoint.state = .connected
                connected(endpoint)
            }
            notify(endpoint, .liveness(.alive))
        case .answerProbe(let endpoint):
            // Where the path does not work, its return will be told.
            guard !endpoint.isClosed, works(endpoint.pair) else { return }
            guard !isRoundTripLost(endpoint.pair) else {
                return schedule(.answerProbe(endpoint), after: .milliseconds(250))
            }
            notify(endpoint, .liveness(.alive))
            // It is asked again before the first answer is there.
            if chance(scenario.datagramDuplication) { notify(endpoint, .liveness(.alive)) }
        case .remoteClosed(let endpoint): endConnection(endpoint, nil)
        case .expire(let pair, let round): expire(pair, round)
        }
    }

    private func describe(_ endpoint: Endpoint, _ round: Int, _ kind: SessionDescription.Kind) {
        guard !endpoint.isClosed, round == endpoint.pair.rounds.count - 1 || kind == .answer else { return }
        notify(endpoint, .localDescription(SessionDescription(kind: kind, text: "\(round)")))
        // Nothing to offer: the shell does not tell of it, and the next round has more.
        let known = endpoint.pair.rounds[round]
        guard (endpoint.isOfferer ? known.offererNetwork : known.answererNetwork) != nil else { return }
        for _ in 0..<2 {
            notify(endpoint, .localCandidate(PeerCandidate(text: "candidate", usernameFragment: "\(round)")))
        }
        notify(endpoint, .endOfLocalCandidates(usernameFragment: "\(round)"))
    }

    // MARK: Paths

    private func isLinked(from: Node, to: Node) -> Bool {
        from.pathCuts == 0 && to.pathCuts == 0 && !pathCuts.isCut(from: from.index, to: to.index)
            && from.suspendedUntil <= now && to.suspendedUntil <= now
    }

    /// A path is found by checks that are answered: it must work both ways (RFC 8445 §7.2.5.2.1).
    private func isPossible(_ pair: PeerPair, _ round: Int) -> Bool {
        pair.isCurrent(round, at: now, needsRelay: scenario.needsRelays) && areLinked(pair, fromOfferer: true)
            && areLinked(pair, fromOfferer: false)
    }

    private func areLinked(_ pair: PeerPair, fromOfferer: Bool) -> Bool {
        guard let offerer = pair.offerer, let answerer = pair.answerer else { return false }
        return fromOfferer
            ? isLinked(from: offerer.node, to: answerer.node) : isLinked(from: answerer.node, to: offerer.node)
    }

    func works(_ pair: PeerPair) -> Bool { pair.selected.map { isPossible(pair, $0) } ?? false }

    /// The selected path lets data through in one direction.
    func carries(_ pair: PeerPair, fromOfferer: Bool) -> Bool {
        pair.selected.map {
            pair.isCurrent($0, at: now, needsRelay: scenario.needsRelays) && areLinked(pair, fromOfferer: fromOfferer)
        } ?? false
    }

    func hears(_ endpoint: Endpoint) -> Bool { carries(endpoint.pair, fromOfferer: !endpoint.isOfferer) }

    private func tryPath(_ pair: PeerPair, _ round: Int) {
        guard pair.rounds.indices.contains(round), pair.selected.map({ $0 < round }) ?? true else { return }
        guard isPossible(pair, round), !isRoundTripLost(pair) else {
            // Checks go on for a while, for the latest round.
            guard round == pair.rounds.count - 1, pair.rounds[round].isAnswered else { return }
            pair.rounds[round].tries += 1
            if pair.rounds[round].tries < pair.rounds[round].patience {
                schedule(.tryPath(pair, round: round), after: .milliseconds(200))
            } else {
                reportNoPath(pair)
            }
            return
        }
        if pair.selected == nil { queue.push(.delivery(.establish(pair)), at: now + latency() * 2) }
        pair.selected = round
        if pair.hasShortPaths {
            pair.rounds[round].expiry = min(pair.rounds[round].expiry, now + .milliseconds(400))
        }
        note("\(pair.id) uses round \(round), until \(pair.rounds[round].expiry.seconds)")
        // A new path is probed at once.
        for endpoint in [pair.offerer, pair.answerer] { endpoint?.isInSilence = false }
        assessPath(pair)
        for endpoint in [pair.offerer, pair.answerer].compactMap(\.self) {
            // The offerer nominates, the other end is told by a check (RFC 8445 §8.1.1).
            schedule(
                .reportPath(endpoint, round: round),
                after: endpoint.isOfferer ? .zero : latency(endpoint.node) + repetitions(pair))
            guard chance(0.1) else { continue }
            // A transport that sees more of the same path tells of it again.
            schedule(
                .reportPath(endpoint, round: round), after: .milliseconds(300) + random.duration(upTo: .seconds(5)))
        }
        if pair.rounds[round].expiry < .distantFuture {
            queue.push(.peer(.expire(pair, round: round)), at: pair.rounds[round].expiry)
        }
        scheduleHeartbeats(pair)
    }

    private func reportPath(_ endpoint: Endpoint, _ round: Int) {
        guard !endpoint.isClosed, endpoint.pair.selected == round else { return }
        let known = endpoint.pair.rounds[round]
        let isRelayed = endpoint.isOfferer ? known.hasOffererRelay : known.hasAnswererRelay
        let isRemoteRelayed = endpoint.isOfferer ? known.hasAnswererRelay : known.hasOffererRelay
        let address = endpoint.isOfferer ? known.offererAddress : known.answererAddress
        notify(
            endpoint,
            .pathChanged(
                PeerPath(
                    local: isRelayed ? .relay : .host, remote: isRemoteRelayed ? .relay : .host,
                    summary: "round \(round)",
                    localAddress: scenario.knowsAddresses && !isRelayed ? address : nil,
                    usernameFragment: "\(round)")))
    }

    /// The agents have tried everything that they knew. Only where nothing carried before, it is told.
    private func reportNoPath(_ pair: PeerPair) {
        for endpoint in [pair.offerer, pair.answerer].compactMap(\.self)
        where !endpoint.isClosed && endpoint.state == .connecting {
            endpoint.state = .disconnected
            notify(endpoint, .state(.disconnected))
        }
    }

    /// The conditions have changed: each end notices in its time.
    func assessPath(_ pair: PeerPair) {
        guard pair.selected != nil else { return }
        pair.worksSince = works(pair) ? pair.worksSince ?? now : nil
        resumeCarrying(pair)
        for endpoint in [pair.offerer, pair.answerer].compactMap(\.self) where !endpoint.isClosed {
            if hears(endpoint) {
                endpoint.assessment += 1
                endpoint.isInSilence = false
                // Between two looks of the inspection.
                endpoint.deadSince = nil
                schedule(.recover(endpoint, assessment: endpoint.assessment), after: latency(endpoint.node))
            } else if !endpoint.isInSilence {
                endpoint.assessment += 1
                endpoint.isInSilence = true
                guard endpoint.state == .connected else { continue }
                schedule(
                    .becomeSuspect(endpoint, assessment: endpoint.assessment, since: now),
                    after: .milliseconds(500) + latency(endpoint.node))
                schedule(.becomeDisconnected(endpoint, assessment: endpoint.assessment), after: .seconds(5) + latency())
            }
        }
    }

    func assessPaths(of node: Node) {
        for id in node.endpoints.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            if let pair = node.endpoints[id]?.pair { assessPath(pair) }
        }
    }

    /// The end is gone; the other one is told where that is possible.
    func removeEndpoint(_ endpoint: Endpoint) {
        guard !endpoint.isClosed else { return }
        let isHeard = works(endpoint.pair) && chance(0.9)
        cutAssociation(endpoint)
        detach(endpoint)
        endpoint.isClosed = true
        let pair = endpoint.pair
        if let other = pair.other(than: endpoint), !other.isClosed {
            if isHeard { schedule(.remoteClosed(other), after: latency()) } else { assessPath(pair) }
        } else {
            pairs[pair.id] = nil
            pair.dissolve()
        }
    }

    /// The connection ends by itself at this end.
    func endConnection(_ endpoint: Endpoint, _ failure: PeerFailure?) {
        guard !endpoint.isClosed else { return }
        let isLeaving = endpoint.stream.map { $0.endpoint === endpoint && $0.link.isLeaving } ?? false
        removeEndpoint(endpoint)
        // It is no outage: the end comes right behind the word, and would overtake it.
        if failure == nil, isLeaving { notify(endpoint, .leaving) }
        notify(endpoint, .closed(failure))
    }

    private func expire(_ pair: PeerPair, _ round: Int) {
        guard pair.selected == round else { return }
        let worksSince = pair.worksSince
        assessPath(pair)
        // Whatever round it belongs to. There must have been time for a new one, over networks that let it through.
        guard let worksSince, now - worksSince > .seconds(25) else { return }
        let endpoints = [pair.offerer, pair.answerer].compactMap(\.self)
        guard !endpoints.contains(where: { lacksICEServers($0.node) }) else { return }
        // The two ends cannot agree on a new path while each is with another server.
        if second != nil || lastSplit.map({ now - $0 < .seconds(40) }) ?? false { return }
        for endpoint in endpoints where !endpoint.isClosed {
            let node = endpoint.node
            if let since = node.calmSince, now - since > .seconds(40), let other = pair.other(than: endpoint),
                let otherSince = other.node.calmSince, now - otherSince > .seconds(40), !other.isClosed
            {
                report("\(node.name) lets a relayed path expire")
            }
        }
    }

    private func note(restartOf endpoint: Endpoint) {
        let node = endpoint.node
        var times = node.restarts[endpoint.remote] ?? []
        times.append(now)
        times.removeAll { now - $0 > .seconds(10) }
        node.restarts[endpoint.remote] = times
        if times.count > 15 { report("\(node.name) restarted a path \(times.count) times in ten seconds") }
    }
}
