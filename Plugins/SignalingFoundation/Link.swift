internal import TransportPluginAPI
internal import WebSocketWire

/// One connection, from the attempt to the end: what both the caller's tasks and the loop know of it.
// SAFETY: `shared` and `claim` are behind their locks and the buffers lock for themselves; what is under "On the loop" is touched only
// there, what is under "By the writer" only by who holds the claim.
final class Link: @unchecked Sendable {
    private struct Shared {
        var opening: CheckedContinuation<Result<Void, TransportError>, Never>?
        /// The outcome of the attempt, or why it was abandoned.
        var outcome: Result<Void, TransportError>?
        var closeReason: SignalingClose?
        var localAddress: String?
        var closers: [@Sendable () -> Void] = []
        var isClosing = false
        var isOver = false
    }

    let group: SignalingLoop
    let endpoint: SignalingEndpoint
    let openingDeadline: Timestamp
    private let shared = Locked(Shared())
    private(set) var inbound: MessageBuffer! = nil
    private(set) var outbound: MessageBuffer! = nil
    let claim = Locked(WriteClaim())

    static let closed = TransportError(.closed, "the connection is closed")

    var loop: TransportLoop { group.loop }

    /// - Parameter descriptor: a connected socket, which is the link's from then on.
    init(_ group: SignalingLoop, _ endpoint: SignalingEndpoint, descriptor: Int32, deadline: Timestamp) {
        self.group = group
        self.endpoint = endpoint
        openingDeadline = deadline
        self.descriptor = descriptor
        parser = FrameParser(framesFrom: .server, maximumMessageSize: endpoint.maximumMessageSize)
        inbound = MessageBuffer(
            limit: endpoint.bufferLimit,
            onRoom: { [weak self] in
                guard let self else { return }
                self.loop.execute { self.resumeReading() }
            })
        outbound = MessageBuffer(limit: endpoint.bufferLimit, onMessage: { [weak self] in self?.requestFlush() })
    }

    /// A link that never began, since the transport was shut down, still has its socket.
    deinit { closeDescriptor() }

    // MARK: From any thread

    var closeReason: SignalingClose? { shared.withLock { $0.closeReason } }
    var localAddress: String? { shared.withLock { $0.localAddress } }

    func open(_ continuation: CheckedContinuation<Result<Void, TransportError>, Never>) {
        let outcome = shared.withLock { shared -> Result<Void, TransportError>? in
            if shared.outcome == nil { shared.opening = continuation }
            return shared.outcome
        }
        if let outcome { return continuation.resume(returning: outcome) }
        guard group.add(self) else {
            return settle(.failure(TransportError(.closed, "the transport was shut down")))
        }
        loop.execute { self.begin() }
    }

    /// Ends attempt or connection at once; whoever waits gets `error`.
    func abandon(_ error: TransportError) {
        settle(.failure(error))
        finish(inbound: error, discarding: true)
        becomeOver()
        loop.execute { self.tearDown(withReset: true) }
    }

    /// Calls `done` when the connection is gone.
    func close(_ reason: SignalingClose, deadline: Timestamp, _ done: @escaping @Sendable () -> Void) {
        enum Step: Sendable { case over, waits, first }
        let step = shared.withLock { shared -> Step in
            if shared.isOver { return .over }
            shared.closers.append(done)
            defer { shared.isClosing = true }
            return shared.isClosing ? .waits : .first
        }
        switch step {
        case .over: done()
        case .waits: break
        case .first:
            // What was accepted still goes out; whoever waits to send or receive is woken.
            outbound.finish()
            inbound.finish(Self.closed, discarding: true)
            loop.execute { self.startClosing(reason, deadline: deadline) }
        }
    }

    /// Tells whoever waits in `connect`. The first outcome counts.
    func settle(_ outcome: Result<Void, TransportError>) {
        let continuation = shared.withLock { shared -> CheckedContinuation<Result<Void, TransportError>, Never>? in
            if shared.outcome == nil { shared.outcome = outcome }
            defer { shared.opening = nil }
            return shared.opening
        }
        continuation?.resume(returning: outcome)
    }

    /// Receivers are woken last: by then senders know too.
    func finish(inbound error: TransportError?, discarding: Bool) {
        outbound.finish(error.map(Self.asClosed), discarding: true)
        inbound.finish(error, discarding: discarding)
    }

    func note(closeReason: SignalingClose) { shared.withLock { $0.closeReason = closeReason } }
    func note(localAddress: String?) { shared.withLock { $0.localAddress = localAddress } }

    /// Senders learn that the connection is closed, whatever the receiver learned.
    static func asClosed(_ error: TransportError) -> TransportError {
        error.code == .closed || error.code == .cancelled
            ? closed : TransportError(.closed, "the connection is closed: \(error.message)", cause: error)
    }

    private func becomeOver() {
        let closers = shared.withLock { shared in
            shared.isOver = true
            defer { shared.closers = [] }
            return shared.closers
        }
        for closer in closers { closer() }
    }

    // MARK: On the loop

    enum Phase {
        case connecting
        case startsTLS
        case upgrades
        case open
        /// We close: when everything is sent, the close frame follows; the other side's is waited for.
        case closing
        /// The last frame is on its way; whatever comes is passed over until the other side ends the connection.
        case parting
        case over
    }
    @exclusivity(unchecked) var phase = Phase.connecting
    var handshake: ClientHandshake?
    var head = HTTPHeadBuffer<ResponseHead>()
    @exclusivity(unchecked) var parser: FrameParser
    @exclusivity(unchecked) var watch: LoopWatch?
    /// Reading stopped because nobody receives.
    @exclusivity(unchecked) var isPaused = false
    /// What was read and is not parsed yet, while reading is paused.
    var unparsed: [UInt8] = []
    private var deadline = Timestamp.distantFuture
    private var timer: LoopTimer?
    #if OpenSSL
        @exclusivity(unchecked) var tls: TLSSession?
    #endif

    // MARK: By the writer

    /// -1 when it is closed.
    @exclusivity(unchecked) var descriptor: Int32
    @exclusivity(unchecked) var output = OutputBuffer()
    /// What TLS made of the output.
    @exclusivity(unchecked) var wire = OutputBuffer()
    @exclusivity(unchecked) var sending: OutgoingFrame?
    @exclusivity(unchecked) var keys = MaskingKeys()

    // MARK: The end, on the loop

    func setDeadline(_ deadline: Timestamp) {
        self.deadline = deadline
        timer?.cancel()
        timer = deadline == .distantFuture ? nil : loop.schedule(at: deadline) { [weak self] in self?.deadlinePassed() }
    }

    private func deadlinePassed() {
        switch phase {
        case .connecting, .startsTLS, .upgrades:
            failed(TransportError(.timedOut, "\(endpoint.url) did not answer in time", isRetriable: true))
        case .open, .over: break
        case .closing, .parting: tearDown(withReset: true)
        }
    }

    /// The attempt failed.
    func failed(_ error: TransportError) {
        settle(.failure(error))
        finish(inbound: error, discarding: true)
        tearDown(withReset: false)
    }

    /// The connection broke after it was open.
    func broke(_ error: TransportError) {
        finish(inbound: error, discarding: false)
        tearDown(withReset: false)
    }

    private func startClosing(_ reason: SignalingClose, deadline: Timestamp) {
        switch phase {
        case .over: break
        // The other side was first, or broke a rule: its end is being waited for.
        case .parting, .closing, .connecting, .startsTLS, .upgrades:
            setDeadline(min(self.deadline, deadline))
        case .open:
            phase = .closing
            setDeadline(deadline)
            claim.withLock { $0.closeFrame = reason }
            requestFlush()
            // The answer to the close frame must be read, whatever waits in front of it.
            resumeReading()
        }
    }

    /// How long the other side may take to end the connection after our last frame.
    static let partingTime = Duration.seconds(2)

    /// Sends the close frame as the last one, after what is half sent, and waits for the end.
    func part(with reason: SignalingClose?) {
        phase = .parting
        setDeadline(min(deadline, .now() + Self.partingTime))
        if let reason {
            claim.withLock { claim in
                claim.closeFrame = reason
                claim.isLast = true
            }
            requestFlush()
        }
        resumeReading()
    }

    /// Closes the socket, now or when the writer has left it.
    func tearDown(withReset: Bool) {
        guard phase != .over else { return }
        phase = .over
        setDeadline(.distantFuture)
        watch?.cancel()
        watch = nil
        unparsed = []
        // Before the writer may close it.
        if withReset, descriptor >= 0 { resetOnClose(descriptor) }
        let isFree = claim.withLock { claim in
            claim.isOpen = false
            claim.isDead = true
            return !claim.isHeld
        }
        if isFree { closeDescriptor() }
        group.remove(self)
        settle(.failure(Self.closed))
        finish(inbound: Self.closed, discarding: false)
        becomeOver()
    }
}
