package import RoomProtocol
package import RoomValues
package import TransportValues

/// The machine of one other participant: its negotiation, its recovery and its stalls, put together.
package struct PeerMachine: Sendable {
    package enum Action: Sendable, Hashable {
        case command(PeerConnectionID, PeerCommand)
        case signal(Signal)
        case scheduleTimer(TimerID, at: Timestamp)
        case cancelTimer(TimerID)
        case changeStatus(PeerStatus)
        case report(RoomIncident)
        case reportStall(PeerStall)
        case resolveStall(PeerStall)
    }

    package enum TimerID: Sendable, Hashable {
        /// The next step of the recovery ladder.
        case recovery
        /// The next look at why the pair is not connected.
        case stall
    }

    /// A decision of a part that is to be carried out.
    private enum Step {
        case negotiation(NegotiationMachine.Action)
        case ladder(RecoveryLadder.Action)
        case stall(StallMachine.Action)
        /// An action of this machine that comes behind those of its parts.
        case act(Action)
    }

    package private(set) var participant: Participant
    private var negotiation: NegotiationMachine
    private var ladder: RecoveryLadder
    private var stall: StallMachine
    private var obstacle = StallObstacle()
    private var relay: RelayRenewal
    private var iceServers: [ICEServer]
    private var path: PeerPath?
    /// The generation of the latest local candidates.
    private var fragment: String?

    private var agenda = Agenda<Step>()
    // Empty between two calls; kept for their storage.
    private var negotiationActions: [NegotiationMachine.Action] = []
    private var ladderActions: [RecoveryLadder.Action] = []
    private var stallActions: [StallMachine.Action] = []

    /// The offerer is the one with the smaller id.
    package init(
        _ participant: Participant, us: ParticipantID, configuration: RecoveryConfiguration, iceServers: [ICEServer],
        iceServersAt: Timestamp? = nil
    ) {
        self.participant = participant
        self.iceServers = iceServers
        let isOfferer = us < participant.id
        negotiation = NegotiationMachine(isOfferer: isOfferer, candidateLimit: configuration.candidateLimit)
        ladder = RecoveryLadder(configuration, participant: participant.id, isOfferer: isOfferer)
        stall = StallMachine(configuration)
        relay = RelayRenewal(serversAt: iceServersAt)
    }

    package var isOfferer: Bool { negotiation.isOfferer }
    package var status: PeerStatus { ladder.status }
    package var isRecovering: Bool { status.isRecovering }
    package var isConnected: Bool { if case .connected = status { true } else { false } }
    /// Its turn to connect has not come.
    package var isIdle: Bool { ladder.isIdle }
    /// It holds one of the places for those who connect at a time.
    package var isConnectingFirst: Bool { isOfferer && ladder.isConnectingFirst }
    package var connection: PeerConnectionID? { negotiation.connection }

    /// Whether the offer leads to a new agent. See `OfferPace`.
    package func willAnswer(_ offer: Signal) -> Bool {
        offer.session == participant.session && negotiation.willAnswer(offer)
    }

    // MARK: The participant

    /// The participant is in the room: from now on it is to be connected.
    package mutating func appeared(now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]) {
        withStall { $0.disconnected(now: now, &$1) }
        drain(now: now, using: &generator, &actions)
    }

    package mutating func begin(now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]) {
        guard ladder.isIdle else { return }
        withLadder { $0.begin(now: now, &$1) }
        if isOfferer { withNegotiation { $0.rebuild(reason: "", using: &generator, &$1) } }
        drain(now: now, using: &generator, &actions)
    }

    package mutating func changed(_ participant: Participant) { self.participant = participant }

    package mutating func received(
        _ signal: Signal, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard signal.session == participant.session else { return }
        if case .rebuildRequest(let reason) = signal.body, reason == RoomIncident.Cause.descriptionRefused.rawValue {
            obstacle.isRefusedByPeer = true
        }
        withNegotiation { negotiation, actions in negotiation.received(signal, &actions) }
        drain(now: now, using: &generator, &actions)
        renewRelay(now: now, using: &generator, &actions)
    }

    package mutating func setReachable(
        _ isReachable: Bool, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        withLadder { $0.setReachable(isReachable, now: now, &$1) }
        drain(now: now, using: &generator, &actions)
    }

    package mutating func rejoined(
        _ cause: RoomIncident.Cause, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        withLadder { $0.rejoined(cause, now: now, using: &generator, &$1) }
        drain(now: now, using: &generator, &actions)
    }

    /// The participant has left, or this side has.
    package mutating func end(now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]) {
        withNegotiation { negotiation, actions in negotiation.close(&actions) }
        withLadder { $0.end(now: now, &$1) }
        drain(now: now, using: &generator, &actions)
        actions += [.cancelTimer(.recovery), .cancelTimer(.stall)]
    }

    // MARK: The connection

    package mutating func handle(
        _ fact: PeerFact, of connection: PeerConnectionID, now: Timestamp, using generator: inout SeededGenerator,
        _ actions: inout [Action]
    ) {
        guard connection == negotiation.connection else { return }
        switch fact {
        case .localDescription(let description):
            withNegotiation { negotiation, actions in negotiation.localDescription(description, &actions) }
        case .localCandidate(let candidate):
            fragment = candidate.usernameFragment ?? fragment
            withNegotiation { negotiation, actions in negotiation.localCandidate(candidate, &actions) }
        case .endOfLocalCandidates(let fragment):
            self.fragment = fragment
            withNegotiation { negotiation, actions in
                negotiation.endOfLocalCandidates(usernameFragment: fragment, &actions)
            }
        case .state(let state): withLadder { $0.stateChanged(state, now: now, &$1) }
        case .channelClosed: withLadder { $0.channelClosed(now: now, &$1) }
        case .liveness(let liveness):
            withLadder { $0.livenessChanged(liveness, now: now, &$1) }
            // It may hear this side all the same, and then cannot know that its packets go nowhere.
            if case .suspect = liveness { agenda.add(.act(.command(connection, .sendHint(.unheard)))) }
        case .pathChanged(let path): pathChanged(path, now: now)
        case .closed(let failure):
            negotiation.connectionClosed()
            obstacle.failed(failure ?? PeerFailure("the other side has closed it", code: .closed))
            withLadder { $0.closed(failure, now: now, &$1) }
        case .descriptionRefused(let failure):
            obstacle.failed(failure)
            withNegotiation { negotiation, actions in negotiation.descriptionRefused(&actions) }
            withLadder { $0.descriptionRefused(now: now, &$1) }
        case .notPrepared(let failure):
            obstacle.failed(failure)
            var isPathKept = false
            withNegotiation { negotiation, actions in isPathKept = negotiation.notPrepared(&actions) }
            withLadder { $0.notPrepared(isPathKept: isPathKept, now: now, &$1) }
        case .gatheringFailed(let failure): obstacle.failed(failure)
        case .checked: ladder.checked(now: now)
        case .dataArrived: withLadder { $0.dataArrived(now: now, &$1) }
        case .diagnosed(let found):
            let stalled = found ?? (isConnected ? .notAcknowledged : .notConnected)
            withStall { $0.found(stalled, now: now, &$1) }
        case .unacknowledged: withStall { $0.unacknowledged(now: now, &$1) }
        case .acknowledged: withStall { $0.acknowledged(&$1) }
        case .serverIsBack, .leaving, .unheard: break
        }
        drain(now: now, using: &generator, &actions)
        renewRelay(now: now, using: &generator, &actions)
    }

    private mutating func pathChanged(_ path: PeerPath, now: Timestamp) {
        self.path = path
        // While the latest round looks for a path, an older one may find another.
        let isLatest = path.usernameFragment == nil || fragment == nil || path.usernameFragment == fragment
        if isLatest { relay.pathFound() }
        withLadder {
            $0.pathChanged(path, isLatest: isLatest, now: now, &$1)
            if isLatest { $0.cancelPlan(.relayCredentials, &$1) }
        }
    }

    /// A message over the connection, if it works.
    package func sendHint(_ hint: DeliveryProtocol.Hint, _ actions: inout [Action]) {
        if let connection, isConnected { actions.append(.command(connection, .sendHint(hint))) }
    }

    /// `isSignalingUp`: the room server is reached.
    package mutating func timerFired(
        _ timer: TimerID, isSignalingUp: Bool, now: Timestamp, using generator: inout SeededGenerator,
        _ actions: inout [Action]
    ) {
        switch timer {
        case .recovery:
            withLadder { $0.timerFired(now: now, &$1) }
            drain(now: now, using: &generator, &actions)
            renewRelay(now: now, using: &generator, &actions)
        case .stall:
            withStall { $0.timerFired(now: now, &$1) }
            drain(now: now, isSignalingUp: isSignalingUp, using: &generator, &actions)
        }
    }

    // MARK: This side

    /// The application asks for a new path.
    package mutating func restart(now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]) {
        withLadder { $0.restartRequested(.requested, now: now, &$1) }
        drain(now: now, using: &generator, &actions)
    }

    package mutating func checkPath(
        _ cause: RoomIncident.Cause, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        withLadder { $0.checkPath(cause, now: now, &$1) }
        drain(now: now, using: &generator, &actions)
    }

    /// This machine has slept for `sleep`.
    package mutating func woke(
        after sleep: Duration, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        relay.woke(after: sleep)
        withLadder { $0.woke(now: now, &$1) }
        drain(now: now, using: &generator, &actions)
        withStall { $0.woke(now: now, &$1) }
        drain(now: now, using: &generator, &actions)
    }

    package mutating func networkChanged(
        _ change: NetworkChange, isOther: Bool = false, now: Timestamp, using generator: inout SeededGenerator,
        _ actions: inout [Action]
    ) {
        let isLost = change.hasLost(path?.localAddress)
        withLadder { $0.networkChanged(isPathLost: isLost, isOther: isOther, now: now, &$1) }
        drain(now: now, using: &generator, &actions)
    }

    /// There are fresh ICE servers, valid for `ttl`.
    package mutating func iceServersChanged(
        _ servers: [ICEServer], ttl: Duration?, now: Timestamp, using generator: inout SeededGenerator,
        _ actions: inout [Action]
    ) {
        iceServers = servers
        relay.serversChanged(ttl: ttl, now: now)
        guard let connection = negotiation.connection else { return }
        actions.append(.command(connection, .updateICEServers(servers)))
        renewRelay(now: now, using: &generator, &actions)
    }

    /// Plans a new path where the present one uses relays whose credentials are old.
    private mutating func renewRelay(now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action])
    {
        guard path?.local == .relay, ladder.canPlan, let earliest = relay.earliest(now: now) else { return }
        withLadder { $0.plan(.relayCredentials, from: earliest, using: &generator, &$1) }
        drain(now: now, using: &generator, &actions)
    }

    // MARK: The parts

    /// Lets the negotiation decide.
    private mutating func withNegotiation(_ body: (inout NegotiationMachine, inout [NegotiationMachine.Action]) -> Void)
    {
        body(&negotiation, &negotiationActions)
        agenda.add(&negotiationActions, as: Step.negotiation)
    }

    /// Lets the ladder decide.
    private mutating func withLadder(_ body: (inout RecoveryLadder, inout [RecoveryLadder.Action]) -> Void) {
        body(&ladder, &ladderActions)
        agenda.add(&ladderActions, as: Step.ladder)
    }

    /// Lets the stall machine decide.
    private mutating func withStall(_ body: (inout StallMachine, inout [StallMachine.Action]) -> Void) {
        body(&stall, &stallActions)
        agenda.add(&stallActions, as: Step.stall)
    }

    /// Carries out what the parts have decided, and what follows from it.
    private mutating func drain(
        now: Timestamp, isSignalingUp: Bool = true, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        while !agenda.isEmpty {
            switch agenda.next() {
            case .negotiation(let action): perform(action, now: now, &actions)
            case .ladder(let action): perform(action, now: now, using: &generator, &actions)
            case .stall(let action): perform(action, now: now, isSignalingUp: isSignalingUp, &actions)
            case .act(let action): actions.append(action)
            }
        }
    }

    private mutating func perform(
        _ action: RecoveryLadder.Action, now: Timestamp, using generator: inout SeededGenerator,
        _ actions: inout [Action]
    ) {
        switch action {
        case .restart(let isSuperseding, let cause):
            if cause == .relayCredentials { relay.renewed(now: now) }
            withNegotiation { $0.restart(superseding: isSuperseding, reason: cause.rawValue, using: &generator, &$1) }
        case .rebuild(let cause): withNegotiation { $0.rebuild(reason: cause.rawValue, using: &generator, &$1) }
        case .probe: if let connection { actions.append(.command(connection, .probe)) }
        case .scheduleTimer(let time): actions.append(.scheduleTimer(.recovery, at: time))
        case .changeStatus(let status):
            actions.append(.changeStatus(status))
            switch status {
            case .waiting, .connecting, .recovering: withStall { $0.disconnected(now: now, &$1) }
            case .connected:
                obstacle = StallObstacle()
                withStall { $0.connected(now: now, &$1) }
            }
        case .report(let incident): actions.append(.report(incident))
        }
    }

    private mutating func perform(_ action: NegotiationMachine.Action, now: Timestamp, _ actions: inout [Action]) {
        switch action {
        case .create(let id):
            path = nil
            obstacle.made(at: now)
            relay.roundBegan(now: now)
            // It concerned data of the connection before.
            withStall { $0.acknowledged(&$1) }
            agenda.add(.act(.command(id, .create(isOfferer: isOfferer, iceServers: iceServers))))
        case .close(let id): actions.append(.command(id, .close))
        case .makeOffer(let id): actions.append(.command(id, .makeOffer))
        case .restartPath(let id):
            relay.roundBegan(now: now)
            actions.append(.command(id, .restartPath(iceServers: iceServers)))
        case .setRemoteDescription(let id, let description):
            if !isOfferer { relay.roundAnswered() }
            actions.append(.command(id, .setRemoteDescription(description)))
        case .addRemoteCandidate(let id, let candidate): actions.append(.command(id, .addRemoteCandidate(candidate)))
        case .signal(let id, let round, let body):
            actions.append(
                .signal(
                    Signal(
                        peer: participant.id, session: participant.session, connection: id, negotiation: round,
                        body: body)))
        case .replaced: withLadder { $0.replaced(now: now, &$1) }
        case .described:
            obstacle.described(at: now)
            ladder.described(now: now)
        case .gathered: ladder.gathered(now: now)
        case .agreed: withLadder { $0.agreed(now: now, &$1) }
        case .restartRequested: withLadder { $0.restartRequested(.requestedByPeer, now: now, &$1) }
        case .rebuildRequested: withLadder { $0.rebuildRequested(hasNone: false, now: now, &$1) }
        case .connectionRequested: withLadder { $0.rebuildRequested(hasNone: true, now: now, &$1) }
        }
    }

    private mutating func perform(
        _ action: StallMachine.Action, now: Timestamp, isSignalingUp: Bool, _ actions: inout [Action]
    ) {
        switch action {
        case .inquire: inquire(now: now, isSignalingUp: isSignalingUp, &actions)
        case .scheduleTimer(let time): actions.append(.scheduleTimer(.stall, at: time))
        case .cancelTimer: actions.append(.cancelTimer(.stall))
        case .report(let stall): actions.append(.reportStall(stall))
        case .resolve(let stall): actions.append(.resolveStall(stall))
        }
    }

    /// Looks for the reason of a stall. Where this machine does not know it, the transport is asked.
    private mutating func inquire(now: Timestamp, isSignalingUp: Bool, _ actions: inout [Action]) {
        let situation = StallObstacle.Situation(
            isSignalingUp: isSignalingUp, isReachable: ladder.isReachable, isIdle: ladder.isIdle, isHeld: ladder.isHeld,
            progress: negotiation.progress)
        if !isConnected, let reason = obstacle.reason(in: situation, now: now) {
            withStall { $0.found(reason, now: now, &$1) }
        } else if let connection {
            actions.append(.command(connection, .diagnose))
        }
    }
}
