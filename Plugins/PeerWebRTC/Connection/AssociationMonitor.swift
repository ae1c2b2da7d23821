internal import Logging
internal import TransportPluginAPI

/// The monitor of one association: whether the other side is alive, and how large packets may be. The shell of
/// `LivenessMachine` and `PathSizeMachine`.
final class AssociationMonitor {
    private let core: TransportCore
    private let events: ConnectionEvents
    private let log: Logger
    /// Both are strong until `end`, which breaks the cycle.
    private var association: SCTPAssociation?
    private var transport: SCTPTransport?

    @exclusivity(unchecked) private(set) var liveness: LivenessMachine?
    /// Whether `liveness` knows that something is outstanding. A copy, for speed.
    @exclusivity(unchecked) private var isWaitingForEvidence = false
    private var livenessTimer: LoopTimer?
    private(set) var pathSize: PathSizeMachine?
    private var pathSizeTimer: LoopTimer?

    init(_ core: TransportCore, events: ConnectionEvents, log: Logger) {
        self.core = core
        self.events = events
        self.log = log
    }

    /// The association has begun to carry data.
    func begin(_ association: SCTPAssociation, of transport: SCTPTransport) {
        guard liveness == nil else { return }
        self.association = association
        self.transport = transport
        liveness = LivenessMachine(at: .now())
        armLiveness()
    }

    func end() {
        livenessTimer?.cancel()
        livenessTimer = nil
        pathSizeTimer?.cancel()
        pathSizeTimer = nil
        liveness = nil
        pathSize = nil
        isWaitingForEvidence = false
        association = nil
        transport = nil
    }

    // MARK: Liveness

    /// Whether the other side is suspect, or nothing is known of it yet.
    var isSuspect: Bool { liveness?.isSuspect ?? true }

    /// An authenticated datagram has arrived.
    @inline(__always)
    func noteEvidence() {
        guard let action = liveness?.evidenceReceived(at: core.loop.turnTime) else { return }
        perform([action])
    }

    /// Data was sent that the other side acknowledges.
    @inline(__always)
    func noteSent() {
        guard !isWaitingForEvidence, liveness != nil else { return }
        beginWaiting()
    }

    private func beginWaiting() {
        liveness?.dataSent(at: core.loop.turnTime)
        armLiveness()
    }

    /// Sends a probe, whose answer is reported.
    func probe() {
        guard let action = liveness?.probeRequested(at: .now()) else { return }
        perform([action])
        armLiveness()
    }

    private func armLiveness() {
        livenessTimer?.cancel()
        isWaitingForEvidence = liveness?.isWaiting ?? false
        guard let deadline = liveness?.deadline else { return }
        livenessTimer = core.loop.schedule(at: deadline) { [unowned self] in livenessTimerFired() }
    }

    private func livenessTimerFired() {
        // Reads what usrsctp's timers may have produced, perhaps the end of the connection.
        transport?.pump()
        transport?.releaseSent()
        guard let association else { return }
        association.adaptTimeouts(silence: liveness?.silence(at: .now()))
        let isOutstanding = association.buffered > 0
        watchProgress(of: association, isOutstanding: isOutstanding)
        perform(
            liveness?.timerFired(
                at: .now(), hasUnacknowledgedData: isOutstanding, roundTrip: association.roundTrip) ?? [])
        armLiveness()
    }

    private func perform(_ actions: [LivenessMachine.Action]) {
        for action in actions {
            switch action {
            case .probe: association?.probe(at: .now())
            case .reportSuspect(let since):
                log.debug("peer is silent")
                association?.adaptTimeouts(silence: .zero)
                transport?.peerIsSuspect()
                events.emit(.liveness(.suspect(since: since)))
            case .reportAlive:
                log.debug("peer is alive again")
                association?.adaptTimeouts(silence: nil)
                events.emit(.liveness(.alive))
            }
        }
    }

    // MARK: Packet sizes

    /// The association is established: probes the size of its path at once.
    func beginPathSize() {
        guard pathSize == nil, let association, core.options.sizes.canHalve else { return }
        let now = Timestamp.now()
        var machine = PathSizeMachine(at: now, roundTrip: association.roundTrip)
        let actions = machine.pathChanged(at: now)
        pathSize = machine
        perform(actions)
    }

    /// The packets now take another path.
    func pathReplaced() {
        // A probe shows at once whether the new path works, and continues data that waits for a timer.
        probe()
        association?.pathChanged()
        perform(pathSize?.pathChanged(at: .now()) ?? [])
    }

    func heartbeatAnswered(_ heartbeat: HeartbeatLog.Entry) {
        guard let size = heartbeat.size else { return }
        perform(pathSize?.answered(size, at: core.loop.turnTime, roundTrip: association?.roundTrip) ?? [])
    }

    /// Called from time to time while data is outstanding, and once when none is left.
    private func watchProgress(of association: SCTPAssociation, isOutstanding: Bool) {
        guard let lastEvidence = liveness?.lastEvidence else { return }
        guard isOutstanding else {
            pathSize?.dataIsAcknowledged()
            return
        }
        perform(
            pathSize?.dataIsOutstanding(
                acknowledged: association.acknowledged, lastEvidence: lastEvidence, at: .now()) ?? [])
    }

    private func perform(_ actions: [PathSizeMachine.Action]) {
        for action in actions {
            switch action {
            case .probe(let size): association?.probe(size, at: .now())
            case .use(let chunks, let packets):
                if packets == .half {
                    let size = core.options.sizes.datagram(.full)
                    log.debug("the path drops large datagrams: smaller ones are sent", metadata: ["size": "\(size)"])
                }
                core.stack.noteActivity()
                association?.use(chunks: chunks, packets: packets)
            case .giveUp:
                let size = core.options.sizes.datagram(.full)
                transport?.fail(
                    TransportError(
                        .io,
                        "the path no longer carries datagrams of \(size) bytes, and data split for them cannot "
                            + "be split again: set max-datagram-size to a size that passes",
                        isRetryable: true))
                return
            }
        }
        armPathSize()
    }

    private func armPathSize() {
        pathSizeTimer?.cancel()
        pathSizeTimer = pathSize?.deadline.map { deadline in
            core.loop.schedule(at: deadline) { [unowned self] in perform(pathSize?.timerFired(at: .now()) ?? []) }
        }
    }
}
