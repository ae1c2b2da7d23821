internal import DequeModule
import RoomProtocol
import TransportValues

/// The assertions of this node's rooms: all of them with jitter whenever the store was away or may have lost something,
/// and now and then; a single one as soon as its ownership is in doubt. One batch is under way at a time.
struct Sweep: Sendable {
    private var rooms: Deque<RoomName> = []
    private var isAsking = false
    private var dueAt: Timestamp?

    /// Asserts all rooms within `ClusterLimits.reassertWithin`.
    mutating func startSoon(_ effects: inout Effects) {
        schedule(at: effects.now + effects.delay(upTo: ClusterLimits.reassertWithin), &effects)
    }

    /// Asserts all rooms at once.
    mutating func startNow(_ effects: inout Effects) { schedule(at: effects.now, &effects) }

    /// Asserts the room next.
    mutating func assertNext(_ room: RoomName) { if rooms.first != room { rooms.prepend(room) } }

    private mutating func schedule(at time: Timestamp, _ effects: inout Effects) {
        dueAt = min(time, dueAt ?? time)
        effects.schedule(.sweep, at: time)
    }

    mutating func advance(_ owned: OwnedRooms, _ incarnation: Incarnation, _ effects: inout Effects) {
        guard !isAsking else { return }
        if let due = dueAt, due <= effects.now {
            rooms = Deque(owned.names)
            dueAt = nil
            schedule(at: effects.now + effects.jitter(ClusterLimits.reassertEvery), &effects)
        }
        var batch: [Assertion] = []
        while batch.count < ClusterLimits.batch, let room = rooms.popFirst() {
            if let fence = owned[room] { batch.append(Assertion(room: room, fence: fence)) }
        }
        guard !batch.isEmpty else { return }
        isAsking = true
        effects.send(.reassert(effects.node, incarnation, batch))
    }

    mutating func answered() { isAsking = false }

    mutating func disconnected() {
        isAsking = false
        dueAt = nil
        rooms = []
    }
}
