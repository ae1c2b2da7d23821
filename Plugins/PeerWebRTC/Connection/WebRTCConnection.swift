internal import COpenSSL
internal import Logging
public import TransportPluginAPI

/// One WebRTC peer connection with nothing but data channels.
///
/// All of it lives on the transport's loop. Events are queued and told at the end of the turn, so that no method calls the
/// handler back before it returns; messages are told as they are read.
public final class WebRTCConnection: PeerConnection, @unchecked Sendable {
    // SAFETY: every member is touched on `core.loop` only; each public method checks. Members that every message touches are
    // exempt from the run-time check of exclusive access: none is handed out `inout` across a call that leaves this class.

    /// The largest `maximumMessageSize` that a configuration may ask for.
    static let messageSizeLimit = 16 << 20

    let core: TransportCore
    let configuration: PeerConnectionConfiguration
    @exclusivity(unchecked) var handler: (any PeerConnectionHandler)?
    let log: Logger
    @exclusivity(unchecked) private(set) var isClosed = false

    // Events
    @exclusivity(unchecked) private(set) var events: [PeerConnectionEvent] = []
    private var isDrainScheduled = false
    private var isDraining = false
    private var state = PeerConnectionState.new

    // Negotiation
    var negotiation = Negotiation()
    var writer: DescriptionWriter
    var iceServers: [ICEServer]
    var remoteCandidates = RemoteCandidates()

    // Paths
    /// Carries what is sent.
    var active: AgentLink? { didSet { output.link = active } }
    /// Takes over as soon as it is connected.
    var pending: AgentLink?
    /// Was replaced, and still receives for a while.
    var retired: AgentLink?
    var retirement: LoopTimer?

    // DTLS
    @exclusivity(unchecked) var dtls: DTLSSession?
    var handshakeTimer: LoopTimer?
    let output: DatagramOutput
    /// What came before the remote description: the other side may be faster than signaling.
    var early: DatagramBatch?

    // SCTP and channels
    @exclusivity(unchecked) var sctp: SCTPAssociation?
    @exclusivity(unchecked) var channels: ChannelTable
    @exclusivity(unchecked) var ledger = SendLedger()
    /// Small messages of this turn, or such that found the send buffer full.
    @exclusivity(unchecked) var outbox: Outbox?
    /// Kept, so that none is made for each turn. A cycle that `finish` breaks.
    lazy var outboxWork: () -> Void = { [self] in sendOutbox() }
    /// The outbox waits for room in the send buffer, not for the end of the turn.
    @exclusivity(unchecked) var isOutboxBlocked = false
    /// Channels whose end waits for the outbox.
    var closingAfterOutbox: [ChannelID] = []
    /// Open messages and acknowledgements that found the send buffer full.
    @exclusivity(unchecked) var control: [ControlMessage] = []
    @exclusivity(unchecked) var blockedCount = 0
    /// Bytes in the stashes of channels that are not read.
    @exclusivity(unchecked) var stashedBytes = 0
    /// Of streams on which no channel was opened yet.
    var strays = StrayMessages()
    @exclusivity(unchecked) var reassembly: Reassembly?
    @exclusivity(unchecked) var isPumping = false
    /// Whether the other side has taken part in SCTP's handshake: from then on what is sent arrives.
    @exclusivity(unchecked) var canCarryData = false
    @exclusivity(unchecked) var remoteMaximumMessageSize = DataDescription.defaultMaximumMessageSize

    // Liveness
    @exclusivity(unchecked) var liveness: LivenessMachine?
    /// `liveness` knows that something is outstanding. Beside it, for speed.
    @exclusivity(unchecked) var isWaitingForEvidence = false
    var livenessTimer: LoopTimer?

    // How large packets may be
    @exclusivity(unchecked) var pathSize: PathSizeMachine?
    var pathSizeTimer: LoopTimer?
    @exclusivity(unchecked) var counters = PeerConnectionStatistics()

    init(
        _ core: TransportCore, _ configuration: PeerConnectionConfiguration, handler: any PeerConnectionHandler
    ) throws(TransportError) {
        guard (1...Self.messageSizeLimit).contains(configuration.maximumMessageSize) else {
            throw TransportError(
                .invalidArgument, "maximumMessageSize must be from 1 to \(Self.messageSizeLimit) bytes")
        }
        guard (1...(256 << 20)).contains(configuration.sendHighWaterMark) else {
            throw TransportError(.invalidArgument, "sendHighWaterMark must be from 1 byte to 256 MiB")
        }
        self.core = core
        channels = ChannelTable(streamCount: core.options.streams)
        output = DatagramOutput(pool: core.pool, loop: core.loop)
        self.configuration = configuration
        self.handler = handler
        iceServers = configuration.iceServers
        var log = core.logger
        if !configuration.label.isEmpty { log[metadataKey: "peer"] = "\(configuration.label)" }
        self.log = log
        var session: UInt64 = 0
        withUnsafeMutableBytes(of: &session) { _ = RAND_bytes($0.baseAddress, Int32($0.count)) }
        writer = DescriptionWriter(
            sessionID: session >> 2, version: 1, fingerprint: core.dtls.fingerprint, sctpPort: 5000,
            maximumMessageSize: configuration.maximumMessageSize)
    }

    // MARK: PeerConnection

    public var maximumMessageSize: Int { min(remoteMaximumMessageSize, configuration.maximumMessageSize) }

    public var statistics: PeerConnectionStatistics {
        core.loop.preconditionIsCurrent()
        var statistics = counters
        statistics.roundTrip = sctp?.roundTrip
        statistics.lastEvidence = liveness?.lastEvidence
        return statistics
    }

    public var security: PeerSecurity? {
        core.loop.preconditionIsCurrent()
        guard let remote = dtls?.remoteFingerprint else { return nil }
        let local = core.dtls.fingerprint
        return PeerSecurity(
            localFingerprint: local.text, remoteFingerprint: remote.text,
            verificationCode: VerificationCode.text(local, remote))
    }

    public func probe() {
        core.loop.preconditionIsCurrent()
        guard !isClosed, liveness != nil else { return }
        requestProbe()
    }

    public func updateICEServers(_ servers: [ICEServer]) {
        core.loop.preconditionIsCurrent()
        iceServers = servers
    }

    public func close() {
        core.loop.preconditionIsCurrent()
        finish(nil)
    }

    // MARK: Events

    func emit(_ event: PeerConnectionEvent) {
        guard handler != nil else { return }
        events.append(event)
        guard !isDrainScheduled else { return }
        isDrainScheduled = true
        core.loop.atEndOfTurn { [self] in drainEvents() }
    }

    func setState(_ state: PeerConnectionState) {
        guard self.state != state else { return }
        self.state = state
        log.debug("peer connection state", metadata: ["state": "\(state)"])
        emit(.state(state))
    }

    /// Tells what is queued. Never called from inside a method of the API.
    func drainEvents() {
        isDrainScheduled = false
        guard !isDraining, !events.isEmpty else { return }
        isDraining = true
        defer { isDraining = false }
        while !events.isEmpty {
            let batch = events
            events.removeAll()
            for event in batch {
                guard let handler else { return }
                if case .closed = event {
                    self.handler = nil
                    events.removeAll()
                    core.connections[ObjectIdentifier(self)] = nil
                }
                handler.peerConnection(didEmit: event)
            }
        }
    }

    // MARK: The end

    /// Ends everything; `.closed` will be the last event. Idempotent.
    func finish(_ error: TransportError?) {
        guard !isClosed else { return }
        sendOutbox()
        isClosed = true
        log.debug("peer connection closed", metadata: ["error": "\(error.map { "\($0)" } ?? "none")"])
        core.stack.touch()
        sctp?.close()
        dtls?.shutdown()
        output.end()
        sctp = nil
        dtls = nil
        if let outbox { core.outboxes.giveBack(outbox) }
        outbox = nil
        for link in [active, pending, retired] { link?.close() }
        active = nil
        pending = nil
        retired = nil
        for timer in [retirement, handshakeTimer, livenessTimer, pathSizeTimer] { timer?.cancel() }
        livenessTimer = nil
        liveness = nil
        pathSize = nil
        isWaitingForEvidence = false
        outboxWork = {}
        early = nil
        control = []
        strays = StrayMessages()
        reassembly = nil
        for slot in channels.used { channels.remove(slot) }
        emit(.closed(error))
    }
}

/// An open message or an acknowledgement on its way out.
struct ControlMessage {
    var slot: Int
    var id: ChannelID
    var bytes: [UInt8]
    var isOpen: Bool
}

/// A message that comes in pieces.
struct Reassembly {
    var stream: UInt16
    var `protocol`: UInt32
    var bytes: [UInt8]
    /// The rest is dropped.
    var isTooLarge = false
}

/// Messages on streams without a channel: unordered ones may come ahead of the open message, and those of a channel that was
/// agreed on beforehand before this side opened it. Bounded: where no channel comes, the oldest are dropped.
struct StrayMessages {
    struct Message {
        var stream: UInt16
        var `protocol`: UInt32
        var payload: Payload
    }

    static let maximumCount = 64
    static let maximumBytes = 1 << 19

    private(set) var messages: [Message] = []
    private var byteCount = 0

    mutating func add(_ message: Message) {
        guard message.payload.count <= Self.maximumBytes else { return }
        messages.append(message)
        byteCount += message.payload.count
        while messages.count > Self.maximumCount || byteCount > Self.maximumBytes {
            byteCount -= messages.removeFirst().payload.count
        }
    }

    mutating func take(stream: UInt16) -> [Message] {
        guard !messages.isEmpty else { return [] }
        let taken = messages.filter { $0.stream == stream }
        guard !taken.isEmpty else { return [] }
        messages.removeAll { $0.stream == stream }
        byteCount = messages.reduce(0) { $0 + $1.payload.count }
        return taken
    }
}
