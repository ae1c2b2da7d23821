package import RoomProtocol
package import TransportValues

/// Everything about one other participant: its negotiation and its recovery, put together.
package struct PeerMachine: Sendable {
    package enum Action: Sendable, Hashable {
        case command(PeerConnectionID, RoomMachine.PeerCommand)
        case signal(Signal)
        case scheduleTimer(at: Timestamp)
        case changeStatus(PeerStatus)
        case report(Incident)
        case scheduleStallTimer(at: Timestamp)
        case cancelStallTimer
        case reportStall(PeerStall)
        case resolveStall(PeerStall)
    }

    package private(set) var participant: Participant
    private var negotiation: NegotiationMachine
    private var ladder: RecoveryLadder
    private var stall: StallMachine
    private var obstacle = StallObstacle()
    private var generator: SeededGenerator
    private var iceServers: [ICEServer]
    private var path: PeerPath?
    /// Of the ICE servers: how long they were good when they came.
    private var credentialLife: Duration?
    /// When the ICE servers came, when those came that the latest round uses, and when those that the present path uses: a round that
    /// finds no path leaves the older path where it is.
    private var iceServersAt: Timestamp?
    private var roundServersAt: Timestamp?
    private var pathServersAt: Timestamp?
    /// The generation of the latest local candidates.
    private var fragment: String?
    /// When a new path with fresh credentials was last asked for.
    private var renewedAt: Timestamp?

    /// The offerer is the one with the smaller id.
    package init(
        _ participant: Participant, us: ParticipantID, configuration: RecoveryConfiguration, iceServers: [ICEServer],
        iceServersAt: Timestamp? = nil, generator: SeededGenerator
    ) {
        self.participant = participant
        self.iceServersAt = iceServersAt
        self.generator = generator
        self.iceServers = iceServers
        let isOfferer = us < participant.id
        negotiation = NegotiationMachine(isOfferer: isOfferer, candidateLimit: configuration.candidateLimit)
        ladder = RecoveryLadder(configuration, participant: participant.id, isOfferer: isOfferer)
        stall = StallMachine(configuration)
    }

    package var isOfferer: Bool { negotiation.isOfferer }
    package var status: PeerStatus { ladder.status }
    package var isRecovering: Bool { status.isRecovering }
    private var isConnected: Bool { if case .connected = status { true } else { false } }
    /// Its turn to connect has not come.
    package var isIdle: Bool { ladder.isIdle }
    /// It holds one of the places for those who connect at a time.
    package var isConnectingFirst: Bool { isOfferer && ladder.isConnectingFirst }
    package var connection: PeerConnectionID? { negotiation.connection }

    /// The participant is in the room: from now on it is to be connected.
    package mutating func appeared(now: Timestamp, _ actions: inout [Action]) {
        watch(now: now, &actions) { $0.disconnected(now: now, &$1) }
    }

    package mutating func begin(now: Timestamp, _ actions: inout [Action]) {
        guard ladder.isIdle else { return }
        climb(now: now, &actions) { $0.begin(now: now, &$1) }
        if isOfferer { negotiate(now: now, &actions) { $0.rebuild(reason: "", using: &$1, &$2) } }
    }

    package mutating func changed(_ participant: Participant) { self.participant = participant }

    package mutating func received(_ signal: Signal, now: Timestamp, _ actions: inout [Action]) {
        guard signal.session == participant.session else { return }
        if case .rebuildRequest(let reason) = signal.body, reason == Incident.Cause.descriptionRefused.rawValue {
            obstacle.isRefusedByPeer = true
        }
        negotiate(now: now, &actions) { negotiation, _, actions in negotiation.received(signal, &actions) }
        renewRelay(now: now, &actions)
    }

    /// Whether the offer leads to a new agent. See `OfferPace`.
    package func willAnswer(_ offer: Signal) -> Bool {
        offer.session == participant.session && negotiation.willAnswer(offer)
    }

    package mutating func handle(
        _ fact: RoomMachine.PeerFact, of connection: PeerConnectionID, now: Timestamp, _ actions: inout [Action]
    ) {
        guard connection == negotiation.connection else { return }
        switch fact {
        case .localDescription(let description):
            negotiate(now: now, &actions) { negotiation, _, actions in
                negotiation.localDescription(description, &actions)
            }
        case .localCandidate(let candidate):
            fragment = candidate.usernameFragment ?? fragment
            negotiate(now: now, &actions) { negotiation, _, actions in negotiation.localCandidate(candidate, &actions) }
        case .endOfLocalCandidates(let fragment):
            self.fragment = fragment
            negotiate(now: now, &actions) { negotiation, _, actions in
                negotiation.endOfLocalCandidates(usernameFragment: fragment, &actions)
            }
        case .state(let state): climb(now: now, &actions) { $0.stateChanged(state, now: now, &$1) }
        case .channelClosed: climb(now: now, &actions) { $0.channelClosed(now: now, &$1) }
        case .liveness(let liveness):
            climb(now: now, &actions) { $0.livenessChanged(liveness, now: now, &$1) }
            // It may hear us all the same, and then cannot know that its packets go nowhere.
            if case .suspect = liveness { actions.append(.command(connection, .tellUnheard)) }
        case .pathChanged(let path):
            self.path = path
            // While the latest round looks for a path, an older one may find another.
            let isLatest = path.usernameFragment == nil || fragment == nil || path.usernameFragment == fragment
            if isLatest { pathServersAt = roundServersAt }
            climb(now: now, &actions) {
                $0.pathChanged(path, isLatest: isLatest, now: now, &$1)
                if isLatest { $0.callOff(.relayCredentials, &$1) }
            }
        case .closed(let failure):
            negotiation.connectionClosed()
            obstacle.failed(failure ?? PeerFailure("the other side has closed it", code: .closed))
            climb(now: now, &actions) { $0.closed(failure, now: now, &$1) }
        case .descriptionRefused(let failure):
            obstacle.failed(failure)
            negotiate(now: now, &actions) { negotiation, _, actions in negotiation.descriptionRefused(&actions) }
            climb(now: now, &actions) { $0.descriptionRefused(now: now, &$1) }
        case .notPrepared(let failure):
            obstacle.failed(failure)
            var isPathKept = false
            negotiate(now: now, &actions) { negotiation, _, actions in isPathKept = negotiation.notPrepared(&actions) }
            climb(now: now, &actions) { $0.notPrepared(isPathKept: isPathKept, now: now, &$1) }
        case .gatheringFailed(let failure): obstacle.failed(failure)
        case .checked: ladder.checked(now: now)
        case .dataArrived: climb(now: now, &actions) { $0.dataArrived(now: now, &$1) }
        case .diagnosed(let found):
            let stalled = found ?? (isConnected ? .notAcknowledged : .notConnected)
            watch(now: now, &actions) { $0.found(stalled, now: now, &$1) }
        case .unacknowledged: watch(now: now, &actions) { $0.unacknowledged(now: now, &$1) }
        case .acknowledged: watch(now: now, &actions) { $0.acknowledged(&$1) }
        case .serverIsBack, .leaving, .unheard: break
        }
        renewRelay(now: now, &actions)
    }

    package mutating func setReachable(_ isReachable: Bool, now: Timestamp, _ actions: inout [Action]) {
        climb(now: now, &actions) { $0.setReachable(isReachable, now: now, &$1) }
    }

    package mutating func rejoined(_ cause: Incident.Cause, now: Timestamp, _ actions: inout [Action]) {
        var generator = self.generator
        climb(now: now, &actions) { $0.rejoined(cause, now: now, using: &generator, &$1) }
        _ = self.generator.next()
    }

    /// The application asks for a new path.
    package mutating func restart(now: Timestamp, _ actions: inout [Action]) {
        climb(now: now, &actions) { $0.restartRequested(.requested, now: now, &$1) }
    }

    package mutating func hurry(_ cause: Incident.Cause, now: Timestamp, _ actions: inout [Action]) {
        climb(now: now, &actions) { $0.hurry(cause, now: now, &$1) }
    }

    /// A word over the connection, if it works.
    package func tell(_ word: RoomMachine.PeerCommand, _ actions: inout [Action]) {
        if let connection, isConnected { actions.append(.command(connection, word)) }
    }

    /// This machine has slept for so long. Credentials have aged meanwhile.
    package mutating func woke(after sleep: Duration, now: Timestamp, _ actions: inout [Action]) {
        iceServersAt = iceServersAt.map { $0 - sleep }
        roundServersAt = roundServersAt.map { $0 - sleep }
        pathServersAt = pathServersAt.map { $0 - sleep }
        climb(now: now, &actions) { $0.woke(now: now, &$1) }
        watch(now: now, &actions) { $0.woke(now: now, &$1) }
    }

    package mutating func networkChanged(
        _ change: RoomMachine.NetworkChange, isOther: Bool = false, now: Timestamp, _ actions: inout [Action]
    ) {
        let isLost = change.hasLost(path?.localAddress)
        climb(now: now, &actions) { $0.networkChanged(isPathLost: isLost, isOther: isOther, now: now, &$1) }
    }

    /// Fresh ICE servers. A relay lets nothing through any more when the credentials that it was allocated with expire: a relayed path
    /// is moved to fresh ones before.
    package mutating func iceServersChanged(
        _ servers: [ICEServer], ttl: Duration?, now: Timestamp, _ actions: inout [Action]
    ) {
        iceServers = servers
        iceServersAt = now
        credentialLife = ttl
        guard let connection = negotiation.connection else { return }
        actions.append(.command(connection, .updateICEServers(servers)))
        renewRelay(now: now, &actions)
    }

    /// Plans a new path when the present one uses relays whose credentials have lived for a quarter of their life or more, and there
    /// are fresh ones: fresh ones may come as rarely as after 0.7 of it.
    private mutating func renewRelay(now: Timestamp, _ actions: inout [Action]) {
        guard path?.local == .relay, let credentialLife, let iceServersAt, let pathServersAt,
            pathServersAt < iceServersAt, now - pathServersAt >= credentialLife / 4, ladder.canPlan
        else { return }
        var generator = self.generator
        // Where the last round has found no path, another one is not made at once.
        let earliest = max(now, renewedAt.map { $0 + max(.seconds(5), credentialLife / 8) } ?? now)
        climb(now: now, &actions) {
            $0.plan(.relayCredentials, from: earliest, using: &generator, &$1)
        }
        _ = self.generator.next()
    }

    package mutating func timerFired(now: Timestamp, _ actions: inout [Action]) {
        climb(now: now, &actions) { $0.timerFired(now: now, &$1) }
        renewRelay(now: now, &actions)
    }

    /// It is time to look why the pair is not connected. `isSignalingUp`: the room server is reached.
    package mutating func stallTimerFired(isSignalingUp: Bool, now: Timestamp, _ actions: inout [Action]) {
        watch(now: now, isSignalingUp: isSignalingUp, &actions) { $0.timerFired(now: now, &$1) }
    }

    /// The participant has left, or we have.
    package mutating func end(now: Timestamp, _ actions: inout [Action]) {
        negotiate(now: now, &actions) { negotiation, _, actions in negotiation.close(&actions) }
        climb(now: now, &actions) { $0.end(now: now, &$1) }
    }

    // MARK: The parts

    /// Lets the stall machine decide and does what it says. `isSignalingUp`: the room server is reached.
    private mutating func watch(
        now: Timestamp, isSignalingUp: Bool = true, _ actions: inout [Action],
        _ body: (inout StallMachine, inout [StallMachine.Action]) -> Void
    ) {
        var decisions: [StallMachine.Action] = []
        body(&stall, &decisions)
        for decision in decisions {
            switch decision {
            case .inquire: inquire(now: now, isSignalingUp: isSignalingUp, &actions)
            case .scheduleTimer(let time): actions.append(.scheduleStallTimer(at: time))
            case .cancelTimer: actions.append(.cancelStallTimer)
            case .report(let stall): actions.append(.reportStall(stall))
            case .resolve(let stall): actions.append(.resolveStall(stall))
            }
        }
    }

    /// What the room does not know, the transport is asked for.
    private mutating func inquire(now: Timestamp, isSignalingUp: Bool, _ actions: inout [Action]) {
        let situation = StallObstacle.Situation(
            isSignalingUp: isSignalingUp, isReachable: ladder.isReachable, isIdle: ladder.isIdle,
            isHeld: ladder.isHeld, progress: negotiation.progress)
        if !isConnected, let reason = obstacle.reason(in: situation, now: now) {
            watch(now: now, &actions) { $0.found(reason, now: now, &$1) }
        } else if let connection {
            actions.append(.command(connection, .diagnose))
        }
    }

    /// Lets the ladder decide and does what it says.
    private mutating func climb(
        now: Timestamp, _ actions: inout [Action],
        _ body: (inout RecoveryLadder, inout [RecoveryLadder.Action]) -> Void
    ) {
        var decisions: [RecoveryLadder.Action] = []
        body(&ladder, &decisions)
        for decision in decisions {
            switch decision {
            case .restart(let isSuperseding, let cause):
                if cause == .relayCredentials { renewedAt = now }
                negotiate(now: now, &actions) {
                    $0.restart(superseding: isSuperseding, reason: cause.rawValue, using: &$1, &$2)
                }
            case .rebuild(let cause):
                negotiate(now: now, &actions) { $0.rebuild(reason: cause.rawValue, using: &$1, &$2) }
            case .probe: if let connection { actions.append(.command(connection, .probe)) }
            case .scheduleTimer(let time): actions.append(.scheduleTimer(at: time))
            case .changeStatus(let status):
                actions.append(.changeStatus(status))
                switch status {
                case .waiting, .connecting, .recovering: watch(now: now, &actions) { $0.disconnected(now: now, &$1) }
                case .connected:
                    obstacle = StallObstacle()
                    watch(now: now, &actions) { $0.connected(now: now, &$1) }
                }
            case .report(let incident): actions.append(.report(incident))
            }
        }
    }

    /// Lets the negotiation decide, does what it says, and tells the ladder.
    private mutating func negotiate(
        now: Timestamp, _ actions: inout [Action],
        _ body: (inout NegotiationMachine, inout SeededGenerator, inout [NegotiationMachine.Action]) -> Void
    ) {
        var decisions: [NegotiationMachine.Action] = []
        body(&negotiation, &generator, &decisions)
        for decision in decisions {
            switch decision {
            case .create(let id):
                path = nil
                obstacle.made(at: now)
                // What was said of the last one's data.
                watch(now: now, &actions) { $0.acknowledged(&$1) }
                roundServersAt = iceServersAt ?? now
                actions.append(.command(id, .create(isOfferer: isOfferer, iceServers: iceServers)))
            case .close(let id): actions.append(.command(id, .close))
            case .makeOffer(let id): actions.append(.command(id, .makeOffer))
            case .restartPath(let id):
                roundServersAt = iceServersAt ?? now
                actions.append(.command(id, .restartPath(iceServers: iceServers)))
            case .setRemoteDescription(let id, let description):
                if !isOfferer { roundServersAt = iceServersAt }
                actions.append(.command(id, .setRemoteDescription(description)))
            case .addRemoteCandidate(let id, let candidate):
                actions.append(.command(id, .addRemoteCandidate(candidate)))
            case .signal(let id, let round, let body):
                actions.append(
                    .signal(
                        Signal(
                            peer: participant.id, session: participant.session, connection: id, negotiation: round,
                            body: body)))
            case .replaced: climb(now: now, &actions) { $0.replaced(now: now, &$1) }
            case .described:
                obstacle.described(at: now)
                ladder.described(now: now)
            case .gathered: ladder.gathered(now: now)
            case .agreed: climb(now: now, &actions) { $0.agreed(now: now, &$1) }
            case .restartRequested: climb(now: now, &actions) { $0.restartRequested(.requestedByPeer, now: now, &$1) }
            case .rebuildRequested:
                climb(now: now, &actions) { $0.rebuildRequested(hasNone: false, now: now, &$1) }
            case .connectionRequested:
                climb(now: now, &actions) { $0.rebuildRequested(hasNone: true, now: now, &$1) }
            }
        }
    }
}
