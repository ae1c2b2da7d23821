internal import RoomCluster
internal import RoomProtocol
internal import TransportValues

extension ClusterSimulation {
    /// Nothing waits in a machine for longer than it may.
    func inspectPatience(since: Timestamp, _ node: ClusterNode) {
        guard node.resumedAt <= since, now - since > ClusterLimits().patience + .milliseconds(1) else { return }
        report("\(node.id) answers a hello after \((now - since).inSeconds) s")
    }

    func inspectTables(of node: ClusterNode) {
        let limits = ClusterLimits()
        if node.machine.requestCount > limits.claims + 12 {
            report("\(node.id) has \(node.machine.requestCount) requests under way")
        }
        if node.machine.waiterCount > node.waiting.count + 1 {
            report("\(node.id) keeps \(node.machine.waiterCount) hellos of \(node.waiting.count)")
        }
        if node.machine.tableSizes.contains(where: { $0 > 200 }) {
            report("\(node.id) keeps tables of \(node.machine.tableSizes)")
        }
    }

    /// Checks what must be true at any time.
    func inspect() {
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
