public import TransportValues

/// An open WebSocket connection of a backend that has a ``SignalingDriver``. Dropping the last reference aborts it.
public final class WebSocketConnection: Sendable {
    private let connection: DrivenConnection
    /// Kept as long as the connection is in use.
    let driver: any SignalingDriver

    init(_ connection: DrivenConnection, _ driver: any SignalingDriver) {
        self.connection = connection
        self.driver = driver
    }

    deinit { connection.abandon() }

    /// Hands over one message; see `SignalingConnection`, which this is to rooms.
    public nonisolated(nonsending) func send(_ message: SignalingMessage) async throws(TransportError) {
        let size = message.payload.count
        let maximum = connection.endpoint.maximumMessageSize
        guard size <= maximum else {
            throw TransportError(.messageTooLarge, "a message of \(size) bytes is over the maximum of \(maximum)")
        }
        try await connection.outbound.append(message)
    }

    /// The next message; nil when the other side closed with a close handshake.
    public nonisolated(nonsending) func receive() async throws(TransportError) -> SignalingMessage? {
        try await connection.inbound.next()
    }

    /// How the other side closed, once `receive()` has returned nil.
    public var closeReason: SignalingClose? { connection.closeReason }

    /// The address of this machine that the connection leaves from.
    public var localAddress: String? { connection.localAddress }

    /// Sends what was accepted, closes with a close handshake, and returns when it is done or `deadline` (from now) has
    /// passed.
    public nonisolated(nonsending) func close(_ reason: SignalingClose, within deadline: Duration) async {
        await connection.close(reason, deadline: .now() + deadline)
    }

    /// Ends the connection at once, without a close handshake.
    public func abort() { connection.abandon() }
}

extension SignalingDialer {
    /// Opens one WebSocket connection over a backend's driver: all that `SignalingTransport.connect(to:)` has to do in
    /// most backends.
    ///
    /// Checks the endpoint (``SignalingEndpoint/validate()``), connects the socket (``connect(to:deadline:)``), starts
    /// the driver, and waits for what it reports. An attempt that is given up is aborted.
    ///
    /// Throws what these throw, what the driver reports, and `.cancelled` as soon as the task is.
    /// - Parameters:
    ///   - endpoint: what it asks for and the backend cannot do must have been refused.
    ///   - deadline: for everything: now and ``SignalingEndpoint/connectTimeout``, before anything else was waited for.
    ///   - makeDriver: makes the driver of a connected socket, which does not block and belongs to the driver from then
    ///     on.
    public nonisolated(nonsending) func open(
        _ endpoint: SignalingEndpoint, deadline: Timestamp,
        driver makeDriver: (_ connection: DrivenConnection, _ socket: Int32) -> any SignalingDriver
    ) async throws(TransportError) -> WebSocketConnection {
        let cancelled = TransportError(.cancelled, "connecting to \(endpoint.url) was cancelled")
        try endpoint.validate()
        if Task.isCancelled { throw cancelled }
        let socket = try await connect(to: endpoint, deadline: deadline)
        let connection = DrivenConnection(endpoint, deadline: deadline)
        let driver = makeDriver(connection, socket)
        connection.attach(driver)
        driver.start()
        try await connection.waitUntilOpen(cancelled: cancelled)
        return WebSocketConnection(connection, driver)
    }
}
