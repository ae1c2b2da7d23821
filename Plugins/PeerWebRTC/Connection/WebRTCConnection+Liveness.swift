internal import Logging
internal import TransportPluginAPI

/// The shell of `LivenessMachine`.
extension WebRTCConnection {
    func beginLiveness() {
        guard liveness == nil else { return }
        liveness = LivenessMachine(at: .now())
        armLiveness()
    }

    @inline(__always)
    func noteEvidence() {
        guard let action = liveness?.evidenceReceived(at: core.loop.turnTime) else { return }
        perform([action])
    }

    @inline(__always)
    func noteSent() {
        guard !isWaitingForEvidence, liveness != nil else { return }
        liveness?.dataSent(at: core.loop.turnTime)
        armLiveness()
    }

    func requestProbe() {
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
        // What usrsctp's timers brought, if they did.
        pump()
        guard let sctp, !isClosed else { return }
        releaseSent()
        sctp.adaptTimeouts(silence: liveness?.silence(at: .now()))
        let isOutstanding = sctp.buffered > 0
        watchProgress(isOutstanding: isOutstanding)
        guard !isClosed else { return }
        let actions = liveness?.timerFired(
            at: .now(), hasUnacknowledgedData: isOutstanding, roundTrip: sctp.roundTrip)
        perform(actions ?? [])
        armLiveness()
    }

    private func perform(_ actions: [LivenessMachine.Action]) {
        for action in actions {
            switch action {
            case .probe: sctp?.probe(at: .now())
            case .reportSuspect(let since):
                log.debug("peer is silent")
                sctp?.adaptTimeouts(silence: .zero)
                emit(.liveness(.suspect(since: since)))
            case .reportAlive:
                log.debug("peer is alive again")
                sctp?.adaptTimeouts(silence: nil)
                emit(.liveness(.alive))
            }
        }
    }
}
