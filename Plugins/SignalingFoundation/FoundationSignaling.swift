public import TransportPluginAPI

/// WebSocket connections over plain sockets: `ws` with nothing but the toolchain, `wss` by OpenSSL where the trait `OpenSSL` is on.
///
/// Each instance has one thread, which drives all its connections. Names are resolved on threads of their own.
public final class FoundationSignaling: SignalingTransport {
    private let shared: SignalingLoop

    /// Throws `.resourceExhausted` when the system has no descriptor or thread left.
    public init() throws(TransportError) { shared = try SignalingLoop() }

    /// What to register: the backend called `foundation`.
    public static func plugin() -> SignalingPlugin {
        SignalingPlugin(
            PluginDescriptor(name: "foundation", summary: summary, capabilities: capabilities)
        ) { (_) throws(TransportError) in try FoundationSignaling() }
    }

    #if OpenSSL
        private static let summary = "WebSocket in Swift on plain sockets, TLS by OpenSSL"
        private static let capabilities: Capabilities = [.tls, .proxy]
    #else
        private static let summary = "WebSocket in Swift on plain sockets, without TLS"
        private static let capabilities: Capabilities = [.proxy]
    #endif

    deinit {
        shared.end()
        // Nobody called shutdown(): somebody has to wait for the thread, which may even be the one that runs this.
        if !shared.isShutDown { Task { [shared] in await shared.shutdown() } }
    }

    public nonisolated(nonsending) func connect(
        to endpoint: SignalingEndpoint
    ) async throws(TransportError) -> FoundationConnection {
        try checkRunning()
        if Task.isCancelled { throw Self.cancelled(endpoint) }
        #if !OpenSSL
            guard !endpoint.isSecure else {
                throw TransportError(
                    .notSupported,
                    "the foundation backend was built without TLS: build with the trait OpenSSL, or choose the backend"
                        + " libwebsockets or nio for \(endpoint.url)")
            }
        #endif
        try endpoint.validate()
        let deadline = Timestamp.now() + endpoint.connectTimeout
        let descriptor = try await shared.dialer.connect(to: endpoint, deadline: deadline)
        let link = Link(shared, endpoint, descriptor: descriptor, deadline: deadline)
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in link.open(continuation) }
        } onCancel: {
            link.abandon(Self.cancelled(endpoint))
        }
        try outcome.get()
        return FoundationConnection(link)
    }

    /// The loop of this transport.
    public var preferredExecutor: (any TaskExecutor)? { shared.taskExecutor }

    public nonisolated(nonsending) func shutdown() async {
        shared.end()
        await shared.shutdown()
    }

    private func checkRunning() throws(TransportError) {
        guard shared.isRunning else { throw TransportError(.closed, "the transport was shut down") }
    }

    private static func cancelled(_ endpoint: SignalingEndpoint) -> TransportError {
        TransportError(.cancelled, "connecting to \(endpoint.url) was cancelled")
    }
}

/// One open connection of a `FoundationSignaling`. Dropping the last reference aborts it.
public final class FoundationConnection: SignalingConnection {
    let link: Link

    init(_ link: Link) { self.link = link }

    deinit { link.abandon(Link.closed) }

    public nonisolated(nonsending) func send(_ message: SignalingMessage) async throws(TransportError) {
        let size = message.payload.count
        let maximum = link.endpoint.maximumMessageSize
        guard size <= maximum else {
            throw TransportError(.messageTooLarge, "a message of \(size) bytes is over the maximum of \(maximum)")
        }
        try await link.outbound.append(message)
    }

    public nonisolated(nonsending) func receive() async throws(TransportError) -> SignalingMessage? {
        try await link.inbound.next()
    }

    public var closeReason: SignalingClose? { link.closeReason }

    public var localAddress: String? { link.localAddress }

    public nonisolated(nonsending) func close(_ reason: SignalingClose, within deadline: Duration) async {
        let limit = Timestamp.now() + deadline
        await withCheckedContinuation { continuation in
            link.close(reason, deadline: limit) { continuation.resume() }
        }
    }

    public func abort() { link.abandon(Link.closed) }
}
