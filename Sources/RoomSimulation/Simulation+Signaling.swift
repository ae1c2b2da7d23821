internal import RoomCore
internal import RoomProtocol
internal import RoomServerCore
internal import TransportValues

extension Simulation {
    // MARK: The participants' ends

    func open(_ generation: ConnectionGeneration, of node: Node) {
        node.opens.append(now)
        lastConnection += 1
        let connection = SignalingConnection(
            id: ConnectionID(lastConnection), node: node.index, life: node.life, generation: generation)
        connection.openedAt = now + node.clockOffset
        connection.localAddress = node.address
        node.connections[generation] = connection
        node.newestGeneration = generation
        queue.push(.connect(connection, deadline: now + .seconds(5)), at: now + latency(node))
    }

    /// The opening handshake arrives at the server, or is repeated while the network is cut.
    func connect(_ connection: SignalingConnection, deadline: Timestamp) {
        // Some transports do not cancel an attempt that was abandoned.
        if connection.isAbandoned, chance(0.5) { return }
        let node = nodes[connection.node]
        guard node.downs == 0 else {
            notify(connection, .transportFailed(connection.generation, SignalingFailure("this machine has no network")))
            return
        }
        if isUpCut(connection) || isDownCut(connection) {
            if now >= deadline {
                notify(connection, .transportFailed(connection.generation, SignalingFailure("timed out")))
            } else {
                queue.push(.connect(connection, deadline: deadline), at: now + .milliseconds(500))
            }
            return
        }
        guard let server = node.usesSecond ? second?.server : server else {
            notify(connection, .transportFailed(connection.generation, SignalingFailure("refused")))
            return
        }
        if scenario.seed % 8 == 1, let expiry = node.cachedToken, expiry <= now {
            // Tokens are looked at before the WebSocket is there.
            notify(
                connection,
                .transportFailed(connection.generation, SignalingFailure("expired", isRetryable: false, status: 401)))
            return
        }
        connection.server = server
        connection.isOpenAtServer = true
        connection.isOpenAtClient = !connection.isAbandoned
        if now < faultsEnd, chance(0.05) { connection.isLateUntil = now + random.duration(upTo: .seconds(12)) }
        connections[connection.id] = connection
        withServer(server) { $0.connected(connection.id, at: now) }
        notify(connection, .transportConnected(connection.generation))
    }

    private func notify(_ connection: SignalingConnection, _ event: RoomMachine.Event) {
        queue.push(
            .machine(node: connection.node, life: connection.life, event), at: now + latency(nodes[connection.node]))
    }

    func abort(_ generation: ConnectionGeneration, of node: Node) {
        guard let connection = node.connections.removeValue(forKey: generation) else { return }
        connection.isAbandoned = true
        connection.isOpenAtClient = false
        // Some shells report the end that they were asked for.
        if chance(0.2) { notify(connection, .transportClosed(generation, nil)) }
        // What was written may still come through; the reset that follows gets lost where the network is cut.
        if isUpCut(connection), chance(0.7) { connection.up.removeAll() }
        if !isUpCut(connection) { sendUp(connection, .closed) }
    }

    func close(_ generation: ConnectionGeneration, of node: Node) {
        guard let connection = node.connections.removeValue(forKey: generation) else { return }
        connection.isAbandoned = true
        connection.isOpenAtClient = false
        sendUp(connection, .closed)
    }

    private func isUpCut(_ connection: SignalingConnection) -> Bool {
        nodes[connection.node].signalingUpCuts > 0 || isSilent(connection)
    }
    private func isDownCut(_ connection: SignalingConnection) -> Bool {
        nodes[connection.node].signalingDownCuts > 0 || isSilent(connection)
    }

    /// Its server's address is silent.
    func isSilent(_ connection: SignalingConnection) -> Bool {
        guard isServerSilent else { return false }
        guard let server = connection.server else { return !nodes[connection.node].usesSecond }
        return server !== second?.server
    }

    func sendUp(_ connection: SignalingConnection, _ frame: SignalingConnection.Frame) {
        if connection.isDead { return }
        connection.up.append(frame)
        if !isUpCut(connection) { scheduleUp(connection) }
    }

    func sendDown(_ connection: SignalingConnection, _ frame: SignalingConnection.ServerFrame) {
        if connection.isDead { return }
        connection.down.append(frame)
        if !isDownCut(connection) { scheduleDown(connection) }
    }

    private func scheduleUp(_ connection: SignalingConnection) {
        connection.lastUp = max(connection.lastUp, now + latency(nodes[connection.node]))
        queue.push(.toServer(connection), at: connection.lastUp)
    }

    private func scheduleDown(_ connection: SignalingConnection) {
        connection.lastDown = max(connection.lastDown, now + latency(nodes[connection.node]))
        queue.push(.toClient(connection), at: connection.lastDown)
    }

    func arriveAtClient(_ connection: SignalingConnection) {
        let node = nodes[connection.node]
        guard now >= connection.isLateUntil else {
            return queue.push(.toClient(connection), at: connection.isLateUntil)
        }
        guard !connection.isDead, !isDownCut(connection), let frame = connection.down.popFirst() else { return }
        guard connection.isOpenAtClient, node.life == connection.life else {
            sendUp(connection, .closed)
            // Some shells report news of a connection that was abandoned.
            guard node.life == connection.life, chance(0.3) else { return }
            switch frame {
            case .message(let envelope): feed(node, .received(envelope, connection.generation))
            case .closed(let failure): feed(node, .transportClosed(connection.generation, failure))
            }
            return
        }
        switch frame {
        case .message(let envelope):
            // Evidence, however late it comes.
            node.deadSince = nil
            feed(node, .received(envelope, connection.generation))
        case .closed(let failure):
            connection.isOpenAtClient = false
            node.connections[connection.generation] = nil
            feed(node, .transportClosed(connection.generation, failure))
        }
    }

    /// The network of the node is back: TCP repeats what was lost.
    func resumeSignaling(of node: Node) {
        for connection in connections.values.filter({ $0.node == node.index }).sorted(by: {
            $0.id.rawValue < $1.id.rawValue
        }) {
            if !isUpCut(connection) { for _ in 0..<connection.up.count { scheduleUp(connection) } }
            if !isDownCut(connection) { for _ in 0..<connection.down.count { scheduleDown(connection) } }
        }
    }

    // MARK: The server's end

    func startServer() {
        isServerSilent = false
        if let (isolatedServer, connections) = isolated {
            isolated = nil
            server = isolatedServer
            for id in connections { withServer(server) { $0.disconnected(id, at: now) } }
            if isolatedServer.timerAt == nil { scheduleTimer(of: isolatedServer, at: now) }
            for node in nodes { resumeSignaling(of: node) }
            return
        }
        server = makeServer()
        lastStateLoss = now
        for node in nodes { resumeSignaling(of: node) }
    }

    private func makeServer() -> Server {
        var limits = RoomServerLimits()
        limits.grace = Self.grace
        limits.duplicateNames = scenario.replacesDuplicateNames ? .replace : .reject
        return Server(
            RoomServerMachine(limits: limits, authority: authority, random: SeededGenerator(seed: random.next())))
    }

    // MARK: Two servers

    /// Some participants' ways lead to a second server from now on.
    func splitServers(_ fault: Fault) {
        guard second == nil else { return }
        second = (makeServer(), fault.at)
        lastStateLoss = now
        for node in nodes where fault.chance >> UInt64(node.index) & 1 == 1 {
            turn(node, toSecond: true)
            if fault.chance >> 60 & 3 > 0 { scheduleTurn(of: node, fault) }
        }
    }

    /// A way that leads to the other server from now on, and goes on changing, as behind a balancer that keeps no
    /// client with one server.
    func wander(_ node: Node, _ fault: Fault) {
        guard second?.since == fault.at else { return }
        turn(node, toSecond: !node.usesSecond)
        scheduleTurn(of: node, fault)
    }

    private func scheduleTurn(of node: Node, _ fault: Fault) {
        let pause = random.duration(upTo: chance(0.7) ? .milliseconds(200) : .seconds(4))
        queue.push(.turn(node: node.index, fault), at: now + pause)
    }

    private func turn(_ node: Node, toSecond: Bool) {
        node.usesSecond = toSecond
        // Reset, or left half-open: what is sent goes nowhere.
        disconnect(node, isSilent: chance(0.5))
    }

    /// All ways lead to one server again: to the first one, or the second one takes its place.
    func uniteServers(_ fault: Fault) {
        guard let second, second.since == fault.at else { return }
        lastSplit = now
        lastStateLoss = now
        let staysSecond = fault.chance >> 62 & 1 == 1
        for node in nodes where node.usesSecond != staysSecond { disconnect(node, isSilent: chance(0.5)) }
        for node in nodes { node.usesSecond = false }
        self.second = nil
        guard staysSecond else { return }
        server = second.server
        isolated = nil
        isServerStopped = false
        isServerSilent = false
        for node in nodes { resumeSignaling(of: node) }
    }

    private func disconnect(_ node: Node, isSilent: Bool) {
        for connection in connections.values.filter({ $0.node == node.index }).sorted(by: {
            $0.id.rawValue < $1.id.rawValue
        })
        where connection.isOpenAtServer {
            if isSilent {
                connection.isDead = true
            } else {
                sendDown(connection, .closed(SignalingFailure("reset")))
                sendUp(connection, .closed)
            }
        }
    }

    /// The server's state is gone. Unless it is silent, its connections are reset.
    func stopServer(isSilent: Bool) {
        guard let stopped = server else { return }
        server = nil
        isServerStopped = false
        isServerSilent = isSilent
        for connection in connections.values.sorted(by: { $0.id.rawValue < $1.id.rawValue })
        where connection.isOpenAtServer && connection.server === stopped {
            connection.isOpenAtServer = false
            if !isSilent { sendDown(connection, .closed(SignalingFailure("reset"))) }
        }
    }

    @discardableResult
    func withServer(_ server: Server?, _ body: (inout RoomServerMachine) -> [ServerAction]) -> [ServerAction] {
        guard let server else { return [] }
        authority.now = now
        let actions = body(&server.machine)
        for action in actions {
            switch action {
            case .send(let envelope, let id):
                if let connection = connections[id], connection.isOpenAtServer { sendDown(connection, envelope) }
            case .close(let id, _):
                guard let connection = connections[id] else { break }
                connection.isOpenAtServer = false
                sendDown(connection, .closed(nil))
            case .abort(let id):
                guard let connection = connections[id] else { break }
                connection.isOpenAtServer = false
                if !isDownCut(connection) { sendDown(connection, .closed(SignalingFailure("reset"))) }
            case .mark: break
            }
        }
        if let deadline = server.machine.standing().nextDeadline, server.timerAt.map({ deadline < $0 }) ?? true {
            scheduleTimer(of: server, at: max(deadline, now))
        }
        return actions
    }

    private func scheduleTimer(of server: Server, at time: Timestamp) {
        server.timerAt = time
        queue.push(.serverTimer(server, at: time), at: time)
    }

    func timerFired(of server: Server) {
        server.timerAt = nil
        guard isRunning(server) else { return }
        if isServerStopped, server === self.server { return scheduleTimer(of: server, at: now + .milliseconds(200)) }
        withServer(server) { $0.timePassed(to: now) }
    }

    private func isRunning(_ server: Server) -> Bool { server === self.server || server === second?.server }

    func arriveAtServer(_ connection: SignalingConnection) {
        guard now >= connection.isLateUntil else {
            return queue.push(.toServer(connection), at: connection.isLateUntil)
        }
        guard !connection.isDead, !isUpCut(connection), let frame = connection.up.popFirst() else { return }
        guard connection.isOpenAtServer, let server = connection.server, isRunning(server) else {
            // The server does not know this connection any more.
            if case .message = frame, connection.isOpenAtClient {
                sendDown(connection, .closed(SignalingFailure("reset")))
            }
            return
        }
        switch frame {
        case .message(let envelope):
            if case .hello(let hello) = envelope.message { noteHello(hello, from: connection) }
            let wasIn = connection.joined != nil
            if let joined = connection.joined {
                server.confirmed[joined.session] = max(joined.epoch, server.confirmed[joined.session] ?? 0)
            }
            let actions = withServer(server) { $0.received(envelope, from: connection.id, at: now) }
            inspectRepetition(envelope, actions, from: connection)
            if !wasIn, connection.joined != nil { inspectEpoch(of: connection) }
        case .closed:
            connection.isOpenAtServer = false
            withServer(server) { $0.disconnected(connection.id, at: now) }
        }
    }
}
