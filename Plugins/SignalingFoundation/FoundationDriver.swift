internal import TransportPluginAPI
internal import WebSocketWire

/// Drives the socket of one connection, from the attempt to the end.
// SAFETY: `claim` and what `connection` has are behind their locks; what is under "On the loop" is touched only there,
// what is under "By the writer" only by the holder of the claim.
final class FoundationDriver: SignalingDriver, @unchecked Sendable {
    let group: SignalingLoop
    let connection: DrivenConnection
    let claim = Locked(WriteClaim())

    var loop: TransportLoop { group.loop }
    var endpoint: SignalingEndpoint { connection.endpoint }
    var inbound: MessageBuffer { connection.inbound }
    var outbound: MessageBuffer { connection.outbound }

    /// - Parameter descriptor: a connected socket, which is the driver's from then on.
    init(_ group: SignalingLoop, _ connection: DrivenConnection, descriptor: Int32) {
        self.group = group
        self.connection = connection
        self.descriptor = descriptor
        parser = FrameParser(framesFrom: .server, maximumMessageSize: connection.endpoint.maximumMessageSize)
    }

    /// A driver that never began, since the transport was shut down, still has its socket.
    deinit { closeDescriptor() }

    // MARK: From any thread

    func start() {
        guard group.add(self) else {
            return connection.failed(TransportError(.closed, "the transport was shut down"))
        }
        loop.execute { self.begin() }
    }

    func resumeReading() { loop.execute { self.continueReading() } }

    func close(_ reason: SignalingClose, deadline: Timestamp) {
        loop.execute { self.startClosing(reason, deadline: deadline) }
    }

    func abort() { loop.execute { self.tearDown(withReset: true) } }

    // MARK: On the loop

    enum Phase {
        case connecting
        case tlsHandshake
        case upgrading
        case open
        /// We close: when everything is sent, the close frame follows; the other side's is waited for.
        case closing
        /// The last frame is on its way; whatever comes is passed over until the other side ends the connection.
        case lingering
        case ended
    }
    @exclusivity(unchecked) var phase = Phase.connecting
    var handshake: ClientHandshake?
    var head = HTTPHeadBuffer<ResponseHead>()
    @exclusivity(unchecked) var parser: FrameParser
    @exclusivity(unchecked) var watch: LoopWatch?
    /// Reading has stopped: `inbound` is full.
    @exclusivity(unchecked) var isPaused = false
    /// Bytes that were read and are not parsed yet, while reading is paused.
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
    /// The output after TLS.
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
        case .connecting, .tlsHandshake, .upgrading:
            failed(TransportError(.timedOut, "\(endpoint.url) did not answer in time", isRetryable: true))
        case .open, .ended: break
        case .closing, .lingering: tearDown(withReset: true)
        }
    }

    /// The attempt failed.
    func failed(_ error: TransportError) {
        connection.failed(error)
        tearDown(withReset: false)
    }

    /// The connection broke after it was open.
    func connectionLost(_ error: TransportError) {
        connection.connectionLost(error)
        tearDown(withReset: false)
    }

    private func startClosing(_ reason: SignalingClose, deadline: Timestamp) {
        switch phase {
        case .ended: break
        // The other side was first, or broke a rule: its end is being waited for.
        case .lingering, .closing, .connecting, .tlsHandshake, .upgrading:
            setDeadline(min(self.deadline, deadline))
        case .open:
            phase = .closing
            setDeadline(deadline)
            claim.withLock { $0.closeFrame = reason }
            flush()
            // The answer to the close frame must be read, whatever waits in front of it.
            continueReading()
        }
    }

    /// How long the other side may take to end the connection after our last frame.
    static let lingerTime = Duration.seconds(2)

    /// Sends the close frame as the last one, after what is half sent, and waits for the end.
    func linger(with reason: SignalingClose?) {
        phase = .lingering
        setDeadline(min(deadline, .now() + Self.lingerTime))
        if let reason {
            claim.withLock { claim in
                claim.closeFrame = reason
                claim.isLast = true
            }
            flush()
        }
        continueReading()
    }

    /// Closes the socket, now or when the writer has left it.
    func tearDown(withReset: Bool) {
        guard phase != .ended else { return }
        phase = .ended
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
        connection.ended()
    }
}
