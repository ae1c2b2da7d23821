internal import DequeModule
import RoomProtocol
import TransportValues

/// The writes that nothing waits for: marks, and the releases of rooms, which never overtake marks.
///
/// The latest marks are remembered until they end, and written again after every time that the store was away. What is
/// to be forgotten is remembered until the store has confirmed that: later, a mark of the same name is another node's.
/// So that no late request removes that one, it carries the fence with which the room was this node's.
struct Outbox: Sendable {
    private struct Entry {
        let room: RoomName
        let mark: Mark
        let end: End

        /// Whether it asks to forget the mark.
        var isForgetting: Bool { if case .forgotten = end { true } else { false } }
    }

    private enum End {
        case at(Timestamp)
        /// The mark is to be forgotten. The number tells this from earlier ones of the same name.
        case forgotten(Fence, number: UInt64)
    }

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
    private var lastNumber: UInt64 = 0

    var isEmpty: Bool { marks.isEmpty && releases.isEmpty && underWay == 0 }
    /// The number of rooms and marks that are remembered.
    var count: Int { max(recent.count, marks.count) + max(released.count, releases.count) }

    /// Notes a mark that ends after `lifetime`.
    mutating func add(_ mark: Mark, in room: RoomName, lifetime: Duration, _ effects: Effects) {
        append(Entry(room: room, mark: mark, end: .at(effects.now + lifetime)))
    }

    /// Forgets a mark of a room that is this node's with the fence. What waits under the mark's name is not written.
    mutating func forget(_ mark: Mark, in room: RoomName, _ fence: Fence) {
        for queue in [\Self.recent, \.marks] { self[keyPath: queue].removeAll { $0.room == room && $0.mark == mark } }
        lastNumber += 1
        append(Entry(room: room, mark: mark, end: .forgotten(fence, number: lastNumber)))
    }

    private mutating func append(_ entry: Entry) {
        for queue in [\Self.recent, \.marks] {
            self[keyPath: queue].append(entry)
            if self[keyPath: queue].count > ClusterLimits.memory { self[keyPath: queue].removeFirst() }
        }
    }

    /// The room is another node's: its marks are that one's to forget.
    mutating func lost(_ room: RoomName) {
        for queue in [\Self.recent, \.marks] {
            self[keyPath: queue].removeAll { $0.isForgetting && $0.room == room }
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
        var timed = TimedMark(mark: entry.mark, room: entry.room, milliseconds: 0)
        switch entry.end {
        case .forgotten(let fence, let number): (timed.fence, timed.number) = (fence, number)
        case .at(let until):
            timed.milliseconds = Int((until - now).saturatedNanoseconds / 1_000_000)
            guard timed.milliseconds > 0 else { return nil }
        }
        return timed
    }

    /// - Parameter isDone: Whether the store has taken the marks.
    mutating func answered(_ marks: [TimedMark], isDone: Bool) {
        underWay -= 1
        guard isDone else { return }
        for mark in marks where mark.milliseconds == 0 {
            let place = recent.firstIndex {
                if case .forgotten(_, mark.number) = $0.end { true } else { false }
            }
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
        recent.removeAll { if case .at(let until) = $0.end { until <= now } else { false } }
        marks = recent
    }
}
