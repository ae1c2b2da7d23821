public import Logging
internal import NIOCore
internal import NIOPosix
internal import RoomProtocol
public import ServiceLifecycle
internal import TransportPluginAPI

/// A room server: rooms in memory, sessions that survive connections, signaling between participants over WebSocket.
///
/// ```swift
/// let server = RoomServer(configuration: RoomServerConfiguration(), logger: logger)
/// try await withThrowingTaskGroup { group in
///     group.addTask { try await server.run() }
///     print(try await server.address)
///     …
/// }
/// ```
///
/// `GET /health` answers with counts as JSON. A WebSocket handshake on any path opens a connection. The protocol is
/// described in the article *Wire protocol* of the module RoomProtocol. With `servesPage`, browsers get a page, and the
/// module that it is made with.
public actor RoomServer: Service {
    /// The address at which a server listens.
    public struct Address: Sendable, Hashable {
        /// The host, a numeric address.
        public var host: String
        /// The port, also when the system has chosen it.
        public var port: Int
        /// Whether the scheme is `wss`.
        public var isSecure: Bool

        /// The URL, such as `ws://127.0.0.1:41234/`.
        public var url: String {
            "\(isSecure ? "wss" : "ws")://\(host.contains(":") ? "[\(host)]" : host):\(port)/"
        }
    }

    /// The reason why a server ends.
    private enum Ending {
        /// The end was requested.
        case graceful
        /// The listening socket closed unexpectedly.
        case listenerClosed
    }

    private enum State {
        case idle
        case starting
        case listening(Address)
        case ended
    }

    private let configuration: RoomServerConfiguration
    private let logger: Logger
    private var state = State.idle
    /// The tasks that wait for the address.
    private var waiting: [PendingOutcome<Result<Address, any Error>>] = []
    private let endings: AsyncStream<Ending>
    private let requestEnding: AsyncStream<Ending>.Continuation

    /// Creates a server that does nothing before `run()`.
    public init(configuration: RoomServerConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        (endings, requestEnding) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(1))
    }

    /// The address at which the server listens; waits until it does. Throws the errors of `run()`, `RoomServerError`
    /// when the server has ended, and `CancellationError`.
    public var address: Address {
        get async throws {
            switch state {
            case .listening(let address): return address
            case .ended: throw RoomServerError(message: "The server has ended.")
            case .idle, .starting: break
            }
            let pending = PendingOutcome<Result<Address, any Error>>()
            waiting.append(pending)
            defer { waiting.removeAll { $0 === pending } }
            return try await pending.value { pending.settle(.success(.failure(CancellationError()))) }.get()
        }
    }

    private func enter(_ new: State, _ result: Result<Address, any Error>) {
        state = new
        for pending in waiting { pending.settle(.success(result)) }
    }

    /// Ends the server gracefully: `run()` returns when all clients have been told to return later. Idempotent.
    public nonisolated func shutdown() { requestEnding.yield(.graceful) }

    /// Listens and serves until `shutdown()` or a graceful shutdown of the service group: then clients are told to
    /// return later, and connections get a moment to close. When the task is cancelled, the server stops at once. Runs
    /// once.
    ///
    /// Throws `RoomServerError` when the configuration is invalid or the server cannot listen on its address.
    public func run() async throws {
        guard case .idle = state else { throw RoomServerError(message: "A room server runs only once.") }
        state = .starting
        do {
            try await serve()
            enter(.ended, .failure(RoomServerError(message: "The server has ended.")))
        } catch {
            enter(.ended, .failure(error))
            throw error
        }
    }

    private func serve() async throws {
        try configuration.checkSecrets(logger)
        let authority = ServerAuthority(
            sessionKey: try configuration.sessionKey.load(logger), joinTokenSecret: configuration.joinTokenSecret,
            ice: configuration.ice)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let eventLoop = group.next()
        do {
            let listener = try await Listener.start(
                configuration: configuration, authority: authority, logger: logger, on: eventLoop)
            enter(.listening(listener.address), .success(listener.address))
            logger.info("listening", metadata: ["url": "\(listener.address.url)"])
            listener.whenClosed { [requestEnding] in requestEnding.yield(.listenerClosed) }
            let ending = await withGracefulShutdownHandler {
                var endings = endings.makeAsyncIterator()
                let ending = await endings.next()
                if ending == .graceful { await listener.drain(within: configuration.limits.closeTimeout) }
                return ending
            } onGracefulShutdown: {
                self.shutdown()
            }
            await listener.stop()
            if ending == .listenerClosed { throw RoomServerError(message: "The listening socket was closed.") }
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
        try await group.shutdownGracefully()
    }
}

/// The listening socket and its loop.
struct Listener: Sendable {
    let address: RoomServer.Address
    private let channel: any Channel
    private let loop: NIOLoopBound<ServerLoop>

    static func start(
        configuration: RoomServerConfiguration, authority: ServerAuthority, logger: Logger, on eventLoop: any EventLoop
    ) async throws -> Listener {
        let tls = try configuration.tls.map { tls throws(RoomServerError) in try TLSContext(tls) }
        let origins = try AllowedOrigins(configuration.allowedOrigins)
        // Prepared before somebody asks, and not on the loop, which it would stop.
        if configuration.servesPage { Task.detached { _ = PageFile.all } }
        let loop = try await eventLoop.submit {
            NIOLoopBound(
                ServerLoop(
                    eventLoop: eventLoop, configuration: configuration, origins: origins, authority: authority,
                    logger: logger),
                eventLoop: eventLoop)
        }.get()
        let bootstrap = ServerBootstrap(group: eventLoop)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptPause(logger))
                }
            }
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try tls?.addHandler(to: channel)
                    try channel.pipeline.syncOperations.addHandler(ConnectionHandler(loop: loop.value))
                }
            }
        let channel: any Channel
        do {
            channel = try await bootstrap.bind(host: configuration.host, port: configuration.port).get()
        } catch {
            throw RoomServerError(
                message: "Cannot listen on \(configuration.host), port \(configuration.port): \(error)")
        }
        let address = RoomServer.Address(
            host: channel.localAddress?.ipAddress ?? configuration.host,
            port: channel.localAddress?.port ?? configuration.port, isSecure: configuration.tls != nil)
        return Listener(address: address, channel: channel, loop: loop)
    }

    func whenClosed(_ body: @escaping @Sendable () -> Void) { channel.closeFuture.whenComplete { _ in body() } }

    /// Accepts no more connections, tells the clients to return later, and waits for them to close.
    func drain(within limit: Duration) async {
        try? await channel.close().get()
        let drained = channel.eventLoop.makePromise(of: Void.self)
        let timer = channel.eventLoop.scheduleTask(in: .nanoseconds(limit.nanosecondsForNIO)) { drained.succeed() }
        channel.eventLoop.execute { loop.value.drain().cascade(to: drained) }
        // Cancelled: the server stops at once.
        await withTaskCancellationHandler {
            try? await drained.futureResult.get()
        } onCancel: {
            drained.succeed()
        }
        timer.cancel()
    }

    func stop() async {
        try? await channel.close().get()
        try? await channel.eventLoop.submit { loop.value.stop() }.get()
    }
}

extension Duration {
    fileprivate var nanosecondsForNIO: Int64 {
        let (seconds, attoseconds) = components
        return min(max(seconds, 0), 86_400) * 1_000_000_000 + attoseconds / 1_000_000_000
    }
}
