internal import TransportPluginAPI
internal import WebSocketWire

/// Drives the socket of one connection, from the attempt to the end.
// SAFETY: `claim` and the members of `connection` have their own locks. Members under "On the loop" are touched only
// there, those under "By the writer" only by the holder of the claim.
final class FoundationDriver: SignalingDriver, @unchecked Sendable {
    let group: SignalingLoop
    let connection: DrivenConnection
    let claim = Locked(WriteClaim())

    var loop: TransportLoop { group.loop }
    var endpoint: SignalingEndpoint { connection.endpoint }
    var inbound: MessageBuffer { connection.inbound }
    var outbound: MessageBuffer { connection.outbound }

    /// - Parameter descriptor: A connected socket; the driver takes ownership.
    init(_ group: SignalingLoop, _ connection: DrivenConnection, descriptor: Int32) {
        self.group = group
        self.connection = connection
        self.descriptor = descriptor
        parser = FrameParser(framesFrom: .server, maximumMessageSize: connection.endpoint.maximumMessageSize)
    }

    /// A driver that was never started, because the transport was shut down, still has its socket.
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
        /// This side closes: the close frame follows the accepted messages, then the other side's is awaited.
        case closing
        /// The last frame was sent. Input is ignored until the other side ends the connection.
        case lingering
        case ended
    }
    @exclusivity(unchecked) var phase = Phase.connecting
    var handshake: ClientHandshake?
    var head = HTTPHeadBuffer<ResponseHead>()
    @exclusivity(unchecked) var parser: FrameParser
    @exclusivity(unchecked) var watch: LoopWatch?
    /// Whether reading has stopped because `inbound` is full.
    @exclusivity(unchecked) var isPaused = false
    /// The bytes that were read but not parsed when reading was paused.
    var unparsed: [UInt8] = []
    private var deadline = Timestamp.distantFuture
    private var timer: LoopTimer?
    #if OpenSSL
        @exclusivity(unchecked) var tls: TLSSession?
    #endif

    // MARK: By the writer

    /// The socket; -1 when it is closed.
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

    /// The attempt has failed.
    func failed(_ error: TransportError) {
        connection.failed(error)
        tearDown(withReset: false)
    }

    /// The open connection has failed.
    func connectionLost(_ error: TransportError) {
        connection.connectionLost(error)
        tearDown(withReset: false)
    }

    private func startClosing(_ reason: SignalingClose, deadline: Timestamp) {
        switch phase {
        case .ended: break
        // The other side closed first, or broke a rule: its end is awaited.
        case .lingering, .closing, .connecting, .tlsHandshake, .upgrading:
            setDeadline(min(self.deadline, deadline))
        case .open:
            phase = .closing
            setDeadline(deadline)
            claim.withLock { $0.closeFrame = reason }
            flush()
            // The answer to the close frame must be read, even if messages wait before it.
            continueReading()
        }
    }

    /// The time that the other side has to end the connection after our last frame.
    static let lingerTime = Duration.seconds(2)

    /// Sends the close frame as the last one, after the rest of a message, and waits for the end.
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

    /// Closes the socket, now or when the writer has finished.
    func tearDown(withReset: Bool) {
        guard phase != .ended else { return }
        phase = .ended
        setDeadline(.distantFuture)
        watch?.cancel()
        watch = nil
        unparsed = []
        // Before the writer closes it.
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
