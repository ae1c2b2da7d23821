internal import RoomCore
internal import RoomProtocol
internal import RoomServerCore
internal import TransportValues

extension Simulation {
    func begin(_ fault: Fault) {
        let node = nodes[fault.node]
        switch fault.kind {
        case .serverCrash: if server != nil { stopServer(isSilent: false) }
        case .serverPowerLoss: if server != nil { stopServer(isSilent: true) }
        case .serverDrain:
            guard server != nil, !isServerStopped else { return }
            let window = RetryWindow(earliest: fault.duration, latest: fault.duration + .seconds(2))
            serve(server) { $0.drain(retryAfter: window, at: now) }
            stopServer(isSilent: false)
        case .serverIsolation:
            guard let isolatedServer = server, !isServerStopped else { return }
            let open = links.values.filter { $0.isOpenAtServer && $0.server === isolatedServer }.map(\.id)
                .sorted { $0.rawValue < $1.rawValue }
            stopServer(isSilent: false)
            isolated = (isolatedServer, open)
        case .serverSplit: split(fault)
        case .serverFreeze:
            guard server != nil else { return }
            isServerStopped = true
            isServerSilent = true
        case .signalingCut: cutSignaling(node, up: 1, down: 1)
        case .signalingUpCut: cutSignaling(node, up: 1, down: 0)
        case .signalingDownCut: cutSignaling(node, up: 0, down: 1)
        case .signalingReset: reset(node)
        case .pathCut: cutPaths([fault.node], [fault.other], by: 1)
        case .pathOneWayCut: cutPaths([fault.node], [fault.other], by: 1, isOneWay: true)
        case .pathFlap: flap(fault, isCut: true)
        case .partition: cutPaths(members(fault, true), members(fault, false), by: 1)
        case .nodeCut:
            cutSignaling(node, up: 1, down: 1)
            node.pathCuts += 1
            judgeLines(of: node)
        case .slowness: node.slowness += .milliseconds(300)
        case .loss:
            node.losses += 1
            beatLines(of: node)
        case .addressChange:
            node.network += 1
            judgeLines(of: node)
            // The old connection's packets go nowhere from now on; a new one works.
            for link in node.links.values { link.isDead = true }
            tellOfNetwork(node)
        case .networkLoss:
            node.downs += 1
            cutSignaling(node, up: 1, down: 1)
            node.pathCuts += 1
            judgeLines(of: node)
            tellOfNetwork(node)
        case .tokenOutage: if fault.group & 1 == 0 { node.tokenHangs += 1 } else { node.tokenFailures += 1 }
        case .freeze, .suspend:
            guard node.suspendedUntil <= now else { return }
            node.suspendedUntil = now + fault.duration
            node.suspendedSince = now
            node.isAsleep = fault.kind == .suspend
            judgeLines(of: node)
        case .clockJump:
            node.clockOffset += fault.duration
            node.clockJumps.append((now, fault.duration))
            rescheduleTimers(of: node)
        case .peerFailure:
            let ids = node.endpoints.keys.sorted { $0.rawValue < $1.rawValue }
            if let id = ids.randomElement(using: &random), let endpoint = node.endpoints[id] {
                // In the middle of a conversation.
                if node.suspendedUntil <= now, let stream = endpoint.stream, stream.endpoint === endpoint {
                    burst(stream)
                }
                finish(endpoint, PeerFailure("the handshake failed"))
            }
        case .channelClosure:
            let ids = node.endpoints.keys.sorted { $0.rawValue < $1.rawValue }
            guard node.suspendedUntil <= now, let id = ids.randomElement(using: &random),
                let endpoint = node.endpoints[id], !endpoint.isClosed
            else { return }
            if let stream = endpoint.stream, stream.endpoint === endpoint { burst(stream) }
            for channel in endpoint.channels where chance(0.5) { closeChannel(channel.id, endpoint) }
        case .refusal: node.refusesNext = true
        case .update:
            guard node.suspendedUntil <= now, node.end == nil, node.membership != nil else { return }
            node.metadata = ["at": "\(now.nanoseconds)"]
            feed(node, .metadataUpdated(node.metadata))
        case .kick:
            guard let target = nodes[fault.other].membership?.participant, node.roster[target] != nil,
                node.machine.membership?.isHost == true, node.suspendedUntil <= now, node.end == nil
            else { return }
            nodes[fault.other].isKicked = true
            feed(node, .kickRequested(target, reason: "test"))
        case .leaveAndReturn:
            guard !node.isKicked else { return }
            guard node.suspendedUntil <= now, node.end == nil else { return }
            node.hasLeft = true
            feed(node, .leaveRequested)
            restart(node, after: .milliseconds(300) + fault.duration)
        case .reconnectNow: hint(node, .reconnectRequested)
        case .falseHint: look(node, after: .zero)
        }
    }

    func heal(_ fault: Fault) {
        let node = nodes[fault.node]
        switch fault.kind {
        case .serverCrash, .serverPowerLoss, .serverDrain, .serverIsolation: if server == nil { startServer() }
        case .serverSplit: unite(fault)
        case .serverFreeze:
            guard isServerStopped else { return }
            isServerStopped = false
            isServerSilent = false
            for node in nodes { release(node) }
        case .signalingCut: cutSignaling(node, up: -1, down: -1)
        case .signalingUpCut: cutSignaling(node, up: -1, down: 0)
        case .signalingDownCut: cutSignaling(node, up: 0, down: -1)
        case .pathCut: cutPaths([fault.node], [fault.other], by: -1)
        case .pathOneWayCut: cutPaths([fault.node], [fault.other], by: -1, isOneWay: true)
        case .partition: cutPaths(members(fault, true), members(fault, false), by: -1)
        case .nodeCut:
            cutSignaling(node, up: -1, down: -1)
            node.pathCuts -= 1
            judgeLines(of: node)
            if chance(0.3) { look(node, after: .zero) }
        case .networkLoss:
            node.downs -= 1
            if node.downs == 0, fault.group & 1 == 0 {
                node.network += 1
                for link in node.links.values { link.isDead = true }
            }
            cutSignaling(node, up: -1, down: -1)
            node.pathCuts -= 1
            judgeLines(of: node)
            tellOfNetwork(node)
        case .tokenOutage:
            if fault.group & 1 == 0 { node.tokenHangs -= 1 } else { node.tokenFailures -= 1 }
            if node.tokenHangs == 0 { comeBack(providersOf: node) }
        case .slowness: node.slowness -= .milliseconds(300)
        case .loss: node.losses -= 1
        case .freeze, .suspend:
            guard node.suspendedUntil <= now else { return }
            if node.isAsleep {
                // Not the fault's duration: one that found it asleep already may end at the same moment, and end it.
                let slept = now - node.suspendedSince
                node.isAsleep = false
                node.clockOffset -= slept
                rescheduleTimers(of: node)
                // Told at once, or by the next look.
                let delay = chance(0.8) ? Duration.milliseconds(2) : random.duration(upTo: .seconds(10))
                queue.push(
                    .machine(node: node.index, life: node.life, .woke(after: slept)), at: now + delay)
            }
            judgeLines(of: node)
        case .refusal: node.refusesNext = false
        case .signalingReset, .pathFlap, .addressChange, .clockJump, .peerFailure, .channelClosure, .leaveAndReturn,
            .reconnectNow,
            .falseHint, .update, .kick:
            break
        }
    }

    // MARK: Cuts

    private func cutSignaling(_ node: Node, up: Int, down: Int) {
        node.signalingUpCuts += up
        node.signalingDownCuts += down
        if up < 0 || down < 0 { release(node) }
    }

    private func cutPaths(_ left: [Int], _ right: [Int], by change: Int, isOneWay: Bool = false) {
        for from in left {
            for to in right {
                pathCuts[from * nodes.count + to] += change
                if !isOneWay { pathCuts[to * nodes.count + from] += change }
            }
        }
        for index in left { judgeLines(of: nodes[index]) }
    }

    private func members(_ fault: Fault, _ isInside: Bool) -> [Int] {
        nodes.indices.filter { (fault.group >> UInt64($0) & 1 == 1) == isInside }
    }

    /// The path is there for a moment, then it is not.
    func flap(_ fault: Fault, isCut: Bool) {
        cutPaths([fault.node], [fault.other], by: isCut ? 1 : -1)
        let end = fault.at + fault.duration
        if isCut {
            let pause = min(random.duration(upTo: .seconds(4)), max(.zero, end - now))
            queue.push(.flap(fault, isCut: false), at: now + pause)
        } else if now < end {
            queue.push(.flap(fault, isCut: true), at: now + .milliseconds(100) + random.duration(upTo: .seconds(2)))
        }
    }

    /// A shell that knows its addresses looks when the kernel says so, or now and then; another one may not hear of it.
    private func tellOfNetwork(_ node: Node) {
        let isTold = chance(0.6)
        guard scenario.knowsAddresses || isTold else { return }
        look(node, after: isTold ? .milliseconds(20) : random.duration(upTo: .seconds(10)))
    }

    private func look(_ node: Node, after delay: Duration) {
        queue.push(.network(node: node.index, life: node.life), at: now + delay)
    }

    func networkChange(of node: Node) -> NetworkChange {
        guard scenario.knowsAddresses else { return .init() }
        return .init(
            addresses: node.addresses,
            signalingAddress: node.newestGeneration.flatMap { node.links[$0] }.flatMap {
                $0.isOpenAtClient ? $0.localAddress : nil
            })
    }

    private func hint(_ node: Node, _ event: RoomMachine.Event) {
        queue.push(.machine(node: node.index, life: node.life, event), at: now)
    }

    private func reset(_ node: Node) {
        for link in node.links.values.sorted(by: { $0.generation < $1.generation }) where link.isOpenAtClient {
            sendDown(link, .closed(SignalingFailure("reset")))
            if link.isOpenAtServer { sendUp(link, .closed) }
        }
    }
}
