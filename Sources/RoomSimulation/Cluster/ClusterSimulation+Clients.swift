internal import RoomCluster
internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// Something that a node tells its client.
enum ClientNews {
    case joined(owner: Int, Fence)
    case goingAway
    case refused
    case banned
    case reset
}

/// The clients, and the servers that they are members of.
extension ClusterSimulation {
    /// How long a disconnected member stays in its room.
    static var grace: Duration { .seconds(10) }
    /// How long a client waits for an answer to its hello, or for a sign of life.
    static var clientPatience: Duration { .seconds(9) }

    func addClient(_ room: RoomName, after delay: Duration) {
        let index = clients.count
        clients.append(ClusterClient(index: index, room: room, session: SessionID("s\(index)")))
        queue.push(.tries(client: index, attempt: 0), at: now + delay)
    }

    /// The connection of the client, if it has one.
    func currentStay(_ client: Int) -> Stay? {
        switch clients[client].phase {
        case .trying(let stay): stay
        case .joined(let stay, _, _): stay
        case .away, .gone: nil
        }
    }

    func tries(_ index: Int, _ attempt: Int) {
        guard clients[index].attempt == attempt, case .away = clients[index].phase else { return }
        clients[index].attempt += 1
        let client = clients[index]
        // A balancer knows who is there, sooner or later.
        let ready = nodes.filter { $0.process == .running && $0.pausedUntil <= now }
        guard let node = (scenario.absenceLimit != nil || chance(0.7) ? ready : nodes).randomElement(using: &random)
        else {
            return retry(index, within: .seconds(1))
        }
        lastWaiter += 1
        let waiter = Waiter(WaiterID(lastWaiter), for: client.room, fence: client.fence)
        let stay = Stay(client: index, attempt: client.attempt, edge: node, waiter: waiter)
        clients[index].phase = .trying(stay)
        note("client \(index) of \(client.room) with fence \(client.fence) tries \(node.id)")
        queue.push(.hello(stay), at: now + latency())
        queue.push(.clientTimeout(client: index, attempt: client.attempt), at: now + Self.clientPatience)
    }

    func retry(_ client: Int, within window: Duration) {
        clients[client].phase = .away
        clients[client].attempt += 1
        queue.push(
            .tries(client: client, attempt: clients[client].attempt), at: now + random.duration(upTo: window))
    }

    /// The client has lost its connection without a word of when to return.
    func backOff(_ client: Int) {
        clients[client].failures += 1
        let limit = Duration.milliseconds(min(1000, 100 << min(clients[client].failures, 6)))
        retry(client, within: limit)
    }

    private func noteLoss(_ client: Int) {
        guard case .joined = clients[client].phase else { return }
        if clients[client].banned == nil, now >= faults.first?.at ?? .zero { interruptions += 1 }
        clients[client].lostAt = clients[client].lostAt ?? now
    }

    /// Tells the client of this stay, at its edge.
    func tell(_ news: ClientNews, _ stay: Stay) { queue.push(.toClient(stay, news), at: now + latency()) }

    func arriveAtClient(_ stay: Stay, _ news: ClientNews) {
        let index = stay.client
        guard clients[index].attempt == stay.attempt, currentStay(index) === stay else { return }
        note("client \(index): \(news)")
        switch news {
        case .joined(let owner, let fence):
            if fence < clients[index].fence {
                report("client \(index) with fence \(clients[index].fence) joins n\(owner) with fence \(fence)")
            }
            clients[index].fence = max(fence, clients[index].fence)
            clients[index].failures = 0
            clients[index].phase = .joined(stay, owner: owner, fence)
            if let lostAt = clients[index].lostAt {
                // A room is not whole from the fault on, also before its clients know.
                let since = scenario.absenceLimit == nil ? lostAt : min(lostAt, faults.first?.at ?? lostAt)
                longestAbsence = max(longestAbsence, now - since)
            }
            clients[index].lostAt = nil
        case .goingAway:
            noteLoss(index)
            retry(index, within: .milliseconds(200))
        case .refused:
            noteLoss(index)
            retry(index, within: ClusterLimits.retryAfter.upperBound)
        case .banned:
            if clients[index].banned == nil { refusedForGood(stay) }
            clients[index].triesLeft -= 1
            if clients[index].triesLeft > 0 { retry(index, within: .seconds(8)) } else { clients[index].phase = .gone }
        case .reset:
            noteLoss(index)
            backOff(index)
        }
    }

    /// Only who has a token of a closed room's fence, or of a lower one, may be refused for good without being removed.
    /// It was let in meanwhile, by an owner that did not know that it had lost the room.
    private func refusedForGood(_ stay: Stay) {
        let closed = closings[stay.waiter.room] ?? 0
        guard stay.waiter.fence > 0, stay.waiter.fence <= closed else {
            return report("client \(stay.client) is refused for good without a reason")
        }
        clients[stay.client].banned = .closed(closed)
    }

    /// The client has heard nothing for as long as it waits.
    func clientTimeout(_ index: Int, _ attempt: Int) {
        guard clients[index].attempt == attempt, let stay = currentStay(index) else { return }
        if case .joined = clients[index].phase {
            let edge = stay.edge
            if edge.life == stay.life, edge.isAlive, edge.pausedUntil <= now { return }
        }
        queue.push(.clientClosed(stay), at: now + latency())
        noteLoss(index)
        backOff(index)
    }

    // MARK: At the edge

    func arriveHello(_ stay: Stay, _ occurrence: Occurrence) {
        guard clients[stay.client].attempt == stay.attempt else { return }
        let edge = stay.edge
        guard edge.life == stay.life, edge.isAlive else {
            if edge.process != .powerless { tell(.reset, stay) }
            return
        }
        guard awake(edge.index, stay.life, occurrence) != nil else { return }
        guard edge.process == .running else { return tell(.refused, stay) }
        stay.startedAt = now
        track(stay, edge)
        feed(edge) { $0.resolve(stay.waiter, at: $1) }
    }

    func track(_ stay: Stay, _ edge: ClusterNode) {
        stay.isWaiting = true
        edge.waiting[stay.waiter.id] = (stay, nil, now)
    }

    func clientClosed(_ stay: Stay) {
        let edge = stay.edge
        if stay.isWaiting, edge.waiting.removeValue(forKey: stay.waiter.id) != nil {
            stay.isWaiting = false
            feed(edge) { $0.cancel(stay.waiter, at: $1) }
        } else if let carrier = stay.carrier {
            send(.streamClosed(stay), from: edge, to: carrier.node, link: carrier.link)
        } else {
            disconnected(stay, at: edge)
        }
    }

    func answered(_ waiter: Waiter, _ route: Route, _ node: ClusterNode) {
        guard let entry = node.waiting.removeValue(forKey: waiter.id) else {
            return report("\(node.id) answers \(waiter.id), which does not wait")
        }
        inspectPatience(since: entry.since, node)
        let stay = entry.stay
        if entry.from == nil {
            stay.isWaiting = false
            stay.waiter = waiter
        }
        switch route {
        case .here(let fence):
            if node.machine.fence(of: waiter.room) != fence || fence < waiter.fence {
                report("\(node.id) lets a client with fence \(waiter.fence) in with fence \(fence)")
            }
            if node.machine.isStoreConnected, node.leaseEnd < now {
                report("\(node.id) lets a client in without a lease, although it has a store to ask")
            }
            join(stay, at: node, fence, from: entry.from)
        case .there(let other, _, let fence):
            guard entry.from == nil else { return reply(.notOwner(stay), node, entry.from) }
            guard let number = index(of: other), let link = node.links[number] else {
                return report("\(node.id) sends a hello to \(other), fence \(fence), without a link")
            }
            stay.carrier = (nodes[number], link)
            send(.hello(stay), from: node, to: nodes[number], link: link)
        case .refused(_, let refusal):
            inspectRefusal(refusal, of: stay, since: entry.since, node)
            entry.from == nil ? tell(.refused, stay) : reply(.refused(stay), node, entry.from)
        }
    }

    private func reply(_ message: LinkMessage, _ node: ClusterNode, _ from: (node: ClusterNode, link: Int)?) {
        if let from { send(message, from: node, to: from.node, link: from.link) }
    }

    // MARK: At the owner

    /// A hello has come over a link.
    func resolve(_ stay: Stay, at node: ClusterNode, from: (node: ClusterNode, link: Int)) {
        lastWaiter += 1
        let waiter = Waiter(
            WaiterID(lastWaiter), for: stay.waiter.room, fence: stay.waiter.fence, isRelayed: true)
        node.waiting[waiter.id] = (stay, from, now)
        feed(node) { $0.resolve(waiter, at: $1) }
    }

    private func join(_ stay: Stay, at node: ClusterNode, _ fence: Fence, from: (node: ClusterNode, link: Int)?) {
        let client = clients[stay.client]
        let room = client.room
        let isBanned =
            node.marks[room]?.contains { mark in
                switch mark {
                case .kicked(let session), .left(let session): session == client.session
                case .closed(let closed): stay.waiter.fence > 0 && stay.waiter.fence <= closed
                case .kickedName: false
                }
            } ?? false
        scheduleRoomCheck(room, at: node)
        // Late: the server has a newer connection of the client, as its attempt says.
        if let member = node.rooms[room]?.members[stay.client], member.stay.attempt > stay.attempt { return }
        if isBanned {
            return from == nil ? tell(.banned, stay) : reply(.banned(stay), node, from)
        }
        // A room that was opened again, by an owner that did not know yet, has a higher fence than the closed one. And
        // who never learned that it was in has no token.
        let isCovered =
            if case .closed(let closed)? = client.banned { (1...closed).contains(stay.waiter.fence) } else { true }
        if bindingBans.contains(stay.client), isCovered,
            let record = store.record(of: room), record.node == node.id, record.fence == fence
        {
            report("client \(stay.client) returns to \(node.id), although it was removed")
        }
        node.rooms[room, default: ServedRoom()].members[stay.client] = ClusterMember(
            stay: stay, link: from.map { ($0.node, $0.link) })
        if from == nil {
            tell(.joined(owner: node.index, fence), stay)
        } else {
            reply(.joined(stay, owner: node.index, fence), node, from)
        }
    }

    /// Tells a member, over the link or not.
    func tellMember(_ member: ClusterMember, _ news: ClientNews, _ node: ClusterNode) {
        guard member.disconnectedAt == nil else { return }
        guard let link = member.link else { return tell(news, member.stay) }
        if case .banned = news {
            send(.banned(member.stay), from: node, to: link.node, link: link.number)
        } else {
            send(.goingAway(member.stay), from: node, to: link.node, link: link.number)
        }
    }

    func members(of room: RoomName, at node: ClusterNode) -> [(client: Int, member: ClusterMember)] {
        (node.rooms[room]?.members ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    func yielded(_ room: RoomName, _ reason: YieldReason, _ node: ClusterNode) {
        for (_, member) in members(of: room, at: node) { tellMember(member, .goingAway, node) }
        node.rooms[room] = nil
    }

    func disconnected(_ stay: Stay, at node: ClusterNode) {
        let room = stay.waiter.room
        guard let member = node.rooms[room]?.members[stay.client], member.stay === stay else { return }
        node.rooms[room]?.members[stay.client]?.disconnectedAt = now
        scheduleRoomCheck(room, at: node)
    }

    func left(_ stay: Stay, at node: ClusterNode) {
        let room = stay.waiter.room
        guard node.rooms[room]?.members[stay.client]?.stay === stay else { return }
        node.rooms[room]?.members[stay.client] = nil
        scheduleRoomCheck(room, at: node)
    }

    func scheduleRoomCheck(_ room: RoomName, at node: ClusterNode) {
        queue.push(.roomCheck(node: node.index, life: node.life, room), at: now + .milliseconds(1))
    }

    /// Removes members whose grace is over, and the room with the last one.
    func checkRoom(_ room: RoomName, at node: ClusterNode) {
        var next: Timestamp?
        for (client, member) in members(of: room, at: node) {
            guard let end = member.disconnectedAt.map({ $0 + Self.grace }) else { continue }
            if end <= now { node.rooms[room]?.members[client] = nil } else { next = min(next ?? end, end) }
        }
        if let next { queue.push(.roomCheck(node: node.index, life: node.life, room), at: next) }
        guard node.rooms[room]?.members.isEmpty ?? true else { return }
        node.rooms[room] = nil
        if node.machine.fence(of: room) != nil { feed(node) { $0.roomEnded(room, at: $1) } }
    }
}
