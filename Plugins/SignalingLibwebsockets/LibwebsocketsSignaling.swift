#if Libwebsockets
    internal import Glibc
    public import TransportPluginAPI

    /// WebSocket connections over libwebsockets 4.1: `ws` and `wss`, verified.
    ///
    /// All instances of a process share one thread that runs libwebsockets (see `Service`). Names are resolved on threads of
    /// their own, and each instance has a thread that connects to their addresses: libwebsockets is handed connected sockets.
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

        /// What to register: the backend called `libwebsockets`.
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
            // Nobody called shutdown(): the thread ends what is open, nobody waits for it.
            if isRunning { service.release(owner: owner) {} }
        }

        public nonisolated(nonsending) func connect(
            to endpoint: SignalingEndpoint
        ) async throws(TransportError) -> LibwebsocketsConnection {
            try checkRunning()
            if Task.isCancelled { throw TransportError(.cancelled, "connecting to \(endpoint.url) was cancelled") }
            try ConnectRequest.check(endpoint)
            let deadline = Timestamp.now() + endpoint.connectTimeout
            let descriptor = try await dialer.connect(to: endpoint, deadline: deadline)
            let link = Link(
                service: service, owner: owner, request: ConnectRequest(endpoint: endpoint, deadline: deadline),
                descriptor: descriptor)
            let outcome = await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in link.open(continuation) }
            } onCancel: {
                link.abandon(TransportError(.cancelled, "connecting to \(endpoint.url) was cancelled"))
            }
            try outcome.get()
            return LibwebsocketsConnection(link)
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
    }

    /// One open connection of a `LibwebsocketsSignaling`. Dropping the last reference aborts it.
    public final class LibwebsocketsConnection: SignalingConnection {
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

    /// What one connection attempt needs.
    struct ConnectRequest: Sendable {
        let endpoint: SignalingEndpoint
        let deadline: Timestamp

        /// The name for SNI, for the certificate, and for the request's Host. libwebsockets knows only one for all three.
        ///
        /// Its port, and a certificate's name instead of the host's, are stripped or taken by libwebsockets for all of them.
        var hostHeader: String {
            guard endpoint.isSecure else { return endpoint.hostHeader }
            var named = endpoint
            named.host = endpoint.certificateName
            return named.hostHeader
        }

        /// Refuses what no backend takes, and what libwebsockets would truncate or take for something else.
        static func check(_ endpoint: SignalingEndpoint) throws(TransportError) {
            try endpoint.validate()
            // libwebsockets writes the line with the path into 2,048 bytes, and the one with the host into 128.
            guard endpoint.path.utf8.count <= 2000,
                max(endpoint.host.utf8.count, endpoint.certificateName.utf8.count) <= 100
            else {
                throw TransportError(
                    .invalidArgument,
                    "libwebsockets takes paths of 2,000 and host names of 100 characters at most; nothing was sent")
            }
            // libwebsockets cuts the name at its first ':' before it compares it with the certificate.
            if endpoint.isSecure, endpoint.certificateName.contains(":") {
                throw TransportError(
                    .notSupported, "wss to a numeric IPv6 address: give the certificate's name in tls.serverName")
            }
        }
    }
#endif
