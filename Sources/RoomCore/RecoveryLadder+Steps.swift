internal import RoomValues
package import TransportValues

extension RecoveryLadder {
    mutating func step(
        _ rung: RecoveryRung, _ cause: RoomIncident.Cause, now: Timestamp, _ actions: inout [Action]
    ) {
        switch rung {
        case .wait: break
        case .restart: restart(cause, now: now, &actions)
        case .rebuild: rebuild(cause, now: now, &actions)
        }
    }

    mutating func hold(
        _ rung: RecoveryRung, _ cause: RoomIncident.Cause, now: Timestamp, _ actions: inout [Action]
    ) {
        note(.held, now: now, cause)
        enter(.held(rung, cause), &actions)
    }

    mutating func restart(_ cause: RoomIncident.Cause, now: Timestamp, _ actions: inout [Action]) {
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
        switch state {
        case .restarting(let before): restarting = before
        case .healthy, .planned: restarting.isOptional = isUp && !isSuspect
        case .idle, .connecting, .watching, .delayed, .held: break
        }
        let wait = configuration.budgets.restart + configuration.restartBackoff * restarting.attempt
        let isSuperseding = restarting.attempt > 0 || cause == .rejoined || cause == .peerRejoined
        restarting.attempt += 1
        restarting.lastAt = now
        restarting.deadline = now + min(wait, configuration.restartMaximum)
        if restarting.isWorthRebuilding {
            // Not beyond the time of the next rung.
            let limit = max(restarting.startedAt + configuration.budgets.rebuild, now + configuration.budgets.restart)
            restarting.deadline = min(restarting.deadline, limit)
        }
        lastRestartAt = now
        enter(.restarting(restarting), &actions)
        actions.append(.restart(isSuperseding: isSuperseding, cause))
    }

    /// Rebuilds now, or later when the last rebuild was only just made.
    mutating func scheduleRebuild(_ cause: RoomIncident.Cause, now: Timestamp, _ actions: inout [Action]) {
        let delay = rebuildDelay(now: now)
        open(cause, now: now, rung: .rebuild)
        guard let delay, let lastRebuildAt else {
            rebuild(cause, now: now, &actions)
            return
        }
        if lastRebuildAt + delay <= now {
            rebuild(cause, now: now, &actions)
        } else {
            enter(.delayed(until: lastRebuildAt + delay, cause), &actions)
        }
    }

    /// From the last rebuild to the next one. Nil: the connection has held since, and is rebuilt at once.
    mutating func rebuildDelay(now: Timestamp) -> Duration? {
        if let healthySince, now - healthySince >= configuration.budgets.connect { rebuilds = 0 }
        healthySince = nil
        guard rebuilds > 0 else { return nil }
        return min(configuration.rebuildDelay * (1 << min(rebuilds - 1, 16)), configuration.rebuildDelayMaximum)
    }

    mutating func rebuild(_ cause: RoomIncident.Cause, now: Timestamp, _ actions: inout [Action]) {
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
        let budget = min(configuration.budgets.connect * min(rebuilds, 1000), configuration.connectMaximum)
        enter(.connecting(since: now, deadline: now + budget), &actions)
        actions.append(.rebuild(cause))
    }

    /// Back to health when the facts say so.
    mutating func settle(now: Timestamp, _ actions: inout [Action]) {
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

    mutating func enter(_ new: State, _ actions: inout [Action]) {
        state = new
        hadGrace = false
        if let nextTimer { actions.append(.scheduleTimer(at: nextTimer)) }
        updateStatus(&actions)
    }

    // MARK: Status and incident

    mutating func updateStatus(_ actions: inout [Action]) {
        let new = currentStatus
        guard new != status else { return }
        let wasBroken = status.isRecovering
        status = new
        actions.append(.changeStatus(new))
        if new.isRecovering, !wasBroken { expectsData = true }
    }

    var currentStatus: PeerStatus {
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
    mutating func open(_ cause: RoomIncident.Cause, now: Timestamp, rung: RecoveryRung = .wait) {
        if incident == nil {
            // Where it began with a probe, that is when it began.
            let start = probedAt ?? now
            incident = RoomIncident(
                participant: participant, cause: cause, startedAt: start, endedAt: now, rung: rung,
                outcome: .recovered, steps: [RoomIncident.Step(.detected, at: start, cause: cause)])
            if probedAt != nil { note(.probed, now: start) }
        } else if let known = incident?.rung, rung > known {
            incident?.rung = rung
        }
    }

    /// Asks for a sign of life.
    mutating func probe(now: Timestamp, _ actions: inout [Action]) {
        actions.append(.probe)
        if incident == nil { probedAt = now } else { note(.probed, now: now) }
    }

    mutating func note(_ kind: RoomIncident.Step.Kind, now: Timestamp, _ cause: RoomIncident.Cause? = nil) {
        guard let count = incident?.steps.count, count < RoomIncident.stepLimit else { return }
        incident?.steps.append(RoomIncident.Step(kind, at: now, cause: cause))
    }

    mutating func finish(_ outcome: RoomIncident.Outcome, now: Timestamp, _ actions: inout [Action]) {
        probedAt = nil
        if outcome == .recovered { note(.recovered, now: now) }
        guard var ended = incident else { return }
        incident = nil
        ended.endedAt = now
        ended.outcome = outcome
        reportHealed(&actions)
        if outcome == .recovered, expectsData {
            healed = ended
            if let nextTimer { actions.append(.scheduleTimer(at: nextTimer)) }
        } else {
            actions.append(.report(ended))
        }
    }

    mutating func reportHealed(_ actions: inout [Action]) {
        guard let incident = healed else { return }
        healed = nil
        actions.append(.report(incident))
    }

    /// The participant is gone, or we are.
    package mutating func end(now: Timestamp, _ actions: inout [Action]) {
        finish(.participantLeft, now: now, &actions)
        reportHealed(&actions)
        state = .idle
    }
}
