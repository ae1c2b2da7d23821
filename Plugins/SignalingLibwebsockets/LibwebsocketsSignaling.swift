#if Libwebsockets
    internal import Glibc
    public import TransportPluginAPI

    /// WebSocket connections over libwebsockets 4.1: `ws` and `wss`, verified.
    ///
    /// All instances of a process share one thread that runs libwebsockets (see `Service`). Names are resolved on other
    /// threads. Each instance has a thread that connects to the addresses, and passes connected sockets to
    /// libwebsockets.
    ///
    /// These threads end with the last instance. libwebsockets' context stays until the process ends, for the next
    /// instance: a few descriptors, and some 200 kB. Some versions of libwebsockets, among them Debian 13's, leave a
    /// descriptor behind for each context that is destroyed.
    public final class LibwebsocketsSignaling: SignalingTransport {
        private enum State: Sendable {
            case running
            case ending([CheckedContinuation<Void, Never>])
            case ended
        }
        private let service: Service
        private let dialer: SignalingDialer
        private let executor: ServiceExecutor
        private let owner = Owner()
        private let state = Locked(State.running)

        /// Throws `.resourceExhausted` when the system has no descriptor or thread left.
        public init() throws(TransportError) {
            dialer = try SignalingDialer()
            service = try Service.acquire()
            executor = ServiceExecutor(service)
        }

        /// Returns the plugin for a registry, with the name `libwebsockets`.
        public static func plugin() -> SignalingPlugin {
            SignalingPlugin(
                PluginDescriptor(
                    name: "libwebsockets", summary: "WebSocket by libwebsockets, TLS by OpenSSL",
                    capabilities: [.tls, .proxy])
            ) { (_) throws(TransportError) in try LibwebsocketsSignaling() }
        }

        deinit {
            let isRunning = state.withLock { state in
                if case .running = state { return true }
                return false
            }
            // If shutdown() was not called, the thread ends open connections, and is not awaited.
            if isRunning { service.release(owner: owner) {} }
        }

        public nonisolated(nonsending) func connect(
            to endpoint: SignalingEndpoint
        ) async throws(TransportError) -> WebSocketConnection {
            try checkRunning()
            try Self.check(endpoint)
            return try await dialer.open(endpoint, deadline: .now() + endpoint.connectTimeout) {
                [service, owner] connection, socket in
                LibwebsocketsDriver(service: service, owner: owner, connection, descriptor: socket)
            }
        }

        /// The thread that runs libwebsockets, which all transports of the process share.
        public var preferredExecutor: (any TaskExecutor)? { executor }

        public nonisolated(nonsending) func shutdown() async {
            enum Step: Sendable { case first, wait, done }
            let step = state.withLock { state -> Step in
                switch state {
                case .running:
                    state = .ending([])
                    return .first
                case .ending: return .wait
                case .ended: return .done
                }
            }
            switch step {
            case .done: break
            case .wait:
                await withCheckedContinuation { continuation in
                    let isOver = state.withLock { state in
                        guard case .ending(let waiting) = state else { return true }
                        state = .ending(waiting + [continuation])
                        return false
                    }
                    if isOver { continuation.resume() }
                }
            case .first:
                await dialer.shutdown()
                await withCheckedContinuation { continuation in
                    service.release(owner: owner) { continuation.resume() }
                }
                let waiting = state.withLock { state in
                    guard case .ending(let waiting) = state else { return [CheckedContinuation<Void, Never>]() }
                    state = .ended
                    return waiting
                }
                for continuation in waiting { continuation.resume() }
            }
        }

        private func checkRunning() throws(TransportError) {
            let isRunning = state.withLock { state in
                if case .running = state { return true }
                return false
            }
            guard isRunning else { throw TransportError(.closed, "the transport was shut down") }
        }

        /// Refuses endpoints that libwebsockets would truncate or misinterpret, although other backends support them.
        private static func check(_ endpoint: SignalingEndpoint) throws(TransportError) {
            // libwebsockets writes the line with the path into 2,048 bytes, and the one with the host into 128.
            guard endpoint.path.utf8.count <= 2000,
                max(endpoint.host.utf8.count, endpoint.certificateName.utf8.count) <= 100
            else {
                throw TransportError(
                    .invalidArgument,
                    "libwebsockets accepts paths up to 2,000 and host names up to 100 characters; nothing was sent"
                )
            }
            // libwebsockets cuts the name at its first ':' before it compares it with the certificate.
            if endpoint.isSecure, endpoint.certificateName.contains(":") {
                throw TransportError(
                    .notSupported, "wss to a numeric IPv6 address: give the certificate's name in tls.serverName")
            }
        }
    }

    extension SignalingEndpoint {
        /// The name for SNI, for the certificate, and for the request's Host. libwebsockets has only one name for all
        /// three: it removes a port from all of them, and a certificate's name replaces the host's in all of them.
        var libwebsocketsHost: String {
            guard isSecure else { return hostHeader }
            var named = self
            named.host = certificateName
            return named.hostHeader
        }
    }
#endif
