package import RoomProtocol
package import TransportPluginAPI

/// Brings one peer connection back, rung by rung: wait while evidence is merely late, a new path, a new connection. It gives
/// up only when the participant leaves. While the participant cannot be reached by signaling, steps are held and made at once
/// when it can.
package struct RecoveryLadder: Sendable {
    package enum Action: Sendable, Hashable {
        /// `isSuperseding`: a round that is under way is not waited for.
        case restart(isSuperseding: Bool, Incident.Cause)
        case rebuild(Incident.Cause)
        case probe
        case scheduleTimer(at: Timestamp)
        case changeStatus(PeerStatus)
        case report(Incident)
    }

    enum State: Sendable, Hashable {
        /// Nothing was begun. Can transition to: connecting.
        case idle
        /// A connection is being made. Can transition to: healthy, connecting (rebuild), delayed, held.
        case connecting(since: Timestamp, deadline: Timestamp)
        /// Evidence of life is there. Can transition to: planned, watching, restarting, delayed, connecting, held.
        case healthy
        /// As `healthy`, with a restart to come. Can transition to: healthy, watching, restarting, delayed, connecting, held.
        case planned(at: Timestamp, Incident.Cause)
        /// Evidence is late, or was asked for. Can transition to: healthy, restarting, delayed, connecting, held.
        case watching(deadline: Timestamp, Incident.Cause)
        /// A new path was asked for. Can transition to: healthy, restarting (again), connecting (rebuild), delayed, held.
        case restarting(Restarting)
        /// A rebuild waits. Can transition to: connecting, held, healthy.
        case delayed(until: Timestamp, Incident.Cause)
        /// The step waits for signaling. Can transition to: restarting, connecting, delayed, healthy.
        case held(RecoveryRung, Incident.Cause)
    }
    struct Restarting: Sendable, Hashable {
        var cause: Incident.Cause
        var attempt: Int
        var deadline: Timestamp
        var startedAt: Timestamp
        var lastAt: Timestamp
        var isAnswered = false
    }

    let configuration: RecoveryConfiguration
    let participant: ParticipantID
    let isOfferer: Bool
    var state = State.idle
    /// The transport says that channels can carry data.
    var isUp = false
    var isSuspect = false
    var isReachable = true
    private var path: PeerPath?
    private var wasConnected = false
    private var healthySince: Timestamp?
    /// Since the connection was last healthy for a while.
    private(set) var rebuilds = 0
    private var lastRebuildAt: Timestamp?
    private var lastRestartAt: Timestamp?
    /// The timer of this state has been late once.
    private var hadGrace = false
    private var incident: Incident?
    package private(set) var status = PeerStatus.waiting

    package init(_ configuration: RecoveryConfiguration, participant: ParticipantID, isOfferer: Bool) {
        self.configuration = configuration
        self.participant = participant
        self.isOfferer = isOfferer
    }

    package var isIdle: Bool { state == .idle }

    /// Its first connection is being made, and has not taken too long so far.
    package var isConnectingFirst: Bool {
        if case .connecting = state { rebuilds == 0 && !wasConnected } else { false }
    }

    // MARK: Facts

    /// The first connection is being made (offerer) or waited for.
    package mutating func begin(now: Timestamp, _ actions: inout [Action]) {
        guard state == .idle else { return }
        enter(.connecting(since: now, deadline: now + configuration.connectBudget), &actions)
    }

    package mutating func stateChanged(_ new: PeerConnectionState, now: Timestamp, _ actions: inout [Action]) {
        switch new {
        case .connected:
            isUp = true
            isSuspect = false
            settle(now: now, &actions)
        case .disconnected:
            isUp = false
            switch state {
            case .healthy, .planned, .watching: step(.restart, .pathLost, now: now, &actions)
            case .idle, .connecting, .restarting, .delayed, .held: updateStatus(&actions)
            }
        case .new, .connecting:
            guard isUp else { return }
            isUp = false
            suspect(since: now, now: now, &actions)
        }
    }

    package mutating func livenessChanged(_ liveness: PeerLiveness, now: Timestamp, _ actions: inout [Action]) {
        switch liveness {
        case .alive:
            isSuspect = false
            // A rebuild that was decided is not called off by a sign of life of what it replaces.
            if case .delayed = state { return }
            settle(now: now, &actions)
        case .suspect(let since):
            isSuspect = true
            suspect(since: since, now: now, &actions)
        }
    }

    private mutating func suspect(since: Timestamp, now: Timestamp, _ actions: inout [Action]) {
        switch state {
        case .healthy, .planned:
            open(.silence, now: now)
            enter(.watching(deadline: max(now, since + configuration.suspectBudget), .silence), &actions)
        case .watching(let deadline, let cause):
            open(.silence, now: now)
            enter(.watching(deadline: min(deadline, max(now, since + configuration.suspectBudget)), cause), &actions)
        case .idle, .connecting, .restarting, .delayed, .held: updateStatus(&actions)
        }
    }

    package mutating func pathChanged(_ path: PeerPath, _ actions: inout [Action]) {
        self.path = path
        updateStatus(&actions)
    }

    package mutating func described(now: Timestamp) { note(.described, now: now) }
    package mutating func gathered(now: Timestamp) { note(.gathered, now: now) }

    /// Both sides have described the round.
    package mutating func agreed(now: Timestamp, _ actions: inout [Action]) {
        note(.answered, now: now)
        switch state {
        case .restarting(var restarting):
            restarting.isAnswered = true
            state = .restarting(restarting)
            settle(now: now, &actions)
        case .watching(_, let cause) where !isOfferer:
            // The other side is ahead of us.
            let deadline = now + configuration.restartBudget
            enter(
                .restarting(
                    Restarting(
                        cause: cause, attempt: 1, deadline: deadline, startedAt: now, lastAt: now, isAnswered: true)),
                &actions)
        case .idle, .connecting, .healthy, .planned, .watching, .delayed, .held: break
        }
    }

    /// The other side has offered a new connection in place of the old one.
    package mutating func replaced(now: Timestamp, _ actions: inout [Action]) {
        isUp = false
        isSuspect = false
        if wasConnected { open(.requestedByPeer, now: now, rung: .rebuild) }
        enter(.connecting(since: now, deadline: now + configuration.connectBudget), &actions)
    }

    package mutating func closed(_ failure: PeerFailure?, now: Timestamp, _ actions: inout [Action]) {
        guard state != .idle else { return }
        isUp = false
        isSuspect = false
        if failure == nil {
            open(.connectionClosed, now: now)
            enter(.delayed(until: now + configuration.closedBudget, .connectionClosed), &actions)
        } else {
            scheduleRebuild(.connectionFailed, now: now, &actions)
        }
    }

    package mutating func descriptionRefused(now: Timestamp, _ actions: inout [Action]) {
        guard state != .idle else { return }
        scheduleRebuild(.descriptionRefused, now: now, &actions)
    }

    /// Signaling to the participant came or went.
    package mutating func setReachable(_ reachable: Bool, now: Timestamp, _ actions: inout [Action]) {
        isReachable = reachable
        if reachable, case .held(let rung, let cause) = state { step(rung, cause, now: now, &actions) }
    }

    // MARK: Triggers

    /// One of the two sides rejoined: both can be reached, and what was in flight between us is lost.
    package mutating func rejoined(
        _ cause: Incident.Cause, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        isReachable = true
        switch state {
        case .idle, .delayed: break
        case .connecting: if isOfferer { rebuild(cause, now: now, &actions) }
        case .healthy, .planned:
            guard configuration.rejoinPolicy == .all, isOfferer else { return }
            enter(.planned(at: now + generator.duration(upTo: configuration.rejoinJitter), cause), &actions)
        case .watching, .held:
            if configuration.rejoinPolicy != .none { step(.restart, cause, now: now, &actions) }
        case .restarting: step(.restart, cause, now: now, &actions)
        }
    }

    /// There is reason to look at once: the network changed, or somebody asked.
    package mutating func hurry(_ cause: Incident.Cause, now: Timestamp, _ actions: inout [Action]) {
        let deadline = now + configuration.probeBudget
        switch state {
        case .idle, .delayed, .held: break
        case .healthy, .planned:
            actions.append(.probe)
            enter(.watching(deadline: deadline, cause), &actions)
        case .watching(let before, let oldCause):
            actions.append(.probe)
            enter(.watching(deadline: min(before, deadline), oldCause), &actions)
        case .restarting(var restarting):
            // What is being gathered may be of the old network.
            restarting.deadline = min(
                restarting.deadline, max(now, restarting.lastAt + configuration.restartSpacing))
            enter(.restarting(restarting), &actions)
        case .connecting(let since, let before):
            enter(.connecting(since: since, deadline: min(before, now + configuration.restartBudget)), &actions)
        }
    }

    /// The other side, or the application, asks for a new path.
    package mutating func restartRequested(_ cause: Incident.Cause, now: Timestamp, _ actions: inout [Action]) {
        let earliest = lastRestartAt.map { $0 + configuration.restartSpacing } ?? now
        switch state {
        case .idle, .connecting, .delayed, .held: break
        case .healthy, .planned, .watching:
            if earliest <= now {
                step(.restart, cause, now: now, &actions)
            } else if case .watching(let deadline, let before) = state {
                enter(.watching(deadline: min(deadline, earliest), before), &actions)
            } else {
                enter(.planned(at: earliest, cause), &actions)
            }
        case .restarting(var restarting):
            restarting.deadline = min(restarting.deadline, max(now, earliest))
            enter(.restarting(restarting), &actions)
            if earliest <= now { step(.restart, cause, now: now, &actions) }
        }
    }

    /// The answering side asks for a new connection. `hasNone`: it has none at all, or not yet.
    package mutating func rebuildRequested(hasNone: Bool, now: Timestamp, _ actions: inout [Action]) {
        switch state {
        case .idle, .delayed, .held: break
        case .connecting(let since, _):
            // The offer may be on its way.
            if !hasNone || now - since >= configuration.connectBudget / 2 {
                scheduleRebuild(.requestedByPeer, now: now, &actions)
            }
        case .healthy, .planned, .watching, .restarting: scheduleRebuild(.requestedByPeer, now: now, &actions)
        }
    }

    /// A restart of a path that works, soon.
    package mutating func plan(
        _ cause: Incident.Cause, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard state == .healthy else { return }
        enter(.planned(at: now + generator.duration(upTo: configuration.rejoinJitter), cause), &actions)
    }

    // MARK: Time

    private var deadline: Timestamp? {
        switch state {
        case .idle, .healthy, .held: nil
        case .connecting(_, let deadline): deadline
        case .planned(let at, _): at
        case .watching(let deadline, _): deadline
        case .restarting(let restarting): restarting.deadline
        case .delayed(let until, _): until
        }
    }

    package mutating func timerFired(now: Timestamp, _ actions: inout [Action]) {
        guard let deadline else { return }
        guard now >= deadline else {
            actions.append(.scheduleTimer(at: deadline))
            return
        }
        if now - deadline > configuration.timerTolerance, !hadGrace, grantGrace(now: now, &actions) { return }
        switch state {
        case .idle, .healthy, .held: break
        case .connecting: scheduleRebuild(.connectTimeout, now: now, &actions)
        case .planned(_, let cause), .watching(_, let cause): step(.restart, cause, now: now, &actions)
        case .restarting(let restarting):
            let elapsed = now - restarting.startedAt
            let budget =
                restarting.isAnswered ? configuration.rebuildAfter : configuration.rebuildUnansweredAfter
            step(elapsed >= budget ? .rebuild : .restart, restarting.cause, now: now, &actions)
        case .delayed(_, let cause): step(.rebuild, cause, now: now, &actions)
        }
    }

    /// The timer came far too late: this process slept or starved, and facts may be waiting behind it. Looks again before
    /// anything is declared dead. False where nothing is.
    private mutating func grantGrace(now: Timestamp, _ actions: inout [Action]) -> Bool {
        switch state {
        case .idle, .healthy, .held, .planned, .delayed: return false
        case .connecting(let since, _):
            enter(.connecting(since: since, deadline: now + configuration.connectBudget / 2), &actions)
        case .watching(_, let cause):
            actions.append(.probe)
            enter(.watching(deadline: now + configuration.probeBudget, cause), &actions)
        case .restarting(var restarting):
            actions.append(.probe)
            restarting.deadline = now + configuration.probeBudget
            enter(.restarting(restarting), &actions)
        }
        hadGrace = true
        return true
    }

    // MARK: Steps

    private mutating func step(
        _ rung: RecoveryRung, _ cause: Incident.Cause, now: Timestamp, _ actions: inout [Action]
    ) {
        switch rung {
        case .wait: break
        case .restart: restart(cause, now: now, &actions)
        case .rebuild: rebuild(cause, now: now, &actions)
        }
    }

    private mutating func hold(
        _ rung: RecoveryRung, _ cause: Incident.Cause, now: Timestamp, _ actions: inout [Action]
    ) {
        note(.held, now: now, cause)
        enter(.held(rung, cause), &actions)
    }

    private mutating func restart(_ cause: Incident.Cause, now: Timestamp, _ actions: inout [Action]) {
        open(cause, now: now, rung: .restart)
        if case .held(.rebuild, _) = state {
            rebuild(cause, now: now, &actions)
            return
        }
        guard isReachable else {
            hold(.restart, cause, now: now, &actions)
            return
        }
        note(.restartRequested, now: now, cause)
        var restarting = Restarting(cause: cause, attempt: 0, deadline: now, startedAt: now, lastAt: now)
        if case .restarting(let before) = state { restarting = before }
        let wait = configuration.restartBudget + configuration.restartBackoff * restarting.attempt
        let isSuperseding = restarting.attempt > 0 || cause == .rejoined || cause == .peerRejoined
        restarting.attempt += 1
        restarting.lastAt = now
        restarting.deadline = now + min(wait, configuration.restartMaximum)
        if restarting.isAnswered {
            // Not beyond the time of the next rung.
            let limit = max(restarting.startedAt + configuration.rebuildAfter, now + configuration.restartBudget)
            restarting.deadline = min(restarting.deadline, limit)
        }
        lastRestartAt = now
        enter(.restarting(restarting), &actions)
        actions.append(.restart(isSuperseding: isSuperseding, cause))
    }

    /// Rebuilds now, or later when the last rebuild was only just made.
    private mutating func scheduleRebuild(_ cause: Incident.Cause, now: Timestamp, _ actions: inout [Action]) {
        if let healthySince, now - healthySince >= configuration.connectBudget { rebuilds = 0 }
        healthySince = nil
        open(cause, now: now, rung: .rebuild)
        guard rebuilds > 0, let lastRebuildAt else {
            rebuild(cause, now: now, &actions)
            return
        }
        let delay = min(
            configuration.rebuildDelay * (1 << min(rebuilds - 1, 16)), configuration.rebuildDelayMaximum)
        if lastRebuildAt + delay <= now {
            rebuild(cause, now: now, &actions)
        } else {
            enter(.delayed(until: lastRebuildAt + delay, cause), &actions)
        }
    }

    private mutating func rebuild(_ cause: Incident.Cause, now: Timestamp, _ actions: inout [Action]) {
        open(cause, now: now, rung: .rebuild)
        guard isReachable else {
            hold(.rebuild, cause, now: now, &actions)
            return
        }
        note(.rebuildRequested, now: now, cause)
        rebuilds += 1
        lastRebuildAt = now
        healthySince = nil
        if isOfferer {
            isUp = false
            isSuspect = false
        }
        let budget = min(configuration.connectBudget * min(rebuilds, 1000), configuration.connectMaximum)
        enter(.connecting(since: now, deadline: now + budget), &actions)
        actions.append(.rebuild(cause))
    }

    /// Back to health when the facts say so.
    private mutating func settle(now: Timestamp, _ actions: inout [Action]) {
        guard isUp, !isSuspect else {
            updateStatus(&actions)
            return
        }
        switch state {
        case .idle, .healthy, .planned: updateStatus(&actions)
        case .connecting, .restarting, .delayed, .held, .watching:
            wasConnected = true
            healthySince = now
            note(.connected, now: now)
            enter(.healthy, &actions)
            finish(.recovered, now: now, &actions)
        }
    }

    private mutating func enter(_ new: State, _ actions: inout [Action]) {
        state = new
        hadGrace = false
        if let deadline { actions.append(.scheduleTimer(at: deadline)) }
        updateStatus(&actions)
    }

    // MARK: Status and incident

    private mutating func updateStatus(_ actions: inout [Action]) {
        let new = currentStatus
        guard new != status else { return }
        status = new
        actions.append(.changeStatus(new))
    }

    private var currentStatus: PeerStatus {
        if state == .idle { return .waiting }
        guard wasConnected else { return .connecting }
        let since = incident?.startedAt ?? .zero
        let isAlive = isUp && !isSuspect
        return switch state {
        case .idle: .waiting
        case .connecting: .recovering(.rebuild, attempt: rebuilds, since: since)
        case .healthy, .planned: .connected(path)
        case .watching: isAlive ? .connected(path) : .recovering(.wait, attempt: 1, since: since)
        case .restarting(let restarting):
            isAlive ? .connected(path) : .recovering(.restart, attempt: restarting.attempt, since: since)
        case .delayed: .recovering(.rebuild, attempt: rebuilds, since: since)
        case .held(let rung, _): isAlive ? .connected(path) : .recovering(rung, attempt: 1, since: since)
        }
    }

    /// Begins the record of an incident unless one is open, and notes how far it goes.
    private mutating func open(_ cause: Incident.Cause, now: Timestamp, rung: RecoveryRung = .wait) {
        if incident == nil {
            incident = Incident(
                participant: participant, cause: cause, startedAt: now, endedAt: now, rung: rung, outcome: .recovered,
                steps: [Incident.Step(.detected, at: now, cause: cause)])
        } else if let known = incident?.rung, rung > known {
            incident?.rung = rung
        }
    }

    private mutating func note(_ kind: Incident.Step.Kind, now: Timestamp, _ cause: Incident.Cause? = nil) {
        guard let count = incident?.steps.count, count < Incident.stepLimit else { return }
        incident?.steps.append(Incident.Step(kind, at: now, cause: cause))
    }

    private mutating func finish(_ outcome: Incident.Outcome, now: Timestamp, _ actions: inout [Action]) {
        if outcome == .recovered { note(.recovered, now: now) }
        guard var ended = incident else { return }
        incident = nil
        ended.endedAt = now
        ended.outcome = outcome
        actions.append(.report(ended))
    }

    /// The participant is gone, or we are.
    package mutating func end(now: Timestamp, _ actions: inout [Action]) {
        finish(.participantLeft, now: now, &actions)
        state = .idle
    }
}
