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

    enum State: Sendable, Hashable {
        /// Nothing was begun. Can transition to: connecting.
        case idle
        /// A connection is being made. Can transition to: healthy, restarting, connecting (rebuild), delayed, held.
        case connecting(since: Timestamp, deadline: Timestamp)
        /// Evidence of life is there. Can transition to: planned, watching, restarting, delayed, connecting, held.
        case healthy
        /// As `healthy`, with a restart to come. Can transition to: healthy, watching, restarting, delayed, connecting,
        /// held.
        case planned(at: Timestamp, RoomIncident.Cause)
        /// Evidence is late, or was asked for. Can transition to: healthy, restarting, delayed, connecting, held.
        case watching(deadline: Timestamp, RoomIncident.Cause)
        /// A new path was asked for. Can transition to: healthy, restarting (again), connecting (rebuild), delayed,
        /// held.
        case restarting(Restarting)
        /// A rebuild waits, for its turn or for a channel that is opened again. Can transition to: connecting, held,
        /// healthy.
        case delayed(until: Timestamp, RoomIncident.Cause)
        /// The step waits for signaling. Can transition to: restarting, connecting, delayed, healthy.
        case held(RecoveryRung, RoomIncident.Cause)
    }
    struct Restarting: Sendable, Hashable {
        var cause: RoomIncident.Cause
        var attempt: Int
        var deadline: Timestamp
        var startedAt: Timestamp
        var lastAt: Timestamp
        var isAnswered = false
        /// The path worked when the restart was begun, and nothing was asked of it: it goes on where no better one is
        /// found.
        var isOptional = false
        /// A fresh path was found: what is silent now is the connection over it.
        var hasPath = false
        /// Only a path that carries nothing speaks for a new connection. Where none is found, a new connection would
        /// find none either, and the old one goes on at once when its path is back.
        var isWorthRebuilding: Bool { isAnswered && hasPath }
    }

    let configuration: RecoveryConfiguration
    let participant: ParticipantID
    let isOfferer: Bool
    var state = State.idle
    /// The transport says that channels can carry data.
    var isUp = false
    var isSuspect = false
    var isReachable = true
    var path: PeerPath?
    var wasConnected = false
    var healthySince: Timestamp?
    /// Since the connection was last healthy for a while.
    var rebuilds = 0
    var lastRebuildAt: Timestamp?
    var lastRestartAt: Timestamp?
    /// The timer of this state has been late once.
    var hadGrace = false
    var incident: RoomIncident?
    /// Has ended, and is told when the first message has come, or has had its time.
    var healed: RoomIncident?
    var expectsData = false
    /// A sign of life was asked for before there was an incident.
    var probedAt: Timestamp?
    package internal(set) var status = PeerStatus.waiting

    package init(_ configuration: RecoveryConfiguration, participant: ParticipantID, isOfferer: Bool) {
        self.configuration = configuration
        self.participant = participant
        self.isOfferer = isOfferer
    }

    package var isIdle: Bool { state == .idle }
    /// The next step waits for signaling.
    var isHeld: Bool { if case .held = state { true } else { false } }

    /// Its first connection is being made, and has not taken too long so far.
    package var isConnectingFirst: Bool {
        if case .connecting = state { rebuilds == 0 && !wasConnected } else { false }
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
            isUp = true
            isSuspect = false
            settle(now: now, &actions)
        case .disconnected:
            isUp = false
            switch state {
            // Also of a connection that was never up: its agent has tried everything that it knew.
            case .connecting, .healthy, .planned, .watching: step(.restart, .pathLost, now: now, &actions)
            case .idle, .restarting, .delayed, .held: updateStatus(&actions)
            }
        case .new, .connecting:
            guard isUp else { return }
            isUp = false
            suspect(since: now, now: now, &actions)
        }
    }

    /// Nothing can be sent, though the path works. The side that opened the channel opens it again; where that does not
    /// come about, the connection is made anew.
    package mutating func channelClosed(now: Timestamp, _ actions: inout [Action]) {
        guard isUp else { return }
        isUp = false
        switch state {
        case .healthy, .planned, .watching:
            open(.channelClosed, now: now, rung: .rebuild)
            // One that is closed again and again is not made anew each time at once.
            let earliest = rebuildDelay(now: now).flatMap { delay in lastRebuildAt.map { $0 + delay } } ?? now
            enter(.delayed(until: max(now + configuration.closedBudget, earliest), .channelClosed), &actions)
        case .idle, .connecting, .restarting, .delayed, .held: updateStatus(&actions)
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
            enter(.watching(deadline: max(now, since + configuration.budgets.silence), .silence), &actions)
        case .watching(let deadline, let cause):
            open(.silence, now: now)
            enter(.watching(deadline: min(deadline, max(now, since + configuration.budgets.silence)), cause), &actions)
        case .idle, .connecting, .restarting, .delayed, .held: updateStatus(&actions)
        }
    }

    /// `isLatest`: of the latest round.
    package mutating func pathChanged(
        _ path: PeerPath, isLatest: Bool = true, now: Timestamp, _ actions: inout [Action]
    ) {
        self.path = path
        if isLatest { note(.nominated, now: now) }
        guard isLatest, case .restarting(var restarting) = state, restarting.isAnswered else {
            updateStatus(&actions)
            return
        }
        restarting.hasPath = true
        state = .restarting(restarting)
        settle(now: now, &actions)
    }

    package mutating func described(now: Timestamp) { note(.described, now: now) }
    package mutating func checked(now: Timestamp) { note(.checked, now: now) }

    /// The first message since one was expected has come.
    package mutating func dataArrived(now: Timestamp, _ actions: inout [Action]) {
        guard expectsData else { return }
        expectsData = false
        note(.firstData, now: now)
        healed?.steps.append(RoomIncident.Step(.firstData, at: now))
        reportHealed(&actions)
    }
    package mutating func gathered(now: Timestamp) { note(.gathered, now: now) }

    /// Both sides have described the round.
    package mutating func agreed(now: Timestamp, _ actions: inout [Action]) {
        note(.answered, now: now)
        switch state {
        case .restarting(var restarting):
            restarting.isAnswered = true
            state = .restarting(restarting)
        case .watching(_, let cause) where !isOfferer:
            // The other side is ahead of us.
            let deadline = now + configuration.budgets.restart
            enter(
                .restarting(
                    Restarting(
                        cause: cause, attempt: 1, deadline: deadline, startedAt: now, lastAt: now, isAnswered: true)),
                &actions)
        case .connecting(let since, let deadline) where !isOfferer:
            // The other side looks for a path anew, and will do so again.
            let later = now + configuration.budgets.connect + configuration.budgets.restart
            enter(.connecting(since: since, deadline: max(deadline, later)), &actions)
        case .idle, .connecting, .healthy, .planned, .watching, .delayed, .held: break
        }
    }

    /// The other side has offered a new connection in place of the old one.
    package mutating func replaced(now: Timestamp, _ actions: inout [Action]) {
        isUp = false
        isSuspect = false
        if wasConnected { open(.requestedByPeer, now: now, rung: .rebuild) }
        enter(.connecting(since: now, deadline: now + configuration.budgets.connect), &actions)
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

    /// A round could not be begun: this machine is out of something. `isPathKept`: the path before it is what it was.
    package mutating func notPrepared(isPathKept: Bool, now: Timestamp, _ actions: inout [Action]) {
        guard state != .idle else { return }
        guard isPathKept else {
            scheduleRebuild(.connectionFailed, now: now, &actions)
            return
        }
        if isUp, !isSuspect {
            // It goes on as if nothing had been tried.
            if case .restarting = state { settle(now: now, &actions) }
        } else if isOfferer {
            // Closing the old path is what gives something back.
            scheduleRebuild(.connectionFailed, now: now, &actions)
        }
    }

    /// Signaling to the participant came or went.
    package mutating func setReachable(_ reachable: Bool, now: Timestamp, _ actions: inout [Action]) {
        isReachable = reachable
        guard reachable else { return }
        if case .held(let rung, let cause) = state {
            step(rung, cause, now: now, &actions)
        } else {
            ask(now: now, &actions)
        }
    }

    /// What interrupted signaling may have hit a path over which nothing is said.
    private mutating func ask(now: Timestamp, _ actions: inout [Action]) {
        guard state == .healthy else { return }
        probe(now: now, &actions)
        enter(.watching(deadline: now + configuration.budgets.silence, .silence), &actions)
    }

    // MARK: Triggers

    /// One of the two sides rejoined: both can be reached, and what was in flight between us is lost.
    package mutating func rejoined(
        _ cause: RoomIncident.Cause, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        isReachable = true
        switch state {
        case .idle, .delayed: break
        case .connecting: if isOfferer { rebuild(cause, now: now, &actions) }
        case .healthy, .planned:
            guard configuration.rejoinPolicy == .all, isOfferer else {
                ask(now: now, &actions)
                return
            }
            enter(.planned(at: now + generator.duration(upTo: configuration.budgets.spread), cause), &actions)
        case .watching:
            if configuration.rejoinPolicy != .none { step(.restart, cause, now: now, &actions) }
        case .restarting, .held: step(.restart, cause, now: now, &actions)
        }
    }

    /// This machine has slept. Its clock has stood still, so whatever was about to be judged by it knows nothing of the
    /// other side's time: the path is asked, and has its time to answer.
    package mutating func woke(now: Timestamp, _ actions: inout [Action]) {
        switch state {
        case .idle, .delayed, .held: break
        case .healthy, .planned: hurry(.suspended, now: now, &actions)
        case .watching, .connecting, .restarting: _ = grantGrace(now: now, &actions)
        }
    }

    /// There is reason to look at once: the network changed, or somebody asked.
    package mutating func hurry(_ cause: RoomIncident.Cause, now: Timestamp, _ actions: inout [Action]) {
        let deadline = now + configuration.probeBudget
        switch state {
        case .idle, .delayed, .held: break
        case .healthy, .planned:
            probe(now: now, &actions)
            enter(.watching(deadline: deadline, cause), &actions)
        case .watching(let before, let oldCause):
            probe(now: now, &actions)
            enter(.watching(deadline: min(before, deadline), oldCause), &actions)
        case .restarting(var restarting):
            // What is being gathered may be of the old network.
            restarting.deadline = min(
                restarting.deadline, max(now, restarting.lastAt + configuration.restartSpacing))
            enter(.restarting(restarting), &actions)
        case .connecting(let since, let before):
            enter(.connecting(since: since, deadline: min(before, now + configuration.budgets.restart)), &actions)
        }
    }

    /// The network of this machine has changed. `isPathLost`: the path leaves from an address that is gone. `isOther`:
    /// there are other addresses than before.
    package mutating func networkChanged(
        isPathLost: Bool, isOther: Bool, now: Timestamp, _ actions: inout [Action]
    ) {
        if isPathLost, isUp {
            // Nothing comes over it any more: the next sign of life, which the probe asks for, is one of a new path.
            isSuspect = true
            probe(now: now, &actions)
        }
        switch state {
        case .healthy, .planned, .watching:
            if isPathLost {
                step(.restart, .networkChanged, now: now, &actions)
            } else {
                hurry(.networkChanged, now: now, &actions)
            }
        case .restarting(var restarting):
            // What is being gathered is of the old network.
            let earliest = restarting.lastAt + configuration.networkSpacing
            restarting.deadline = min(restarting.deadline, max(now, earliest))
            enter(.restarting(restarting), &actions)
            if earliest <= now { step(.restart, .networkChanged, now: now, &actions) }
        case .connecting(let since, let before) where isOther:
            // What it tries is of the old network: unless that comes to something at once, it begins anew.
            enter(.connecting(since: since, deadline: min(before, now + configuration.probeBudget)), &actions)
        case .idle, .connecting, .delayed, .held:
            hurry(.networkChanged, now: now, &actions)
            updateStatus(&actions)
        }
    }

    /// The other side, or the application, asks for a new path.
    package mutating func restartRequested(_ cause: RoomIncident.Cause, now: Timestamp, _ actions: inout [Action]) {
        let earliest = lastRestartAt.map { $0 + configuration.restartSpacing } ?? now
        switch state {
        case .idle, .delayed, .held: break
        // The other side has found no path for what both have described.
        case .connecting: if cause == .requestedByPeer, earliest <= now { step(.restart, cause, now: now, &actions) }
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
            if !hasNone || now - since >= configuration.budgets.connect / 2 {
                scheduleRebuild(.requestedByPeer, now: now, &actions)
            }
        case .healthy, .planned, .watching, .restarting: scheduleRebuild(.requestedByPeer, now: now, &actions)
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

    /// What was planned for this reason is done.
    package mutating func callOff(_ cause: RoomIncident.Cause, _ actions: inout [Action]) {
        if case .planned(_, cause) = state { enter(.healthy, &actions) }
    }

    // MARK: Time

    var deadline: Timestamp? {
        switch state {
        case .idle, .healthy, .held: nil
        case .connecting(_, let deadline): deadline
        case .planned(let at, _): at
        case .watching(let deadline, _): deadline
        case .restarting(let restarting): restarting.deadline
        case .delayed(let until, _): until
        }
    }

    var nextTimer: Timestamp? {
        guard let healedUntil else { return deadline }
        return min(healedUntil, deadline ?? healedUntil)
    }

    private var healedUntil: Timestamp? { healed.map { $0.endedAt + configuration.firstDataBudget } }

    package mutating func timerFired(now: Timestamp, _ actions: inout [Action]) {
        if let healedUntil, now >= healedUntil {
            expectsData = incident != nil
            reportHealed(&actions)
        }
        guard let deadline, now >= deadline else {
            if let nextTimer { actions.append(.scheduleTimer(at: nextTimer)) }
            return
        }
        if now - deadline > configuration.timerTolerance, !hadGrace, grantGrace(now: now, &actions) { return }
        switch state {
        case .idle, .healthy, .held: break
        case .connecting: scheduleRebuild(.connectTimeout, now: now, &actions)
        case .planned(_, let cause), .watching(_, let cause): step(.restart, cause, now: now, &actions)
        case .restarting(let restarting)
        where restarting.isOptional && isUp && !isSuspect
            && (restarting.isAnswered || restarting.attempt >= configuration.optionalAttempts):
            settle(now: now, &actions)
        case .restarting(let restarting):
            let elapsed = now - restarting.startedAt
            let budget =
                restarting.isWorthRebuilding ? configuration.budgets.rebuild : configuration.budgets.rebuildWithoutPath
            step(elapsed >= budget ? .rebuild : .restart, restarting.cause, now: now, &actions)
        case .delayed(_, let cause): step(.rebuild, cause, now: now, &actions)
        }
    }

    /// The timer came far too late: this process slept or starved, and facts may be waiting behind it. Looks again
    /// before anything is declared dead. False where nothing is.
    private mutating func grantGrace(now: Timestamp, _ actions: inout [Action]) -> Bool {
        switch state {
        case .idle, .healthy, .held, .planned, .delayed: return false
        case .connecting(let since, _):
            enter(.connecting(since: since, deadline: now + configuration.budgets.connect / 2), &actions)
        case .watching(_, let cause):
            probe(now: now, &actions)
            enter(.watching(deadline: now + configuration.probeBudget, cause), &actions)
        case .restarting(var restarting):
            probe(now: now, &actions)
            restarting.deadline = now + configuration.probeBudget
            enter(.restarting(restarting), &actions)
        }
        hadGrace = true
        return true
    }
}
