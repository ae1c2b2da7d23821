internal import RoomCore
internal import RoomProtocol
internal import RoomServerCore
internal import TransportPluginAPI

extension Simulation {
    func begin(_ fault: Fault) {
        let node = nodes[fault.node]
        switch fault.kind {
        case .serverCrash: if server != nil { stopServer(isSilent: false) }
        case .serverPowerLoss: if server != nil { stopServer(isSilent: true) }
        case .serverDrain:
            guard server != nil else { return }
            let window = RetryWindow(earliest: fault.duration, latest: fault.duration + .seconds(2))
            serve { $0.drain(retryAfter: window, at: now) }
            stopServer(isSilent: false)
        case .signalingCut: node.isSignalingCut = true
        case .signalingReset: reset(node)
        case .pathCut:
            cutPairs.insert([fault.node, fault.other])
            judgeLines(of: node)
        case .nodeCut:
            node.isSignalingCut = true
            node.isPathCut = true
            judgeLines(of: node)
        case .addressChange:
            node.network += 1
            judgeLines(of: node)
            // The old connection's packets go nowhere from now on; a new one works.
            for link in node.links.values { link.isDead = true }
            if chance(0.6) { hint(node, .networkChanged(.init())) }
        case .suspend:
            guard node.suspendedUntil <= now else { return }
            node.suspendedUntil = now + fault.duration
            judgeLines(of: node)
        case .peerFailure:
            let ids = node.endpoints.keys.sorted { $0.rawValue < $1.rawValue }
            if let id = ids.randomElement(using: &random), let endpoint = node.endpoints[id] {
                finish(endpoint, PeerFailure("the handshake failed"))
            }
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
        case .falseHint: hint(node, .networkChanged(.init()))
        }
    }

    func heal(_ fault: Fault) {
        let node = nodes[fault.node]
        switch fault.kind {
        case .serverCrash, .serverPowerLoss, .serverDrain: if server == nil { startServer() }
        case .signalingCut:
            node.isSignalingCut = false
            release(node)
        case .pathCut:
            cutPairs.remove([fault.node, fault.other])
            judgeLines(of: node)
        case .nodeCut:
            node.isSignalingCut = false
            node.isPathCut = false
            release(node)
            judgeLines(of: node)
            if chance(0.3) { hint(node, .networkChanged(.init())) }
        case .suspend: judgeLines(of: node)
        case .refusal: node.refusesNext = false
        case .signalingReset, .addressChange, .peerFailure, .leaveAndReturn, .reconnectNow, .falseHint, .update, .kick:
            break
        }
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
