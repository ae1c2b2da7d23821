#if NIO
    internal import NIOCore
    public import TransportPluginAPI

    /// WebSocket connections over SwiftNIO: `ws`, and `wss` where the package was built with the trait `NIOSSL`.
    ///
    /// Each instance has one event loop with a thread of its own, from `init` to the end of `shutdown()`, and a thread that connects to
    /// addresses. Names are resolved, and files of authorities read, on other threads.
    public final class NIOSignaling: SignalingTransport {
        private let loop: Loop
        private let dialer: SignalingDialer
        private let trust = TrustStore()

        /// Starts the threads. Throws `.resourceExhausted` when the system has no descriptor or thread left.
        public init() throws(TransportError) {
            dialer = try SignalingDialer()
            loop = Loop()
        }

        /// What to register: the backend called `nio`.
        public static func plugin() -> SignalingPlugin {
            SignalingPlugin(
                PluginDescriptor(name: "nio", summary: TrustStore.summary, capabilities: TrustStore.capabilities)
            ) { (_) throws(TransportError) in try NIOSignaling() }
        }

        deinit {
            // Where nobody called shutdown(): what is open ends, nobody waits for it.
            loop.end {}
        }

        public nonisolated(nonsending) func connect(
            to endpoint: SignalingEndpoint
        ) async throws(TransportError) -> NIOConnection {
            guard loop.isRunning else { throw Loop.shutDown }
            if Task.isCancelled { throw TransportError(.cancelled, "connecting to \(endpoint.url) was cancelled") }
            try endpoint.validate()
            let deadline = Timestamp.now() + endpoint.connectTimeout
            let tls = try await trust.client(for: endpoint)
            let descriptor = try await dialer.connect(to: endpoint, deadline: deadline)
            let link = Link(
                loop: loop, request: ConnectRequest(endpoint: endpoint, tls: tls, deadline: deadline),
                descriptor: descriptor)
            let outcome = await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in link.open(continuation) }
            } onCancel: {
                link.abandon(TransportError(.cancelled, "connecting to \(endpoint.url) was cancelled"))
            }
            try outcome.get()
            return NIOConnection(link)
        }

        public nonisolated(nonsending) func shutdown() async {
            await dialer.shutdown()
            await withCheckedContinuation { continuation in
                loop.end { continuation.resume() }
            }
        }
    }

    /// One open connection of a `NIOSignaling`. Dropping the last reference aborts it.
    public final class NIOConnection: SignalingConnection {
        private let link: Link

        init(_ link: Link) { self.link = link }

        deinit { link.abandon(Link.closed) }

        public nonisolated(nonsending) func send(_ message: SignalingMessage) async throws(TransportError) {
            let size = message.payload.count
            let maximum = link.request.endpoint.maximumMessageSize
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
#endif
