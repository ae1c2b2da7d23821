internal import RoomProtocol
internal import RoomValues
internal import TransportValues

/// Decides what a reason to act leads to in each state of a peer connection's recovery. Remembers nothing.
struct RecoveryPolicy: Sendable {
    enum Step: Sendable, Hashable {
        case none
        case restart(RoomIncident.Cause)
        case rebuild(RoomIncident.Cause)
        /// A rebuild, later when the last one was only just made.
        case rebuildInTurn(RoomIncident.Cause)
        /// Back to health, where the facts say so.
        case settle
    }

    /// The actions that follow, in this order.
    struct Response: Sendable, Hashable {
        /// Ask for a sign of life.
        var probes = false
        /// Enter this state. Nil: stay.
        var state: RecoveryState?
        var step = Step.none

        static let nothing = Response()
    }

    private let configuration: RecoveryConfiguration
    private let isOfferer: Bool

    init(_ configuration: RecoveryConfiguration, isOfferer: Bool) {
        self.configuration = configuration
        self.isOfferer = isOfferer
    }

    /// The participant can be reached again over signaling: a step that waited for it is made. A healthy path is
    /// probed: the event that interrupted signaling may have hit an idle path too.
    func reachable(in state: RecoveryState, now: Timestamp) -> Response {
        if case .held(let rung, let cause) = state {
            return Response(step: rung == .rebuild ? .rebuild(cause) : .restart(cause))
        }
        guard state == .healthy else { return .nothing }
        return Response(
            probes: true, state: .watching(deadline: now + configuration.budgets.silence, .silence))
    }

    /// One of the two sides rejoined.
    func rejoined(
        _ cause: RoomIncident.Cause, in state: RecoveryState, now: Timestamp, using generator: inout SeededGenerator
    ) -> Response {
        switch state {
        case .idle, .delayed: return .nothing
        case .connecting: return isOfferer ? Response(step: .rebuild(cause)) : .nothing
        case .healthy, .planned:
            guard configuration.rejoinPolicy == .all, isOfferer else { return reachable(in: state, now: now) }
            let at = now + generator.duration(upTo: configuration.budgets.spread)
            return Response(state: .planned(at: at, cause))
        case .watching: return configuration.rejoinPolicy != .none ? Response(step: .restart(cause)) : .nothing
        case .restarting, .held: return Response(step: .restart(cause))
        }
    }

    /// The path is to be checked at once.
    func checkRequested(_ cause: RoomIncident.Cause, in state: RecoveryState, now: Timestamp) -> Response {
        let deadline = now + configuration.probeBudget
        switch state {
        case .idle, .delayed, .held: return .nothing
        case .healthy, .planned: return Response(probes: true, state: .watching(deadline: deadline, cause))
        case .watching(let before, let oldCause):
            return Response(probes: true, state: .watching(deadline: min(before, deadline), oldCause))
        case .restarting(var restarting):
            // What is being gathered may be of the old network.
            restarting.bringForward(to: max(now, restarting.lastAt + configuration.restartSpacing))
            return Response(state: .restarting(restarting))
        case .connecting(let since, let before):
            return Response(
                state: .connecting(since: since, deadline: min(before, now + configuration.budgets.restart)))
        }
    }

    /// The network of this machine has changed. `isPathLost`: the path leaves from an address that is gone. `isOther`:
    /// there are other addresses than before.
    func networkChanged(isPathLost: Bool, isOther: Bool, in state: RecoveryState, now: Timestamp) -> Response {
        switch state {
        case .healthy, .planned, .watching:
            guard isPathLost else { return checkRequested(.networkChanged, in: state, now: now) }
            return Response(step: .restart(.networkChanged))
        case .restarting(var restarting):
            // What is being gathered is of the old network.
            let earliest = restarting.lastAt + configuration.networkSpacing
            restarting.bringForward(to: max(now, earliest))
            return Response(
                state: .restarting(restarting), step: earliest <= now ? .restart(.networkChanged) : .none)
        case .connecting(let since, let before) where isOther:
            // What it tries is of the old network: unless that comes to something at once, it begins anew.
            return Response(
                state: .connecting(since: since, deadline: min(before, now + configuration.probeBudget)))
        case .idle, .connecting, .delayed, .held: return checkRequested(.networkChanged, in: state, now: now)
        }
    }

    /// The other side, or the application, asks for a new path. `earliest`: when the next one may be begun.
    func restartRequested(
        _ cause: RoomIncident.Cause, earliest: Timestamp, in state: RecoveryState, now: Timestamp
    ) -> Response {
        let isDue = earliest <= now
        switch state {
        case .idle, .delayed, .held: return .nothing
        // The other side has found no path for what both have described.
        case .connecting:
            return cause == .requestedByPeer && isDue ? Response(step: .restart(cause)) : .nothing
        case .watching(let deadline, let before) where !isDue:
            return Response(state: .watching(deadline: min(deadline, earliest), before))
        case .healthy, .planned, .watching:
            return isDue ? Response(step: .restart(cause)) : Response(state: .planned(at: earliest, cause))
        case .restarting(var restarting):
            restarting.bringForward(to: max(now, earliest))
            return Response(state: .restarting(restarting), step: isDue ? .restart(cause) : .none)
        }
    }

    /// The answering side asks for a new connection. `hasNone`: it has none at all, or not yet.
    func rebuildRequested(hasNone: Bool, in state: RecoveryState, now: Timestamp) -> Response {
        switch state {
        case .idle, .delayed, .held: return .nothing
        case .connecting(let since, _):
            // The offer may be on its way.
            guard !hasNone || now - since >= configuration.budgets.connect / 2 else { return .nothing }
        case .healthy, .planned, .watching, .restarting: break
        }
        return Response(step: .rebuildInTurn(.requestedByPeer))
    }

    /// Evidence of life is late. Returns the state to enter; nil where nothing new is to be watched.
    func suspected(since: Timestamp, in state: RecoveryState, now: Timestamp) -> RecoveryState? {
        let deadline = max(now, since + configuration.budgets.silence)
        return switch state {
        case .healthy, .planned: .watching(deadline: deadline, .silence)
        case .watching(let before, let cause): .watching(deadline: min(before, deadline), cause)
        case .idle, .connecting, .restarting, .delayed, .held: nil
        }
    }

    /// Both sides have described a round. Returns the state to enter; nil where it is the round that is waited for.
    func agreed(in state: RecoveryState, now: Timestamp) -> RecoveryState? {
        guard !isOfferer else { return nil }
        switch state {
        case .watching(_, let cause):
            // The other side is ahead of us.
            var restarting = RestartAttempts(cause, now: now)
            restarting.joined(configuration, now: now)
            return .restarting(restarting)
        case .connecting(let since, let deadline):
            // The other side looks for a path anew, and will do so again.
            let later = now + configuration.budgets.connect + configuration.budgets.restart
            return .connecting(since: since, deadline: max(deadline, later))
        case .idle, .healthy, .planned, .restarting, .delayed, .held: return nil
        }
    }

    /// A round could not be begun. `isPathKept`: the path before it is what it was. `isAlive`: it carries data.
    func notPrepared(isPathKept: Bool, isAlive: Bool, in state: RecoveryState) -> Response {
        guard state != .idle else { return .nothing }
        if isPathKept, isAlive {
            // It goes on as if nothing had been tried.
            if case .restarting = state { return Response(step: .settle) }
            return .nothing
        }
        // Closing the old path is what gives something back.
        return !isPathKept || isOfferer ? Response(step: .rebuildInTurn(.connectionFailed)) : .nothing
    }

    /// The deadline of the state has come.
    func timeIsUp(_ evidence: PathEvidence, in state: RecoveryState, now: Timestamp) -> Response {
        switch state {
        case .idle, .healthy, .held: return .nothing
        case .connecting: return Response(step: .rebuildInTurn(.connectTimeout))
        case .planned(_, let cause): return Response(step: .restart(cause))
        case .watching(_, let cause):
            return Response(step: evidence.needsNewConnection ? .rebuildInTurn(cause) : .restart(cause))
        case .restarting(let restarting):
            if restarting.isOptional, evidence.isAlive,
                restarting.isAnswered || restarting.attempt >= configuration.optionalAttempts
            {
                return Response(step: .settle)
            }
            let isOver = restarting.hasHadItsTime(configuration, now: now)
            return Response(step: isOver ? .rebuild(restarting.cause) : .restart(restarting.cause))
        case .delayed(_, let cause): return Response(step: .rebuild(cause))
        }
    }

    /// A timer came far too late, and facts may be waiting behind it. Nil where nothing is about to be declared dead.
    func grace(in state: RecoveryState, now: Timestamp) -> Response? {
        switch state {
        case .idle, .healthy, .held, .planned, .delayed: return nil
        case .connecting(let since, _):
            return Response(state: .connecting(since: since, deadline: now + configuration.budgets.connect / 2))
        case .watching(_, let cause):
            return Response(probes: true, state: .watching(deadline: now + configuration.probeBudget, cause))
        case .restarting(var restarting):
            restarting.deadline = now + configuration.probeBudget
            return Response(probes: true, state: .restarting(restarting))
        }
    }
}
