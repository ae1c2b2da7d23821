public import TransportValues

/// One WebSocket connection between the tasks that use it and the driver of its socket: the outcome of the attempt, the
/// messages that wait in both directions, how it was closed, and who waits for its end.
///
/// All members may be used from any thread. The driver reports here; what a report means for the tasks that connect,
/// send, receive and close is decided here, for every backend alike.
public final class DrivenConnection: Sendable {
    private struct State {
        var closeReason: SignalingClose?
        var localAddress: String?
        /// Tasks that wait in `close`.
        var closers: [CheckedContinuation<Void, Never>] = []
        var isClosing = false
        /// Aborted, or the socket is closed: there is nothing to wait for.
        var hasEnded = false
    }

    /// Lets the buffers reach the driver that is made after them.
    private final class DriverReference: @unchecked Sendable {
        // SAFETY: set by `attach` before anything that reads it can be called.
        weak var driver: (any SignalingDriver)?
    }

    /// The server, and the limits of the connection.
    public let endpoint: SignalingEndpoint
    /// The time by which the opening handshake must be done.
    public let openingDeadline: Timestamp
    /// Received messages that wait for a task: the driver puts them in with `appendNow`, and stops reading while
    /// that returns false.
    public let inbound: MessageBuffer
    /// Sent messages that wait for the socket: the driver takes them out with `popFirst`.
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

    /// The attempt has failed or was given up. A driver that finds it so before it has taken the socket need not begin.
    public var isAbandoned: Bool {
        if case .failure = opening.outcome { true } else { false }
    }

    /// The server's answer was right: the connection is open.
    ///
    /// Returns false when the attempt was given up meanwhile: `abort` was called, maybe before there was anything to
    /// end.
    /// - Parameter localAddress: numeric, without a port: ``TCPConnector/localAddress(of:)``.
    @discardableResult
    public func opened(from localAddress: String?) -> Bool {
        state.withLock { $0.localAddress = localAddress }
        opening.settle(.success(()))
        return !isAbandoned
    }

    /// The attempt failed: `connect` throws `error`.
    public func failed(_ error: TransportError) {
        opening.settle(.failure(error))
        finish(error, discarding: true)
    }

    /// The connection broke after it was open: receivers get what came before, then `error`; senders get `.closed`.
    public func connectionLost(_ error: TransportError) { finish(error, discarding: false) }

    /// The other side closed with a close frame: receivers get what came before, then nil; senders get `.closed`.
    public func closedByPeer(_ reason: SignalingClose) {
        state.withLock { $0.closeReason = reason }
        finish(nil, discarding: false)
    }

    /// Nothing more can be sent, although what has come is still to be read: senders get `.closed`.
    public func sendingFailed() { outbound.finish(MessageBuffer.closed, discarding: true) }

    /// The socket is closed, and the driver does nothing more. All tasks that still wait are woken.
    public func ended() {
        opening.settle(.failure(MessageBuffer.closed))
        finish(MessageBuffer.closed, discarding: false)
        markEnded()
    }

    // MARK: For the transport

    /// Ends attempt or connection at once, without a close handshake; tasks that wait in it get `error`, or `.closed`
    /// when it is nil. A transport that is shut down does it with all its connections.
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

    /// Before anything else. The driver is not kept.
    func attach(_ driver: any SignalingDriver) { reference.driver = driver }

    /// Returns when the connection is open. Throws why it is not, and `error` when the task is cancelled.
    nonisolated(nonsending) func waitUntilOpen(cancelled error: TransportError) async throws(TransportError) {
        try await opening.value { self.abandon(error) }
    }

    /// Returns when the connection is gone.
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
                // What was accepted still goes out; tasks that wait to send or receive are woken.
                outbound.finish()
                inbound.finish(MessageBuffer.closed, discarding: true)
                reference.driver?.close(reason, deadline: deadline)
            }
        }
    }

    /// Receivers are woken last: by then senders know too.
    private func finish(_ error: TransportError?, discarding: Bool) {
        outbound.finish(error.map(Self.asClosed), discarding: true)
        inbound.finish(error, discarding: discarding)
    }

    /// Senders learn that the connection is closed, whatever the receiver learned.
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
