internal import RoomCluster
internal import RoomProtocol
internal import TransportValues

extension ClusterSimulation {
    /// Nothing waits in a machine for longer than it may.
    func inspectPatience(since: Timestamp, _ node: ClusterNode) {
        guard node.resumedAt <= since, now - since > ClusterLimits.patience + .milliseconds(1) else { return }
        report("\(node.id) answers a hello after \((now - since).inSeconds) s")
    }

    func inspectTables(of node: ClusterNode) {
        if node.machine.requestCount > ClusterLimits.claims + 12 {
            report("\(node.id) has \(node.machine.requestCount) requests under way")
        }
        if node.machine.waiterCount > node.waiting.count + 1 {
            report("\(node.id) keeps \(node.machine.waiterCount) hellos of \(node.waiting.count)")
        }
        if node.machine.tableSizes.contains(where: { $0 > 200 }) {
            report("\(node.id) keeps tables of \(node.machine.tableSizes)")
        }
    }

    /// A refusal has a reason.
    func inspectRefusal(_ refusal: RouteRefusal, of stay: Stay, since: Timestamp, _ node: ClusterNode) {
        let room = stay.waiter.room
        switch refusal {
        case .unsettled:
            if recordChanges[room] ?? .zero < stay.startedAt {
                report("\(node.id) finds no owner of \(room), which has not changed")
            }
        case .storeAway, .ownerUnreachable:
            let asked = max(node.lastAsked[room] ?? .zero, node.lastLearned)
            if max(since, node.steadySince) + .seconds(2) < now, asked + .milliseconds(1200) < now,
                node.dialling.isEmpty, node.machine.isStoreConnected, node.machine.requestCount == 0
            {
                report("\(node.id) refuses a hello for \(room), \(refusal), without asking again")
            }
        case .draining, .overloaded: break
        }
    }

    /// A node that lives, behind something that refuses links to it, loses its rooms to another node by one proof only.
    func inspectClaim(_ claim: RoomClaim, _ reply: StoreReply, by node: ClusterNode) {
        guard case .claimed(_, _, let previous?) = reply, let victim = index(of: previous.node),
            nodes[victim].incarnation == previous.incarnation, nodes[victim].isAlive,
            node.incarnation == claim.incarnation,
            let proof = claim.gone.first(where: { $0.node == previous.node && $0.incarnation == previous.incarnation }),
            store.lease(of: previous) != nil
        else { return }
        if let earlier = node.evictions[victim], earlier.incarnation == proof.incarnation,
            earlier.renewals < proof.renewals
        {
            report("\(node.id) takes \(claim.room) from \(previous.node), which has proved that it lives")
        }
        node.evictions[victim] = (proof.incarnation, proof.renewals)
    }

    /// The store tells the truth about a room as soon as its nodes could have said so.
    private func inspectRecords() {
        for room in rooms where isStoreDown == 0 {
            let changedAt = recordChanges[room] ?? .zero
            let owners = nodes.filter {
                $0.isAlive && $0.machine.fence(of: room) != nil && max($0.steadySince, changedAt) + .seconds(9) < now
                    && !isCutOff($0)
            }
            if owners.count > 1 { report("\(room) belongs to \(owners.map(\.id))") }
            for owner in owners where store.record(of: room)?.node != owner.id {
                report("\(owner.id) has \(room), but the store believes otherwise")
            }
            guard !strayRecords.contains(room), let record = store.record(of: room), store.lease(of: record) != nil,
                let node = index(of: record.node).map({ nodes[$0] }), node.incarnation == record.incarnation,
                node.isAlive, max(node.steadySince, changedAt) + .milliseconds(1500) < now, !isCutOff(node),
                node.machine.requestCount == 0, node.machine.fence(of: room) == nil
            else { continue }
            report("the store believes that \(room) is at \(node.id), which has given it up")
        }
    }

    /// Checks what must be true at any time.
    func inspect() {
        inspectRecords()
        for node in nodes where node.isAlive && node.pausedUntil <= now {
            for (room, served) in node.rooms where node.machine.fence(of: room) == nil && !served.members.isEmpty {
                report("\(node.id) serves \(room), which it does not own")
            }
            for entry in node.waiting.values where now - max(entry.since, node.resumedAt) > .seconds(4) {
                report("\(node.id) has left a hello without an answer for \((now - entry.since).inSeconds) s")
            }
            if node.process == .draining, now - max(node.drainsSince, node.resumedAt) > .seconds(7) {
                report("\(node.id) drains since \(node.drainsSince.seconds)")
            }
        }
        let isWell = now >= faultsEnd && obstacle == nil
        wellSince = isWell ? wellSince ?? now : nil
        isOver = wellSince.map { now - max($0, faultsEnd) >= scenario.faults.wellFor } ?? false
    }

    func inspectEnd() {
        for node in nodes {
            takeovers += node.machine.statistics.takeovers
            conflicts += node.machine.statistics.conflicts
        }
        if let limit = scenario.absenceLimit, longestAbsence > limit {
            report("a client was without its room for \(longestAbsence.inSeconds) s")
        }
        if scenario.isUnnoticed, interruptions > 0 { report("\(interruptions) clients lost their connections") }
        if violations.isEmpty, let obstacle {
            report("\((now - faultsEnd).inSeconds) s after the last fault: \(obstacle)")
        }
    }

    /// The reason why not everything is well; nil if everything is.
    var obstacle: String? {
        for node in nodes where node.process != .running { return "\(node.id) does not run" }
        for room in rooms {
            let owners = nodes.filter { $0.machine.fence(of: room) != nil }
            if owners.count > 1 { return "\(room) belongs to \(owners.map(\.id))" }
            for node in nodes where node !== owners.first && node.rooms[room] != nil {
                return "\(node.id) still serves \(room)"
            }
        }
        for client in clients {
            if client.banned != nil {
                continue
            }
            switch client.phase {
            case .gone: continue
            case .away, .trying: return "client \(client.index) of \(client.room) is not in its room"
            case .joined(let stay, let owner, let fence):
                let node = nodes[owner]
                guard let own = node.machine.fence(of: client.room), own >= fence else {
                    return "client \(client.index) believes to be in \(client.room) at \(node.id)"
                }
                guard let member = node.rooms[client.room]?.members[client.index], member.stay === stay,
                    member.disconnectedAt == nil
                else { return "\(node.id) does not know client \(client.index) of \(client.room)" }
                guard
                    store.record(of: client.room)
                        == RoomRecord(node: node.id, incarnation: node.incarnation, fence: own)
                else { return "the store does not know that \(client.room) is at \(node.id)" }
            }
        }
        for node in nodes {
            for room in rooms {
                for (client, member) in node.rooms[room]?.members ?? [:] where member.disconnectedAt == nil {
                    guard currentStay(client) === member.stay else {
                        return "\(node.id) keeps a ghost of client \(client) in \(room)"
                    }
                }
            }
        }
        return nil
    }
}
