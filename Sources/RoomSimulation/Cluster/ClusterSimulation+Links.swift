internal import RoomCluster
internal import RoomProtocol
internal import TransportValues

/// Something that one node tells another.
enum LinkMessage {
    case hello(Stay)
    case joined(Stay, owner: Int, Fence)
    case notOwner(Stay)
    case refused(Stay)
    /// The room must not be entered with this session.
    case banned(Stay)
    case goingAway(Stay)
    case streamClosed(Stay)
    case left(Stay)
    case fence(RoomName, Fence)
}

/// The links between nodes. Each has a number, which both ends know; the newer one takes the place of the older one.
extension ClusterSimulation {
    /// The time without a word after which a link is dead.
    static var linkSilence: Duration { .seconds(4) }

    func key(_ from: Int, _ to: Int) -> Int { from * 16 + to }
    func isCut(_ from: Int, _ to: Int) -> Bool { linkCuts[key(from, to), default: 0] > 0 }
    func isAnyCut(_ left: Int, _ right: Int) -> Bool { isCut(left, right) || isCut(right, left) }

    func dial(_ node: ClusterNode, _ other: Int) {
        node.dialling.insert(other)
        queue.push(.dial(node: node.index, life: node.life, other: other), at: now + latency())
    }

    /// A dial arrives at the other node, or does not.
    func arriveDial(from node: ClusterNode, at other: ClusterNode) {
        func fail(_ failure: LinkFailure, after delay: Duration) {
            queue.push(
                .dialFailed(node: node.index, life: node.life, other: other.index, failure), at: now + delay)
        }
        if refusals[key(node.index, other.index), default: 0] > 0 { return fail(.refused, after: latency()) }
        if other.process == .powerless || isAnyCut(node.index, other.index) || other.pausedUntil > now {
            return fail(.silent, after: .seconds(3))
        }
        guard other.isAlive else { return fail(.refused, after: latency()) }
        lastLink += 1
        queue.push(
            .linkUp(
                node: other.index, life: other.life, other: node.index, otherLife: node.life, link: lastLink), at: now)
        // Nothing overtakes the answer.
        let key = key(other.index, node.index)
        let time = max(lastOverLink[key] ?? .zero, now + latency())
        lastOverLink[key] = time
        queue.push(
            .linkUp(
                node: node.index, life: node.life, other: other.index, otherLife: other.life, link: lastLink), at: time)
    }

    func dialFailed(_ node: ClusterNode, _ other: Int, _ failure: LinkFailure) {
        guard node.dialling.remove(other) != nil, node.links[other] == nil else { return }
        node.lastLearned = now
        feed(node) { $0.linkDown(NodeID("n\(other)"), failure, at: $1) }
    }

    func linkUp(_ node: ClusterNode, _ other: ClusterNode, _ otherLife: Int, _ link: Int) {
        guard node.links[other.index] ?? 0 < link else { return }
        if let old = node.links[other.index] { endStreams(of: node, over: old, with: other) }
        node.links[other.index] = link
        node.dialling.remove(other.index)
        guard other.life == otherLife, other.isAlive || other.process == .powerless else {
            return linkDown(node, other, link, .reset)
        }
        let incarnation = other.incarnation
        node.evictions[other.index] = nil
        feed(node) { $0.linkUp(other.id, incarnation, at: $1) }
        if isAnyCut(node.index, other.index) || other.process == .powerless { watch(node, other) }
    }

    func linkDown(_ node: ClusterNode, _ other: ClusterNode, _ link: Int, _ failure: LinkFailure) {
        guard node.links[other.index] == link else { return }
        // It was healed in time.
        if failure == .silent, !isAnyCut(node.index, other.index), other.links[node.index] == link,
            other.pausedUntil <= now
        {
            return
        }
        node.links[other.index] = nil
        note("\(node.id): link to \(other.id) is down, \(failure)")
        feed(node) { $0.linkDown(other.id, failure, at: $1) }
        endStreams(of: node, over: link, with: other)
        // The other end learns of it as soon as something comes through.
        queue.push(
            .linkDown(node: other.index, life: other.life, other: node.index, link: link, .closed),
            at: now + (isCut(node.index, other.index) ? Self.linkSilence : latency()))
    }

    func hangUp(_ node: ClusterNode, _ other: Int) {
        guard let link = node.links.removeValue(forKey: other) else { return }
        endStreams(of: node, over: link, with: nodes[other])
        queue.push(
            .linkDown(node: other, life: nodes[other].life, other: node.index, link: link, .closed),
            at: now + latency())
    }

    /// Lets the node find out that nothing comes from the other one any more.
    func watch(_ node: ClusterNode, _ other: ClusterNode) {
        guard let link = node.links[other.index] else { return }
        queue.push(
            .linkDown(node: node.index, life: node.life, other: other.index, link: link, .silent),
            at: now + Self.linkSilence)
    }

    /// All links of a node that is gone, or cut off, are found dead by the others.
    func dropLinks(of node: ClusterNode, _ failure: LinkFailure) {
        for other in nodes where other !== node {
            guard let link = other.links[node.index] else { continue }
            let delay = failure == .silent ? Self.linkSilence : latency()
            queue.push(
                .linkDown(node: other.index, life: other.life, other: node.index, link: link, failure), at: now + delay)
        }
    }

    func send(_ message: LinkMessage, from node: ClusterNode, to other: ClusterNode, link: Int) {
        let key = key(node.index, other.index)
        let time = max(lastOverLink[key] ?? .zero, now + latency())
        lastOverLink[key] = time
        queue.push(
            .overLink(
                message, to: other.index, life: other.life, from: node.index, fromLife: node.life, link: link), at: time
        )
    }

    func arrive(
        _ message: LinkMessage, at node: ClusterNode, from other: ClusterNode, _ otherLife: Int, _ link: Int,
        _ occurrence: Occurrence
    ) {
        guard node.links[other.index] == link else { return }
        if isCut(other.index, node.index) {
            // Sent again until it gets through, as TCP does, and in order.
            let key = key(other.index, node.index)
            lastOverLink[key] = max(lastOverLink[key] ?? .zero, now + .milliseconds(200))
            queue.push(occurrence, at: now + .milliseconds(200))
            return
        }
        switch message {
        case .hello(let stay):
            resolve(stay, at: node, from: (other, link))
        case .joined(let stay, let owner, let fence): tell(.joined(owner: owner, fence), stay)
        case .notOwner(let stay):
            guard stay.carrier?.link == link else { return }
            stay.carrier = nil
            track(stay, node)
            feed(node) { $0.notOwner(stay.waiter, from: other.id, at: $1) }
        case .refused(let stay):
            stay.carrier = nil
            tell(.refused, stay)
        case .banned(let stay):
            stay.carrier = nil
            tell(.banned, stay)
        case .goingAway(let stay): tell(.goingAway, stay)
        case .streamClosed(let stay):
            for (id, entry) in node.waiting where entry.stay === stay && entry.from != nil {
                node.waiting[id] = nil
                let waiter = Waiter(id, for: stay.waiter.room, isRelayed: true)
                feed(node) { $0.cancel(waiter, at: $1) }
            }
            disconnected(stay, at: node)
        case .left(let stay): left(stay, at: node)
        case .fence(let room, let fence): feed(node) { $0.fenceSeen(fence, of: room, at: $1) }
        }
    }

    /// The shell ends everything that went over a link.
    func endStreams(of node: ClusterNode, over link: Int, with other: ClusterNode) {
        for client in clients.indices {
            guard let stay = currentStay(client), stay.edge === node, stay.carrier?.link == link else { continue }
            stay.carrier = nil
            tell(.goingAway, stay)
        }
        for (id, entry) in node.waiting.sorted(by: { $0.key.rawValue < $1.key.rawValue })
        where entry.from?.link == link {
            node.waiting[id] = nil
            feed(node) { $0.cancel(Waiter(id, for: entry.stay.waiter.room, isRelayed: true), at: $1) }
        }
        for room in node.rooms.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            for (client, member) in node.rooms[room]?.members ?? [:] where member.link?.number == link {
                node.rooms[room]?.members[client]?.disconnectedAt = member.disconnectedAt ?? now
            }
            scheduleRoomCheck(room, at: node)
        }
    }
}
