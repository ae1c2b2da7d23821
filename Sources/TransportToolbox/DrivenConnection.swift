public import TransportValues

/// One WebSocket connection between the tasks that use it and the driver of its socket: the outcome of the attempt, the
/// messages that wait in both directions, the close reason, and the tasks that wait for the end.
///
/// All members may be used from any thread. The driver reports its events here. This class decides what they mean for
/// the tasks that connect, send, receive and close, in the same way for every backend.
public final class DrivenConnection: Sendable {
    private struct State {
        var closeReason: SignalingClose?
        var localAddress: String?
        /// Tasks that wait in `close`.
        var closers: [CheckedContinuation<Void, Never>] = []
        var isClosing = false
        /// Whether the connection is aborted or its socket closed, so that there is nothing to wait for.
        var hasEnded = false
    }

    /// A reference to the driver for the buffers, which are made before it.
    private final class DriverReference: @unchecked Sendable {
        // SAFETY: set by `attach` before anything that reads it can be called.
        weak var driver: (any SignalingDriver)?
    }

    /// The server, and the limits of the connection.
    public let endpoint: SignalingEndpoint
    /// The time by which the opening handshake must be done.
    public let openingDeadline: Timestamp
    /// The received messages that wait for a task. The driver adds them with `appendNow`, and stops reading when that
    /// returns false.
    public let inbound: MessageBuffer
    /// The messages that wait to be sent. The driver removes them with `popFirst`.
    public let outbound: MessageBuffer

    private let opening = PendingOutcome<Void>()
    private let state = Locked(State())
    private let reference: DriverReference

    init(_ endpoint: SignalingEndpoint, deadline: Timestamp) {
        self.endpoint = endpoint
        openingDeadline = deadline
        let reference = DriverReference()
        self.reference = reference
        inbound = MessageBuffer(limit: endpoint.bufferLimit, onRoom: { reference.driver?.resumeReading() })
        outbound = MessageBuffer(limit: endpoint.bufferLimit, onMessage: { reference.driver?.flush() })
    }

    // MARK: For the driver

    /// Whether the attempt has failed or was abandoned. A driver that finds this before it has used the socket need not
    /// begin.
    public var isAbandoned: Bool {
        if case .failure = opening.outcome { true } else { false }
    }

    /// The server's answer is valid: the connection is open.
    ///
    /// Returns false if the attempt was abandoned meanwhile: `abort` was called, perhaps before there was anything to
    /// abort.
    /// - Parameter localAddress: The numeric address without a port: ``TCPConnector/localAddress(of:)``.
    @discardableResult
    public func opened(from localAddress: String?) -> Bool {
        state.withLock { $0.localAddress = localAddress }
        opening.settle(.success(()))
        return !isAbandoned
    }

    /// The attempt has failed: `connect` throws `error`.
    public func failed(_ error: TransportError) {
        opening.settle(.failure(error))
        finish(error, discarding: true)
    }

    /// The open connection has failed: receivers get the earlier messages, then `error`; senders get `.closed`.
    public func connectionLost(_ error: TransportError) { finish(error, discarding: false) }

    /// The other side has closed with a close frame: receivers get the earlier messages, then nil; senders get
    /// `.closed`.
    public func closedByPeer(_ reason: SignalingClose) {
        state.withLock { $0.closeReason = reason }
        finish(nil, discarding: false)
    }

    /// Nothing more can be sent, although received data must still be read: senders get `.closed`.
    public func sendingFailed() { outbound.finish(MessageBuffer.closed, discarding: true) }

    /// The socket is closed, and the driver has finished. All waiting tasks are woken.
    public func ended() {
        opening.settle(.failure(MessageBuffer.closed))
        finish(MessageBuffer.closed, discarding: false)
        markEnded()
    }

    // MARK: For the transport

    /// Ends the attempt or the connection at once, without a close handshake. Waiting tasks get `error`, or `.closed`
    /// if it is nil. A transport calls this for all of its connections when it is shut down.
    public func abandon(_ error: TransportError? = nil) {
        let error = error ?? MessageBuffer.closed
        opening.settle(.failure(error))
        finish(error, discarding: true)
        markEnded()
        reference.driver?.abort()
    }

    // MARK: For the tasks

    var closeReason: SignalingClose? { state.withLock { $0.closeReason } }

    var localAddress: String? { state.withLock { $0.localAddress } }

    /// Sets the driver, before anything else. It is not kept.
    func attach(_ driver: any SignalingDriver) { reference.driver = driver }

    /// Returns when the connection is open. Throws the reason if it does not open, and `error` if the task is
    /// cancelled.
    nonisolated(nonsending) func waitUntilOpen(cancelled error: TransportError) async throws(TransportError) {
        try await opening.value { self.abandon(error) }
    }

    /// Closes the connection, and returns when it has ended.
    nonisolated(nonsending) func close(_ reason: SignalingClose, deadline: Timestamp) async {
        await withCheckedContinuation { continuation in
            enum Step: Sendable { case ended, waits, first }
            let step = state.withLock { state -> Step in
                if state.hasEnded { return .ended }
                state.closers.append(continuation)
                defer { state.isClosing = true }
                return state.isClosing ? .waits : .first
            }
            switch step {
            case .ended: continuation.resume()
            case .waits: break
            case .first:
                // Accepted messages are still sent; tasks that wait to send or receive are woken.
                outbound.finish()
                inbound.finish(MessageBuffer.closed, discarding: true)
                reference.driver?.close(reason, deadline: deadline)
            }
        }
    }

    /// Ends both buffers. Receivers are woken last, when senders already get an error.
    private func finish(_ error: TransportError?, discarding: Bool) {
        outbound.finish(error.map(Self.asClosed), discarding: true)
        inbound.finish(error, discarding: discarding)
    }

    /// Returns the error for senders: the connection is closed, whatever error receivers get.
    private static func asClosed(_ error: TransportError) -> TransportError {
        error.code == .closed || error.code == .cancelled
            ? MessageBuffer.closed : TransportError(.closed, "the connection is closed: \(error.message)", cause: error)
    }

    private func markEnded() {
        let closers = state.withLock { state in
            state.hasEnded = true
            defer { state.closers = [] }
            return state.closers
        }
        for closer in closers { closer.resume() }
    }
}
