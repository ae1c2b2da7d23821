#if NIO
    internal import NIOCore
    public import TransportPluginAPI

    /// WebSocket connections over SwiftNIO: `ws`, and `wss` where the package was built with the trait `NIOSSL`.
    ///
    /// Each instance has one event loop with a thread of its own, from `init` to the end of `shutdown()`, and a thread
    /// that connects to addresses. Names are resolved, and files of authorities read, on other threads.
    public final class NIOSignaling: SignalingTransport {
        private let loop: Loop
        private let dialer: SignalingDialer
        private let trust = TrustStore()

        /// Starts the threads. Throws `.resourceExhausted` when the system has no descriptor or thread left.
        public init() throws(TransportError) {
            dialer = try SignalingDialer()
            loop = Loop()
        }

        /// Returns the plugin for a registry, with the name `nio`.
        public static func plugin() -> SignalingPlugin {
            SignalingPlugin(
                PluginDescriptor(name: "nio", summary: TrustStore.summary, capabilities: TrustStore.capabilities)
            ) { (_) throws(TransportError) in try NIOSignaling() }
        }

        deinit {
            // If shutdown() was not called, open connections are ended, but not awaited.
            loop.end {}
        }

        public nonisolated(nonsending) func connect(
            to endpoint: SignalingEndpoint
        ) async throws(TransportError) -> WebSocketConnection {
            guard loop.isRunning else { throw Loop.shutDown }
            let deadline = Timestamp.now() + endpoint.connectTimeout
            let tls = try await trust.client(for: endpoint)
            return try await dialer.open(endpoint, deadline: deadline) { [loop] connection, socket in
                NIODriver(loop: loop, connection, tls, descriptor: socket)
            }
        }

        public nonisolated(nonsending) func shutdown() async {
            await dialer.shutdown()
            await withCheckedContinuation { continuation in
                loop.end { continuation.resume() }
            }
        }
    }
#endif
