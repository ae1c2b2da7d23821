internal import RoomCluster
internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// The store, and the nodes' connections to it.
extension ClusterSimulation {
    func isCutOff(_ node: ClusterNode) -> Bool { node.storeCuts > 0 || isStorePaused > 0 }

    func scheduleStoreConnection(of node: ClusterNode) {
        guard node.connection == nil, !node.isConnecting else { return }
        node.isConnecting = true
        let delay = Duration.milliseconds(50) + random.duration(upTo: .milliseconds(1000))
        queue.push(.connectStore(node: node.index, life: node.life), at: now + delay)
    }

    func connectStore(_ node: ClusterNode) {
        node.isConnecting = false
        guard node.connection == nil else { return }
        guard !isCutOff(node), isStoreDown == 0 else { return scheduleStoreConnection(of: node) }
        note("\(node.id) connects to the store")
        node.connection = StoreConnection(node)
        node.steadySince = now
        feed(node) { $0.storeConnected(at: $1) }
    }

    func send(_ request: StoreRequest, _ id: RequestID, _ node: ClusterNode) {
        guard let connection = node.connection else { return report("\(node.id) sends a request without a store") }
        switch request {
        case .renewLease: node.renewals[id] = now
        case .claim(let claim): node.lastAsked[claim.room] = now
        case .readRoom(let room): node.lastAsked[room] = now
        case .dropLease, .readNodes, .reassert, .release, .writeMarks: break
        }
        connection.toStore.append((request, id))
        connection.lastToStore = max(connection.lastToStore, now + latency())
        queue.push(.atStore(connection), at: connection.lastToStore)
    }

    /// The node gives the connection up. What is on the way may arrive nevertheless.
    func reconnectStore(_ node: ClusterNode) {
        node.connection?.isOpen = false
        node.connection = nil
        node.steadySince = .distantFuture
        scheduleStoreConnection(of: node)
    }

    func arriveAtStore(_ connection: StoreConnection) {
        guard isStoreDown == 0 else { return }
        if isCutOff(connection.node) {
            // Sent again until it gets through, as TCP does, at longer and longer intervals.
            let pause: Duration = connection.isOpen ? .milliseconds(200) : random.duration(upTo: .seconds(5))
            queue.push(.atStore(connection), at: now + pause)
            return
        }
        guard let (request, id) = connection.toStore.popFirst() else { return }
        let isCurrent = connection.isOpen && connection.node.life == connection.life && connection.node.isAlive
        guard isCurrent || chance(scenario.zombies) else { return }
        let reply = store.apply(request, at: now + storeOffset)
        note("store: \(connection.node.id) \(request) → \(reply)")
        noteRecords(isStray: !isCurrent)
        switch request {
        case .writeMarks(let marks): noteBans(marks, by: connection)
        case .claim(let claim): inspectClaim(claim, reply, by: connection.node)
        case .renewLease, .dropLease, .readRoom, .readNodes, .reassert, .release: break
        }
        guard isCurrent else { return }
        connection.toNode.append((reply, id))
        connection.lastToNode = max(connection.lastToNode, now + latency())
        queue.push(.fromStore(connection), at: connection.lastToNode)
    }

    /// Takes over how long the node knows its lease to be with this reply.
    private func noteLease(_ reply: StoreReply, _ id: RequestID, _ node: ClusterNode) {
        if case .renewed = reply, let sentAt = node.renewals.removeValue(forKey: id) {
            if node.leaseEnd < now { node.steadySince = now }
            node.leaseEnd = sentAt + ClusterLimits.lease
        } else if reply == .noLease {
            node.leaseEnd = .zero
        }
    }

    /// The store has lost something, or everything.
    func replaceStore(_ other: StoreModel) {
        store = other
        bindingBans = []
        // Also those of rooms whose releases it has forgotten.
        noteRecords(isStray: true)
    }

    private func noteRecords(isStray: Bool = false) {
        for room in rooms where records[room] != store.record(of: room) {
            records[room] = store.record(of: room)
            recordChanges[room] = now
            if isStray { strayRecords.insert(room) } else { strayRecords.remove(room) }
        }
    }

    /// A ban binds everybody once the store has got it from the room's owner: not from an earlier process of the node,
    /// whose message may have been long on its way.
    private func noteBans(_ marks: [TimedMark], by connection: StoreConnection) {
        for mark in marks {
            guard let record = store.record(of: mark.room), record.node == connection.node.id,
                record.incarnation == connection.incarnation
            else { continue }
            for client in clients where client.banned == mark.mark && client.room == mark.room {
                bindingBans.insert(client.index)
            }
        }
    }

    func arriveFromStore(_ connection: StoreConnection, _ node: ClusterNode) {
        guard connection.isOpen else { return }
        if isCutOff(node) {
            queue.push(.fromStore(connection), at: now + .milliseconds(200))
            return
        }
        guard let (reply, id) = connection.toNode.popFirst() else { return }
        noteLease(reply, id, node)
        if case .owner = reply { node.lastLearned = now }
        feed(node) { $0.replied(reply, to: id, at: $1) }
    }

    func resetStoreConnection(of node: ClusterNode) {
        guard let connection = node.connection else { return }
        queue.push(.storeReset(connection), at: now + latency())
        connection.toStore.truncate(to: Int.random(in: 0...connection.toStore.count, using: &random))
        connection.toNode.removeAll()
    }

    func storeReset(_ connection: StoreConnection, _ node: ClusterNode) {
        guard connection.isOpen else { return }
        connection.isOpen = false
        node.connection = nil
        node.steadySince = .distantFuture
        feed(node) { $0.storeDisconnected(at: $1) }
        scheduleStoreConnection(of: node)
    }
}
