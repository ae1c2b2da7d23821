package import RoomProtocol
package import RoomValues
package import TransportValues

/// Brings one peer connection back, rung by rung: wait while evidence is merely late, a new path, a new connection. It
/// gives up only when the participant leaves. While the participant cannot be reached by signaling, steps are held and
/// made at once when it can.
package struct RecoveryLadder: Sendable {
    package enum Action: Sendable, Hashable {
        /// `isSuperseding`: a round that is under way is not waited for.
        case restart(isSuperseding: Bool, RoomIncident.Cause)
        case rebuild(RoomIncident.Cause)
        case probe
        case scheduleTimer(at: Timestamp)
        case changeStatus(PeerStatus)
        case report(RoomIncident)
    }

    private let configuration: RecoveryConfiguration
    private let policy: RecoveryPolicy
    private let isOfferer: Bool
    private var state = RecoveryState.idle
    private var record: RecoveryRecord
    private var pace: RebuildPace
    private var evidence = PathEvidence()
    package private(set) var isReachable = true
    private var path: PeerPath?
    private var wasConnected = false
    private var lastRestartAt: Timestamp?
    /// The timer of this state has been late once.
    private var hadGrace = false
    package private(set) var status = PeerStatus.waiting

    package init(_ configuration: RecoveryConfiguration, participant: ParticipantID, isOfferer: Bool) {
        self.configuration = configuration
        self.isOfferer = isOfferer
        policy = RecoveryPolicy(configuration, isOfferer: isOfferer)
        record = RecoveryRecord(participant, firstDataBudget: configuration.firstDataBudget)
        pace = RebuildPace(configuration)
    }

    package var isIdle: Bool { state == .idle }
    /// The next step waits for signaling.
    var isHeld: Bool { if case .held = state { true } else { false } }

    /// Its first connection is being made, and has not taken too long so far.
    package var isConnectingFirst: Bool {
        if case .connecting = state { pace.count == 0 && !wasConnected } else { false }
    }

    // MARK: Facts

    /// The first connection is being made (offerer) or waited for.
    package mutating func begin(now: Timestamp, _ actions: inout [Action]) {
        guard state == .idle else { return }
        enter(.connecting(since: now, deadline: now + configuration.budgets.connect), &actions)
    }

    package mutating func stateChanged(_ new: PeerConnectionState, now: Timestamp, _ actions: inout [Action]) {
        switch new {
        case .connected:
            evidence.connected()
            settle(now: now, &actions)
        case .disconnected:
            evidence.isUp = false
            switch state {
            // Also of a connection that was never up: its agent has tried everything that it knew.
            case .connecting, .healthy, .planned, .watching: restart(.pathLost, now: now, &actions)
            case .idle, .restarting, .delayed, .held: updateStatus(&actions)
            }
        case .new, .connecting:
            guard evidence.isUp else { return }
            evidence.isUp = false
            suspect(since: now, now: now, &actions)
        }
    }

    /// Nothing can be sent, though the path works. The side that opened the channel opens it again; where that does not
    /// come about, the connection is made anew.
    package mutating func channelClosed(now: Timestamp, _ actions: inout [Action]) {
        guard evidence.isUp else { return }
        evidence.isUp = false
        switch state {
        case .healthy, .planned, .watching:
            record.open(.channelClosed, now: now, rung: .rebuild)
            // One that is closed again and again is not made anew each time at once.
            let earliest = pace.earliest(now: now) ?? now
            enter(.delayed(until: max(now + configuration.closedBudget, earliest), .channelClosed), &actions)
        case .idle, .connecting, .restarting, .delayed, .held: updateStatus(&actions)
        }
    }

    package mutating func livenessChanged(_ liveness: PeerLiveness, now: Timestamp, _ actions: inout [Action]) {
        switch liveness {
        case .alive:
            evidence.isSuspect = false
            // A rebuild that was decided is not cancelled by a sign of life of the connection that it replaces.
            if case .delayed = state { return }
            settle(now: now, &actions)
        case .suspect(let since):
            evidence.suspected(since: since)
            suspect(since: since, now: now, &actions)
        }
    }

    private mutating func suspect(since: Timestamp, now: Timestamp, _ actions: inout [Action]) {
        guard let watching = policy.suspected(since: since, in: state, now: now) else { return updateStatus(&actions) }
        record.open(.silence, now: now)
        enter(watching, &actions)
    }

    /// `isLatest`: of the latest round.
    package mutating func pathChanged(
        _ path: PeerPath, isLatest: Bool = true, now: Timestamp, _ actions: inout [Action]
    ) {
        self.path = path
        if isLatest { record.note(.nominated, now: now) }
        guard isLatest, case .restarting(var restarting) = state, restarting.isAnswered else {
            updateStatus(&actions)
            return
        }
        restarting.hasPath = true
        state = .restarting(restarting)
        settle(now: now, &actions)
    }

    package mutating func described(now: Timestamp) { record.note(.described, now: now) }
    package mutating func checked(now: Timestamp) { record.note(.checked, now: now) }

    /// The first message since one was expected has come.
    package mutating func dataArrived(now: Timestamp, _ actions: inout [Action]) {
        if let healed = record.dataArrived(now: now) { actions.append(.report(healed)) }
    }
    package mutating func gathered(now: Timestamp) { record.note(.gathered, now: now) }

    /// Both sides have described the round.
    package mutating func agreed(now: Timestamp, _ actions: inout [Action]) {
        record.note(.answered, now: now)
        if case .restarting(var restarting) = state {
            restarting.isAnswered = true
            state = .restarting(restarting)
        } else if let next = policy.agreed(in: state, now: now) {
            enter(next, &actions)
        }
    }

    /// The other side has offered a new connection in place of the old one.
    package mutating func replaced(now: Timestamp, _ actions: inout [Action]) {
        evidence = PathEvidence()
        if wasConnected { record.open(.requestedByPeer, now: now, rung: .rebuild) }
        enter(.connecting(since: now, deadline: now + configuration.budgets.connect), &actions)
    }

    package mutating func closed(_ failure: PeerFailure?, now: Timestamp, _ actions: inout [Action]) {
        guard state != .idle else { return }
        evidence = PathEvidence()
        if failure == nil {
            record.open(.connectionClosed, now: now)
            enter(.delayed(until: now + configuration.closedBudget, .connectionClosed), &actions)
        } else {
            scheduleRebuild(.connectionFailed, now: now, &actions)
        }
    }

    package mutating func descriptionRefused(now: Timestamp, _ actions: inout [Action]) {
        guard state != .idle else { return }
        scheduleRebuild(.descriptionRefused, now: now, &actions)
    }

    /// A round could not be begun: this machine is out of something. `isPathKept`: the path before it is what it was.
    package mutating func notPrepared(isPathKept: Bool, now: Timestamp, _ actions: inout [Action]) {
        let response = policy.notPrepared(isPathKept: isPathKept, isAlive: evidence.isAlive, in: state)
        apply(response, now: now, &actions)
    }

    /// The participant can be reached over signaling, or no longer.
    package mutating func setReachable(_ reachable: Bool, now: Timestamp, _ actions: inout [Action]) {
        isReachable = reachable
        guard reachable else { return }
        apply(policy.reachable(in: state, now: now), now: now, &actions)
    }

    // MARK: Triggers

    /// One of the two sides rejoined: both can be reached, and what was in flight between us is lost.
    package mutating func rejoined(
        _ cause: RoomIncident.Cause, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        isReachable = true
        apply(policy.rejoined(cause, in: state, now: now, using: &generator), now: now, &actions)
    }

    /// This machine has slept. Its clock has stood still, so whatever was about to be judged by it knows nothing of the
    /// other side's time: the path is probed, and has its time to answer.
    package mutating func woke(now: Timestamp, _ actions: inout [Action]) {
        switch state {
        case .idle, .delayed, .held: break
        case .healthy, .planned: checkPath(.suspended, now: now, &actions)
        case .watching, .connecting, .restarting: _ = grantGrace(now: now, &actions)
        }
    }

    /// There is a reason to check the path at once: the network changed, or somebody asked.
    package mutating func checkPath(_ cause: RoomIncident.Cause, now: Timestamp, _ actions: inout [Action]) {
        apply(policy.checkRequested(cause, in: state, now: now), now: now, &actions)
    }

    /// The network of this machine has changed. `isPathLost`: the path leaves from an address that is gone. `isOther`:
    /// there are other addresses than before.
    package mutating func networkChanged(isPathLost: Bool, isOther: Bool, now: Timestamp, _ actions: inout [Action]) {
        if isPathLost, evidence.isUp {
            // Nothing comes over it any more: the next sign of life, which the probe asks for, is one of a new path.
            evidence.isSuspect = true
            probe(now: now, &actions)
        }
        let response = policy.networkChanged(isPathLost: isPathLost, isOther: isOther, in: state, now: now)
        apply(response, now: now, &actions)
        updateStatus(&actions)
    }

    /// The other side, or the application, asks for a new path.
    package mutating func restartRequested(_ cause: RoomIncident.Cause, now: Timestamp, _ actions: inout [Action]) {
        let earliest = lastRestartAt.map { $0 + configuration.restartSpacing } ?? now
        apply(policy.restartRequested(cause, earliest: earliest, in: state, now: now), now: now, &actions)
    }

    /// The answering side asks for a new connection. `hasNone`: it has none at all, or not yet.
    package mutating func rebuildRequested(hasNone: Bool, now: Timestamp, _ actions: inout [Action]) {
        apply(policy.rebuildRequested(hasNone: hasNone, in: state, now: now), now: now, &actions)
    }

    private mutating func apply(_ response: RecoveryPolicy.Response, now: Timestamp, _ actions: inout [Action]) {
        if response.probes { probe(now: now, &actions) }
        if let state = response.state { enter(state, &actions) }
        switch response.step {
        case .none: break
        case .restart(let cause): restart(cause, now: now, &actions)
        case .rebuild(let cause): rebuild(cause, now: now, &actions)
        case .rebuildInTurn(let cause): scheduleRebuild(cause, now: now, &actions)
        case .settle: settle(now: now, &actions)
        }
    }

    /// Whether `plan` would do anything.
    package var canPlan: Bool { state == .healthy }

    /// A restart of a path that works, soon after `earliest`.
    package mutating func plan(
        _ cause: RoomIncident.Cause, from earliest: Timestamp, using generator: inout SeededGenerator,
        _ actions: inout [Action]
    ) {
        guard canPlan else { return }
        enter(.planned(at: earliest + generator.duration(upTo: configuration.budgets.spread), cause), &actions)
    }

    /// Cancels an action that was planned for this reason.
    package mutating func cancelPlan(_ cause: RoomIncident.Cause, _ actions: inout [Action]) {
        if case .planned(_, cause) = state { enter(.healthy, &actions) }
    }

    // MARK: Time

    private var nextTimer: Timestamp? {
        guard let healedUntil = record.deadline else { return state.deadline }
        return min(healedUntil, state.deadline ?? healedUntil)
    }

    package mutating func timerFired(now: Timestamp, _ actions: inout [Action]) {
        if let healed = record.timePassed(now: now) { actions.append(.report(healed)) }
        guard let deadline = state.deadline, now >= deadline else {
            if let nextTimer { actions.append(.scheduleTimer(at: nextTimer)) }
            return
        }
        if now - deadline > configuration.timerTolerance, !hadGrace, grantGrace(now: now, &actions) { return }
        apply(policy.timeIsUp(evidence, in: state, now: now), now: now, &actions)
    }

    /// The timer came far too late: this process slept or starved, and facts may be waiting behind it. Looks again
    /// before anything is declared dead. False where nothing is.
    private mutating func grantGrace(now: Timestamp, _ actions: inout [Action]) -> Bool {
        guard let response = policy.grace(in: state, now: now) else { return false }
        apply(response, now: now, &actions)
        hadGrace = true
        return true
    }

    // MARK: Steps

    private mutating func hold(
        _ rung: RecoveryRung, _ cause: RoomIncident.Cause, now: Timestamp, _ actions: inout [Action]
    ) {
        record.note(.held, now: now, cause)
        enter(.held(rung, cause), &actions)
    }

    private mutating func restart(_ cause: RoomIncident.Cause, now: Timestamp, _ actions: inout [Action]) {
        record.open(cause, now: now, rung: .restart)
        if case .held(.rebuild, _) = state {
            rebuild(cause, now: now, &actions)
            return
        }
        guard isReachable else {
            hold(.restart, cause, now: now, &actions)
            return
        }
        record.note(.restartRequested, now: now, cause)
        var restarting = state.attempts(cause, isAlive: evidence.isAlive, now: now)
        let isSuperseding = restarting.attempt > 0 || cause == .rejoined || cause == .peerRejoined
        restarting.begin(configuration, now: now)
        lastRestartAt = now
        enter(.restarting(restarting), &actions)
        actions.append(.restart(isSuperseding: isSuperseding, cause))
    }

    /// Rebuilds now, or later when the last rebuild was only just made.
    private mutating func scheduleRebuild(_ cause: RoomIncident.Cause, now: Timestamp, _ actions: inout [Action]) {
        let earliest = pace.earliest(now: now)
        record.open(cause, now: now, rung: .rebuild)
        if let earliest, earliest > now {
            enter(.delayed(until: earliest, cause), &actions)
        } else {
            rebuild(cause, now: now, &actions)
        }
    }

    private mutating func rebuild(_ cause: RoomIncident.Cause, now: Timestamp, _ actions: inout [Action]) {
        record.open(cause, now: now, rung: .rebuild)
        guard isReachable else {
            hold(.rebuild, cause, now: now, &actions)
            return
        }
        record.note(.rebuildRequested, now: now, cause)
        pace.rebuilt(now: now)
        if isOfferer { evidence = PathEvidence() }
        enter(.connecting(since: now, deadline: now + pace.connectTime), &actions)
        actions.append(.rebuild(cause))
    }

    /// Back to health when the facts say so.
    private mutating func settle(now: Timestamp, _ actions: inout [Action]) {
        guard evidence.isAlive else {
            updateStatus(&actions)
            return
        }
        switch state {
        case .idle, .healthy, .planned: updateStatus(&actions)
        case .connecting, .restarting, .delayed, .held, .watching:
            if case .restarting = state { evidence.found(now: now) }
            wasConnected = true
            pace.recovered(now: now)
            record.note(.connected, now: now)
            enter(.healthy, &actions)
            finish(.recovered, now: now, &actions)
        }
    }

    private mutating func enter(_ new: RecoveryState, _ actions: inout [Action]) {
        state = new
        hadGrace = false
        if let nextTimer { actions.append(.scheduleTimer(at: nextTimer)) }
        updateStatus(&actions)
    }

    // MARK: Status and incident

    private mutating func updateStatus(_ actions: inout [Action]) {
        let new = currentStatus
        guard new != status else { return }
        let wasBroken = status.isRecovering
        status = new
        actions.append(.changeStatus(new))
        if new.isRecovering, !wasBroken { record.broke() }
    }

    private var currentStatus: PeerStatus {
        if state == .idle { return .waiting }
        guard wasConnected else { return .connecting }
        return state.status(
            isAlive: evidence.isAlive, path: path, rebuilds: pace.count, since: record.startedAt ?? .zero)
    }

    /// Asks for a sign of life.
    private mutating func probe(now: Timestamp, _ actions: inout [Action]) {
        actions.append(.probe)
        record.probed(now: now)
    }

    private mutating func finish(_ outcome: RoomIncident.Outcome, now: Timestamp, _ actions: inout [Action]) {
        guard let ended = record.end(outcome, now: now) else { return }
        for incident in ended { actions.append(.report(incident)) }
        if record.deadline != nil, let nextTimer { actions.append(.scheduleTimer(at: nextTimer)) }
    }

    /// The participant is gone, or this side is.
    package mutating func end(now: Timestamp, _ actions: inout [Action]) {
        finish(.participantLeft, now: now, &actions)
        if let healed = record.takeHealed() { actions.append(.report(healed)) }
        state = .idle
    }
}
