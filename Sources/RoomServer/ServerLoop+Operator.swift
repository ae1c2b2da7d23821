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

    func kick(_ participant: ParticipantID, from room: RoomName, reason: String) -> OperatorOutcome {
        change { $0.kick(participant, from: room, reason: reason, at: $1) }
    }

    func close(_ room: RoomName, reason: String) -> OperatorOutcome {
        change { $0.close(room, reason: reason, at: $1) }
    }

    private func change(
        _ change: (inout RoomServerMachine, Timestamp) -> (outcome: OperatorOutcome, actions: [ServerAction])
    ) -> OperatorOutcome {
        var outcome = OperatorOutcome.noSuchRoom
        step { machine, now in
            let result = change(&machine, now)
            outcome = result.outcome
            return result.actions
        }
        return outcome
    }
}
