internal import DequeModule
import RoomProtocol
import TransportValues

/// The plan of a drain: the node's rooms one by one, each whole.
struct Drainage: Sendable {
    private var rooms: Deque<RoomName>
    private var nextAt: Timestamp
    private var endsAt: Timestamp
    private var interval: Duration
    /// The node's lease is being dropped.
    var isEnding = false

    init(_ rooms: [RoomName], within window: Duration, _ effects: Effects) {
        self.rooms = Deque(rooms)
        nextAt = effects.now
        endsAt = effects.now + window
        interval = window / max(1, rooms.count)
    }

    mutating func shorten(to window: Duration, _ effects: Effects) {
        endsAt = min(endsAt, effects.now + window)
        interval = (endsAt - effects.now) / max(1, rooms.count)
        nextAt = min(nextAt, effects.now + interval)
    }

    func isLate(_ now: Timestamp) -> Bool { endsAt <= now }

    mutating func takeDue(_ now: Timestamp) -> RoomName? {
        guard nextAt <= now || isLate(now), let room = rooms.popFirst() else { return nil }
        nextAt = nextAt + interval
        return room
    }

    /// The time of the next step; nil if none is left, or if one waits for the store.
    func nextDue(_ now: Timestamp) -> Timestamp? {
        if !rooms.isEmpty, nextAt > now { return min(nextAt, endsAt) }
        return endsAt > now ? endsAt : nil
    }
}
