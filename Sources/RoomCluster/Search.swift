internal import DequeModule
import RoomProtocol
import TransportValues

/// The search for one room's owner, which all hellos for the room share.
///
/// Can transition: queued → asking (a claim, or a read while the node drains) → ended (owned, routed), dialling (the
/// owner is another node without a link) or pausing; dialling → queued (proof that the owner is gone), pausing or ended
/// (routed); pausing → queued; asking → queued (the store was away). Hellos that have waited too long leave it in every
/// state; without any it ends, except while it asks, or if the outcome of a claim is unknown: then it asks whether the
/// room is this node's, and gives it up.
struct Search: Sendable {
    enum State: Sendable {
        case queued
        case asking
        case dialling(RoomRecord, address: String)
        case pausing(until: Timestamp)
    }

    var state = State.queued
    /// In order of their ends.
    var waiters: Deque<(waiter: Waiter, until: Timestamp)> = []
    /// The highest fence of the room that is known.
    var seen: Fence = 0
    /// A claim has had no reply.
    var isOwed = false
    /// The reason for a refusal now.
    var obstacle = RouteRefusal.storeAway

    mutating func add(_ waiter: Waiter, until: Timestamp) {
        waiters.append((waiter, until))
        seen = max(seen, waiter.fence)
    }
}

/// The searches, and which of them may ask the store.
struct Searches: Sendable {
    private(set) var rooms: [RoomName: Search] = [:]
    /// Those that are queued, and rooms that were.
    private var queue: Deque<RoomName> = []
    private(set) var asking = 0
    private(set) var waiterCount = 0

    subscript(room: RoomName) -> Search? { rooms[room] }

    /// The number of places that are taken.
    var queueCount: Int { queue.count }

    /// Adds a hello to the room's search, which begins with it if there is none.
    mutating func add(_ waiter: Waiter, startingIn state: Search.State, _ effects: inout Effects) {
        let room = waiter.room
        let until = effects.now + ClusterLimits.patience
        let isNew = rooms[room] == nil
        rooms[room, default: Search()].add(waiter, until: until)
        waiterCount += 1
        effects.schedule(.search(room), at: until)
        if isNew { enter(state, room, &effects) }
    }

    /// Changes the state of the room's search, if there is one.
    mutating func enter(
        _ state: Search.State, _ room: RoomName, obstacle: RouteRefusal? = nil, _ effects: inout Effects
    ) {
        guard rooms[room] != nil else { return }
        if case .asking? = rooms[room]?.state { asking -= 1 }
        rooms[room]?.state = state
        if let obstacle { rooms[room]?.obstacle = obstacle }
        switch state {
        case .queued: queue.append(room)
        case .asking: asking += 1
        case .dialling: break
        case .pausing(let until): effects.schedule(.search(room), at: until)
        }
        endIfUnwanted(room)
    }

    /// A claim of the room has no reply, and may have an effect.
    mutating func claimLost(_ room: RoomName, _ effects: inout Effects) {
        if rooms.count < ClusterLimits.waiters { rooms[room]?.isOwed = true }
        enter(.queued, room, obstacle: .storeAway, &effects)
    }

    /// The store has answered for the room.
    mutating func answered(_ room: RoomName) { rooms[room]?.isOwed = false }

    /// Lets the room's search pause.
    mutating func pause(_ room: RoomName, obstacle: RouteRefusal? = nil, _ effects: inout Effects) {
        let until = effects.now + effects.jitter(ClusterLimits.pause)
        enter(.pausing(until: until), room, obstacle: obstacle, &effects)
    }

    /// Returns a room whose search is to ask, in order of arrival.
    mutating func takeQueued() -> RoomName? {
        while let room = queue.popFirst() {
            if case .queued? = rooms[room]?.state { return room }
        }
        return nil
    }

    /// Ends the room's search, and returns its hellos.
    mutating func end(_ room: RoomName) -> [Waiter] {
        guard let search = rooms.removeValue(forKey: room) else { return [] }
        if case .asking = search.state { asking -= 1 }
        waiterCount -= search.waiters.count
        return search.waiters.map(\.waiter)
    }

    /// Takes the hellos out of the room's search that it has an answer for.
    mutating func take(from room: RoomName, where isAnswered: (Waiter) -> Bool) -> [Waiter] {
        guard var search = rooms.removeValue(forKey: room) else { return [] }
        let taken = search.waiters.map(\.waiter).filter(isAnswered)
        search.waiters.removeAll { isAnswered($0.waiter) }
        waiterCount -= taken.count
        rooms[room] = search
        endIfUnwanted(room)
        return taken
    }

    /// Takes the hellos out of the room's search that have waited for too long, and lets it go on after its pause.
    mutating func due(_ room: RoomName, _ effects: inout Effects) -> [Waiter] {
        let now = effects.now
        var late: [Waiter] = []
        while let first = rooms[room]?.waiters.first, first.until <= now {
            rooms[room]?.waiters.removeFirst()
            late.append(first.waiter)
        }
        waiterCount -= late.count
        if case .pausing(let until)? = rooms[room]?.state {
            if until <= now {
                enter(.queued, room, &effects)
            } else {
                effects.schedule(.search(room), at: until)
            }
        }
        endIfUnwanted(room)
        if let next = rooms[room]?.waiters.first { effects.schedule(.search(room), at: next.until) }
        return late
    }

    private mutating func endIfUnwanted(_ room: RoomName) {
        guard let search = rooms[room], search.waiters.isEmpty, !search.isOwed else { return }
        if case .asking = search.state { return }
        rooms[room] = nil
    }
}
