internal import Logging
internal import NIOCore
internal import RoomCluster
internal import RoomProtocol
internal import RoomServerCore
internal import WebSocketWire

extension ConnectionHandler {
    /// A connection whose room's owner is asked for.
    final class Routing {
        /// Bytes that are kept meanwhile: the rest of one read.
        static let limit = 1 << 17

        let connection: ConnectionID
        let hello: Envelope<ClientMessage>
        let bytes: Int
        let cluster: NIOLoopBound<ClusterNode>
        var waiter: WaiterID?
        var rest: [UInt8] = []
        private(set) var isCancelled = false

        init(
            _ connection: ConnectionID, _ hello: Envelope<ClientMessage>, bytes: Int,
            _ cluster: NIOLoopBound<ClusterNode>
        ) {
            self.connection = connection
            self.hello = hello
            self.bytes = bytes
            self.cluster = cluster
        }

        /// The answer is not needed any more.
        func cancel() {
            guard !isCancelled else { return }
            isCancelled = true
            guard let waiter else { return }
            let cluster = cluster
            cluster.eventLoop.execute { cluster.value.ended(waiter) }
        }
    }

    /// Asks the cluster who owns the room of the connection's hello.
    func route(
        _ id: ConnectionID, _ envelope: Envelope<ClientMessage>, _ hello: Hello, bytes: Int,
        _ cluster: NIOLoopBound<ClusterNode>
    ) {
        guard case .open = state else {
            return loop.logger.error("a connection cannot be routed", metadata: ["connection": "\(id)"])
        }
        let routing = Routing(id, envelope, bytes: bytes, cluster)
        state = .routing(routing)
        pauseReading(true)
        let handler = NIOLoopBound(self, eventLoop: loop.eventLoop)
        let asking = NIOLoopBound(routing, eventLoop: loop.eventLoop)
        let text = RoomProtocolCodec.encode(envelope)
        let address = client.address.map { "\($0)" } ?? ""
        cluster.eventLoop.execute {
            let waiter = cluster.value.route(handler, hello, text, address: address)
            asking.eventLoop.execute {
                asking.value.waiter = waiter
                guard asking.value.isCancelled else { return }
                cluster.eventLoop.execute { cluster.value.ended(waiter) }
            }
        }
    }

    func keep(_ bytes: UnsafeRawBufferPointer, _ routing: Routing) {
        routing.rest += bytes
        if routing.rest.count > Routing.limit { abortOverflow("sends before its room is known") }
    }

    func pauseReading(_ isPaused: Bool) {
        try? context?.channel.syncOptions?.setOption(.autoRead, value: !isPaused)
    }

    // MARK: Answers

    /// The room belongs to this node.
    func routedHere(_ room: RoomName) {
        guard case .routing(let routing) = state else { return loop.check(room) }
        state = .open(routing.connection)
        pauseReading(false)
        loop.received(routing.hello, bytes: routing.bytes, from: routing.connection)
        routing.rest.withUnsafeBytes { read($0) }
    }

    /// The room's owner has taken the connection.
    func routedThere(_ waiter: WaiterID) {
        guard case .routing(let routing) = state else { return loop.endInCluster(waiter) }
        state = .relayed(waiter)
        loop.handOverToCluster(routing.connection)
        client.pass?.handshakeEnded()
        pauseReading(false)
        routing.rest.withUnsafeBytes { read($0) }
    }

    /// The room's owner cannot be reached at present.
    func refusedRoute(_ window: RetryWindow, _ text: String) {
        guard case .routing(let routing) = state else { return }
        state = .open(routing.connection)
        pauseReading(false)
        loop.refuse(
            routing.connection,
            ProtocolError(
                code: .tooManyRequests, message: text, isRetryable: true, isFatal: true, retryAfter: window))
    }

    /// The link to the room's owner is gone: the client is told to return at once.
    func lostRoute() {
        let window: RetryWindow = .zero ... .milliseconds(200)
        switch state {
        case .routing: refusedRoute(window, "The room is moving between servers.")
        case .relayed(let waiter):
            loop.endInCluster(waiter)
            write(RoomProtocolCodec.encode(Envelope(ServerMessage.goingAway(retryAfter: window))))
            close(.goingAway)
        case .request, .answering, .open, .moving, .closing, .ending, .done: break
        }
    }

    // MARK: A connection that another node has

    /// Reads frames from `bytes`. Messages are passed on as they are.
    func readFrames(of waiter: WaiterID, _ bytes: inout UnsafeRawBufferPointer) {
        do throws(FrameViolation) {
            while case .relayed = state, let event = try parser.next(&bytes) {
                intake?.countFrame()
                switch event {
                case .message(let message) where message.isText: loop.relay(message.array(), of: waiter)
                case .message: fail(CloseReason(code: CloseCode.unsupportedData.rawValue))
                case .fragment, .pong: loop.relay(nil, of: waiter)
                case .ping(let payload):
                    outgoing.append(pong: payload)
                    loop.relay(nil, of: waiter)
                case .close(let reason): fail(CloseReason(code: reason.code))
                }
            }
        } catch {
            loop.metrics.violated()
            fail(CloseReason(code: error.closeCode, reason: error.description))
        }
    }

    private func fail(_ reason: CloseReason) {
        guard case .relayed(let waiter) = state else { return }
        loop.endInCluster(waiter)
        outgoing.append(close: reason)
        end()
    }

    /// A message of the room's owner.
    func relayed(_ text: [UInt8]) {
        guard case .relayed = state else { return }
        write(text)
        loop.flushLater(self)
    }

    /// The room's owner has ended the connection.
    func closeRelayed(_ code: CloseCode) {
        switch state {
        case .relayed:
            close(code)
        case .routing: lostRoute()
        case .request, .answering, .open, .moving, .closing, .ending, .done: break
        }
    }
}
