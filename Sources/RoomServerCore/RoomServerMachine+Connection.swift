import RoomProtocol
import TransportValues
import WebSocketWire

extension RoomServerMachine {
    /// A connection, until it is closed or moves to another machine.
    struct Connection: Sendable {
        enum Phase: Sendable {
            case waitingForHello(until: Timestamp)
            /// Its hello waits for a room that does not exist yet.
            indirect case waitingForRoom(Hello)
            case joined(RoomName, ParticipantID)
        }
        var phase: Phase
        /// The client's address, if what it does is charged to it.
        let address: NetworkAddress?
        var lastHeard: Timestamp
        /// The time of a ping that was not answered yet.
        var pingedAt: Timestamp?
        /// The budget of messages until the hello is accepted. Afterwards the participant's counts.
        var bucket = TokenBucket()

        /// Records a sign of life, and returns the phase.
        mutating func heard(at now: Timestamp) -> Phase {
            lastHeard = now
            pingedAt = nil
            return phase
        }

        enum Liveness {
            /// Nothing is to be decided before this time.
            case alive(until: Timestamp)
            /// It must be pinged.
            case silent
            /// It has not answered the ping.
            case dead
        }

        func liveness(at now: Timestamp, _ limits: RoomServerLimits) -> Liveness {
            let end = pingedAt.map { $0 + limits.pingDeadline } ?? limits.pingTime(after: lastHeard)
            if end > now { return .alive(until: end) }
            return pingedAt == nil ? .silent : .dead
        }
    }
}
