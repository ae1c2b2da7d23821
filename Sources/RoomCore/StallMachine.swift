internal import RoomValues
package import TransportValues

/// Decides when to look for the reason why a pair is not connected, or carries no data, and when to report it.
///
/// A reason is reported once, again when it changes, and rarely while it stays. When the pair is connected and its data
/// is acknowledged, the reported stall is resolved.
package struct StallMachine: Sendable {
    package enum Action: Sendable, Hashable {
        case scheduleTimer(at: Timestamp)
        case cancelTimer
        /// Find the reason. Answered by `found`.
        case inquire
        case report(PeerStall)
        case resolve(PeerStall)
    }

    private enum State: Sendable {
        /// Connected, and data flows as far as it is known. Can transition to: stalled.
        case flowing
        /// Can transition to: flowing.
        case stalled(Stalled)
    }
    private struct Stalled: Sendable {
        var isDisconnected = false
        var isUnacknowledged = false
        var nextCheck: Timestamp
        var reported: (stall: PeerStall, at: Timestamp)?
        /// The timer has been late once.
        var hadGrace = false
    }

    private let patience: Duration
    private let reminder: Duration
    private let tolerance: Duration
    private var state = State.flowing

    package init(_ configuration: RecoveryConfiguration) {
        patience = configuration.budgets.stall
        reminder = configuration.stallReminder
        tolerance = configuration.timerTolerance
    }

    /// The pair is not connected: it has only just begun, or was connected before.
    package mutating func disconnected(now: Timestamp, _ actions: inout [Action]) {
        switch state {
        case .flowing: enter(Stalled(isDisconnected: true, nextCheck: now + patience), &actions)
        case .stalled(var stalled):
            stalled.isDisconnected = true
            state = .stalled(stalled)
        }
    }

    package mutating func connected(now: Timestamp, _ actions: inout [Action]) {
        guard case .stalled(var stalled) = state, stalled.isDisconnected else { return }
        stalled.isDisconnected = false
        if stalled.isUnacknowledged { stalled.nextCheck = now + patience }
        endOrContinue(stalled, &actions)
    }

    /// Sent data has not been acknowledged for a while.
    package mutating func unacknowledged(now: Timestamp, _ actions: inout [Action]) {
        switch state {
        case .flowing:
            enter(Stalled(isUnacknowledged: true, nextCheck: now + patience), &actions)
            actions.append(.inquire)
        case .stalled(var stalled):
            stalled.isUnacknowledged = true
            state = .stalled(stalled)
        }
    }

    /// Acknowledgements come, or nothing is left to be acknowledged.
    package mutating func acknowledged(_ actions: inout [Action]) {
        guard case .stalled(var stalled) = state, stalled.isUnacknowledged else { return }
        stalled.isUnacknowledged = false
        endOrContinue(stalled, &actions)
    }

    package mutating func timerFired(now: Timestamp, _ actions: inout [Action]) {
        guard case .stalled(var stalled) = state else { return }
        guard now >= stalled.nextCheck else {
            actions.append(.scheduleTimer(at: stalled.nextCheck))
            return
        }
        // This process slept or starved: whatever would connect the pair has had no time either.
        let isLate = now - stalled.nextCheck > tolerance && !stalled.hadGrace
        stalled.hadGrace = isLate
        stalled.nextCheck = now + patience
        enter(stalled, &actions)
        if !isLate { actions.append(.inquire) }
    }

    /// This machine has slept.
    package mutating func woke(now: Timestamp, _ actions: inout [Action]) {
        guard case .stalled(var stalled) = state else { return }
        stalled.nextCheck = now + patience
        enter(stalled, &actions)
    }

    package mutating func found(_ stall: PeerStall, now: Timestamp, _ actions: inout [Action]) {
        guard case .stalled(var stalled) = state else { return }
        if let reported = stalled.reported, reported.stall.code == stall.code, now - reported.at < reminder { return }
        stalled.reported = (stall, now)
        state = .stalled(stalled)
        actions.append(.report(stall))
    }

    private mutating func enter(_ stalled: Stalled, _ actions: inout [Action]) {
        state = .stalled(stalled)
        actions.append(.scheduleTimer(at: stalled.nextCheck))
    }

    /// Ends a reported stall when nothing is missing any more.
    private mutating func endOrContinue(_ stalled: Stalled, _ actions: inout [Action]) {
        guard !stalled.isDisconnected, !stalled.isUnacknowledged else {
            enter(stalled, &actions)
            return
        }
        state = .flowing
        actions.append(.cancelTimer)
        if let reported = stalled.reported { actions.append(.resolve(reported.stall)) }
    }
}
