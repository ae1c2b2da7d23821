internal import DequeModule
import RoomProtocol
import TransportValues

/// The writes that nothing waits for: marks, and the releases of rooms, which never overtake marks.
///
/// The latest marks are remembered until they end, and written again after every time that the store was away. What is
/// to be forgotten is remembered until the store has confirmed that: later, a mark of the same name is another node's.
struct Outbox: Sendable {
    /// Without an end: the mark is to be forgotten.
    private typealias Entry = (room: RoomName, mark: Mark, until: Timestamp?)

    /// Requests under way.
    private static let window = 8
    private var recent: Deque<Entry> = []
    private var marks: Deque<Entry> = []
    /// The rooms whose releases the store has not confirmed, with their fences; and those to be sent, in order.
    private var released: [RoomName: Fence] = [:]
    private var releases: Deque<RoomName> = []
    /// The highest fence of a room that was ever given up. A release that was sent over an earlier connection may
    /// arrive at any time, also at a store that has forgotten its fences: later claims must have higher ones.
    private(set) var floor: Fence = 0
    private var underWay = 0

    var isEmpty: Bool { marks.isEmpty && releases.isEmpty && underWay == 0 }
    /// The number of rooms and marks that are remembered.
    var count: Int { max(recent.count, marks.count) + max(released.count, releases.count) }

    /// Notes a mark that ends after `lifetime`. Zero: it is to be forgotten.
    mutating func add(_ mark: Mark, in room: RoomName, lifetime: Duration, _ effects: Effects) {
        let isForgotten = lifetime <= .zero
        let entry: Entry = (room, mark, isForgotten ? nil : effects.now + lifetime)
        // It must not come back with the store.
        if isForgotten { recent.removeAll { $0.room == room && $0.mark == mark && $0.until != nil } }
        for queue in [\Self.recent, \.marks] {
            self[keyPath: queue].append(entry)
            if self[keyPath: queue].count > ClusterLimits.memory { self[keyPath: queue].removeFirst() }
        }
    }

    /// Gives the room up. A later claim does not have to wait for it: with a higher fence the record stays.
    mutating func release(_ room: RoomName, _ fence: Fence, _ effects: Effects) {
        released[room] = fence
        floor = max(floor, fence)
        releases.append(room)
        if releases.count > ClusterLimits.memory { released[releases.removeFirst()] = nil }
    }

    /// The fence with which the room was given up, while the store may not know of it.
    func releasedFence(of room: RoomName) -> Fence? { released[room] }

    /// The room is this node's again, with a higher fence.
    mutating func claimed(_ room: RoomName) { released[room] = nil }

    mutating func flush(_ incarnation: Incarnation, _ effects: inout Effects) {
        while underWay < Self.window {
            if !marks.isEmpty {
                let batch = marks.prefix(ClusterLimits.batch)
                marks.removeFirst(batch.count)
                let timed = batch.compactMap { Self.timed($0, at: effects.now) }
                if timed.isEmpty { continue }
                effects.send(.writeMarks(timed))
            } else if let room = releases.popFirst() {
                guard let fence = released[room] else { continue }
                effects.send(.release(room, effects.node, incarnation, fence))
            } else {
                return
            }
            underWay += 1
        }
    }

    /// Returns nil for a mark that has ended. Only one that is to be forgotten has no time left: that removes it, also
    /// when an earlier one of the same name holds for longer.
    private static func timed(_ entry: Entry, at now: Timestamp) -> TimedMark? {
        guard let until = entry.until else { return TimedMark(mark: entry.mark, room: entry.room, milliseconds: 0) }
        let left = (until - now).saturatedNanoseconds / 1_000_000
        return left > 0 ? TimedMark(mark: entry.mark, room: entry.room, milliseconds: Int(left)) : nil
    }

    /// - Parameter isDone: Whether the store has taken the marks.
    mutating func answered(_ marks: [TimedMark], isDone: Bool) {
        underWay -= 1
        guard isDone else { return }
        for mark in marks where mark.milliseconds == 0 {
            let place = recent.firstIndex { $0.room == mark.room && $0.mark == mark.mark && $0.until == nil }
            if let place { recent.remove(at: place) }
        }
    }

    mutating func releaseAnswered(_ room: RoomName, _ fence: Fence) {
        underWay -= 1
        if released[room] == fence { released[room] = nil }
    }

    /// The connection has ended before these requests were answered.
    mutating func disconnected(_ requests: [StoreRequest]) {
        underWay = 0
        for case .release(let room, _, _, _) in requests.reversed() { releases.prepend(room) }
    }

    /// The store is back, and may have lost something.
    mutating func connected(_ now: Timestamp) {
        recent.removeAll { $0.until.map { $0 <= now } ?? false }
        marks = recent
    }
}
