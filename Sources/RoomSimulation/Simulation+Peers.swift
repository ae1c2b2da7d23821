internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// An event of a peer connection.
enum PeerOccurrence {
    case describe(Endpoint, round: Int, SessionDescription.Kind)
    case tryPath(Line, round: Int)
    case hearOfPath(Endpoint, round: Int)
    case beat(Line)
    case becomeSuspect(Endpoint, judgement: Int, since: Timestamp)
    case becomeDisconnected(Endpoint, judgement: Int)
    case recover(Endpoint, judgement: Int)
    case answerProbe(Endpoint)
    case remoteClosed(Endpoint)
    /// Relays take the credentials of the round no more (RFC 8656 §7).
    case expire(Line, round: Int)
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
        let line = endpoint.line
        switch command {
        case .create: break
        case .updateICEServers(let servers): endpoint.relayExpiry = SimulatedAuthority.expiry(of: servers)
        case .close:
            node.endpoints[id] = nil
            vanish(endpoint)
        case .makeOffer:
            if !line.rounds.isEmpty { report("\(node.name) offers twice") }
            offer(endpoint)
        case .restartPath(let servers):
            endpoint.relayExpiry = SimulatedAuthority.expiry(of: servers)
            note(restartOf: endpoint)
            guard line.rounds.contains(where: \.isAnswered) else {
                report("\(node.name) restarts before the first round is complete")
                return
            }
            offer(endpoint)
        case .setRemoteDescription(let description): take(description, at: endpoint)
        case .addRemoteCandidate(let candidate):
            guard let round = Int(candidate.usernameFragment ?? ""), line.rounds.indices.contains(round) else { return }
            line.rounds[round].candidates += 1
            schedule(.tryPath(line, round: round), after: .milliseconds(5))
        case .probe:
            // What is lost is asked again.
            schedule(.answerProbe(endpoint), after: latency(endpoint.node))
        case .diagnose: tell(endpoint, .diagnosed(nil))
        case .tellServerIsBack: send(.serverIsBack, from: endpoint)
        case .tellLeaving:
            if let stream = endpoint.stream, stream.endpoint === endpoint { sendAck(stream) }
            send(.leaving, from: endpoint)
        case .tellUnheard: send(.unheard, from: endpoint)
        }
    }

    private func create(_ id: PeerConnectionID, isOfferer: Bool, to remote: ParticipantID, of node: Node) {
        if node.endpoints.values.contains(where: { $0.remote == remote && !$0.isClosed }) {
            report("\(node.name) has two connections to the same participant")
        }
        let line = lines[id] ?? Line(id: id)
        lines[id] = line
        let endpoint = Endpoint(line: line, node: node, remote: remote, isOfferer: isOfferer)
        if isOfferer { line.offerer = endpoint } else { line.answerer = endpoint }
        node.endpoints[id] = endpoint
        if let stream = endpoint.stream { attach(stream, endpoint) }
    }

    private func offer(_ endpoint: Endpoint) {
        endpoint.line.rounds.append(
            Line.Round(
                offererNetwork: endpoint.node.reachableNetwork, offererAddress: endpoint.node.address,
                expiry: endpoint.relayExpiry,
                patience: Int.random(in: 15...100, using: &random)))
        let round = endpoint.line.rounds.count - 1
        schedule(.describe(endpoint, round: round, .offer), after: .milliseconds(2))
    }

    private func take(_ description: SessionDescription, at endpoint: Endpoint) {
        let line = endpoint.line
        guard let round = Int(description.text), line.rounds.indices.contains(round) else { return }
        if endpoint.node.refusesNext {
            endpoint.node.refusesNext = false
            tell(endpoint, .descriptionRefused(PeerFailure("not acceptable")))
            return
        }
        switch description.kind {
        case .offer:
            line.rounds[round].answererNetwork = endpoint.node.reachableNetwork
            line.rounds[round].answererAddress = endpoint.node.address
            line.rounds[round].expiry = min(line.rounds[round].expiry, endpoint.relayExpiry)
            schedule(.describe(endpoint, round: round, .answer), after: .milliseconds(2))
        case .answer:
            if round != line.rounds.count - 1 || line.rounds[round].isAnswered {
                report("\(endpoint.node.name) applies a stale answer")
            }
            line.rounds[round].isAnswered = true
            schedule(.tryPath(line, round: round), after: latency())
        }
        if endpoint.state == .new {
            endpoint.state = .connecting
            tell(endpoint, .state(.connecting))
        }
    }

    func schedule(_ occurrence: PeerOccurrence, after delay: Duration) {
        queue.push(.peer(occurrence), at: now + delay)
    }

    func tell(_ endpoint: Endpoint, _ fact: PeerFact) {
        queue.push(
            .machine(node: endpoint.node.index, life: endpoint.life, .peer(endpoint.remote, endpoint.line.id, fact)),
            at: now + .milliseconds(1))
    }

    func happen(_ occurrence: PeerOccurrence) {
        switch occurrence {
        case .describe(let endpoint, let round, let kind): describe(endpoint, round, kind)
        case .tryPath(let line, let round): tryPath(line, round)
        case .hearOfPath(let endpoint, let round): hearOfPath(endpoint, round)
        case .beat(let line): beat(line)
        case .becomeSuspect(let endpoint, let judgement, let since):
            guard endpoint.judgement == judgement, !endpoint.isClosed else { return }
            endpoint.isSuspect = true
            tell(endpoint, .liveness(.suspect(since: since + endpoint.node.clockOffset)))
        case .becomeDisconnected(let endpoint, let judgement):
            guard endpoint.judgement == judgement, !endpoint.isClosed, endpoint.state == .connected else { return }
            endpoint.state = .disconnected
            tell(endpoint, .state(.disconnected))
        case .recover(let endpoint, let judgement):
            guard endpoint.judgement == judgement, !endpoint.isClosed else { return }
            endpoint.isSuspect = false
            if endpoint.state != .connected {
                endpoint.state = .connected
                connected(endpoint)
            }
            tell(endpoint, .liveness(.alive))
        case .answerProbe(let endpoint):
            // Where the path does not work, its return will be told.
            guard !endpoint.isClosed, works(endpoint.line) else { return }
            guard !isRoundTripLost(endpoint.line) else {
                return schedule(.answerProbe(endpoint), after: .milliseconds(250))
            }
            tell(endpoint, .liveness(.alive))
            // It is asked again before the first answer is there.
            if chance(scenario.datagramDuplication) { tell(endpoint, .liveness(.alive)) }
        case .remoteClosed(let endpoint): finish(endpoint, nil)
        case .expire(let line, let round): expire(line, round)
        }
    }

    private func describe(_ endpoint: Endpoint, _ round: Int, _ kind: SessionDescription.Kind) {
        guard !endpoint.isClosed, round == endpoint.line.rounds.count - 1 || kind == .answer else { return }
        tell(endpoint, .localDescription(SessionDescription(kind: kind, text: "\(round)")))
        // Nothing to offer: the shell does not tell of it, and the next round has more.
        let known = endpoint.line.rounds[round]
        guard (endpoint.isOfferer ? known.offererNetwork : known.answererNetwork) != nil else { return }
        for _ in 0..<2 {
            tell(endpoint, .localCandidate(PeerCandidate(text: "candidate", usernameFragment: "\(round)")))
        }
        tell(endpoint, .endOfLocalCandidates(usernameFragment: "\(round)"))
    }

    // MARK: Paths

    private func isLinked(from: Node, to: Node) -> Bool {
        from.pathCuts == 0 && to.pathCuts == 0 && pathCuts[from.index * nodes.count + to.index] == 0
            && from.suspendedUntil <= now && to.suspendedUntil <= now
    }

    /// Both ends of the round are where they were when they described it.
    private func isCurrent(_ line: Line, _ round: Int) -> Bool {
        guard let offerer = line.offerer, let answerer = line.answerer, !offerer.isClosed, !answerer.isClosed,
            line.rounds.indices.contains(round)
        else { return false }
        let known = line.rounds[round]
        return known.isAnswered && known.candidates > 0 && known.offererNetwork == offerer.node.network
            && known.answererNetwork == answerer.node.network && now < known.expiry
    }

    /// A path is found by checks that are answered: it must work both ways (RFC 8445 §7.2.5.2.1).
    private func isPossible(_ line: Line, _ round: Int) -> Bool {
        isCurrent(line, round) && areLinked(line, fromOfferer: true) && areLinked(line, fromOfferer: false)
    }

    private func areLinked(_ line: Line, fromOfferer: Bool) -> Bool {
        guard let offerer = line.offerer, let answerer = line.answerer else { return false }
        return fromOfferer
            ? isLinked(from: offerer.node, to: answerer.node) : isLinked(from: answerer.node, to: offerer.node)
    }

    func works(_ line: Line) -> Bool { line.selected.map { isPossible(line, $0) } ?? false }

    /// The selected path lets data through in one direction.
    func carries(_ line: Line, fromOfferer: Bool) -> Bool {
        line.selected.map { isCurrent(line, $0) && areLinked(line, fromOfferer: fromOfferer) } ?? false
    }

    func hears(_ endpoint: Endpoint) -> Bool { carries(endpoint.line, fromOfferer: !endpoint.isOfferer) }

    private func tryPath(_ line: Line, _ round: Int) {
        guard line.rounds.indices.contains(round), line.selected.map({ $0 < round }) ?? true else { return }
        guard isPossible(line, round), !isRoundTripLost(line) else {
            // Checks go on for a while, for the latest round.
            guard round == line.rounds.count - 1, line.rounds[round].isAnswered else { return }
            line.rounds[round].tries += 1
            if line.rounds[round].tries < line.rounds[round].patience {
                schedule(.tryPath(line, round: round), after: .milliseconds(200))
            } else {
                fail(line)
            }
            return
        }
        if line.selected == nil { queue.push(.delivery(.establish(line)), at: now + latency() * 2) }
        line.selected = round
        // A new path is probed at once.
        for endpoint in [line.offerer, line.answerer] { endpoint?.isInSilence = false }
        judge(line)
        for endpoint in [line.offerer, line.answerer].compactMap(\.self) {
            // The offerer nominates, the other end is told by a check (RFC 8445 §8.1.1).
            schedule(
                .hearOfPath(endpoint, round: round),
                after: endpoint.isOfferer ? .zero : latency(endpoint.node) + repetitions(line))
            guard chance(0.1) else { continue }
            // A transport that sees more of the same path tells of it again.
            schedule(
                .hearOfPath(endpoint, round: round), after: .milliseconds(300) + random.duration(upTo: .seconds(5)))
        }
        if scenario.relayLife != nil { queue.push(.peer(.expire(line, round: round)), at: line.rounds[round].expiry) }
        beginBeating(line)
    }

    private func hearOfPath(_ endpoint: Endpoint, _ round: Int) {
        guard !endpoint.isClosed, endpoint.line.selected == round else { return }
        let known = endpoint.line.rounds[round]
        let isRelayed = scenario.relayLife != nil
        let address = endpoint.isOfferer ? known.offererAddress : known.answererAddress
        let kind: PeerPath.Kind = isRelayed ? .relay : .host
        tell(
            endpoint,
            .pathChanged(
                PeerPath(
                    local: kind, remote: kind, summary: "round \(round)",
                    localAddress: scenario.knowsAddresses && !isRelayed ? address : nil,
                    usernameFragment: "\(round)")))
    }

    // MARK: Single datagrams

    private func lossChance(_ line: Line) -> Double {
        // In the end enough comes through that silence means something.
        guard now < faultsEnd else { return min(0.01, scenario.datagramLoss) }
        let isFaulty = (line.offerer?.node.losses ?? 0) > 0 || (line.answerer?.node.losses ?? 0) > 0
        return isFaulty ? max(0.35, scenario.datagramLoss) : scenario.datagramLoss
    }

    func isLost(_ line: Line) -> Bool {
        let probability = lossChance(line)
        return probability > 0 && chance(probability)
    }

    /// Question or answer.
    private func isRoundTripLost(_ line: Line) -> Bool { isLost(line) || isLost(line) }

    /// The time until a datagram that is repeated has come through.
    func repetitions(_ line: Line) -> Duration {
        var delay = Duration.zero
        while delay < .seconds(3), isLost(line) { delay += .milliseconds(100) + delay }
        return delay
    }

    func beatLines(of node: Node) {
        for id in node.endpoints.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            if let line = node.endpoints[id]?.line { beginBeating(line) }
        }
    }

    private func beginBeating(_ line: Line) {
        guard !line.isBeating, line.selected != nil, lossChance(line) > 0 else { return }
        line.isBeating = true
        schedule(.beat(line), after: .milliseconds(500))
    }

    /// Heartbeats over a path that works get lost one by one; three of them, or their answers, make an end suspicious.
    private func beat(_ line: Line) {
        line.isBeating = false
        guard lines[line.id] === line else { return }
        for endpoint in [line.offerer, line.answerer].compactMap(\.self)
        where !endpoint.isClosed && endpoint.state == .connected && !endpoint.isInSilence && hears(endpoint) {
            var missing = 0
            while missing < 30, isRoundTripLost(line) { missing += 1 }
            guard missing >= 3 else { continue }
            endpoint.judgement += 1
            schedule(
                .becomeSuspect(endpoint, judgement: endpoint.judgement, since: now), after: .milliseconds(750))
            schedule(
                .recover(endpoint, judgement: endpoint.judgement),
                after: .milliseconds(760 + (missing - 3) * 100) + latency(endpoint.node))
        }
        beginBeating(line)
    }

    /// The agents have tried everything that they knew. Only where nothing carried before, it is told.
    private func fail(_ line: Line) {
        for endpoint in [line.offerer, line.answerer].compactMap(\.self)
        where !endpoint.isClosed && endpoint.state == .connecting {
            endpoint.state = .disconnected
            tell(endpoint, .state(.disconnected))
        }
    }

    /// The conditions have changed: each end notices in its time.
    func judge(_ line: Line) {
        guard line.selected != nil else { return }
        line.worksSince = works(line) ? line.worksSince ?? now : nil
        resumeCarrying(line)
        for endpoint in [line.offerer, line.answerer].compactMap(\.self) where !endpoint.isClosed {
            if hears(endpoint) {
                endpoint.judgement += 1
                endpoint.isInSilence = false
                // Between two looks of the inspection.
                endpoint.deadSince = nil
                schedule(.recover(endpoint, judgement: endpoint.judgement), after: latency(endpoint.node))
            } else if !endpoint.isInSilence {
                endpoint.judgement += 1
                endpoint.isInSilence = true
                guard endpoint.state == .connected else { continue }
                schedule(
                    .becomeSuspect(endpoint, judgement: endpoint.judgement, since: now),
                    after: .milliseconds(500) + latency(endpoint.node))
                schedule(.becomeDisconnected(endpoint, judgement: endpoint.judgement), after: .seconds(5) + latency())
            }
        }
    }

    func judgeLines(of node: Node) {
        for id in node.endpoints.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            if let line = node.endpoints[id]?.line { judge(line) }
        }
    }

    /// The end is gone; the other one is told where that is possible.
    func vanish(_ endpoint: Endpoint) {
        guard !endpoint.isClosed else { return }
        let isHeard = works(endpoint.line) && chance(0.9)
        cutAssociation(endpoint)
        detach(endpoint)
        endpoint.isClosed = true
        let line = endpoint.line
        if let other = line.other(than: endpoint), !other.isClosed {
            if isHeard { schedule(.remoteClosed(other), after: latency()) } else { judge(line) }
        } else {
            lines[line.id] = nil
            line.dissolve()
        }
    }

    /// The connection ends by itself at this end.
    func finish(_ endpoint: Endpoint, _ failure: PeerFailure?) {
        guard !endpoint.isClosed else { return }
        let isLeaving = endpoint.stream.map { $0.endpoint === endpoint && $0.link.isLeaving } ?? false
        vanish(endpoint)
        // It is no outage: the end comes right behind the word, and would overtake it.
        if failure == nil, isLeaving { tell(endpoint, .leaving) }
        tell(endpoint, .closed(failure))
    }

    private func expire(_ line: Line, _ round: Int) {
        guard line.selected == round else { return }
        let worksSince = line.worksSince
        judge(line)
        // Whatever round it belongs to. There must have been time for a new one, over networks that let it through.
        guard let worksSince, now - worksSince > .seconds(25) else { return }
        for endpoint in [line.offerer, line.answerer].compactMap(\.self) where !endpoint.isClosed {
            let node = endpoint.node
            if let since = node.calmSince, now - since > .seconds(40), let other = line.other(than: endpoint),
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
