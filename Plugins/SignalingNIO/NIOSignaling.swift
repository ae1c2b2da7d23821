#if NIO
    internal import NIOCore
    public import TransportPluginAPI

    /// WebSocket connections over SwiftNIO: `ws`, and `wss` where the package was built with the trait `NIOSSL`.
    ///
    /// Each instance has one event loop with a thread of its own, from `init` to the end of `shutdown()`. Names are resolved, and files
    /// of authorities read, on other threads. Where a name has several addresses they are tried one after the other, each with its share
    /// of the time left.
    public final class NIOSignaling: SignalingTransport {
        private let loop: Loop
        private let trust = TrustStore()

        /// Starts the thread.
        public init() { loop = Loop() }

        /// What to register: the backend called `nio`.
        public static func plugin() -> SignalingPlugin {
            SignalingPlugin(
                PluginDescriptor(name: "nio", summary: TrustStore.summary, capabilities: TrustStore.capabilities)
            ) { (_) throws(TransportError) in NIOSignaling() }
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
            try EndpointCheck.check(endpoint)
            let deadline = Timestamp.now() + endpoint.connectTimeout
            let tls = try await trust.client(for: endpoint)
            var addresses = try await NameResolver.resolve(endpoint.host, url: endpoint.url, deadline: deadline)[...]
            while true {
                let address = addresses.removeFirst()
                let now = Timestamp.now()
                let share = Duration.nanoseconds((deadline - now).saturatedNanoseconds / Int64(addresses.count + 1))
                do throws(TransportError) {
                    return try await attempt(endpoint, address, tls, deadline: now + share)
                } catch {
                    let mayTryNext = [.refused, .unreachable, .timedOut].contains(error.code) && error.status == nil
                    if addresses.isEmpty || !mayTryNext || Timestamp.now() >= deadline { throw error }
                }
            }
        }

        private nonisolated(nonsending) func attempt(
            _ endpoint: SignalingEndpoint, _ address: String, _ tls: TLSClient?, deadline: Timestamp
        ) async throws(TransportError) -> NIOConnection {
            let link = Link(
                loop: loop, request: ConnectRequest(endpoint: endpoint, address: address, tls: tls, deadline: deadline))
            let outcome = await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in link.open(continuation) }
            } onCancel: {
                link.abandon(TransportError(.cancelled, "connecting to \(endpoint.url) was cancelled"))
            }
            try outcome.get()
            return NIOConnection(link)
        }

        public nonisolated(nonsending) func shutdown() async {
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
