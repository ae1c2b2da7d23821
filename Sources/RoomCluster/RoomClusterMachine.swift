package import RoomProtocol
package import TransportValues

/// The decisions of one node of a cluster: which rooms are its own, and where the hellos of the others go.
///
/// A pure value: hellos, replies of the store, the state of links and the time go in, actions come out. The shell owns
/// the connection to the store and the links. It calls `timePassed` at `nextDeadline`; calling it earlier or later is
/// harmless. All times are of the clock that counts suspends (`Timestamp.bootTime()`): a process that was stopped must
/// call `timePassed` before anything else.
///
/// The store says who owns a room, never who is in it. A node keeps one lease there, and claims a room when a hello for
/// it comes and nobody else has it. Each claim has a higher *fence*, which travels in the room's session tokens. The
/// store may be away, forget writes, or give a room to two nodes: rooms go on, and of two owners the one with the lower
/// fence yields as soon as it learns of the other. Its members come back, with their tokens, to the one that stays.
///
/// For every room that is `own`ed, the shell calls `roomEnded` as soon as its server has neither the room nor hellos
/// that wait for it, also after a hello that created none.
///
/// A machine can transition: serving → draining → over; serving or draining → over (superseded).
package struct RoomClusterMachine: Sendable {
    var effects: Effects
    var lease: Lease
    var owned = OwnedRooms()
    var searches = Searches()
    var routes: Routes
    var links = Links()
    var sweep = Sweep()
    var outbox = Outbox()
    var drainage: Drainage?

    /// Creates the machine of a node that others reach at the address.
    package init(node: NodeID, address: String, random: any RandomNumberGenerator & Sendable) {
        effects = Effects(node: node, random: random)
        lease = Lease(address: address)
        routes = Routes(limit: ClusterLimits.routes)
    }

    // MARK: What is there

    package var statistics: ClusterStatistics { effects.statistics }
    package var isStoreConnected: Bool { effects.requests.isConnected }
    package var isDraining: Bool { drainage != nil }
    /// Whether the node's lease stands for certain.
    package func isLeaseHeld(at now: Timestamp) -> Bool { lease.isHeld(at: now) }
    /// The end of the node's lease; nil if it has none.
    package var leaseEnd: Timestamp? { lease.end }
    package var ownedRooms: [RoomName] { owned.names }
    package var ownedCount: Int { owned.count }
    /// The hellos that wait for a route.
    package var waiterCount: Int { searches.waiterCount }
    /// The requests to the store that are under way.
    package var requestCount: Int { effects.requests.count }
    /// The entries of all tables that must not grow without bound, except owned rooms.
    package var tableSizes: [Int] {
        [searches.rooms.count, searches.queueCount, routes.count, links.count, outbox.count, effects.requests.count]
    }

    /// The fence with which this node owns the room; nil if it does not.
    package func fence(of room: RoomName) -> Fence? { owned[room] }

    /// The time at which `timePassed` must be called; nil if not before the next event.
    package var nextDeadline: Timestamp? { effects.nextDeadline }

    // MARK: The store

    /// The process is ready to serve, and listens for links. Called once.
    package mutating func started(as incarnation: Incarnation, at now: Timestamp) -> [ClusterAction] {
        effects.now = now
        lease.started(as: incarnation)
        lease.renewSoon(&effects)
        return finish()
    }

    /// A connection to the store was opened, to a primary.
    package mutating func storeConnected(at now: Timestamp) -> [ClusterAction] {
        effects.now = now
        if effects.requests.isConnected { loseStore() }
        effects.requests.connected()
        outbox.connected(now)
        sweep.startSoon(&effects)
        lease.renewSoon(&effects)
        return finish()
    }

    /// The connection to the store has ended. Nothing is known about requests without replies.
    package mutating func storeDisconnected(at now: Timestamp) -> [ClusterAction] {
        effects.now = now
        loseStore()
        return finish()
    }

    private mutating func loseStore() {
        let unanswered = effects.requests.disconnected()
        lease.disconnected()
        drainage?.isEnding = false
        sweep.disconnected()
        outbox.disconnected(unanswered)
        for request in unanswered {
            switch request {
            case .claim(let claim): searches.claimLost(claim.room, &effects)
            case .readRoom(let room): searches.enter(.queued, room, obstacle: .storeAway, &effects)
            case .renewLease, .dropLease, .readNodes, .reassert, .release, .writeMarks: break
            }
        }
    }

    /// A reply has come. Those to requests of earlier connections are ignored.
    package mutating func replied(_ reply: StoreReply, to id: RequestID, at now: Timestamp) -> [ClusterAction] {
        effects.now = now
        switch effects.requests.take(id) {
        case nil, .readNodes?: break
        case .renewLease?: renewalAnswered(reply)
        case .claim(let claim)?: searchAnswered(reply, for: claim.room)
        case .readRoom(let room)?: searchAnswered(reply, for: room)
        case .reassert(_, _, let assertions)?: sweepAnswered(reply, assertions)
        case .release(let room, _, _, let fence)?: outbox.releaseAnswered(room, fence)
        case .writeMarks(let marks)?: outbox.answered(marks, isDone: reply == .done)
        case .dropLease?: endDrain()
        }
        return finish()
    }

    private mutating func renewalAnswered(_ reply: StoreReply) {
        switch reply {
        case .renewed(let wasHeld, let losses, let birth):
            if lease.renewed(wasHeld: wasHeld, losses: losses, birth: birth, &effects) {
                sweep.startNow(&effects)
                // The store may have lost the marks as well.
                outbox.connected(effects.now)
            }
        case .superseded:
            for room in owned.names { yield(room, .fenced(owned[room] ?? 0)) }
            end()
            effects.actions.append(.superseded)
        case .claimed, .owner, .free, .nodes, .noLease, .asserted, .done, .failed: lease.failed(&effects)
        }
    }

    private mutating func sweepAnswered(_ reply: StoreReply, _ assertions: [Assertion]) {
        sweep.answered()
        guard case .asserted(let outcomes) = reply else {
            if reply == .noLease { lease.wasDenied(&effects) }
            return sweep.startSoon(&effects)
        }
        for (assertion, outcome) in zip(assertions, outcomes) {
            guard let fence = owned[assertion.room] else { continue }
            switch outcome {
            case .kept(let now, let marks): own(assertion.room, max(now, fence), marks)
            case .lost(let record) where record.fence >= fence: yield(assertion.room, .fenced(record.fence))
            // It was claimed again meanwhile.
            case .lost: break
            }
        }
    }

    // MARK: Rooms

    /// A hello needs its room's owner. Answered with `.route`, at once or within `ClusterLimits.patience`.
    package mutating func resolve(_ waiter: Waiter, at now: Timestamp) -> [ClusterAction] {
        effects.now = now
        if let route = route(of: waiter) { answer(waiter, route) } else { search(for: waiter) }
        return finish()
    }

    /// The hello is not of interest any more: its connection has ended.
    package mutating func cancel(_ waiter: Waiter, at now: Timestamp) -> [ClusterAction] {
        effects.now = now
        _ = searches.take(from: waiter.room) { $0.id == waiter.id }
        return finish()
    }

    /// The node that the hello was routed to does not own its room. The waiter is the one of the route, and gets
    /// another.
    package mutating func notOwner(
        _ waiter: Waiter, from node: NodeID, at now: Timestamp
    ) -> [ClusterAction] {
        effects.now = now
        routes.missed(waiter.room, at: node)
        var waiter = waiter
        waiter.misses += 1
        if waiter.misses >= ClusterLimits.misses {
            refuse(waiter, .unsettled)
        } else if let route = route(of: waiter) {
            answer(waiter, route)
        } else {
            let until = now + effects.jitter(ClusterLimits.pause / 3)
            search(for: waiter, startingIn: .pausing(until: until))
        }
        return finish()
    }

    /// The room that this node owns is not in its server any more.
    package mutating func roomEnded(_ room: RoomName, at now: Timestamp) -> [ClusterAction] {
        effects.now = now
        if let fence = owned[room] {
            owned[room] = nil
            // A search for it claims it again, or releases it.
            if searches[room] == nil { outbox.release(room, fence, effects) }
        }
        return finish()
    }

    /// Something has happened in a room of this node that its next owner must know, for so long. A lifetime of zero: it
    /// is to be forgotten, if the room is still this node's.
    package mutating func marked(
        _ mark: Mark, in room: RoomName, lifetime: Duration, at now: Timestamp
    ) -> [ClusterAction] {
        effects.now = now
        if lifetime > .zero {
            outbox.add(mark, in: room, lifetime: lifetime, effects)
        } else if let fence = owned[room] {
            outbox.forget(mark, in: room, fence)
        }
        return finish()
    }

    /// Another node has told that it owns the room with this fence.
    package mutating func fenceSeen(_ fence: Fence, of room: RoomName, at now: Timestamp) -> [ClusterAction] {
        effects.now = now
        routes.fenceSeen(fence, of: room)
        if let own = owned[room], own < fence { yield(room, .fenced(fence)) }
        return finish()
    }

    // MARK: Links

    /// A link to this process of the node is up, whoever has opened it. There is at most one to each node: a second one
    /// takes the place of the first.
    package mutating func linkUp(_ node: NodeID, _ incarnation: Incarnation, at now: Timestamp) -> [ClusterAction] {
        effects.now = now
        for room in links.up(node, incarnation) {
            guard case .dialling(let record, let address)? = searches[room]?.state, record.node == node else {
                continue
            }
            if record.incarnation == incarnation {
                routeAll(room, to: record, address)
            } else {
                searches.enter(.queued, room, &effects)
            }
        }
        return finish()
    }

    /// The link to the node is down, or could not be opened. Its streams have ended: the shell tells their clients
    /// `goingAway` with an immediate return.
    package mutating func linkDown(
        _ node: NodeID, _ failure: LinkFailure, at now: Timestamp
    ) -> [ClusterAction] {
        effects.now = now
        let (waiting, isGone) = links.down(node, failure, &effects)
        for room in waiting {
            guard case .dialling(let record, _)? = searches[room]?.state, record.node == node else { continue }
            if isGone {
                searches.enter(.queued, room, &effects)
            } else {
                searches.pause(room, &effects)
            }
        }
        return finish()
    }

    // MARK: The end

    /// The node is to give up its rooms, spread over this time, and gets no others. Rooms that cannot be released,
    /// since the store is away, are yielded at its end. Ends with `.drained`. Called again, only an earlier end counts.
    package mutating func drain(within window: Duration, at now: Timestamp) -> [ClusterAction] {
        effects.now = now
        guard !lease.isOver else { return finish() }
        if drainage == nil {
            drainage = Drainage(effects.inRandomOrder(owned.names), within: window, effects)
            lease.isDraining = true
            lease.renewSoon(&effects)
        } else {
            drainage?.shorten(to: window, effects)
        }
        advanceDrain()
        return finish()
    }

    mutating func advanceDrain() {
        guard var drainage else { return }
        self.drainage = nil
        defer { self.drainage = drainage }
        let isConnected = effects.requests.isConnected
        let isLate = drainage.isLate(effects.now)
        while isConnected || isLate, let room = drainage.takeDue(effects.now) {
            guard let fence = owned[room] else { continue }
            outbox.release(room, fence, effects)
            if isConnected { outbox.flush(lease.incarnation, &effects) }
            yield(room, .draining)
        }
        if let next = drainage.nextDue(effects.now) { effects.schedule(.drain, at: next) }
        if isLate, !isConnected { return endDrain() }
        let isEmpty = owned.count == 0 && outbox.isEmpty && searches.asking == 0
        if isConnected, isEmpty || isLate, !drainage.isEnding {
            drainage.isEnding = true
            effects.send(.dropLease(effects.node, lease.incarnation))
        }
    }

    private mutating func endDrain() {
        guard !lease.isOver else { return }
        end()
        effects.actions.append(.drained)
    }

    private mutating func end() {
        lease.finish()
        for room in searches.rooms.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            for waiter in searches.end(room) { refuse(waiter, .draining) }
        }
    }

    // MARK: Time

    /// Performs everything that is due.
    package mutating func timePassed(to now: Timestamp) -> [ClusterAction] {
        effects.now = now
        while let key = effects.takeDue() {
            switch key {
            case .renewal: lease.renewIfDue(&effects)
            case .requests: checkRequests()
            case .search(let room):
                let obstacle = searches[room]?.obstacle ?? .storeAway
                for waiter in searches.due(room, &effects) { refuse(waiter, obstacle) }
            // Advanced by `finish`.
            case .sweep, .drain: break
            }
        }
        return finish()
    }

    private mutating func checkRequests() {
        guard let oldest = effects.requests.oldest else { return }
        let end = oldest + ClusterLimits.requestTimeout
        guard end <= effects.now else { return effects.schedule(.requests, at: end) }
        effects.statistics.timeouts += 1
        loseStore()
        effects.actions.append(.reconnectStore)
    }
}
