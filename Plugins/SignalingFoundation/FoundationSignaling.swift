public import TransportPluginAPI

/// WebSocket connections over plain sockets: `ws` with nothing but the toolchain, `wss` by OpenSSL if the trait
/// `OpenSSL` is on.
///
/// Each instance has one thread, which drives all its connections. Names are resolved on threads of their own.
public final class FoundationSignaling: SignalingTransport {
    private let shared: SignalingLoop

    /// Throws `.resourceExhausted` when the system has no descriptor or thread left.
    public init() throws(TransportError) { shared = try SignalingLoop() }

    /// Returns the plugin for a registry, with the name `foundation`.
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
        // If shutdown() was not called, the thread must still be awaited, and may be the one that runs this.
        if !shared.isShutDown { Task { [shared] in await shared.shutdown() } }
    }

    public nonisolated(nonsending) func connect(
        to endpoint: SignalingEndpoint
    ) async throws(TransportError) -> WebSocketConnection {
        try checkRunning()
        #if !OpenSSL
            guard !endpoint.isSecure else {
                throw TransportError(
                    .notSupported,
                    "the foundation backend was built without TLS: build with the trait OpenSSL, or choose the backend"
                        + " libwebsockets or nio for \(endpoint.url)")
            }
        #endif
        return try await shared.dialer.open(endpoint, deadline: .now() + endpoint.connectTimeout) {
            [shared] connection, socket in FoundationDriver(shared, connection, descriptor: socket)
        }
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
}
