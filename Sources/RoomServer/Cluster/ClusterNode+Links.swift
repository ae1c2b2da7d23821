internal import Glibc
internal import Hashing
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import RoomCluster
internal import RoomProtocol
internal import RoomServerCore
internal import TransportValues

/// The client's side: streams to the owners of rooms.
extension ClusterNode {
    /// Bytes of a client's messages that wait for credit; its input is not read meanwhile.
    private static let maximumBacklog = 1 << 20

    func handle(_ event: LinkHandler.Event, of link: LinkHandler, to node: NodeID) {
        switch event {
        case .ready(let hello): step { $0.linkUp(node, Incarnation(hello.incarnation), at: $1) }
        case .frame(let frame): handle(frame, from: node)
        case .resume(let stream):
            guard let id = streams[node]?[stream] else { return }
            sendBacklog(of: id)
        case .ended(let failure, let reason):
            logger.debug("a link has ended", metadata: ["node": "\(node)", "reason": "\(reason)"])
            for id in (streams.removeValue(forKey: node) ?? [:]).values {
                guard let edge = edges.removeValue(forKey: id) else { continue }
                edge.handler.eventLoop.execute { edge.handler.value.lostRoute() }
            }
            guard links[node] === link else { return }
            links[node] = nil
            step { $0.linkDown(node, failure, at: $1) }
        }
    }

    private func handle(_ frame: LinkFrame, from node: NodeID) {
        switch frame {
        case .fence(let fence, let room): step { $0.fenceSeen(fence, of: RoomName(room), at: $1) }
        case .accept(let stream):
            guard let (id, edge) = edge(stream, node) else { return }
            edge.handler.eventLoop.execute { edge.handler.value.routedThere(id) }
        case .text(let stream, let text):
            guard let (_, edge) = edge(stream, node) else { return }
            edge.handler.eventLoop.execute { edge.handler.value.relayed(text) }
        case .close(let stream, let code):
            guard let (_, edge) = remove(stream, node) else { return }
            edge.handler.eventLoop.execute { edge.handler.value.closeRelayed(CloseCode(rawValue: code)) }
        case .abort(let stream):
            guard let (_, edge) = remove(stream, node) else { return }
            edge.handler.eventLoop.execute { edge.handler.value.abort() }
        case .refuse(let stream, let refusal):
            guard let (id, edge) = remove(stream, node) else { return }
            switch refusal {
            case .busy: edge.handler.eventLoop.execute { edge.handler.value.lostRoute() }
            case .notOwner:
                var again = edge
                again.target = nil
                edges[id] = again
                step { $0.notOwner(again.waiter, from: node, at: $1) }
            }
        case .hello, .proof, .ping, .pong, .open, .frame, .credit, .ask, .answer: break
        }
    }

    private func edge(_ stream: StreamID, _ node: NodeID) -> (WaiterID, Edge)? {
        guard let id = streams[node]?[stream], let edge = edges[id] else { return nil }
        return (id, edge)
    }

    private func remove(_ stream: StreamID, _ node: NodeID) -> (WaiterID, Edge)? {
        guard let id = streams[node]?.removeValue(forKey: stream), let edge = edges.removeValue(forKey: id) else {
            return nil
        }
        return (id, edge)
    }

    // MARK: From clients

    /// A message of a client that is carried.
    func send(_ text: [UInt8], of id: WaiterID) {
        guard let edge = edges[id], let target = edge.target, let link = links[target.node] else { return }
        guard edge.maySend else {
            edges[id]?.backlog.append(text)
            edges[id]?.backlogBytes += text.count
            if edge.backlogBytes + text.count > Self.maximumBacklog {
                let handler = edge.handler
                handler.eventLoop.execute { handler.value.abort() }
            }
            return
        }
        if !link.text(target.stream, text) { pause(id) }
    }

    func sendFrame(of id: WaiterID) {
        guard let target = edges[id]?.target else { return }
        links[target.node]?.frame(target.stream)
    }

    private func pause(_ id: WaiterID) {
        guard let handler = edges[id]?.handler else { return }
        edges[id]?.maySend = false
        handler.eventLoop.execute { handler.value.pauseReading(true) }
    }

    private func sendBacklog(of id: WaiterID) {
        guard var edge = edges[id], let target = edge.target, let link = links[target.node] else { return }
        edge.maySend = true
        while edge.maySend, !edge.backlog.isEmpty {
            let text = edge.backlog.removeFirst()
            edge.backlogBytes -= text.count
            edge.maySend = link.text(target.stream, text)
        }
        edges[id] = edge
        guard edge.maySend else { return }
        let handler = edge.handler
        handler.eventLoop.execute { handler.value.pauseReading(false) }
    }

    /// The client is gone, or does not wait any longer.
    func ended(_ id: WaiterID) {
        guard let edge = edges.removeValue(forKey: id) else { return }
        guard let target = edge.target else { return step { $0.cancel(edge.waiter, at: $1) } }
        streams[target.node]?[target.stream] = nil
        measure()
        links[target.node]?.close(target.stream, code: 0)
    }
}

/// The owner's side: streams of other nodes' clients.
extension ClusterNode {
    /// A connection of another node was accepted.
    func makeIncoming() -> LinkHandler {
        lastLink += 1
        let id = lastLink
        let link = makeLink(.acceptor, settings) { self.handle($1, of: $0, id) }
        incoming[id] = link
        return link
    }

    private func handle(_ event: LinkHandler.Event, of link: LinkHandler, _ id: UInt64) {
        switch event {
        case .ready(let hello): logger.debug("a node is linked", metadata: ["node": "\(hello.node)"])
        case .frame(let frame): handle(frame, of: link, id)
        case .resume: break
        case .ended(_, let reason):
            logger.debug("a node's link has ended", metadata: ["reason": "\(reason)"])
            incoming[id] = nil
            defer { measure() }
            for stream in remotes.keys.filter({ $0.link == id }) { end(stream) }
        }
    }

    private func handle(_ frame: LinkFrame, of link: LinkHandler, _ id: UInt64) {
        switch frame {
        case .fence(let fence, let room): step { $0.fenceSeen(fence, of: RoomName(room), at: $1) }
        case .open(let stream, let opening):
            guard case .hello(let hello)? = try? RoomProtocolCodec.decodeClientMessage(opening.hello).message else {
                return link.refuse(stream, .busy)
            }
            let key = RemoteStream(link: id, stream: stream)
            let claims = hello.resume.flatMap { authority.claims(ofSessionToken: $0.sessionToken) }
            let fence = claims?.room == hello.room ? claims?.fence ?? 0 : 0
            let waiter = Waiter(newWaiterID(), for: hello.room, fence: fence, isRelayed: true)
            remotes[key] = Remote(address: opening.address, hello: opening.hello, waiter: waiter)
            remoteWaiters[waiter.id] = key
            step { $0.resolve(waiter, at: $1) }
        case .text(let stream, _), .frame(let stream):
            let key = RemoteStream(link: id, stream: stream)
            guard let remote = remotes[key] else { return }
            guard let connection = remote.connection else {
                // Texts are bounded by the stream's credit.
                guard remote.early.count < 1000 else { return abort(key) }
                remotes[key]?.early.append(frame)
                return
            }
            Self.pass(frame, to: connection)
        case .close(let stream, _): end(RemoteStream(link: id, stream: stream))
        case .ask(let number, let question): answer(question, number, over: link)
        case .hello, .proof, .ping, .pong, .accept, .refuse, .credit, .abort, .answer: break
        }
    }

    private static func pass(_ frame: LinkFrame, to connection: NIOLoopBound<RemoteConnection>) {
        connection.eventLoop.execute {
            if case .text(_, let text) = frame {
                connection.value.received(text)
            } else {
                connection.value.receivedFrame()
            }
        }
    }

    /// The connection exists on its room's loop.
    func made(_ connection: NIOLoopBound<RemoteConnection>, for stream: RemoteStream) {
        guard let remote = remotes[stream] else {
            return connection.eventLoop.execute { connection.value.ended() }
        }
        remotes[stream]?.connection = connection
        remotes[stream]?.early = []
        for frame in remote.early { Self.pass(frame, to: connection) }
    }

    private func end(_ stream: RemoteStream) {
        guard let remote = remotes.removeValue(forKey: stream) else { return }
        if let waiter = remote.waiter, remoteWaiters.removeValue(forKey: waiter.id) != nil {
            step { $0.cancel(waiter, at: $1) }
        }
        guard let connection = remote.connection else { return }
        connection.eventLoop.execute { connection.value.ended() }
    }

    // MARK: From the room's loop

    func took(_ count: Int, from stream: RemoteStream) { incoming[stream.link]?.took(count, from: stream.stream) }

    func send(_ texts: [[UInt8]], to stream: RemoteStream) {
        guard let link = incoming[stream.link] else { return }
        for text in texts { _ = link.text(stream.stream, text) }
    }

    func close(_ stream: RemoteStream, code: UInt16) {
        remotes[stream] = nil
        incoming[stream.link]?.close(stream.stream, code: code)
    }

    func abort(_ stream: RemoteStream) {
        remotes[stream] = nil
        incoming[stream.link]?.abort(stream.stream)
    }

    func refuse(_ stream: RemoteStream, _ refusal: LinkRefusal) {
        remotes[stream] = nil
        incoming[stream.link]?.refuse(stream.stream, refusal)
    }
}

/// Opens links.
enum LinkDialer {
    private static let timeout = TimeAmount.seconds(2)

    static func connect(_ link: LinkHandler, to address: String, _ tls: TLSClientContext, on eventLoop: any EventLoop) {
        guard let target = LinkAddress(address) else {
            return eventLoop.assumeIsolated().execute { link.fail(.silent, "it has no address that can be used") }
        }
        let bound = NIOLoopBound(link, eventLoop: eventLoop)
        ClientBootstrap(group: eventLoop)
            .connectTimeout(timeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([tls.makeHandler(), bound.value])
                }
            }
            .connect(host: target.host, port: target.port)
            .assumeIsolated()
            .whenFailure { link.fail(failure(of: $0), "\($0)") }
    }

    private static func failure(of error: any Error) -> LinkFailure {
        let errors: [any Error] = (error as? NIOConnectionError)?.connectionErrors.map(\.error) ?? [error]
        let isRefused = !errors.isEmpty && errors.allSatisfy { ($0 as? IOError)?.errnoCode == ECONNREFUSED }
        return isRefused ? .refused : .silent
    }
}
