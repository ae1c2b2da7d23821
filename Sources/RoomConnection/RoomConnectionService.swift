internal import Glibc
internal import Logging
internal import NetworkMonitor
internal import RoomCore
internal import RoomProtocol
internal import RoomValues
internal import TransportPluginAPI

/// The engine of one room: performs the actions of its machine, over any pair of transports.
///
/// One isolation domain: everything runs on the peer transport's loop, so that a fact from a peer connection reaches
/// the machine, and an action reaches the connection, without a hop. The machine decides; the managers do the I/O.
///
/// SAFETY of `@unchecked Sendable`: `join` is behind its lock, all other state is touched only on the loop.
final class RoomConnectionService<Signaling: SignalingTransport, Peer: PeerTransport>: RoomEngine, @unchecked Sendable {
    private struct Join: Awaited {
        var outcome: Result<Void, RoomError>?
        var waiters = Waiters()
    }

    let loop: TransportLoop
    let hub: RoomHub
    private let configuration: RoomConfiguration
    private let hello: Hello
    private let signaling: SignalingShell<Signaling>
    private let peers: PeerManager<Peer>
    private var machine: RoomMachine
    private var timers: [RoomMachine.TimerID: LoopTimer] = [:]
    private var pending: [RoomMachine.Event] = []
    private var isHandling = false
    private var runner: Task<Void, Never>?
    private var hasJoined = false
    private var joinTimer: LoopTimer?
    /// Whether the provider has given a token.
    private var hasToken = false
    private let join = Locked(Join())
    private let metrics = RoomMetrics()
    private var notices = SignalingNotices()
    /// The last attempt opened a transport, and nothing took it.
    private var isUnanswered = false

    private let tokenProvider: ProviderCalls<any JoinCredentialConvertible>
    private let iceServerProvider: ProviderCalls<ProvidedICEServers>

    init(
        hello: Hello, configuration: RoomConfiguration, signaling: Signaling, peer: Peer,
        peerCapabilities: Capabilities
    ) {
        self.configuration = configuration
        loop = peer.loop
        self.hello = hello
        hub = RoomHub(
            room: hello.room.rawValue, loop: peer.loop, receiveLimit: configuration.receiveLimit,
            handlerGrace: configuration.handlerGrace)
        self.signaling = SignalingShell(transport: signaling, loop: peer.loop, limits: .init())
        tokenProvider = ProviderCalls("token provider", loop: peer.loop)
        iceServerProvider = ProviderCalls("ICE server provider", loop: peer.loop)
        peers = PeerManager(transport: peer, hub: hub, configuration: configuration, metrics: metrics)
        var generator = SystemRandomNumberGenerator()
        machine = RoomMachine(
            MachineConfiguration(hello, configuration, peer: peerCapabilities),
            addresses: NetworkSnapshot.usableAddresses(),
            seed: generator.next())
    }

    // MARK: From any task

    nonisolated(nonsending) func start(onEnd: @escaping @Sendable () -> Void) async {
        await loop.run { [self] in
            signaling.report = { [weak self] in self?.handle($0) }
            peers.report = { [weak self] in self?.handle($0) }
            // The one root task of the room: everything asynchronous is its child, on the loop's thread.
            runner = Task(executorPreference: loop.taskExecutor) { [signaling, loop, weak self] in
                await signaling.run()
                loop.execute { [weak self] in self?.closePeers(onEnd) }
            }
            handle(.started)
        }
    }

    nonisolated(nonsending) func waitUntilJoined(within deadline: Duration?) async throws(RoomError) {
        if let deadline { await loop.run { [self] in schedule(JoinDeadline(within: deadline, now: .now())) } }
        await join.wait { $0.outcome != nil }
        if deadline != nil { loop.execute { [self] in joinTimer?.cancel() } }
        guard let outcome = join.withLock({ $0.outcome }) else {
            throw RoomError(.cancelled, "joining the room was cancelled")
        }
        try outcome.get()
    }

    private func schedule(_ deadline: JoinDeadline) {
        joinTimer = loop.schedule(at: deadline.at) { [weak self] in
            guard let self else { return }
            var deadline = deadline
            guard deadline.hasPassed(hub.feed.present.signaling, now: .now()) else { return schedule(deadline) }
            finishJoin(.failure(RoomError(.timedOut, timeoutMessage(deadline.limit), isRetryable: true)))
        }
    }

    nonisolated(nonsending) func leave() async {
        // A room that outlives its runtime has already been left.
        let runner = await loop.runUnlessEnded { [self] in
            handle(.leaveRequested)
            return self.runner
        }
        guard let runner else { return }
        await runner?.value
        await withCheckedContinuation { continuation in
            let isTaken = loop.execute { [self] in closePeers { continuation.resume() } }
            if !isTaken { continuation.resume() }
        }
    }

    func reconnectNow() { loop.execute { [self] in handle(.reconnectRequested) } }

    func networkChanged(addresses: Set<String>) {
        let change = NetworkChange(addresses: addresses, signalingAddress: signaling.localAddress)
        handle(.networkChanged(change))
    }

    func woke(after sleep: Duration) { handle(.woke(after: sleep)) }

    func restartPaths(to participant: ParticipantID?) {
        loop.execute { [self] in handle(.restartRequested(participant)) }
    }

    func update(metadata: [String: String]) { loop.execute { [self] in handle(.metadataUpdated(metadata)) } }

    func update(attributes: [String: String]) { loop.execute { [self] in handle(.attributesUpdated(attributes)) } }

    func close(reason: String) { loop.execute { [self] in handle(.closeRequested(reason: reason)) } }

    func kick(_ participant: ParticipantID, reason: String) {
        loop.execute { [self] in handle(.kickRequested(participant, reason: reason)) }
    }

    nonisolated(nonsending) func statistics() async -> [ParticipantID: PeerConnectionStatistics] {
        await loop.runUnlessEnded { [self] in peers.statistics() } ?? [:]
    }

    // MARK: On the loop

    /// Passes a fact to the machine and performs its actions. Facts that arise meanwhile are queued.
    private func handle(_ event: RoomMachine.Event) {
        loop.preconditionIsCurrent()
        pending.append(event)
        guard !isHandling else { return }
        isHandling = true
        while !pending.isEmpty {
            let event = pending.removeFirst()
            for action in machine.handle(event, now: .now()) { perform(action) }
            // Together with the roster, which follows the news of the join: a caller that waited can send to the
            // participants that are there.
            if machine.membership != nil, !hasJoined {
                hasJoined = true
                hub.joined()
                finishJoin(.success(()))
            }
        }
        isHandling = false
    }

    private func perform(_ action: RoomMachine.Action) {
        switch action {
        case .openTransport(let generation):
            isUnanswered = true
            signaling.open(generation, configuration.server)
        case .abortTransport(let generation): signaling.abort(generation)
        case .closeTransport(let generation, let reason): signaling.close(generation, reason)
        case .send(let envelope, let generation):
            isUnanswered = false
            signaling.send(envelope, generation)
        case .requestCredential(let forced):
            isUnanswered = false
            requestToken(mustBeFresh: forced)
        case .requestICEServers: requestICEServers()
        case .scheduleTimer(let id, let deadline):
            timers[id]?.cancel()
            timers[id] = loop.schedule(at: deadline) { [weak self] in
                self?.timers[id] = nil
                self?.handle(.timerFired(id))
            }
        case .cancelTimer(let id): timers.removeValue(forKey: id)?.cancel()
        case .emit(let event): emit(event)
        case .peer(let participant, let id, let command): peers.perform(command, participant, id)
        }
    }

    // MARK: The application's providers

    private func requestToken(mustBeFresh: Bool) {
        guard let provider = configuration.token else {
            return handle(.credentialReady(token: nil, expiresAt: nil))
        }
        let request = TokenRequest(hello, mustBeFresh ? .refused : hasToken ? .expired : .firstJoin)
        tokenProvider.ask {
            try await provider(request)
        } _: { [weak self] answer in
            switch answer {
            case .success(let token):
                self?.hasToken = true
                let credential = token.joinCredential
                self?.handle(.credentialReady(token: credential.value, expiresAt: credential.expiresAt))
            case .failure(let failure): self?.handle(.credentialFailed(SignalingFailure(failure.description)))
            }
        }
    }

    private func requestICEServers() {
        guard let provider = configuration.iceServerProvider else { return }
        let request = ICEServerRequest(room: hello.room.rawValue, name: hello.name)
        iceServerProvider.ask {
            try await provider(request)
        } _: { [weak self] answer in
            switch answer {
            case .success(let provided):
                self?.handle(
                    .iceServersProvided(
                        provided.servers, ttl: provided.expiresAt.map { max($0 - .now(), .zero) }))
            case .failure(let failure): self?.handle(.iceServersFailed(SignalingFailure(failure.description)))
            }
        }
    }

    private func emit(_ event: RoomEvent) {
        switch event {
        case .joined(let membership): peers.joined(session: membership.session)
        case .peerJoined(let participant): peers.peerJoined(participant)
        case .peerLeft(let participant, _): peers.peerLeft(participant.id)
        case .peerChanged(let participant, _): peers.peerChanged(participant)
        case .peer(let participant, let status): peers.statusChanged(participant, status)
        case .stalled(let participant, let stall):
            configuration.logger.debug(
                "peer stalled",
                metadata: [
                    "peer": "\(participant)", "code": "\(stall.code)", "message": "\(stall.message)",
                ])
        case .incident(let incident): record(incident)
        case .left(let reason): return end(reason)
        case .signaling(let status): log(status)
        case .attributesChanged, .hostChanged, .resolved, .undelivered, .error: break
        }
        hub.emit(event)
    }

    /// An outage of signaling is no error of any call, so the log is where people learn of it.
    private func log(_ status: SignalingStatus) {
        guard let notice = notices.take(status) else { return }
        let (room, server) = (hello.room, configuration.server.url)
        switch notice {
        case .unreachable(let cause):
            let reason = cause.map { ": \($0)" } ?? ""
            configuration.logger.warning(
                "cannot reach the room '\(room)' at \(server)\(reason); trying again\(advice)")
        case .back: configuration.logger.notice("the room '\(room)' at \(server) is reached again")
        }
    }

    private var advice: String {
        isUnanswered && !hasJoined ? " (is a room server running there? 'room serve' starts one)" : ""
    }

    private func record(_ incident: RoomIncident) {
        metrics.record(incident)
        configuration.logger.debug(
            "incident",
            metadata: [
                "of": "\(incident.participant?.rawValue ?? "signaling")", "cause": "\(incident.cause.rawValue)",
                "outcome": "\(incident.outcome.rawValue)",
                "seconds": "\(incident.duration.inSeconds)",
                "steps": .array(
                    incident.steps.map { .string($0.description(since: incident.startedAt)) }),
            ])
    }

    private func end(_ reason: EndReason) {
        finishJoin(.failure(reason.error ?? RoomError(.left, "the room was left before it was joined")))
        for timer in timers.values { timer.cancel() }
        timers = [:]
        tokenProvider.giveUp()
        iceServerProvider.giveUp()
        // Reports messages that were not delivered.
        closePeers {}
        hub.emit(.left(reason))
        hub.end(reason)
        // A close handshake that is under way still ends by itself.
        signaling.finish()
    }

    private func closePeers(_ done: @escaping () -> Void) { peers.closeAll(done) }

    private func finishJoin(_ outcome: Result<Void, RoomError>) {
        let waiters = join.withLock { join -> [CheckedContinuation<Void, Never>] in
            guard join.outcome == nil else { return [] }
            join.outcome = outcome
            return join.waiters.removeAll()
        }
        for waiter in waiters { waiter.resume() }
    }

    private func timeoutMessage(_ deadline: Duration) -> String {
        let message = "the room '\(hello.room)' at \(configuration.server.url) was not reached within \(deadline)"
        return switch hub.feed.present.signaling {
        case .connecting(_, _, let cause?), .disconnected(let cause?): "\(message): \(cause)\(advice)"
        default: "\(message): no answer\(advice)"
        }
    }
}
