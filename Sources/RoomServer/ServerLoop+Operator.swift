internal import NIOCore
internal import RoomProtocol
internal import RoomServerCore
internal import TransportPluginAPI

extension ServerLoop {
    /// Reports the events of the rooms from now on.
    func report(to hub: NIOLoopBound<EventHub>) {
        events = EventOutbox(eventLoop: eventLoop, hub: hub)
        step { machine, _ in
            machine.recordsLife = true
            return []
        }
    }

    func kick(
        _ participant: ParticipantID, from room: RoomName, reason: String, ban: Duration
    ) -> EventLoopFuture<OperatorChange> {
        change { $0.kick(participant, from: room, reason: reason, ban: ban, at: $1) }
    }

    func close(_ room: RoomName, reason: String) -> EventLoopFuture<OperatorChange> {
        change { $0.close(room, reason: reason, at: $1) }
    }

    /// Changes a room now. The future succeeds when that is kept where a restart does not lose it, or cannot be.
    private func change(
        _ change: (inout RoomServerMachine, Timestamp) -> (outcome: OperatorOutcome, actions: [ServerAction])
    ) -> EventLoopFuture<OperatorChange> {
        var outcome = OperatorOutcome.noSuchRoom
        lastDecision = nil
        step { machine, now in
            let result = change(&machine, now)
            outcome = result.outcome
            return result.actions
        }
        let kept = lastDecision ?? eventLoop.makeSucceededFuture(false)
        return kept.map { [outcome] in OperatorChange(outcome: outcome, isKept: $0) }
    }
}

/// A change that an operator has asked for.
struct OperatorChange: Sendable {
    var outcome: OperatorOutcome
    /// Whether a restart of the server remembers it.
    var isKept: Bool
}
