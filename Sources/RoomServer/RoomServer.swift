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
/// `GET /health` answers with counts as JSON, `GET /livez` and `GET /readyz` to probes. A WebSocket handshake on any
/// path opens a connection. The protocol is described in the article *Wire protocol* of the module RoomProtocol. With
/// `servesPage`, browsers get a page, and the module that it is made with.
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
        /// With the time for the clients to close; nil: as configured.
        case graceful(within: Duration?)
        /// The listening socket closed unexpectedly.
        case listenerClosed
    }

    private enum State {
        case idle
        case starting
        case listening(Listener)
        case ended
    }

    /// The version of the package.
    package static let version = "0.1.0"

    private let configuration: RoomServerConfiguration
    private let logger: Logger
    private var state = State.idle
    /// The metrics and the health of the server, once it listens.
    private(set) var report: ServerReport?
    /// The tasks that wait for the address.
    private var waiting: [PendingOutcome<Result<Address, any Error>>] = []
    /// The keys in use.
    private var authority: ServerAuthority?
    /// The thread of the admin API and the webhooks, if there is one.
    private var control: ControlPlane?
    private let webhookTotals = WebhookTotals()
    private let endings: AsyncStream<Ending>
    private let requestEnding: AsyncStream<Ending>.Continuation

    /// Creates a server that does nothing before `run()`.
    public init(configuration: RoomServerConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        (endings, requestEnding) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(1))
    }

    /// The URL of the admin API's port, such as `http://127.0.0.1:41235`, once the server listens. Nil: it has none.
    public private(set) var adminURL: String?

    /// The address at which the server listens; waits until it does. Throws the errors of `run()`, `RoomServerError`
    /// when the server has ended, and `CancellationError`.
    public var address: Address {
        get async throws {
            switch state {
            case .listening(let listener): return listener.address
            case .ended: throw RoomServerError(message: "The server has ended.", isTransient: true)
            case .idle, .starting: break
            }
            let pending = PendingOutcome<Result<Address, any Error>>()
            waiting.append(pending)
            defer { waiting.removeAll { $0 === pending } }
            return try await pending.value { pending.settle(.success(.failure(CancellationError()))) }.get()
        }
    }

    /// Takes over the parts of a configuration that can change while the server runs: the certificate, the keys of join
    /// tokens and of session tokens, whose files are read again, the ICE servers, the allowed origins, the admin token,
    /// and the webhooks. Connections stay open, and new ones find the new values. A session stays valid as long as the
    /// key of its token is among the previous ones; connected participants get a token of a new key within a minute.
    /// Changes of certificate files are noticed within 10 s without this call. Does nothing unless the server listens.
    ///
    /// Throws `RoomServerError` when one of the values cannot be used; then none has changed.
    public func reload(_ configuration: RoomServerConfiguration) async throws {
        guard case .listening(let listener) = state else { return }
        try configuration.checkSecrets(logger)
        let webhooks = try configuration.checkControl()
        let new = try configuration.authority(after: authority, logger)
        try await listener.reload(configuration)
        let isNewKey = new.sessionKeys.newest != authority?.sessionKeys.newest
        authority = new
        listener.replaceAuthority(new, renewsTokens: isNewKey)
        if control == nil { try await startControl(configuration, listener) }
        await control?.reload(webhooks, token: configuration.admin?.token)
    }

    /// Starts the webhooks of a server that had none.
    private func startControl(_ configuration: RoomServerConfiguration, _ listener: Listener) async throws {
        guard let started = try await ControlPlane.start(configuration, webhookTotals, logger) else { return }
        guard control == nil, case .listening = state else { return await started.stop() }
        control = started
        try await listener.loops.report(to: started.hub)
    }

    /// Returns when every thread of the server has run something that it was given now: for watchdogs. Returns at once
    /// unless the server listens.
    public func heartbeat() async {
        if case .listening(let listener) = state { await listener.heartbeat() }
    }

    private func enter(_ new: State, _ result: Result<Address, any Error>) {
        state = new
        for pending in waiting { pending.settle(.success(result)) }
    }

    /// Ends the server gracefully: `run()` returns when all clients have been told to return later. Idempotent.
    public nonisolated func shutdown() { requestEnding.yield(.graceful(within: nil)) }

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
            enter(.ended, .failure(RoomServerError(message: "The server has ended.", isTransient: true)))
        } catch {
            enter(.ended, .failure(error))
            throw error
        }
    }

    private func serve() async throws {
        try configuration.checkSecrets(logger)
        let authority = try configuration.authority(after: nil, logger)
        self.authority = authority
        guard (1...256).contains(configuration.threads) else {
            throw RoomServerError(message: "\(configuration.threads) threads are impossible: use 1 to 256.")
        }
        let memory = try configuration.openMemory(authority.now, logger)
        control = try await ControlPlane.start(configuration, webhookTotals, logger)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: configuration.threads)
        var running: Listener?
        do {
            let listener = try await Listener.start(
                configuration: configuration, authority: authority, logger: logger, on: group, hub: control?.hub,
                webhooks: webhookTotals, memory: memory)
            running = listener
            report = listener.report
            if let control, let admin = configuration.admin {
                adminURL = try await control.listen(
                    admin, loops: listener.loops.all, facts: AdminAPI.Facts(url: listener.address.url),
                    peers: listener.cluster?.peers, routes: listener.report.routes
                ) { [requestEnding] limit in requestEnding.yield(.graceful(within: limit)) }
            }
            enter(.listening(listener), .success(listener.address))
            async let _ = listener.watch(logger)
            logger.info("listening", metadata: ["url": "\(listener.address.url)"])
            listener.whenClosed { [requestEnding] in requestEnding.yield(.listenerClosed) }
            let ending = await withGracefulShutdownHandler {
                var endings = endings.makeAsyncIterator()
                let ending = await endings.next()
                if case .graceful(let limit) = ending {
                    await listener.drain(within: limit ?? configuration.limits.closeTimeout)
                    await control?.finish()
                }
                return ending
            } onGracefulShutdown: {
                self.shutdown()
            }
            running = nil
            await listener.stop()
            if case .listenerClosed = ending {
                throw RoomServerError(message: "The listening socket was closed.", isTransient: true)
            }
        } catch {
            // Gives back what a node of a cluster has, too.
            await running?.drain(within: .zero)
            await running?.stop()
            await control?.stop()
            await memory?.journal.finish()
            try? await group.shutdownGracefully()
            throw error
        }
        await control?.stop()
        await memory?.journal.finish()
        try await group.shutdownGracefully()
    }
}
