internal import RoomCore
internal import RoomProtocol
internal import TransportPluginAPI

/// What a peer connection does by itself.
enum PeerOccurrence {
    case describe(Endpoint, round: Int, SessionDescription.Kind)
    case tryPath(Line, round: Int)
    case becomeSuspect(Endpoint, judgement: Int, since: Timestamp)
    case becomeDisconnected(Endpoint, judgement: Int)
    case recover(Endpoint, judgement: Int)
    case answerProbe(Endpoint)
    case remoteClosed(Endpoint)
}

// A model of a WebRTC connection: offer and answer name their round; a path comes up when both ends have described a round on
// their present networks, a candidate has come through, and nothing is cut between them.
extension Simulation {
    func perform(
        _ command: RoomMachine.PeerCommand, on id: PeerConnectionID, to remote: ParticipantID, of node: Node
    ) {
        if case .create(let isOfferer, _) = command {
            create(id, isOfferer: isOfferer, to: remote, of: node)
            return
        }
        guard let endpoint = node.endpoints[id] else {
            report("\(node.name) speaks of a connection that it does not have: \(command)")
            return
        }
        if endpoint.isClosed, command != .close { return }
        let line = endpoint.line
        switch command {
        case .create, .updateICEServers: break
        case .close:
            node.endpoints[id] = nil
            vanish(endpoint)
        case .makeOffer:
            if !line.rounds.isEmpty { report("\(node.name) offers twice") }
            offer(endpoint)
        case .restartPath:
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
        case .probe: schedule(.answerProbe(endpoint), after: latency())
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
    }

    private func offer(_ endpoint: Endpoint) {
        endpoint.line.rounds.append(Line.Round(offererNetwork: endpoint.node.network))
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
            line.rounds[round].answererNetwork = endpoint.node.network
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

    func tell(_ endpoint: Endpoint, _ fact: RoomMachine.PeerFact) {
        queue.push(
            .machine(node: endpoint.node.index, life: endpoint.life, .peer(endpoint.remote, endpoint.line.id, fact)),
            at: now + .milliseconds(1))
    }

    func happen(_ occurrence: PeerOccurrence) {
        switch occurrence {
        case .describe(let endpoint, let round, let kind): describe(endpoint, round, kind)
        case .tryPath(let line, let round): tryPath(line, round)
        case .becomeSuspect(let endpoint, let judgement, let since):
            guard endpoint.judgement == judgement, !endpoint.isClosed else { return }
            endpoint.isSuspect = true
            tell(endpoint, .liveness(.suspect(since: since)))
        case .becomeDisconnected(let endpoint, let judgement):
            guard endpoint.judgement == judgement, !endpoint.isClosed, endpoint.state == .connected else { return }
            endpoint.state = .disconnected
            tell(endpoint, .state(.disconnected))
        case .recover(let endpoint, let judgement):
            guard endpoint.judgement == judgement, !endpoint.isClosed else { return }
            endpoint.isSuspect = false
            if endpoint.state != .connected {
                endpoint.state = .connected
                tell(endpoint, .state(.connected))
            }
            tell(endpoint, .liveness(.alive))
        case .answerProbe(let endpoint):
            if !endpoint.isClosed, works(endpoint.line) { tell(endpoint, .liveness(.alive)) }
        case .remoteClosed(let endpoint): finish(endpoint, nil)
        }
    }

    private func describe(_ endpoint: Endpoint, _ round: Int, _ kind: SessionDescription.Kind) {
        guard !endpoint.isClosed, round == endpoint.line.rounds.count - 1 || kind == .answer else { return }
        tell(endpoint, .localDescription(SessionDescription(kind: kind, text: "\(round)")))
        for _ in 0..<2 {
            tell(endpoint, .localCandidate(PeerCandidate(text: "candidate", usernameFragment: "\(round)")))
        }
        tell(endpoint, .endOfLocalCandidates(usernameFragment: "\(round)"))
    }

    // MARK: Paths

    private func areLinked(_ left: Node, _ right: Node) -> Bool {
        !left.isPathCut && !right.isPathCut && !cutPairs.contains([left.index, right.index])
            && left.suspendedUntil <= now && right.suspendedUntil <= now
    }

    private func isPossible(_ line: Line, _ round: Int) -> Bool {
        guard let offerer = line.offerer, let answerer = line.answerer, !offerer.isClosed, !answerer.isClosed,
            line.rounds.indices.contains(round)
        else { return false }
        let known = line.rounds[round]
        return known.isAnswered && known.candidates > 0 && known.offererNetwork == offerer.node.network
            && known.answererNetwork == answerer.node.network && areLinked(offerer.node, answerer.node)
    }

    func works(_ line: Line) -> Bool { line.selected.map { isPossible(line, $0) } ?? false }

    private func tryPath(_ line: Line, _ round: Int) {
        guard line.rounds.indices.contains(round), line.selected.map({ $0 < round }) ?? true else { return }
        guard isPossible(line, round) else {
            // Checks go on for a while, for the latest round.
            line.rounds[round].tries += 1
            if line.rounds[round].tries < 100, round == line.rounds.count - 1, line.rounds[round].isAnswered {
                schedule(.tryPath(line, round: round), after: .milliseconds(200))
            }
            return
        }
        line.selected = round
        judge(line)
        for endpoint in [line.offerer, line.answerer].compactMap(\.self) {
            tell(endpoint, .pathChanged(PeerPath(local: .host, remote: .host, summary: "round \(round)")))
        }
    }

    /// The conditions have changed: each end notices in its time.
    func judge(_ line: Line) {
        guard line.selected != nil else { return }
        let works = works(line)
        for endpoint in [line.offerer, line.answerer].compactMap(\.self) where !endpoint.isClosed {
            endpoint.judgement += 1
            if works {
                schedule(.recover(endpoint, judgement: endpoint.judgement), after: latency())
            } else if endpoint.state == .connected {
                schedule(
                    .becomeSuspect(endpoint, judgement: endpoint.judgement, since: now),
                    after: .milliseconds(500) + latency())
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
        endpoint.isClosed = true
        let line = endpoint.line
        if let other = line.other(than: endpoint), !other.isClosed {
            if isHeard { schedule(.remoteClosed(other), after: latency()) } else { judge(line) }
        } else {
            lines[line.id] = nil
        }
    }

    /// The connection ends by itself at this end.
    func finish(_ endpoint: Endpoint, _ failure: PeerFailure?) {
        guard !endpoint.isClosed else { return }
        vanish(endpoint)
        tell(endpoint, .closed(failure))
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
