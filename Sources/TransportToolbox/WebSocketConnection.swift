public import TransportValues

/// An open WebSocket connection of a backend that has a ``SignalingDriver``. Dropping the last reference aborts it.
public final class WebSocketConnection: Sendable {
    private let connection: DrivenConnection
    /// The driver, kept as long as the connection is in use.
    let driver: any SignalingDriver

    init(_ connection: DrivenConnection, _ driver: any SignalingDriver) {
        self.connection = connection
        self.driver = driver
    }

    deinit { connection.abandon() }

    /// Sends one message. See `SignalingConnection`, to which this conforms.
    public nonisolated(nonsending) func send(_ message: SignalingMessage) async throws(TransportError) {
        try connection.endpoint.check(message)
        try await connection.outbound.append(message)
    }

    /// Returns the next message, or nil when the other side has closed with a close handshake.
    public nonisolated(nonsending) func receive() async throws(TransportError) -> SignalingMessage? {
        try await connection.inbound.next()
    }

    /// The other side's close code and reason, once `receive()` has returned nil.
    public var closeReason: SignalingClose? { connection.closeReason }

    /// The local address of the connection.
    public var localAddress: String? { connection.localAddress }

    /// Sends the accepted messages, closes with a close handshake, and returns when that is done or `deadline` (from
    /// now) has passed.
    public nonisolated(nonsending) func close(_ reason: SignalingClose, within deadline: Duration) async {
        await connection.close(reason, deadline: .now() + deadline)
    }

    /// Ends the connection at once, without a close handshake.
    public func abort() { connection.abandon() }
}

extension SignalingDialer {
    /// Opens one WebSocket connection with a backend's driver. In most backends, `SignalingTransport.connect(to:)` does
    /// nothing else.
    ///
    /// Checks the endpoint (``SignalingEndpoint/validate()``), connects the socket (``connect(to:deadline:)``), starts
    /// the driver, and waits for its report. An abandoned attempt is aborted.
    ///
    /// Throws the errors of these, those that the driver reports, and `.cancelled` as soon as the task is cancelled.
    /// - Parameters:
    ///   - endpoint: The server. The backend must have refused demands that it does not support.
    ///   - deadline: The time limit for everything: ``SignalingEndpoint/connectTimeout`` after the call of `connect`.
    ///   - makeDriver: Makes the driver of a connected non-blocking socket, of which it takes ownership.
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
