internal import Logging
internal import NIOCore
internal import NIOPosix

/// The listening socket and the loops that serve its connections.
struct Listener: Sendable {
    let address: RoomServer.Address
    let report: ServerReport
    private let channel: any Channel
    let loops: ServerLoops
    private let tls: ServerTLS?
    let cluster: ClusterServer?
    private let drainWindow: Duration
    /// Prepares the files of the page before somebody asks, and not on a loop, which it would stop.
    private let pages: Task<Void, Never>?

    static func start(
        configuration: RoomServerConfiguration, authority: ServerAuthority, logger: Logger,
        on group: MultiThreadedEventLoopGroup, hub: NIOLoopBound<EventHub>? = nil,
        webhooks: WebhookTotals = WebhookTotals(), memory: MarkMemory? = nil
    ) async throws -> Listener {
        let tickets = TicketKeys(secrets: authority.sessionKeys.all.map(\.bytes))
        let tls = try configuration.tls.map { tls throws(RoomServerError) in try ServerTLS(tls, tickets: tickets) }
        let origins = try AllowedOrigins(configuration.allowedOrigins)
        let gate = try AddressGate(configuration)
        let report = ServerReport(loops: configuration.threads, configuration.limits, webhooks: webhooks)
        let loops = try await makeLoops(configuration, origins, authority, gate, report, logger, on: group)
        do {
            return try await start(
                configuration, authority, loops, gate, report, tls, logger, on: group, hub: hub, memory: memory)
        } catch {
            await loops.stop()
            throw error
        }
    }

    private static func start(
        _ configuration: RoomServerConfiguration, _ authority: ServerAuthority, _ loops: ServerLoops,
        _ gate: AddressGate, _ report: ServerReport, _ tls: ServerTLS?, _ logger: Logger,
        on group: MultiThreadedEventLoopGroup, hub: NIOLoopBound<EventHub>?, memory: MarkMemory?
    ) async throws -> Listener {
        if let hub { try await loops.report(to: hub) }
        if let memory { try await loops.remember(memory) }
        let superseded = group.next().makePromise(of: Void.self)
        let cluster: ClusterServer?
        do {
            // Before the first client.
            cluster = try await startCluster(configuration, authority, loops, logger) { superseded.succeed() }
            if let cluster { report.add(cluster.metrics.part) }
        } catch {
            superseded.succeed()
            throw error
        }
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            // After a restart all clients come at once. In the queue of the kernel, which refuses when it is full, they
            // would lose a second or more.
            .serverChannelOption(.maxMessagesPerRead, value: 256)
            // Inherited by the connections.
            .serverChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptPause(logger))
                }
            }
            .childChannelOption(.recvAllocator, value: ServerLoop.inputAllocator)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let loop = loops.own(channel.eventLoop) else { throw ChannelError.operationUnsupported }
                    try loop.serve(channel, tls, gate)
                }
            }
        let channel: any Channel
        do {
            if let descriptor = configuration.listeningDescriptor {
                channel = try await bootstrap.withBoundSocket(try InheritedSocket.checked(descriptor)).get()
            } else {
                channel = try await bootstrap.bind(host: configuration.host, port: configuration.port).get()
            }
        } catch {
            await cluster?.stop()
            superseded.succeed()
            if let error = error as? RoomServerError { throw error }
            throw RoomServerError.cannotListen(
                "Cannot listen on \(configuration.host), port \(configuration.port)", error)
        }
        let address = RoomServer.Address(
            host: channel.localAddress?.ipAddress ?? configuration.host,
            port: channel.localAddress?.port ?? configuration.port, isSecure: configuration.tls != nil)
        superseded.futureResult.whenSuccess { channel.close(promise: nil) }
        channel.closeFuture.whenComplete { _ in superseded.succeed() }
        return Listener(
            address: address, report: report, channel: channel, loops: loops, tls: tls, cluster: cluster,
            drainWindow: max(configuration.limits.drainWindow, .zero),
            pages: configuration.servesPage ? Task.detached { _ = PageFile.all } : nil)
    }

    private static func startCluster(
        _ configuration: RoomServerConfiguration, _ authority: ServerAuthority, _ loops: ServerLoops, _ logger: Logger,
        onSuperseded: @escaping @Sendable () -> Void
    ) async throws -> ClusterServer? {
        guard let settings = configuration.cluster else { return nil }
        if case .generated = configuration.sessionKey {
            throw RoomServerError(
                message: "The nodes of a cluster need one session key for all: name its file (--session-key-file).")
        }
        return try await ClusterServer.start(
            settings, authority: authority, loops: loops, logger: logger, onSuperseded: onSuperseded)
    }

    private static func makeLoops(
        _ configuration: RoomServerConfiguration, _ origins: AllowedOrigins, _ authority: ServerAuthority,
        _ gate: AddressGate, _ report: ServerReport, _ logger: Logger, on group: MultiThreadedEventLoopGroup
    ) async throws -> ServerLoops {
        var all: [NIOLoopBound<ServerLoop>] = []
        for (index, eventLoop) in group.makeIterator().enumerated() {
            all.append(
                try await eventLoop.submit {
                    NIOLoopBound(
                        ServerLoop(
                            eventLoop: eventLoop, configuration: configuration, origins: origins, authority: authority,
                            gate: gate, report: report, index: index, logger: logger),
                        eventLoop: eventLoop)
                }.get())
        }
        let loops = ServerLoops(all: all)
        for loop in all { try await loop.eventLoop.submit { loop.value.join(loops) }.get() }
        return loops
    }

    /// Takes over the certificate and the allowed origins, or throws and changes nothing.
    func reload(_ configuration: RoomServerConfiguration) async throws {
        let origins = try AllowedOrigins(configuration.allowedOrigins)
        guard (configuration.tls == nil) == (tls == nil) else {
            throw RoomServerError(message: "TLS can only be turned on or off by a restart.")
        }
        try tls?.reload(configuration.tls)
        for loop in loops.all { try? await loop.eventLoop.submit { loop.value.origins = origins }.get() }
    }

    /// Looks after what changes by itself, until the task is cancelled.
    func watch(_ logger: Logger) async { await tls?.watch(logger) }

    /// Returns when every loop has run something that it was given now.
    func heartbeat() async {
        for loop in loops.all { try? await loop.eventLoop.submit {}.get() }
    }

    func whenClosed(_ body: @escaping @Sendable () -> Void) { channel.closeFuture.whenComplete { _ in body() } }

    /// Verifies and signs with other keys from now on.
    func replaceAuthority(_ authority: ServerAuthority, renewsTokens: Bool) {
        tls?.tickets.replace(secrets: authority.sessionKeys.all.map(\.bytes))
        for loop in loops.all {
            loop.eventLoop.execute { loop.value.replaceAuthority(authority, renewsTokens: renewsTokens) }
        }
    }

    /// Accepts no more connections, tells the clients to return later, and waits for them to close.
    func drain(within limit: Duration) async {
        try? await channel.close().get()
        await cluster?.drain(within: min(drainWindow, limit))
        let eventLoop = channel.eventLoop
        let drained = eventLoop.makePromise(of: Void.self)
        let each = loops.all.map { loop in loop.eventLoop.flatSubmit { loop.value.drain() } }
        EventLoopFuture.andAllComplete(each, on: eventLoop).cascade(to: drained)
        // Cancelled: the server stops at once.
        await drained.settled(within: .nanoseconds(limit.nanosecondsForNIO))
    }

    func stop() async {
        try? await channel.close().get()
        await cluster?.stop()
        await loops.stop()
        // A process that ends while it is at work would take the library of its digests away from it.
        await pages?.value
    }
}

extension Duration {
    fileprivate var nanosecondsForNIO: Int64 {
        let (seconds, attoseconds) = components
        return min(max(seconds, 0), 86_400) * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}

extension ServerLoop {
    /// Sets up a socket that was accepted. Throws when it is closed instead.
    fileprivate func serve(_ channel: any Channel, _ tls: ServerTLS?, _ gate: AddressGate) throws {
        let client: ClientAddress
        do throws(AddressRefusal) {
            client = try gate.accept(channel.remoteAddress)
        } catch {
            metrics.refusedAddress()
            channel.reset()
            throw error
        }
        let tls = try tls?.makeHandler()
        let connection = ConnectionHandler(loop: self, tls: tls, client)
        let pipeline = channel.pipeline.syncOperations
        if gate.expectsProxyHeader { try pipeline.addHandler(ProxyHeaderHandler(gate, connection)) }
        if let tls { try pipeline.addHandler(tls) }
        try pipeline.addHandler(connection)
    }
}
