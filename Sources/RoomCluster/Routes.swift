internal import DequeModule
import RoomProtocol

/// The owners of rooms of other nodes, as far as they are remembered: the latest, up to a limit.
///
/// A route is only good while the link to exactly this process of the owner is up, which whoever uses it checks. It may
/// be wrong even then: the owner answers `notOwner`.
struct Routes: Sendable {
    private let limit: Int
    private var routes: [RoomName: (record: RoomRecord, address: String, number: UInt64)] = [:]
    /// In the order of insertion. A room that was removed, or inserted again, stays for a while.
    private var order: Deque<(room: RoomName, number: UInt64)> = []
    private var last: UInt64 = 0

    init(limit: Int) { self.limit = limit }

    var count: Int { routes.count }

    subscript(room: RoomName) -> (record: RoomRecord, address: String)? {
        routes[room].map { ($0.record, $0.address) }
    }

    mutating func insert(_ record: RoomRecord, _ address: String, for room: RoomName) {
        last += 1
        routes[room] = (record, address, last)
        order.append((room, last))
        while routes.count > limit, let oldest = order.popFirst() {
            if routes[oldest.room]?.number == oldest.number { routes[oldest.room] = nil }
        }
        // At most once in `limit` insertions.
        if order.count > 2 * limit { order.removeAll { routes[$0.room]?.number != $0.number } }
    }

    mutating func remove(_ room: RoomName) { routes[room] = nil }

    /// The node is not the room's owner.
    mutating func missed(_ room: RoomName, at node: NodeID) {
        if routes[room]?.record.node == node { routes[room] = nil }
    }

    /// The room has this fence, somewhere.
    mutating func fenceSeen(_ fence: Fence, of room: RoomName) {
        if let known = routes[room], known.record.fence < fence { routes[room] = nil }
    }
}
