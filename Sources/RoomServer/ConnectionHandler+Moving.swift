internal import Glibc
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import RoomProtocol
internal import RoomServerCore
internal import TransportPluginAPI
internal import WebSocketWire

/// A connection that moves to the event loop of its room.
extension ConnectionHandler {
    /// Moves to the loop of a room when everything of this read has come.
    func move(to home: NIOLoopBound<ServerLoop>, _ hello: Envelope<ClientMessage>, bytes: Int) {
        state = .moving(to: home, hello, bytes: bytes, rest: [])
    }

    func handOver(
        to home: NIOLoopBound<ServerLoop>, _ hello: Envelope<ClientMessage>, _ bytes: Int, _ rest: [UInt8]
    ) {
        flush()
        // Little was written yet: it waits only for a client that does not read.
        guard let context, outgoing.count == 0,
            (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) == 0,
            let descriptor = try? context.pipeline.syncOperations.withUnsafeTransportIfAvailable({
                (socket: NIOBSDSocket.Handle) in fcntl(socket, F_DUPFD_CLOEXEC, 0)
            }), descriptor >= 0
        else { return abort() }
        var parser = Self.parser(maximumMessageSize: 0)
        swap(&parser, &self.parser)
        let moving = MovingConnection(
            descriptor, tls?.detach(), client, hello, at: takeHelloTime(), bytes: bytes, parser, rest: rest)
        state = .done
        context.close(promise: nil)
        home.eventLoop.execute { home.value.adopt(moving, home) }
    }

    func resume(_ arrival: MovingConnection) {
        self.arrival = nil
        guard case .request = state else { return }
        loop.settled(self)
        swap(&parser, &arrival.parser)
        let id = loop.register(self)
        state = .open(id)
        helloAt = arrival.time
        loop.connected(id, from: client.payer)
        loop.received(arrival.hello, bytes: arrival.bytes, from: id)
        arrival.rest.withUnsafeBytes { read($0) }
    }
}

extension ServerLoop {
    /// Takes over a connection from another loop, which has read its `hello`.
    func adopt(_ moving: MovingConnection, _ own: NIOLoopBound<ServerLoop>) {
        ClientBootstrap(group: eventLoop)
            .channelOption(.recvAllocator, value: Self.inputAllocator)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let tls = moving.tls.map { TLSHandler($0, isOpen: true) }
                    if let tls { try channel.pipeline.syncOperations.addHandler(tls) }
                    try channel.pipeline.syncOperations.addHandler(
                        ConnectionHandler(loop: own.value, tls: tls, moving.client, moving))
                }
            }
            .withConnectedSocket(moving.takeDescriptor())
            .whenFailure { [logger] error in
                logger.debug("a connection has ended on its way", metadata: ["error": "\(error)"])
            }
    }
}
