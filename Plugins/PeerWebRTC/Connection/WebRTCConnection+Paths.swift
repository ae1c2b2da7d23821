internal import Logging
internal import TransportPluginAPI

/// ICE agents under a living DTLS session: one carries, a second one takes over (make before break).
extension WebRTCConnection {
    /// How long a replaced agent still receives: what the other side had sent before it noticed.
    private static let retirementTime = Duration.seconds(3)

    func agent(_ link: AgentLink, didEmit event: ICEAgentEvent) {
        guard !isClosed else { return }
        switch event {
        case .candidate(let line):
            guard link !== retired else { return }
            emit(
                .localCandidate(
                    PeerCandidate(
                        text: line, mediaID: negotiation.mid, mediaLineIndex: negotiation.mediaIndex,
                        usernameFragment: link.local.usernameFragment)))
        case .gatheringDone:
            guard link !== retired else { return }
            emit(.endOfLocalCandidates(usernameFragment: link.local.usernameFragment))
        case .selected(let path):
            tellChecked(link)
            if link === active { emit(.pathChanged(link.named(path))) }
        case .state(let state): stateChanged(state, of: link)
        }
    }

    private func stateChanged(_ state: ICEAgentState, of link: AgentLink) {
        log.trace("ICE", metadata: ["generation": "\(link.local)", "state": "\(state)"])
        switch state {
        case .new, .checking: break
        case .connected:
            tellChecked(link)
            link.isConnected = true
            link.hasFailed = false
            if link === pending {
                promote(link)
            } else if link === active {
                pathIsUp()
            }
        case .failed:
            link.isConnected = false
            link.hasFailed = true
            if link === active { setState(.disconnected) }
        }
    }

    private func tellChecked(_ link: AgentLink) {
        guard !link.isChecked, link !== retired else { return }
        link.isChecked = true
        emit(.pathChecked)
    }

    /// From here on everything is sent over `link`.
    private func promote(_ link: AgentLink) {
        retire()
        retired = active
        active = link
        pending = nil
        if let old = retired {
            if let fragment = old.remote?.usernameFragment { remoteCandidates.ended(fragment) }
            retirement = core.loop.schedule(after: Self.retirementTime) { [unowned self] in retire() }
        }
        log.debug("path replaced", metadata: ["generation": "\(link.local)"])
        if let path = link.path { emit(.pathChanged(path)) }
        pathIsUp()
        // The new path shows at once whether it carries, and data that waits for a timer goes on.
        if liveness != nil { requestProbe() }
        pathReplaced()
    }

    private func pathIsUp() {
        output.pathIsUp()
        if canCarryData {
            setState(.connected)
        } else {
            setState(.connecting)
            if dtls?.role == .client { dtls?.handshake() }
            handshakeWentOn()
        }
    }

    func replacePending(by link: AgentLink) {
        if let old = pending {
            if let fragment = old.remote?.usernameFragment { remoteCandidates.ended(fragment) }
            old.close()
        }
        pending = link
    }

    private func retire() {
        retirement?.cancel()
        retirement = nil
        retired?.close()
        retired = nil
    }
}
