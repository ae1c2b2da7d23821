public import TransportPluginAPI

/// The place where in-process servers listen and in-process clients connect: WebSocket semantics without a network.
///
/// The reference for how a signaling transport behaves. Wrap it in `FaultInjectingSignalingTransport` to inject faults.
public final class InProcessSignalingNetwork: Sendable {
    private struct State {
        var listeners: [String: InProcessSignalingListener] = [:]
        var nextPort: UInt16 = 1024
    }
    private let state = Locked(State())

    /// Creates a network without listeners.
    public init() {}

    /// Starts listening on `host`, on a free port when `port` is nil. Throws `.invalidArgument` when the port is in
    /// use.
    public func listen(
        host: String = "localhost", port: UInt16? = nil
    ) throws(TransportError) -> InProcessSignalingListener {
        try state.withLock { state throws(TransportError) in
            var chosen = port ?? state.nextPort
            if port == nil {
                while chosen == 0 || state.listeners["\(host):\(chosen)"] != nil { chosen &+= 1 }
                state.nextPort = chosen &+ 1
            }
            guard state.listeners["\(host):\(chosen)"] == nil else {
                throw TransportError(.invalidArgument, "\(host):\(chosen) is in use")
            }
            let listener = InProcessSignalingListener(network: self, host: host, port: chosen)
            state.listeners["\(host):\(chosen)"] = listener
            return listener
        }
    }

    func listener(at endpoint: SignalingEndpoint) -> InProcessSignalingListener? {
        state.withLock { $0.listeners["\(endpoint.host):\(endpoint.port)"] }
    }

    func remove(_ listener: InProcessSignalingListener) {
        state.withLock { state in
            let key = "\(listener.host):\(listener.port)"
            if state.listeners[key] === listener { state.listeners[key] = nil }
        }
    }
}

/// A listening server: an asynchronous sequence of accepted connections, each of the same type as the client's.
public final class InProcessSignalingListener: AsyncSequence, Sendable {
    public typealias Element = InProcessSignalingConnection

    private weak let network: InProcessSignalingNetwork?
    /// The host that clients connect to.
    public let host: String
    /// The port that clients connect to.
    public let port: UInt16
    private let stream: AsyncStream<InProcessSignalingConnection>
    private let accepted: AsyncStream<InProcessSignalingConnection>.Continuation

    fileprivate init(network: InProcessSignalingNetwork, host: String, port: UInt16) {
        self.network = network
        self.host = host
        self.port = port
        // Like a socket's backlog: beyond it, connecting is refused.
        (stream, accepted) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(128))
    }

    /// The URL that clients connect to: `ws://host:port/`.
    public var url: String { "ws://\(host):\(port)/" }

    public func makeAsyncIterator() -> AsyncStream<InProcessSignalingConnection>.Iterator { stream.makeAsyncIterator() }

    /// Refuses new connections, and ends the sequence after those in the backlog. Accepted connections stay open.
    /// Idempotent.
    public func close() {
        network?.remove(self)
        accepted.finish()
    }

    fileprivate func offer(_ connection: InProcessSignalingConnection) -> Bool {
        if case .enqueued = accepted.yield(connection) { return true }
        return false
    }
}

/// Connects to the listeners of one `InProcessSignalingNetwork`.
public final class InProcessSignalingTransport: SignalingTransport {
    private struct State {
        var isShutDown = false
        var connections: [ObjectIdentifier: Weak] = [:]
    }
    private struct Weak {
        weak var connection: InProcessSignalingConnection?
    }
    private let network: InProcessSignalingNetwork
    private let state = Locked(State())

    /// Creates a transport of this network.
    public init(network: InProcessSignalingNetwork) { self.network = network }

    /// Returns the plugin to register: the backend called `in-process`.
    public static func plugin(network: InProcessSignalingNetwork) -> SignalingPlugin {
        SignalingPlugin(
            PluginDescriptor(name: "in-process", summary: "no network: both ends in this process", capabilities: [])
        ) { _ in InProcessSignalingTransport(network: network) }
    }

    public nonisolated(nonsending) func connect(
        to endpoint: SignalingEndpoint
    ) async throws(TransportError) -> InProcessSignalingConnection {
        if Task.isCancelled { throw TransportError(.cancelled, "connecting to \(endpoint.url) was cancelled") }
        guard !endpoint.isSecure else {
            throw TransportError(
                .notSupported, "the in-process transport has no TLS: use ws:// instead of \(endpoint.url)")
        }
        guard endpoint.proxy == nil else {
            throw TransportError(
                .notSupported, "the in-process transport has no proxies: leave out the endpoint's proxy")
        }
        let refused = TransportError(.refused, "nobody listens at \(endpoint.url)", isRetryable: true)
        guard let listener = network.listener(at: endpoint) else { throw refused }
        let (client, server) = InProcessSignalingConnection.makePair(endpoint: endpoint)
        let isOpen = state.withLock { state in
            if !state.isShutDown { state.connections[ObjectIdentifier(client)] = Weak(connection: client) }
            return !state.isShutDown
        }
        guard isOpen else { throw TransportError(.closed, "the transport was shut down") }
        client.onEnd { [weak self, id = ObjectIdentifier(client)] in
            self?.state.withLock { state in state.connections[id] = nil }
        }
        guard listener.offer(server) else {
            client.abort()
            throw refused
        }
        return client
    }

    public nonisolated(nonsending) func shutdown() async {
        let open = state.withLock { state in
            state.isShutDown = true
            return state.connections.values.compactMap(\.connection)
        }
        for connection in open { connection.abort() }
    }
}

/// One end of an in-process connection.
public final class InProcessSignalingConnection: SignalingConnection {
    private struct State {
        var closeReason: SignalingClose?
        var isEnded = false
        var onEnd: (@Sendable () -> Void)?
        weak var peer: InProcessSignalingConnection?
    }

    /// The endpoint that the client asked for. A server reads path, headers and subprotocols from it.
    public let endpoint: SignalingEndpoint
    private let inbound: MessageBuffer
    private let outbound: MessageBuffer
    private let state = Locked(State())

    private init(endpoint: SignalingEndpoint, inbound: MessageBuffer, outbound: MessageBuffer) {
        self.endpoint = endpoint
        self.inbound = inbound
        self.outbound = outbound
    }

    static func makePair(
        endpoint: SignalingEndpoint
    ) -> (client: InProcessSignalingConnection, server: InProcessSignalingConnection) {
        let up = MessageBuffer(limit: endpoint.bufferLimit)
        let down = MessageBuffer(limit: endpoint.bufferLimit)
        let client = InProcessSignalingConnection(endpoint: endpoint, inbound: down, outbound: up)
        let server = InProcessSignalingConnection(endpoint: endpoint, inbound: up, outbound: down)
        client.state.withLock { $0.peer = server }
        server.state.withLock { $0.peer = client }
        return (client, server)
    }

    // An end that nobody holds any more is like a process that died.
    deinit { abort() }

    public nonisolated(nonsending) func send(_ message: SignalingMessage) async throws(TransportError) {
        try endpoint.check(message)
        try await outbound.append(message)
    }

    public nonisolated(nonsending) func receive() async throws(TransportError) -> SignalingMessage? {
        try await inbound.next()
    }

    public var closeReason: SignalingClose? { state.withLock { $0.closeReason } }

    public nonisolated(nonsending) func close(_ reason: SignalingClose, within deadline: Duration) async {
        // In memory the close handshake takes no time: the other end reads the messages that were sent, then nil.
        let peer = state.withLock { $0.isEnded ? nil : $0.peer }
        peer?.state.withLock { $0.closeReason = SignalingClose(code: reason.code, reason: reason.limitedReason) }
        end(outboundError: nil)
    }

    public func abort() { end(outboundError: Self.broken) }

    private func end(outboundError: TransportError?) {
        let onEnd = state.withLock { state -> (@Sendable () -> Void)? in
            state.isEnded = true
            defer { state.onEnd = nil }
            return state.onEnd
        }
        // The other end's receiver is woken last, after its senders.
        inbound.finish(Self.closed, discarding: true)
        outbound.finish(outboundError)
        onEnd?()
    }

    func onEnd(_ action: @escaping @Sendable () -> Void) { state.withLock { $0.onEnd = action } }

    private static let broken = TransportError(
        .closed, "the other end closed without a close frame", isRetryable: true)
    private static let closed = TransportError(.closed, "the connection is closed")
}

extension SignalingClose {
    /// The reason, truncated at a character boundary to the 123 bytes that a close frame holds (RFC 6455 §5.5).
    fileprivate var limitedReason: String {
        guard reason.utf8.count > 123 else { return reason }
        var cut = Substring()
        for character in reason {
            guard cut.utf8.count + character.utf8.count <= 123 else { break }
            cut.append(character)
        }
        return String(cut)
    }
}
