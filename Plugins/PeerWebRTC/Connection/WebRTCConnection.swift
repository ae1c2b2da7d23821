internal import Logging
public import TransportPluginAPI

/// One WebRTC peer connection with data channels only: the shell over its agents, DTLS and SCTP.
///
/// It lives on the transport's loop. `Negotiation` decides about descriptions, `PathMachine` about agents, and
/// `SCTPTransport` has the channels.
public final class WebRTCConnection: PeerConnection, @unchecked Sendable {
    // SAFETY: every member is touched on `core.loop` only; each public method checks.

    let core: TransportCore
    private let configuration: PeerConnectionConfiguration
    private let log: Logger
    let events: ConnectionEvents
    @exclusivity(unchecked) private var isClosed = false

    private var negotiation: Negotiation
    private var iceServers: [ICEServer]
    private var paths = PathMachine()
    /// Agents that are open, in the order in which they were made.
    private var links: [AgentLink] = []
    private var lastGeneration = 0
    private var retirement: LoopTimer?

    private let output: DatagramOutput
    private let dtls: DTLSTransport
    let sctp: SCTPTransport

    init(_ core: TransportCore, _ configuration: PeerConnectionConfiguration, handler: any PeerConnectionHandler) {
        self.core = core
        self.configuration = configuration
        var log = core.logger
        if !configuration.label.isEmpty { log[metadataKey: "peer"] = "\(configuration.label)" }
        self.log = log
        events = ConnectionEvents(core, handler: handler)
        output = DatagramOutput(pool: core.pool, loop: core.loop)
        dtls = DTLSTransport(core, output: output)
        sctp = SCTPTransport(core, configuration, events: events, output: output, log: log)
        iceServers = configuration.iceServers
        negotiation = Negotiation(
            writer: DescriptionWriter(
                sessionID: .random(in: 0...(.max >> 2)), version: 1, fingerprint: core.dtls.fingerprint, sctpPort: 5000,
                maximumMessageSize: configuration.maximumMessageSize))
        core.connections[ObjectIdentifier(events)] = self
        sctp.attach(to: self)
    }

    // MARK: Connection

    public var maximumMessageSize: Int { sctp.channels.maximumMessageSize }

    public var statistics: PeerConnectionStatistics {
        core.loop.preconditionIsCurrent()
        var statistics = sctp.channels.counters
        statistics.roundTrip = sctp.association?.roundTrip
        statistics.lastEvidence = sctp.monitor.liveness?.lastEvidence
        return statistics
    }

    public var security: PeerSecurity? {
        core.loop.preconditionIsCurrent()
        guard let remote = dtls.session?.remoteFingerprint else { return nil }
        let local = core.dtls.fingerprint
        return PeerSecurity(
            localFingerprint: local.text, remoteFingerprint: remote.text,
            verificationCode: VerificationCode.text(local, remote))
    }

    /// The layer that the connection waits for.
    public var stall: PeerStall? {
        core.loop.preconditionIsCurrent()
        guard !isClosed, let diagnosed = paths.diagnosed(at: core.loop.turnTime),
            let link = agentLink(diagnosed.generation)
        else { return nil }
        var diagnosis = link.diagnosis
        diagnosis.isRelayOnly = configuration.icePolicy == .relay
        diagnosis.relays = iceServers.flatMap(\.urls).filter { $0.hasPrefix("turn") }
        diagnosis.hasPath = diagnosed.isConnected
        diagnosis.isSilent = sctp.canCarryData && sctp.monitor.isSuspect
        if diagnosed.isConnected {
            diagnosis.encryption = dtls.session?.isEstablished == true ? .up : .unanswered
        }
        if diagnosis.encryption == .up { diagnosis.association = sctp.canCarryData ? .up : .unanswered }
        return diagnosis.stall
    }

    public func probe() {
        core.loop.preconditionIsCurrent()
        guard !isClosed else { return }
        sctp.monitor.probe()
    }

    public func updateICEServers(_ servers: [ICEServer]) {
        core.loop.preconditionIsCurrent()
        iceServers = servers
    }

    public func close() {
        core.loop.preconditionIsCurrent()
        finish(nil)
    }

    /// Ends everything; `.closed` will be the last event. Idempotent.
    func finish(_ error: TransportError?) {
        guard !isClosed else { return }
        isClosed = true
        log.debug("peer connection closed", metadata: ["error": "\(error.map { "\($0)" } ?? "none")"])
        sctp.end()
        dtls.end()
        output.end()
        for link in links { link.close() }
        links = []
        retirement?.cancel()
        events.emit(.closed(error))
    }

    private func checkOpen() throws(TransportError) {
        guard !isClosed else { throw TransportError(.closed, "the peer connection is closed") }
    }

    // MARK: Channels

    public func openChannel(_ parameters: ChannelParameters) throws(TransportError) -> ChannelID {
        core.loop.preconditionIsCurrent()
        try checkOpen()
        return try sctp.openChannel(parameters)
    }

    public func send(
        _ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID
    ) throws(TransportError) {
        core.loop.preconditionIsCurrent()
        try sctp.send(bytes, isText: isText, on: channel)
    }

    public func bufferedAmount(of channel: ChannelID) -> Int {
        core.loop.preconditionIsCurrent()
        return sctp.bufferedAmount(of: channel)
    }

    public func notifyWhenAcknowledged(_ channel: ChannelID) {
        core.loop.preconditionIsCurrent()
        sctp.notifyWhenAcknowledged(channel)
    }

    public func setReceiving(_ isReceiving: Bool, on channel: ChannelID) {
        core.loop.preconditionIsCurrent()
        sctp.setReceiving(isReceiving, on: channel)
    }

    public func closeChannel(_ channel: ChannelID) {
        core.loop.preconditionIsCurrent()
        sctp.closeChannel(channel)
    }

    // MARK: Negotiation

    public func offer() throws(TransportError) {
        core.loop.preconditionIsCurrent()
        try checkOpen()
        try negotiation.checkFirstOffer()
        try offerWithNewAgent(iceServers)
    }

    public func restart(iceServers: [ICEServer]) throws(TransportError) {
        core.loop.preconditionIsCurrent()
        try checkOpen()
        try negotiation.checkRestart()
        try offerWithNewAgent(iceServers)
    }

    /// Throws without an offer if no agent can be made. If the agent finds no candidates now but may later, the offer
    /// is sent and the reason is thrown.
    private func offerWithNewAgent(_ servers: [ICEServer]) throws(TransportError) {
        let link = try makeLink(isControlling: true, servers)
        var failure: TransportError?
        do throws(TransportError) { try link.gather() } catch {
            guard error.code == .unreachable else {
                link.close()
                throw error
            }
            failure = error
        }
        iceServers = servers
        adopt(link, candidateHold: PathMachine.offerersCandidateHold)
        log.trace("offer", metadata: ["generation": "\(link.local)"])
        events.emit(.localDescription(negotiation.offered(link.local)))
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

    private func takeAnswer(_ description: SessionDescription) throws(TransportError) {
        let answer = try negotiation.read(answer: description)
        guard let link = paths.newest.flatMap({ agentLink($0) }) else { return }
        try beginSession(with: answer)
        try link.setRemote(answer.credentials)
        let candidates = negotiation.accepted(answer: answer)
        sctp.remoteAccepts(messageSize: answer.maximumMessageSize)
        for candidate in candidates { link.add(candidate) }
    }

    private func takeOffer(_ description: SessionDescription) throws(TransportError) {
        let newest = paths.newest.flatMap { agentLink($0) }
        let offer: DataDescription
        switch try negotiation.read(offer: description, newest: newest?.remote) {
        case .new(let description): offer = description
        case .repeated(let answer): return events.emit(.localDescription(answer))
        }
        // RFC 8445 §6.1.1: the offerer controls, unless it is a lite agent.
        let link = try makeLink(isControlling: offer.isICELite, iceServers)
        var failure: TransportError?
        do throws(TransportError) {
            try beginSession(with: offer)
            try link.setRemote(offer.credentials)
            try link.gather()
        } catch {
            // While there is a path, the other side gets an answer: silence would look like a broken connection.
            let isShortage = error.code == .resourceExhausted && newest != nil && link.remote != nil
            guard isShortage || error.code == .unreachable else {
                link.close()
                throw error
            }
            failure = error
        }
        adopt(link, candidateHold: PathMachine.answerersCandidateHold)
        let (answer, candidates) = negotiation.accepted(
            offer: offer, local: link.local, role: dtls.session?.role ?? .client)
        sctp.remoteAccepts(messageSize: offer.maximumMessageSize)
        log.trace("answer", metadata: ["generation": "\(link.local)"])
        for candidate in candidates { link.add(candidate) }
        events.emit(.localDescription(answer))
        if let failure {
            if failure.code == .unreachable { throw failure }
            events.emit(.gatheringFailed(failure))
        }
    }

    public func addRemoteCandidate(_ candidate: PeerCandidate) throws(TransportError) {
        core.loop.preconditionIsCurrent()
        try checkOpen()
        guard let routed = try negotiation.received(candidate) else { return }
        let fragment = routed.usernameFragment
        links.last { $0.remote?.usernameFragment == fragment && !paths.isRetired($0.generation) }?.add(routed.item)
    }

    // MARK: Agents

    private func agentLink(_ generation: PathMachine.Generation) -> AgentLink? {
        links.first { $0.generation == generation }
    }

    private func makeLink(isControlling: Bool, _ servers: [ICEServer]) throws(TransportError) -> AgentLink {
        lastGeneration += 1
        let link = AgentLink(self, generation: lastGeneration)
        let configuration = ICEAgentConfiguration(
            isControlling: isControlling, servers: servers, policy: self.configuration.icePolicy)
        link.adopt(try core.makeAgent(configuration, link))
        return link
    }

    /// `candidateHold`: while the path in use works.
    private func adopt(_ link: AgentLink, candidateHold: Duration) {
        links.append(link)
        let isDead = sctp.monitor.isSuspect || output.link?.hasLostAddress == true
        perform(
            paths.agentMade(link.generation, candidateHold: isDead ? nil : candidateHold, at: core.loop.turnTime))
    }

    func agent(_ link: AgentLink, didEmit event: ICEAgentEvent) {
        guard !isClosed else { return }
        switch event {
        case .candidate(let line):
            guard !paths.isRetired(link.generation) else { return }
            events.emit(
                .localCandidate(
                    PeerCandidate(
                        text: line, mediaID: negotiation.mediaID, mediaLineIndex: negotiation.mediaIndex,
                        usernameFragment: link.local.usernameFragment)))
        case .gatheringDone:
            guard !paths.isRetired(link.generation) else { return }
            events.emit(.endOfLocalCandidates(usernameFragment: link.local.usernameFragment))
        case .selected(let path): perform(paths.selected(path, by: link.generation))
        case .state(let state):
            log.trace("ICE", metadata: ["generation": "\(link.local)", "state": "\(state)"])
            switch state {
            case .new, .checking: break
            case .connected: perform(paths.connected(link.generation))
            case .failed: perform(paths.failed(link.generation))
            }
        }
    }

    private func perform(_ actions: [PathMachine.Action]) {
        for action in actions {
            switch action {
            case .carry(let generation): output.link = agentLink(generation)
            case .expire(let generation):
                if let remote = agentLink(generation)?.remote { negotiation.generationEnded(remote.usernameFragment) }
            case .close(let generation):
                agentLink(generation)?.close()
                links.removeAll { $0.generation == generation }
            case .scheduleRetirement(let duration):
                retirement = core.loop.schedule(after: duration) { [unowned self] in perform(paths.retirementOver()) }
            case .cancelRetirement: retirement?.cancel()
            case .holdCandidates(let generation, let duration): agentLink(generation)?.hold(for: duration)
            case .releaseCandidates(let generation): agentLink(generation)?.release()
            case .flush: output.pathIsUp()
            case .handshake:
                dtls.handshake()
                handshakeProgressed()
            case .examinePath: sctp.monitor.pathReplaced()
            case .reportState(let state):
                log.debug("peer connection state", metadata: ["state": "\(state)"])
                events.emit(.state(state))
            case .reportChecked: events.emit(.pathChecked)
            case .reportPath(let generation, let path):
                guard let link = agentLink(generation), let path = path ?? link.path else { continue }
                events.emit(.pathChanged(link.named(path)))
            }
        }
    }

    // MARK: DTLS and SCTP

    private func beginSession(with description: DataDescription) throws(TransportError) {
        guard dtls.session == nil else { return }
        let role = Negotiation.role(opposite: description)
        try dtls.begin(role, fingerprints: description.fingerprints)
        sctp.rolesSettled(isClient: role == .client)
        if let early = dtls.takeEarly() { core.loop.atEndOfTurn { [self] in receive(early) } }
    }

    /// Processes the result of a step of the handshake.
    private func handshakeProgressed() {
        guard !isClosed else { return }
        switch dtls.progress(hasPath: paths.isConnected, onTimeout: { [unowned self] in handshakeProgressed() }) {
        case .unfinished: break
        case .failed(let error): finish(error)
        case .established(let session):
            guard let remote = negotiation.remote else { return }
            do throws(TransportError) {
                try sctp.begin(over: session, from: negotiation.sctpPort, to: remote.sctpPort)
            } catch { finish(error) }
        }
    }

    /// The association has begun to carry data.
    func associationIsUp() { perform(paths.associationEstablished()) }

    /// The other side has been silent for too long.
    func peerIsSuspect() { perform(paths.peerSuspected()) }

    /// Passes datagrams of any agent through DTLS and SCTP to the channels, in one chain of calls. Every path may
    /// deliver datagrams that DTLS authenticates.
    func receive(_ batch: DatagramBatch) {
        guard !isClosed else { return }
        guard let session = dtls.session else { return dtls.keepEarly(batch) }
        // The resulting output is sent when this is done, not at the end of the turn.
        output.isFlushScheduled = true
        defer {
            output.isFlushScheduled = false
            output.flush()
        }
        let plain = core.plain
        var isEvidence = false
        var isForSCTP = false
        session.beginInput(batch)
        while true {
            let wasEstablished = session.isEstablished
            let count = session.read(into: plain)
            if !wasEstablished { handshakeProgressed() }
            guard count > 0, let base = plain.baseAddress else { break }
            isEvidence = true
            guard let association = sctp.association else { continue }
            switch association.takeHeartbeat(UnsafeRawBufferPointer(start: base, count: count), at: core.loop.turnTime)
            {
            case .answered: break
            case .acknowledged(let heartbeat): sctp.monitor.heartbeatAnswered(heartbeat)
            case .other:
                if !isForSCTP { core.stack.noteActivity() }
                isForSCTP = true
                association.input(base, count: count)
            }
        }
        session.endInput()
        if isEvidence { sctp.monitor.noteEvidence() }
        if isForSCTP { sctp.packetsReceived() }
        sctp.sendOutbox()
        if let failure = session.failure { finish(failure.code == .closed ? nil : failure) }
    }
}
