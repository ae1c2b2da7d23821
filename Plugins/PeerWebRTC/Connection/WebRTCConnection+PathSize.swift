internal import Logging
internal import TransportPluginAPI

/// The shell of `PathSizeMachine`.
extension WebRTCConnection {
    /// The association is established: what its path carries is asked at once.
    func beginPathSize() {
        guard pathSize == nil, let sctp, core.options.sizes.canHalve else { return }
        let now = Timestamp.now()
        var machine = PathSizeMachine(at: now, roundTrip: sctp.roundTrip)
        let actions = machine.pathChanged(at: now)
        pathSize = machine
        perform(actions)
    }

    func pathReplaced() {
        sctp?.pathChanged()
        perform(pathSize?.pathChanged(at: .now()) ?? [])
    }

    func heartbeatAnswered(_ heartbeat: HeartbeatBook.Entry) {
        guard let size = heartbeat.size else { return }
        perform(pathSize?.answered(size, at: core.loop.turnTime, roundTrip: sctp?.roundTrip) ?? [])
    }

    /// Called now and then while data is outstanding, and once when none is any more.
    func watchProgress(isOutstanding: Bool) {
        guard let sctp, let lastEvidence = liveness?.lastEvidence else { return }
        guard isOutstanding else {
            pathSize?.dataIsAcknowledged()
            return
        }
        perform(
            pathSize?.dataIsOutstanding(acknowledged: sctp.acknowledged, lastEvidence: lastEvidence, at: .now()) ?? [])
    }

    private func perform(_ actions: [PathSizeMachine.Action]) {
        for action in actions {
            switch action {
            case .probe(let size): sctp?.probe(size, at: .now())
            case .use(let chunks, let packets):
                if packets == .half {
                    let size = core.options.sizes.datagram(.full)
                    log.debug("the path drops large datagrams: smaller ones are sent", metadata: ["size": "\(size)"])
                }
                core.stack.touch()
                sctp?.use(chunks: chunks, packets: packets)
            case .giveUp:
                finish(
                    TransportError(
                        .io,
                        "the path has come to drop datagrams of \(core.options.sizes.datagram(.full)) bytes, and data that was cut for them cannot be cut again: set max-datagram-size to what passes",
                        isRetriable: true))
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
