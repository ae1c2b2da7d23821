public import TransportValues

/// Opens WebSocket connections to a room server. Knows nothing about rooms, and never retries.
///
/// One instance serves any number of connections at a time. Its methods may be called from any task.
public protocol SignalingTransport: Sendable {
    /// The type of the connections.
    associatedtype Connection: SignalingConnection

    /// Opens one connection: name resolution, TCP, TLS for `wss`, and the opening handshake.
    ///
    /// - Name resolution never blocks a transport loop or the cooperative pool.
    /// - Returns only when the server's answer to the handshake was checked (RFC 6455 §4.1).
    /// - Takes no longer than `endpoint.connectTimeout`; then throws `.timedOut`. An abandoned attempt is aborted: it
    ///   must not finish later.
    /// - When the task is cancelled, throws `.cancelled` soon, and aborts the attempt.
    ///
    /// Throws `.nameNotResolved`, `.unreachable`, `.refused` (`status` has an HTTP status other than 101, `retryAfter`
    /// its `Retry-After`; ``HTTPRefusal`` makes this error for every backend), `.tlsFailed`, `.handshakeFailed`,
    /// `.timedOut`, `.cancelled`, `.notSupported` (an endpoint's demand that the backend does not declare), `.closed`
    /// after `shutdown()`, `.resourceExhausted`.
    nonisolated(nonsending) func connect(to endpoint: SignalingEndpoint) async throws(TransportError) -> Connection

    /// The executor of the connections, if there is one: tasks that prefer it send and receive without a thread hop.
    /// Work on it must not block. Nil by default.
    ///
    /// ```swift
    /// await withTaskExecutorPreference(transport.preferredExecutor) { … }
    /// ```
    var preferredExecutor: (any TaskExecutor)? { get }

    /// Aborts open connections and releases threads and descriptors. Returns when they are gone. Idempotent.
    nonisolated(nonsending) func shutdown() async
}

extension SignalingTransport {
    public var preferredExecutor: (any TaskExecutor)? { nil }
}

/// One open WebSocket connection, which sends and receives whole messages.
///
/// Its methods may be called from any task. At most one `receive()` may wait at a time.
public protocol SignalingConnection: AnyObject, Sendable {
    /// Sends one message. Messages go out in the order of the calls that have returned.
    ///
    /// Returns when the connection has accepted the message into its bounded buffer, which is no proof of arrival.
    /// Suspends while the buffer is at its limit. Throws `.messageTooLarge` over the endpoint's maximum (the connection
    /// stays usable), `.closed` when the connection is closed, also while the call waits, and `.cancelled` (then the
    /// message was not sent).
    nonisolated(nonsending) func send(_ message: SignalingMessage) async throws(TransportError)

    /// Returns the next message, in the order of arrival; suspends until there is one.
    ///
    /// A connection reads ahead within its bounded buffer and stops reading from the socket at the limit: nothing is
    /// dropped. Messages that arrived before a close are delivered first. Returns nil when the other side closed with a
    /// close handshake (`closeReason` has its code and reason), and throws when the connection broke: `.closed` (the
    /// TCP connection ended without a close frame), `.protocolViolation`, `.messageTooLarge` (a message over the
    /// maximum arrived; the connection is then closed with 1009), `.tlsFailed`, `.io`, `.cancelled`.
    nonisolated(nonsending) func receive() async throws(TransportError) -> SignalingMessage?

    /// The code and reason of the other side's close, once `receive()` has returned nil (RFC 6455 §7.4).
    var closeReason: SignalingClose? { get }

    /// The connection's local address, numeric and without a port. When the machine loses it, the connection is
    /// abandoned at once instead of waiting for silence. Nil (the default) when it is not known.
    var localAddress: String? { get }

    /// Sends the accepted messages, closes with a close handshake, and returns when that is done or `deadline` (from
    /// now) has passed; then it aborts. Idempotent.
    nonisolated(nonsending) func close(_ reason: SignalingClose, within deadline: Duration) async

    /// Ends the connection at once, without a close handshake, and wakes waiting calls. For dead links. Idempotent.
    func abort()
}

extension SignalingConnection {
    /// Not known by default.
    public var localAddress: String? { nil }
}

extension WebSocketConnection: SignalingConnection {}
