internal import RoomCore
internal import RoomProtocol
internal import RoomServerCore
internal import TransportValues

extension Simulation {
    // MARK: The participants' ends

    func open(_ generation: ConnectionGeneration, of node: Node) {
        node.opens.append(now)
        lastConnection += 1
        let link = Link(id: ConnectionID(lastConnection), node: node.index, life: node.life, generation: generation)
        link.openedAt = now + node.clockOffset
        link.localAddress = node.address
        node.links[generation] = link
        node.newestGeneration = generation
        queue.push(.connect(link, deadline: now + .seconds(5)), at: now + latency(node))
    }

    /// The opening handshake arrives at the server, or is repeated while the network is cut.
    func connect(_ link: Link, deadline: Timestamp) {
        // A bad transport does not notice that nobody waits any more.
        if link.isAbandoned, chance(0.5) { return }
        let node = nodes[link.node]
        guard node.downs == 0 else {
            tell(link, .transportFailed(link.generation, SignalingFailure("this machine has no network")))
            return
        }
        if isUpCut(link) || isDownCut(link) {
            if now >= deadline {
                tell(link, .transportFailed(link.generation, SignalingFailure("timed out")))
            } else {
                queue.push(.connect(link, deadline: deadline), at: now + .milliseconds(500))
            }
            return
        }
        guard let server = node.usesSecond ? second?.server : server else {
            tell(link, .transportFailed(link.generation, SignalingFailure("refused")))
            return
        }
        if scenario.seed % 8 == 1, let expiry = node.cachedToken, expiry <= now {
            // Tokens are looked at before the WebSocket is there.
            tell(link, .transportFailed(link.generation, SignalingFailure("expired", isRetryable: false, status: 401)))
            return
        }
        link.server = server
        link.isOpenAtServer = true
        link.isOpenAtClient = !link.isAbandoned
        if now < faultsEnd, chance(0.05) { link.isLateUntil = now + random.duration(upTo: .seconds(12)) }
        links[link.id] = link
        serve(server) { $0.connected(link.id, at: now) }
        tell(link, .transportConnected(link.generation))
    }

    private func tell(_ link: Link, _ event: RoomMachine.Event) {
        queue.push(.machine(node: link.node, life: link.life, event), at: now + latency(nodes[link.node]))
    }

    func abort(_ generation: ConnectionGeneration, of node: Node) {
        guard let link = node.links.removeValue(forKey: generation) else { return }
        link.isAbandoned = true
        link.isOpenAtClient = false
        // A bad shell tells of the end that it was asked for.
        if chance(0.2) { tell(link, .transportClosed(generation, nil)) }
        // What was written may still come through; the reset that follows gets lost where the network is cut.
        if isUpCut(link), chance(0.7) { link.up.removeAll() }
        if !isUpCut(link) { sendUp(link, .closed) }
    }

    func close(_ generation: ConnectionGeneration, of node: Node) {
        guard let link = node.links.removeValue(forKey: generation) else { return }
        link.isAbandoned = true
        link.isOpenAtClient = false
        sendUp(link, .closed)
    }

    private func isUpCut(_ link: Link) -> Bool { nodes[link.node].signalingUpCuts > 0 || isSilent(link) }
    private func isDownCut(_ link: Link) -> Bool { nodes[link.node].signalingDownCuts > 0 || isSilent(link) }

    /// Its server's address is silent.
    func isSilent(_ link: Link) -> Bool {
        guard isServerSilent else { return false }
        guard let server = link.server else { return !nodes[link.node].usesSecond }
        return server !== second?.server
    }

    func sendUp(_ link: Link, _ frame: Link.Frame) {
        if link.isDead { return }
        link.up.append(frame)
        if !isUpCut(link) { scheduleUp(link) }
    }

    func sendDown(_ link: Link, _ frame: Link.ServerFrame) {
        if link.isDead { return }
        link.down.append(frame)
        if !isDownCut(link) { scheduleDown(link) }
    }

    private func scheduleUp(_ link: Link) {
        link.lastUp = max(link.lastUp, now + latency(nodes[link.node]))
        queue.push(.toServer(link), at: link.lastUp)
    }

    private func scheduleDown(_ link: Link) {
        link.lastDown = max(link.lastDown, now + latency(nodes[link.node]))
        queue.push(.toClient(link), at: link.lastDown)
    }

    func arriveAtClient(_ link: Link) {
        let node = nodes[link.node]
        guard now >= link.isLateUntil else { return queue.push(.toClient(link), at: link.isLateUntil) }
        guard !link.isDead, !isDownCut(link), let frame = link.down.popFirst() else { return }
        guard link.isOpenAtClient, node.life == link.life else {
            sendUp(link, .closed)
            // A bad shell tells news of a connection that was given up.
            guard node.life == link.life, chance(0.3) else { return }
            switch frame {
            case .message(let envelope): feed(node, .received(envelope, link.generation))
            case .closed(let failure): feed(node, .transportClosed(link.generation, failure))
            }
            return
        }
        switch frame {
        case .message(let envelope):
            // Evidence, however late it comes.
            node.deadSince = nil
            feed(node, .received(envelope, link.generation))
        case .closed(let failure):
            link.isOpenAtClient = false
            node.links[link.generation] = nil
            feed(node, .transportClosed(link.generation, failure))
        }
    }

    /// The network of the node is back: TCP repeats what was lost.
    func release(_ node: Node) {
        for link in links.values.filter({ $0.node == node.index }).sorted(by: { $0.id.rawValue < $1.id.rawValue }) {
            if !isUpCut(link) { for _ in 0..<link.up.count { scheduleUp(link) } }
            if !isDownCut(link) { for _ in 0..<link.down.count { scheduleDown(link) } }
        }
    }

    // MARK: The server's end

    func startServer() {
        isServerSilent = false
        if let (isolatedServer, connections) = isolated {
            isolated = nil
            server = isolatedServer
            for id in connections { serve(server) { $0.disconnected(id, at: now) } }
            if isolatedServer.timerAt == nil { scheduleTimer(of: isolatedServer, at: now) }
            for node in nodes { release(node) }
            return
        }
        server = makeServer()
        for node in nodes { release(node) }
    }

    private func makeServer() -> Server {
        var limits = RoomServerLimits()
        limits.grace = Self.grace
        return Server(
            RoomServerMachine(limits: limits, authority: authority, random: SeededGenerator(seed: random.next())))
    }

    // MARK: Two servers

    /// Some participants' ways lead to a second server from now on.
    func split(_ fault: Fault) {
        guard second == nil else { return }
        second = (makeServer(), fault.at)
        for node in nodes where fault.group >> UInt64(node.index) & 1 == 1 {
            node.usesSecond = true
            // Told by a reset, or left half-open: what is sent goes nowhere.
            cutOff(linksOf: node, isSilent: chance(0.5))
        }
    }

    /// All ways lead to one server again: to the first one, or the second one takes its place.
    func unite(_ fault: Fault) {
        guard let second, second.since == fault.at else { return }
        lastSplit = now
        let staysSecond = fault.group >> 62 & 1 == 1
        for node in nodes where node.usesSecond != staysSecond { cutOff(linksOf: node, isSilent: chance(0.5)) }
        for node in nodes { node.usesSecond = false }
        self.second = nil
        guard staysSecond else { return }
        server = second.server
        isolated = nil
        isServerStopped = false
        isServerSilent = false
        for node in nodes { release(node) }
    }

    private func cutOff(linksOf node: Node, isSilent: Bool) {
        for link in links.values.filter({ $0.node == node.index }).sorted(by: { $0.id.rawValue < $1.id.rawValue })
        where link.isOpenAtServer {
            if isSilent {
                link.isDead = true
            } else {
                sendDown(link, .closed(SignalingFailure("reset")))
                sendUp(link, .closed)
            }
        }
    }

    /// The server's state is gone. With a word: whoever is connected is told by a reset.
    func stopServer(isSilent: Bool) {
        guard let stopped = server else { return }
        server = nil
        isServerStopped = false
        isServerSilent = isSilent
        for link in links.values.sorted(by: { $0.id.rawValue < $1.id.rawValue })
        where link.isOpenAtServer && link.server === stopped {
            link.isOpenAtServer = false
            if !isSilent { sendDown(link, .closed(SignalingFailure("reset"))) }
        }
    }

    @discardableResult
    func serve(_ server: Server?, _ body: (inout RoomServerMachine) -> [ServerAction]) -> [ServerAction] {
        guard let server else { return [] }
        authority.now = now
        let actions = body(&server.machine)
        for action in actions {
            switch action {
            case .send(let envelope, let id):
                if let link = links[id], link.isOpenAtServer { sendDown(link, envelope) }
            case .close(let id, _):
                guard let link = links[id] else { break }
                link.isOpenAtServer = false
                sendDown(link, .closed(nil))
            case .abort(let id):
                guard let link = links[id] else { break }
                link.isOpenAtServer = false
                if !isDownCut(link) { sendDown(link, .closed(SignalingFailure("reset"))) }
            }
        }
        if let deadline = server.machine.nextDeadline, server.timerAt.map({ deadline < $0 }) ?? true {
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
        serve(server) { $0.timePassed(to: now) }
    }

    private func isRunning(_ server: Server) -> Bool { server === self.server || server === second?.server }

    func arriveAtServer(_ link: Link) {
        guard now >= link.isLateUntil else { return queue.push(.toServer(link), at: link.isLateUntil) }
        guard !link.isDead, !isUpCut(link), let frame = link.up.popFirst() else { return }
        guard link.isOpenAtServer, let server = link.server, isRunning(server) else {
            // Nobody knows this connection any more.
            if case .message = frame, link.isOpenAtClient { sendDown(link, .closed(SignalingFailure("reset"))) }
            return
        }
        switch frame {
        case .message(let envelope):
            let wasIn = link.joined != nil
            if let joined = link.joined {
                server.confirmed[joined.session] = max(joined.epoch, server.confirmed[joined.session] ?? 0)
            }
            let actions = serve(server) { $0.received(envelope, from: link.id, at: now) }
            inspectRepetition(envelope, actions, from: link)
            if !wasIn, link.joined != nil { inspectEpoch(of: link) }
        case .closed:
            link.isOpenAtServer = false
            serve(server) { $0.disconnected(link.id, at: now) }
        }
    }
}
