internal import RoomCore
internal import RoomServerCore
internal import TransportValues

extension Simulation {
    func begin(_ fault: Fault, of node: Node) {
        switch fault.kind {
        case .serverCrash: if server != nil { stopServer(isSilent: false) }
        case .serverPowerLoss: if server != nil { stopServer(isSilent: true) }
        case .serverDrain:
            guard server != nil, !isServerStopped else { return }
            let window = fault.duration...(fault.duration + .seconds(2))
            withServer(server) { $0.drain(retryAfter: window, at: now) }
            stopServer(isSilent: false)
        case .serverIsolation:
            guard let isolatedServer = server, !isServerStopped else { return }
            let open = connections.values.filter { $0.isOpenAtServer && $0.server === isolatedServer }.map(\.id)
                .sorted { $0.rawValue < $1.rawValue }
            stopServer(isSilent: false)
            isolated = (isolatedServer, open)
        case .serverSplit: splitServers(fault)
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
            assessPaths(of: node)
        case .slowness: node.slowness += .milliseconds(300)
        case .loss:
            node.losses += 1
            scheduleHeartbeats(of: node)
        case .addressChange:
            node.network += 1
            assessPaths(of: node)
            // The old connection's packets go nowhere from now on; a new one works.
            for connection in node.connections.values { connection.isDead = true }
            notifyOfNetworkChange(node)
        case .networkLoss:
            node.downs += 1
            cutSignaling(node, up: 1, down: 1)
            node.pathCuts += 1
            assessPaths(of: node)
            notifyOfNetworkChange(node)
        case .tokenOutage: change(&node.tokenProvider, by: 1, fault)
        case .iceServerOutage: change(&node.iceServerProvider, by: 1, fault)
        case .freeze, .suspend:
            guard node.suspendedUntil <= now else { return }
            node.suspendedUntil = now + fault.duration
            node.suspendedSince = now
            node.isAsleep = fault.kind == .suspend
            assessPaths(of: node)
        case .clockJump:
            node.clockOffset += fault.duration
            node.clockJumps.append((now, fault.duration))
            rescheduleTimers(of: node)
        case .peerFailure:
            let ids = node.endpoints.keys.sorted { $0.rawValue < $1.rawValue }
            if let id = ids.randomElement(using: &random), let endpoint = node.endpoints[id] {
                // In the middle of a conversation.
                if node.suspendedUntil <= now, let stream = endpoint.stream, stream.endpoint === endpoint {
                    sendBurst(stream)
                }
                endConnection(endpoint, PeerFailure("the handshake failed"))
            }
        case .shortPaths:
            let ids = node.endpoints.keys.sorted { $0.rawValue < $1.rawValue }
            guard let id = ids.randomElement(using: &random), let pair = node.endpoints[id]?.pair else { return }
            pair.hasShortPaths = true
            guard let selected = pair.selected else { return }
            pair.rounds[selected].expiry = now
            assessPath(pair)
        case .channelClosure:
            let ids = node.endpoints.keys.sorted { $0.rawValue < $1.rawValue }
            guard node.suspendedUntil <= now, let id = ids.randomElement(using: &random),
                let endpoint = node.endpoints[id], !endpoint.isClosed
            else { return }
            if let stream = endpoint.stream, stream.endpoint === endpoint { sendBurst(stream) }
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
            joinAnew(node, after: .milliseconds(300) + fault.duration)
        case .nameTaken: takeName(of: nodes[fault.other], by: node)
        case .reconnectNow: hint(node, .reconnectRequested)
        case .falseHint: scheduleNetworkCheck(of: node, after: .zero)
        }
    }

    func heal(_ fault: Fault, of node: Node) {
        switch fault.kind {
        case .serverCrash, .serverPowerLoss, .serverDrain, .serverIsolation: if server == nil { startServer() }
        case .serverSplit: uniteServers(fault)
        case .serverFreeze:
            guard isServerStopped else { return }
            isServerStopped = false
            isServerSilent = false
            for node in nodes { resumeSignaling(of: node) }
        case .signalingCut: cutSignaling(node, up: -1, down: -1)
        case .signalingUpCut: cutSignaling(node, up: -1, down: 0)
        case .signalingDownCut: cutSignaling(node, up: 0, down: -1)
        case .pathCut: cutPaths([fault.node], [fault.other], by: -1)
        case .pathOneWayCut: cutPaths([fault.node], [fault.other], by: -1, isOneWay: true)
        case .partition: cutPaths(members(fault, true), members(fault, false), by: -1)
        case .nodeCut:
            cutSignaling(node, up: -1, down: -1)
            node.pathCuts -= 1
            assessPaths(of: node)
            if chance(0.3) { scheduleNetworkCheck(of: node, after: .zero) }
        case .networkLoss:
            node.downs -= 1
            if node.downs == 0, fault.chance & 1 == 0 {
                node.network += 1
                for connection in node.connections.values { connection.isDead = true }
            }
            cutSignaling(node, up: -1, down: -1)
            node.pathCuts -= 1
            assessPaths(of: node)
            notifyOfNetworkChange(node)
        case .tokenOutage:
            change(&node.tokenProvider, by: -1, fault)
            if node.tokenProvider.hangs == 0 { tokenServiceRecovered(for: node) }
        case .iceServerOutage:
            change(&node.iceServerProvider, by: -1, fault)
            if node.iceServerProvider.hangs == 0 { iceServersRecovered(for: node) }
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
            assessPaths(of: node)
        case .refusal: node.refusesNext = false
        case .signalingReset, .pathFlap, .addressChange, .clockJump, .peerFailure, .shortPaths, .channelClosure,
            .leaveAndReturn, .reconnectNow, .falseHint, .update, .kick, .nameTaken:
            break
        }
    }

    private func change(_ provider: inout SimulatedProvider, by count: Int, _ fault: Fault) {
        if fault.chance & 1 == 0 { provider.hangs += count } else { provider.failures += count }
    }

    // MARK: Cuts

    private func cutSignaling(_ node: Node, up: Int, down: Int) {
        node.signalingUpCuts += up
        node.signalingDownCuts += down
        if up < 0 || down < 0 { resumeSignaling(of: node) }
    }

    private func cutPaths(_ left: [Int], _ right: [Int], by change: Int, isOneWay: Bool = false) {
        for from in left {
            for to in right {
                pathCuts.change(from: from, to: to, by: change)
                if !isOneWay { pathCuts.change(from: to, to: from, by: change) }
            }
        }
        for index in left { assessPaths(of: nodes[index]) }
    }

    private func members(_ fault: Fault, _ isInside: Bool) -> [Int] {
        nodes.indices.filter { (fault.chance >> UInt64($0) & 1 == 1) == isInside }
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
    private func notifyOfNetworkChange(_ node: Node) {
        let isReported = chance(0.6)
        guard scenario.knowsAddresses || isReported else { return }
        scheduleNetworkCheck(of: node, after: isReported ? .milliseconds(20) : random.duration(upTo: .seconds(10)))
    }

    private func scheduleNetworkCheck(of node: Node, after delay: Duration) {
        queue.push(.network(node: node.index, life: node.life), at: now + delay)
    }

    func networkChange(of node: Node) -> NetworkChange {
        guard scenario.knowsAddresses else { return .init() }
        return .init(
            addresses: node.addresses,
            signalingAddress: node.newestGeneration.flatMap { node.connections[$0] }.flatMap {
                $0.isOpenAtClient ? $0.localAddress : nil
            })
    }

    private func hint(_ node: Node, _ event: RoomMachine.Event) {
        queue.push(.machine(node: node.index, life: node.life, event), at: now)
    }

    private func reset(_ node: Node) {
        for connection in node.connections.values.sorted(by: { $0.generation < $1.generation })
        where connection.isOpenAtClient {
            sendDown(connection, .closed(SignalingFailure("reset")))
            if connection.isOpenAtServer { sendUp(connection, .closed) }
        }
    }
}
