internal import RoomCluster
internal import RoomCore
internal import RoomProtocol
internal import TransportValues

extension ClusterSimulation {
    func begin(_ fault: ClusterFault, of node: ClusterNode, and other: ClusterNode) {
        switch fault.kind {
        case .crash: if node.isAlive { kill(node, .dead) }
        case .powerLoss: if node.isAlive { kill(node, .powerless) }
        case .pause: pause(node, fault.duration)
        case .drain: drain(node)
        case .rollingUpdate:
            for index in nodes.indices {
                queue.push(.fault(ClusterFault(kind: .drain, at: .zero, node: index)), at: now + .seconds(3) * index)
            }
        case .storeCut: node.storeCuts += 1
        case .storeReset: resetStoreConnection(of: node)
        case .linkCut:
            linkCuts[key(node.index, other.index), default: 0] += 1
            watch(node, other)
            watch(other, node)
        case .linkReset: resetLink(node, other)
        case .linkRefused:
            refusals[key(node.index, other.index), default: 0] += 1
            resetLink(node, other)
        case .isolation:
            node.storeCuts += 1
            for other in nodes where other !== node {
                linkCuts[key(node.index, other.index), default: 0] += 1
                linkCuts[key(other.index, node.index), default: 0] += 1
                watch(node, other)
                watch(other, node)
            }
        case .storePause: isStorePaused += 1
        case .storeRestart, .storeEmpty:
            isStoreDown += 1
            for node in nodes { resetStoreConnection(of: node) }
        case .storeFailover:
            isStoreDown += 1
            replaceStore(replica)
            for node in nodes { resetStoreConnection(of: node) }
        case .storeFlush: replaceStore(StoreModel())
        case .storeClock:
            storeOffset += fault.chance % 2 == 0 ? .seconds(Int(fault.chance / 2 % 3600)) : .seconds(-4)
        case .nodeClock:
            node.clockOffset += .seconds(Int(fault.chance % 30))
            node.steadySince = max(node.steadySince, now)
            if node.isAlive, node.pausedUntil <= now { feed(node) { $0.timePassed(to: $1) } }
        case .leave: leave(fault)
        case .clientReset:
            guard let client = joinedClient(fault), let stay = currentStay(client) else { return }
            queue.push(.clientClosed(stay), at: now + latency())
            arriveAtClient(stay, .reset)
        case .kick: kick(fault)
        case .close: close(fault)
        }
    }

    func heal(_ fault: ClusterFault, of node: ClusterNode, and other: ClusterNode) {
        switch fault.kind {
        case .crash, .powerLoss: start(node)
        case .storeCut: node.storeCuts -= 1
        case .linkCut: linkCuts[key(node.index, other.index), default: 0] -= 1
        case .linkRefused: refusals[key(node.index, other.index), default: 0] -= 1
        case .isolation:
            node.storeCuts -= 1
            for other in nodes where other !== node {
                linkCuts[key(node.index, other.index), default: 0] -= 1
                linkCuts[key(other.index, node.index), default: 0] -= 1
            }
        case .storePause: isStorePaused -= 1
        case .storeRestart, .storeFailover: isStoreDown -= 1
        case .storeEmpty:
            replaceStore(StoreModel())
            isStoreDown -= 1
        case .pause, .drain, .rollingUpdate, .storeReset, .linkReset, .storeFlush, .storeClock, .nodeClock, .leave,
            .clientReset, .kick, .close:
            break
        }
    }

    // MARK: Processes

    func start(_ node: ClusterNode) {
        guard !node.isAlive else { return }
        if node.life > 0 { node.machine = makeMachine(node.index) }
        node.life += 1
        node.process = .running
        node.pausedUntil = now
        node.resumedAt = now
        node.steadySince = .distantFuture
        node.leaseEnd = .zero
        node.renewals = [:]
        node.lastAsked = [:]
        node.evictions = [:]
        node.timerAt = nil
        let incarnation = Incarnation(UInt64(now.nanoseconds / 1000) + 1)
        node.incarnation = incarnation
        note("\(node.id) starts as \(incarnation)")
        feed(node) { $0.started(as: incarnation, at: $1) }
        scheduleStoreConnection(of: node)
    }

    /// The process is gone; with `.powerless` nobody is told.
    func kill(_ node: ClusterNode, _ end: ClusterNode.Process) {
        note("\(node.id) is \(end)")
        takeovers += node.machine.statistics.takeovers
        conflicts += node.machine.statistics.conflicts
        dropLinks(of: node, end == .powerless ? .silent : .reset)
        for client in clients.indices {
            guard let stay = currentStay(client), stay.edge === node, stay.life == node.life else { continue }
            if end == .powerless {
                queue.push(.clientTimeout(client: client, attempt: stay.attempt), at: now + Self.clientPatience)
            } else {
                tell(.reset, stay)
            }
        }
        // What it has sent to the store is still on its way.
        node.connection?.isOpen = false
        node.connection = nil
        node.isConnecting = false
        node.process = end
        node.links = [:]
        node.dialling = []
        node.rooms = [:]
        node.waiting = [:]
        node.marks = [:]
        node.roomsAtDrain = []
    }

    private func pause(_ node: ClusterNode, _ duration: Duration) {
        guard node.isAlive, node.pausedUntil <= now, duration > .zero else { return }
        node.pausedUntil = now + duration
        node.resumedAt = node.pausedUntil
        node.steadySince = max(node.steadySince, node.pausedUntil)
        // It looks at the clock before anything else.
        node.timerAt = node.pausedUntil
        queue.push(.timer(node: node.index, life: node.life, at: node.pausedUntil), at: node.pausedUntil)
        for other in nodes where other !== node { watch(other, node) }
        for client in clients.indices {
            guard let stay = currentStay(client), stay.edge === node else { continue }
            queue.push(.clientTimeout(client: client, attempt: stay.attempt), at: now + Self.clientPatience)
        }
    }

    private func drain(_ node: ClusterNode) {
        guard node.process == .running, node.pausedUntil <= now else { return }
        node.process = .draining
        node.drainsSince = now
        node.roomsAtDrain = Set(node.machine.ownedRooms)
        feed(node) { $0.drain(within: Self.drainWindow, at: $1) }
        // Its clients whose rooms are elsewhere.
        for client in clients.indices {
            guard let stay = currentStay(client), stay.edge === node, stay.carrier != nil else { continue }
            queue.push(.clientClosed(stay), at: now + latency())
            tell(.goingAway, stay)
        }
    }

    static var drainWindow: Duration { .seconds(2) }

    func drained(_ node: ClusterNode) {
        guard node.process == .draining else { return report("\(node.id) is drained, but it does not drain") }
        kill(node, .dead)
        queue.push(.start(node: node.index), at: now + .milliseconds(500))
    }

    private func resetLink(_ node: ClusterNode, _ other: ClusterNode) {
        for (one, two) in [(node, other), (other, node)] {
            guard let link = one.links[two.index] else { continue }
            queue.push(
                .linkDown(node: one.index, life: one.life, other: two.index, link: link, .reset), at: now + latency())
        }
    }

    // MARK: People

    /// A client that is in its room, by the fault's chance.
    private func joinedClient(_ fault: ClusterFault) -> Int? {
        let joined = clients.indices.filter {
            if case .joined = clients[$0].phase { clients[$0].banned == nil } else { false }
        }
        return joined.isEmpty ? nil : joined[Int(fault.chance % UInt64(joined.count))]
    }

    private func leave(_ fault: ClusterFault) {
        guard let client = joinedClient(fault), let stay = currentStay(client) else { return }
        note("client \(client) leaves")
        clients[client].phase = .gone
        let edge = stay.edge
        if edge.life == stay.life, edge.isAlive {
            if let carrier = stay.carrier {
                send(.left(stay), from: edge, to: carrier.node, link: carrier.link)
            } else {
                left(stay, at: edge)
            }
        }
        addClient(clients[client].room, after: random.duration(upTo: .seconds(3)))
    }

    /// The node where the client is a member now.
    private func owner(of client: Int) -> (node: ClusterNode, member: ClusterMember)? {
        guard case .joined(let stay, let owner, _) = clients[client].phase else { return nil }
        let node = nodes[owner]
        guard node.isAlive, node.pausedUntil <= now, let member = node.rooms[clients[client].room]?.members[client],
            member.stay === stay
        else { return nil }
        return (node, member)
    }

    private func kick(_ fault: ClusterFault) {
        guard let client = joinedClient(fault), let (node, member) = owner(of: client) else { return }
        let mark = Mark.kicked(clients[client].session)
        note("client \(client) is removed by \(node.id)")
        ban([client], from: clients[client].room, mark, node)
        tellMember(member, .banned, node)
        node.rooms[clients[client].room]?.members[client] = nil
        scheduleRoomCheck(clients[client].room, at: node)
        addClient(clients[client].room, after: random.duration(upTo: .seconds(5)))
    }

    private func close(_ fault: ClusterFault) {
        guard let first = joinedClient(fault), let (node, _) = owner(of: first) else { return }
        let room = clients[first].room
        guard let fence = node.machine.fence(of: room) else { return }
        note("\(room) with fence \(fence) is closed by \(node.id)")
        let banned = clients.indices.filter {
            clients[$0].room == room
                && (clients[$0].fence > 0 && clients[$0].fence <= fence || node.rooms[room]?.members[$0] != nil)
        }
        closings[room] = max(fence, closings[room] ?? 0)
        ban(banned, from: room, .closed(fence), node)
        for (_, member) in members(of: room, at: node) { tellMember(member, .banned, node) }
        node.rooms[room] = nil
        feed(node) { $0.roomEnded(room, at: $1) }
        // Now and then nobody comes for a while.
        let pause: Duration = fault.chance % 3 == 0 ? .seconds(15) : .seconds(5)
        for _ in 0..<2 { addClient(room, after: random.duration(upTo: pause)) }
    }

    private func ban(_ banned: [Int], from room: RoomName, _ mark: Mark, _ node: ClusterNode) {
        for client in banned where clients[client].banned == nil { clients[client].banned = mark }
        node.marks[room, default: []].insert(mark)
        feed(node) { $0.marked(mark, in: room, lifetime: .seconds(86_400), at: $1) }
    }
}
