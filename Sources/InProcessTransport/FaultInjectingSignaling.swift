public import TransportPluginAPI

/// Breaks the connections of a `FaultInjectingSignalingTransport`, from any thread.
public final class SignalingFaultControl: Sendable {
    /// The outcome of new connection attempts.
    public enum Admission: Sendable {
        /// Connections are made.
        case open
        /// Attempts are refused, as by a server that answers with an HTTP status.
        case refused(status: Int? = nil, retryAfter: Duration? = nil)
        /// Nothing answers: attempts wait for their timeout.
        case blackHole
    }

    private struct State {
        var admission = Admission.open
        var delay = Duration.zero
        var links: [ObjectIdentifier: Weak] = [:]
        /// Connections that their users dropped while they were cut. The server must not notice before the path is
        /// restored.
        var orphans: [any SignalingConnection] = []
    }
    private struct Weak {
        weak var link: SignalingLink?
    }
    private let state = Locked(State())

    /// Creates a control without any fault.
    public init() {}

    /// The policy for new attempts. Attempts that wait in a black hole stay there.
    public var admission: Admission {
        get { state.withLock { $0.admission } }
        set { state.withLock { $0.admission = newValue } }
    }

    /// The delay of each outgoing message.
    public var delay: Duration {
        get { state.withLock { $0.delay } }
        set { state.withLock { $0.delay = newValue } }
    }

    /// Makes the open connections half-open: sends are accepted and lost, nothing arrives, and neither side notices.
    /// - Parameter newConnectionsToo: Whether new attempts get no answer either.
    public func cut(newConnectionsToo: Bool = false) {
        let links = state.withLock { state in
            if newConnectionsToo { state.admission = .blackHole }
            return state.links.values.compactMap(\.link)
        }
        for link in links { link.isCut.withLock { $0 = true } }
    }

    /// Breaks the open connections as a TCP reset does. Both sides notice.
    public func reset() {
        for link in state.withLock({ $0.links.values.compactMap(\.link) }) { link.abortBase() }
    }

    /// Ends all faults. Cut connections break now, as TCP connections that have lost data must.
    public func restore() {
        let (links, orphans) = state.withLock { state in
            state.admission = .open
            state.delay = .zero
            defer { state.orphans = [] }
            return (state.links.values.compactMap(\.link), state.orphans)
        }
        for orphan in orphans { orphan.abort() }
        for link in links where link.isCut.withLock({ $0 }) { link.abortBase() }
    }

    fileprivate func add(_ link: SignalingLink) {
        state.withLock { $0.links[ObjectIdentifier(link)] = Weak(link: link) }
    }

    fileprivate func remove(_ link: SignalingLink, orphan: (any SignalingConnection)?) {
        state.withLock { state in
            state.links[ObjectIdentifier(link)] = nil
            if let orphan { state.orphans.append(orphan) }
        }
    }
}

/// The control's record of one connection.
private final class SignalingLink: Sendable {
    let isCut = Locked(false)
    let abortBase: @Sendable () -> Void
    init(abortBase: @escaping @Sendable () -> Void) { self.abortBase = abortBase }
}

/// Wraps a signaling transport, so that a `SignalingFaultControl` can break its connections.
public final class FaultInjectingSignalingTransport<Base: SignalingTransport>: SignalingTransport {
    private let base: Base
    private let control: SignalingFaultControl

    /// Creates a transport for connections of `base` that `control` can break.
    public init(_ base: Base, control: SignalingFaultControl) {
        self.base = base
        self.control = control
    }

    public nonisolated(nonsending) func connect(
        to endpoint: SignalingEndpoint
    ) async throws(TransportError) -> FaultInjectingSignalingConnection<Base.Connection> {
        switch control.admission {
        case .open: break
        case .refused(let status, let retryAfter):
            throw TransportError(
                .refused, "connecting to \(endpoint.url) was refused (injected)", isRetryable: true, status: status,
                retryAfter: retryAfter)
        case .blackHole:
            do { try await Task.sleep(for: endpoint.connectTimeout) } catch {
                throw TransportError(.cancelled, "connecting to \(endpoint.url) was cancelled")
            }
            throw TransportError(.timedOut, "\(endpoint.url) did not answer (injected)", isRetryable: true)
        }
        return FaultInjectingSignalingConnection(
            try await base.connect(to: endpoint), endpoint: endpoint, control: control)
    }

    public nonisolated(nonsending) func shutdown() async { await base.shutdown() }
}

/// A connection of a `FaultInjectingSignalingTransport`.
public final class FaultInjectingSignalingConnection<Base: SignalingConnection>: SignalingConnection {
    private let base: Base
    private let endpoint: SignalingEndpoint
    private let control: SignalingFaultControl
    private let link: SignalingLink
    /// The buffer for messages sent into a cut connection: it fills up as a socket's buffer would, and is never read.
    private let lost: MessageBuffer
    /// The buffer that `receive` waits on while the connection is cut. It never gets a message, and ends with the
    /// connection.
    private let silence = MessageBuffer(limit: 1)

    fileprivate init(_ base: Base, endpoint: SignalingEndpoint, control: SignalingFaultControl) {
        let lost = MessageBuffer(limit: endpoint.bufferLimit)
        let silence = silence
        self.base = base
        self.endpoint = endpoint
        self.control = control
        self.lost = lost
        link = SignalingLink {
            base.abort()
            lost.finish(Self.broken, discarding: true)
            silence.finish(Self.broken)
        }
        control.add(link)
    }

    deinit { abort() }

    public nonisolated(nonsending) func send(_ message: SignalingMessage) async throws(TransportError) {
        let delay = control.delay
        if delay > .zero {
            do { try await Task.sleep(for: delay) } catch {
                throw TransportError(.cancelled, "the waiting task was cancelled")
            }
        }
        guard isCut else { return try await base.send(message) }
        try endpoint.check(message)
        try await lost.append(message)
    }

    public nonisolated(nonsending) func receive() async throws(TransportError) -> SignalingMessage? {
        guard !isCut else { return try await silence.next() }
        let result: Result<SignalingMessage?, TransportError>
        do throws(TransportError) { result = .success(try await base.receive()) } catch { result = .failure(error) }
        // What arrives after the cut, the end included, is withheld. Cancellation is not.
        if isCut, !Task.isCancelled { return try await silence.next() }
        return try result.get()
    }

    public var closeReason: SignalingClose? { base.closeReason }

    public var localAddress: String? { base.localAddress }

    public nonisolated(nonsending) func close(_ reason: SignalingClose, within deadline: Duration) async {
        if isCut {
            // The close frame gets no answer, so only the deadline ends the wait.
            try? await Task.sleep(for: deadline)
            abort()
        } else {
            await base.close(reason, within: deadline)
            abort()
        }
    }

    public func abort() {
        let wasCut = isCut
        control.remove(link, orphan: wasCut ? base : nil)
        if !wasCut { base.abort() }
        lost.finish(Self.broken, discarding: true)
        silence.finish(Self.broken)
    }

    private var isCut: Bool { link.isCut.withLock { $0 } }

    private static var broken: TransportError { TransportError(.closed, "the connection is closed", isRetryable: true) }
}
