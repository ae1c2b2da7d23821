import RoomProtocol
import TransportValues

/// Where hellos go: at once if it is known, otherwise after the store was asked, once for all hellos of a room.
extension RoomClusterMachine {
    /// Does what any event may have made possible, and returns the actions.
    mutating func finish() -> [ClusterAction] {
        if effects.requests.isConnected {
            outbox.flush(lease.incarnation, &effects)
            if lease.isHeld(at: effects.now) {
                sweep.advance(owned, lease.incarnation, &effects)
                askForRooms()
            }
        }
        if drainage != nil { advanceDrain() }
        return effects.takeActions()
    }

    private mutating func askForRooms() {
        while searches.asking < ClusterLimits.claims, let room = searches.takeQueued() {
            if isDraining || searches[room]?.waiters.isEmpty == true {
                effects.send(.readRoom(room))
            } else {
                // A room that was given up just now begins anew, with a fence of its own.
                let released = outbox.releasedFence(of: room).map { $0 + 1 } ?? 0
                let known = max(owned[room] ?? 0, released, outbox.floor)
                let seen = max(searches[room]?.seen ?? 0, known)
                effects.send(
                    .claim(
                        RoomClaim(
                            room: room, node: effects.node, incarnation: lease.incarnation, seen: seen,
                            gone: links.gone)))
            }
            searches.enter(.asking, room, &effects)
        }
    }

    // MARK: Answers

    /// Returns the route of a hello that nobody has to be asked about.
    func route(of waiter: Waiter) -> Route? {
        if lease.isOver { return .refused(ClusterLimits.retryAfter, .draining) }
        if let fence = owned[waiter.room] {
            // After a pause somebody else may own it, which the store knows. Without a store the room goes on.
            let isDoubtful = effects.requests.isConnected && !lease.isHeld(at: effects.now)
            if fence >= waiter.fence, !isDoubtful { return .here(fence) }
        } else if !waiter.isRelayed, let (record, address) = routes[waiter.room],
            record.fence >= waiter.fence, links.isUp(record.node, record.incarnation)
        {
            return .there(record.node, address: address, record.fence)
        }
        return searches.waiterCount >= ClusterLimits.waiters
            ? .refused(ClusterLimits.retryAfter, .overloaded) : nil
    }

    mutating func answer(_ waiter: Waiter, _ route: Route) {
        if case .refused = route { effects.statistics.refusals += 1 }
        effects.actions.append(.route(waiter, route))
    }

    mutating func refuse(_ waiter: Waiter, _ refusal: RouteRefusal) {
        answer(waiter, .refused(ClusterLimits.retryAfter, refusal))
    }

    mutating func search(for waiter: Waiter, startingIn state: Search.State = .queued) {
        searches.add(waiter, startingIn: state, &effects)
    }

    mutating func routeAll(_ room: RoomName, to record: RoomRecord, _ address: String) {
        routes.insert(record, address, for: room)
        for waiter in searches.end(room) { answer(waiter, .there(record.node, address: address, record.fence)) }
    }

    // MARK: Replies

    mutating func searchAnswered(_ reply: StoreReply, for room: RoomName) {
        searches.answered(room)
        switch reply {
        case .claimed(let fence, let marks, let previous): claimed(room, fence, marks, previous)
        case .owner(let record, let lease): found(record, lease, of: room)
        case .free:
            // A node that drains takes no room. Otherwise nobody has waited when the store was asked.
            guard isDraining else { return searches.enter(.queued, room, &effects) }
            for waiter in searches.end(room) { refuse(waiter, .draining) }
        case .noLease:
            searches.enter(.queued, room, &effects)
            lease.wasDenied(&effects)
        case .failed, .renewed, .superseded, .nodes, .asserted, .done:
            searches.pause(room, obstacle: .storeAway, &effects)
        }
    }

    private mutating func claimed(_ room: RoomName, _ fence: Fence, _ marks: [Mark], _ previous: RoomRecord?) {
        let isNew = owned[room] == nil
        let waiters = searches.end(room)
        if isNew && (waiters.isEmpty || isDraining) {
            outbox.release(room, fence, effects)
            for waiter in waiters { refuse(waiter, .draining) }
            return
        }
        if isNew {
            outbox.claimed(room)
            effects.statistics.claims += 1
            if previous != nil { effects.statistics.takeovers += 1 }
            routes.remove(room)
        }
        own(room, fence, marks)
        if let previous, links.isUp(previous.node, previous.incarnation) {
            effects.actions.append(.tell(previous.node, room, fence))
        }
        for waiter in waiters {
            if waiter.fence <= fence { answer(waiter, .here(fence)) } else { search(for: waiter) }
        }
    }

    private mutating func found(_ record: RoomRecord, _ lease: NodeLease, of room: RoomName) {
        if let fence = owned[room] {
            if record.node == effects.node { return claimed(room, max(record.fence, fence), [], nil) }
            if record.fence < fence {
                sweep.assertNext(room)
                return searches.pause(room, &effects)
            }
            yield(room, .fenced(record.fence))
        }
        if record.node == effects.node {
            // A claim whose answer was lost, and nobody waits any longer, or the node drains now.
            outbox.release(room, record.fence, effects)
            return searches.pause(room, obstacle: isDraining ? .draining : nil, &effects)
        }
        for waiter in searches.take(from: room, where: \.isRelayed) {
            answer(waiter, .there(record.node, address: lease.address, record.fence))
        }
        guard searches[room] != nil else { return }
        switch links.reach(lease, for: room, &effects) {
        case .up: routeAll(room, to: record, lease.address)
        case .dialling:
            searches.enter(
                .dialling(record, address: lease.address), room, obstacle: .ownerUnreachable, &effects)
        case .later(let time): searches.enter(.pausing(until: time), room, obstacle: .ownerUnreachable, &effects)
        case .gone: searches.enter(.queued, room, &effects)
        }
    }

    // MARK: Rooms

    mutating func own(_ room: RoomName, _ fence: Fence, _ marks: [Mark] = []) {
        if owned[room] == fence && marks.isEmpty { return }
        owned[room] = fence
        effects.actions.append(.own(room, fence, marks))
    }

    mutating func yield(_ room: RoomName, _ reason: YieldReason) {
        owned[room] = nil
        if case .fenced = reason {
            effects.statistics.conflicts += 1
            outbox.lost(room)
        }
        effects.actions.append(.yield(room, reason))
    }
}
