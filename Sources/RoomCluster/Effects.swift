import Deadlines
import RoomProtocol
import TransportValues

/// The context of a transition: everything that the parts of the machine share.
struct Effects: Sendable {
    let node: NodeID
    var random: any RandomNumberGenerator & Sendable
    var now = Timestamp.zero
    private(set) var deadlines = DeadlineQueue<DeadlineKey>()
    var requests = Requests()
    var actions: [ClusterAction] = []
    var statistics = ClusterStatistics()

    mutating func send(_ request: StoreRequest) {
        let id = requests.add(request, at: now)
        actions.append(.send(request, id))
        if let oldest = requests.oldest { schedule(.requests, at: oldest + ClusterLimits.requestTimeout) }
    }

    mutating func takeActions() -> [ClusterAction] {
        defer { actions = [] }
        return actions
    }

    /// Returns a random duration of at least a third of the limit.
    mutating func jitter(_ limit: Duration) -> Duration { limit / 3 + delay(upTo: limit * 2 / 3) }

    mutating func inRandomOrder(_ rooms: [RoomName]) -> [RoomName] {
        var rooms = rooms
        for end in stride(from: rooms.count, to: 1, by: -1) {
            rooms.swapAt(end - 1, Int(random.next(upperBound: UInt64(end))))
        }
        return rooms
    }

    mutating func delay(upTo limit: Duration) -> Duration {
        let nanoseconds = UInt64(max(0, limit.saturatedNanoseconds))
        return .nanoseconds(Int64(random.next(upperBound: nanoseconds + 1)))
    }

    // MARK: Deadlines

    var nextDeadline: Timestamp? { deadlines.next }

    mutating func schedule(_ key: DeadlineKey, at time: Timestamp) { deadlines.schedule(key, at: time) }

    /// Removes something that is due now, and returns it.
    mutating func takeDue() -> DeadlineKey? { deadlines.takeDue(now) }
}

/// The counts of a node since its start, for its metrics.
package struct ClusterStatistics: Sendable, Hashable {
    /// Rooms that this node has claimed.
    package internal(set) var claims: UInt64 = 0
    /// Those of them that had another owner before, which is gone.
    package internal(set) var takeovers: UInt64 = 0
    /// Rooms that another node has taken from this one.
    package internal(set) var conflicts: UInt64 = 0
    /// Hellos that were refused.
    package internal(set) var refusals: UInt64 = 0
    /// Renewals of the lease.
    package internal(set) var renewals: UInt64 = 0
    /// Requests to the store that had no answer in time.
    package internal(set) var timeouts: UInt64 = 0
}

/// A thing that may be due at a time.
enum DeadlineKey: Hashable {
    case renewal
    case requests
    case search(RoomName)
    case sweep
    case drain
}
