internal import Logging
public import TransportPluginAPI

/// Offers, answers and candidates (RFC 8829, RFC 8838, RFC 8842).
extension WebRTCConnection {
    public func offer() throws(TransportError) {
        core.loop.preconditionIsCurrent()
        try checkOpen()
        guard negotiation.side == .undecided else {
            throw Negotiation.stale("the connection has begun to negotiate already: use restart(iceServers:)")
        }
        let link = try makeLink(isControlling: true)
        let failure = try gather(link)
        negotiation.side = .offerer
        active = link
        setState(.connecting)
        sendOffer(for: link)
        if let failure { throw failure }
    }

    public func restart(iceServers: [ICEServer]) throws(TransportError) {
        core.loop.preconditionIsCurrent()
        try checkOpen()
        guard negotiation.side == .offerer, negotiation.remote != nil else {
            throw Negotiation.stale("only the offerer restarts, and only after its first offer was answered")
        }
        let before = self.iceServers
        self.iceServers = iceServers
        let link: AgentLink
        let failure: TransportError?
        do throws(TransportError) {
            link = try makeLink(isControlling: true)
            failure = try gather(link)
        } catch {
            self.iceServers = before
            throw error
        }
        replacePending(by: link)
        sendOffer(for: link)
        if let failure { throw failure }
    }

    public func setRemoteDescription(_ description: SessionDescription) throws(TransportError) {
        core.loop.preconditionIsCurrent()
        try checkOpen()
        switch description.kind {
        case .offer: try takeOffer(description)
        case .answer: try takeAnswer(description)
        }
    }

    public func addRemoteCandidate(_ candidate: PeerCandidate) throws(TransportError) {
        core.loop.preconditionIsCurrent()
        try checkOpen()
        if candidate.text.isEmpty {
            deliver(.end, fragment: candidate.usernameFragment)
            return
        }
        let text = try CandidateText(parsing: candidate.text)
        // Other components and other media sections have no transport here.
        guard text.component == 1 else { return }
        let fragment = candidate.usernameFragment ?? text.usernameFragment
        if fragment == nil, let mid = candidate.mediaID, let ours = negotiation.mid, mid != ours { return }
        deliver(.candidate(text.line), fragment: fragment)
    }

    // MARK: Offers

    /// What the agent finds is told behind the description. Returns why it finds nothing now, where it may later; throws, and has closed
    /// the link, when there is nothing to gather with.
    private func gather(_ link: AgentLink) throws(TransportError) -> TransportError? {
        do throws(TransportError) {
            try link.gather()
            return nil
        } catch {
            if error.code == .unreachable { return error }
            link.close()
            throw error
        }
    }

    private func sendOffer(for link: AgentLink) {
        negotiation.isOfferOpen = true
        let description = writer.offer(link.local, setup: .actpass)
        writer.version += 1
        log.trace("offer", metadata: ["generation": "\(link.local)"])
        emit(.localDescription(description))
    }

    private func takeAnswer(_ description: SessionDescription) throws(TransportError) {
        guard negotiation.side == .offerer, negotiation.isOfferOpen else {
            throw Negotiation.stale("the answer fits no open offer")
        }
        let answer = try DataDescription(parsing: description)
        try negotiation.check(answer)
        let fragment = answer.credentials.usernameFragment
        guard !remoteCandidates.isCurrent(fragment), !remoteCandidates.isOld(fragment) else {
            throw Negotiation.stale("the answer belongs to an earlier offer")
        }
        guard let link = pending ?? active else { return }
        // RFC 8842 §5.1: whoever answers `active` begins; over a living association the roles stay as they are.
        if dtls == nil { try makeSession(answer.setup == .active ? .server : .client, for: answer) }
        try link.setRemote(answer.credentials)
        negotiation.isOfferOpen = false
        accepted(answer, by: link)
    }

    // MARK: Answers

    private func takeOffer(_ description: SessionDescription) throws(TransportError) {
        guard negotiation.side != .offerer else {
            throw Negotiation.stale(
                "this side is the offerer of the connection: an offer of the other side has no place")
        }
        let offer = try DataDescription(parsing: description)
        try negotiation.check(offer)
        let fragment = offer.credentials.usernameFragment
        let newest = pending ?? active
        if let last = negotiation.lastAnswer, last.to == offer.credentials, newest?.remote == offer.credentials {
            emit(.localDescription(last.1))  // told again: the answer may have been lost
            return
        }
        guard !remoteCandidates.isCurrent(fragment), !remoteCandidates.isOld(fragment) else {
            throw Negotiation.stale("the offer belongs to a generation that was replaced")
        }
        // RFC 8445 §6.1.1: the offerer controls, unless it is a lite agent.
        let link = try makeLink(isControlling: offer.isICELite)
        var failure: TransportError?
        do throws(TransportError) {
            if dtls == nil { try makeSession(offer.setup == .active ? .server : .client, for: offer) }
            try link.setRemote(offer.credentials)
            try link.gather()
        } catch {
            // While there is a path, the other side gets its answer: it would take silence for a broken connection.
            let isShortage = error.code == .resourceExhausted && active != nil && link.remote != nil
            guard isShortage || error.code == .unreachable else {
                link.close()
                throw error
            }
            failure = error
        }
        negotiation.side = .answerer
        if active == nil {
            active = link
            setState(.connecting)
        } else {
            replacePending(by: link)
            if liveness?.isSuspect == false { letCandidatesArriveFirst(link) }
        }
        let setup: DTLSSetup = dtls?.role == .server ? .passive : .active
        let answer = writer.answer(to: offer, link.local, setup: setup)
        writer.version += 1
        negotiation.lastAnswer = (offer.credentials, answer)
        log.trace("answer", metadata: ["generation": "\(link.local)"])
        accepted(offer, by: link)
        emit(.localDescription(answer))
        if let failure {
            if failure.code == .unreachable { throw failure }
            emit(.gatheringFailed(failure))
        }
    }

    /// A check that overtakes our candidate makes the browser invent one (peer reflexive, of lower priority), which it gives up at once
    /// beside a path that works, and with it the path: so, while there is time, it is let to check first. libwebrtc's pruning of
    /// connections; measured: one ICE restart in three did not move the path.
    private func letCandidatesArriveFirst(_ link: AgentLink) {
        link.hold()
        core.loop.schedule(after: Self.candidateHeadStart) { link.release() }
    }
    private static let candidateHeadStart = Duration.milliseconds(100)

    // MARK: Both

    private func accepted(_ description: DataDescription, by link: AgentLink) {
        negotiation.remote = description
        remoteMaximumMessageSize = description.maximumMessageSize
        for item in remoteCandidates.began(description.credentials.usernameFragment) { link.add(item) }
        for candidate in description.candidates {
            guard let text = try? CandidateText(parsing: candidate), text.component == 1 else { continue }
            link.add(.candidate(text.line))
        }
        if description.hasEndOfCandidates { link.add(.end) }
    }

    private func deliver(_ item: RemoteCandidates.Item, fragment: String?) {
        guard let generation = remoteCandidates.route(item, fragment: fragment) else { return }
        for link in [pending, active] {
            if let link, link.remote?.usernameFragment == generation {
                link.add(item)
                return
            }
        }
    }

    private func makeLink(isControlling: Bool) throws(TransportError) -> AgentLink {
        let link = AgentLink(self)
        let configuration = ICEAgentConfiguration(
            isControlling: isControlling, servers: iceServers, policy: self.configuration.icePolicy)
        link.adopt(try core.makeAgent(configuration, link))
        return link
    }

    func checkOpen() throws(TransportError) {
        guard !isClosed else { throw TransportError(.closed, "the peer connection is closed") }
    }
}
