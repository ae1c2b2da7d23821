package import RoomValues
package import TransportValues

/// The time at which a join has taken too long. Time during which the server lets this participant wait for the room
/// does not count.
package struct JoinDeadline: Sendable, Equatable {
    package let limit: Duration
    /// When to look next.
    package private(set) var at: Timestamp

    package init(within limit: Duration, now: Timestamp) {
        self.limit = limit
        at = now + limit
    }

    /// The time has come. True: the join has failed. False: look again at `at`.
    package mutating func hasPassed(_ signaling: SignalingStatus, now: Timestamp) -> Bool {
        if case .connecting(_, _, let cause?) = signaling, cause.cause == .waitingForRoom { at = now + limit }
        return now >= at
    }
}
