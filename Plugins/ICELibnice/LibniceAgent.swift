internal import CNice
internal import GLibLoop
internal import Glibc
public import TransportPluginAPI

/// An ICE agent on libnice: the shell over one NiceAgent.
///
/// libnice gathers candidates, performs checks and sends keepalives. Datagrams of the application bypass it on paths
/// without a relay: see `DataSocket`. libnice's consent checks are off, since they would end a path after ten seconds
/// of silence: the user of the agent decides when a path is lost.
///
/// **Lifetime.** The agent keeps itself and its handler alive until `close()`. An agent that is open when its loop ends
/// is closed.
public final class LibniceAgent: ICEAgent {
    public var localCredentials: ICECredentials { nice.localCredentials }
    public var selectedPath: PeerPath? { connectivity.selectedPath }

    private let loop: TransportLoop
    private let context: GLibContext
    private let receiver: DatagramReceiver
    private let options: LibniceProvider.Options
    /// Whether everything goes through a relay, including checks.
    private let isRelayOnly: Bool
    private let nice: NiceAgentHandle
    private let sockets = AgentSockets()
    private let stun: STUNClient
    private let relays: RelayClient
    /// The handler; nil once closed.
    private var handler: (any ICEAgentHandler)?
    private var events: [ICEAgentEvent] = []

    private var gathering = GatheringMachine()
    private var candidates = LocalCandidates()
    private var connectivity = ConnectivityMachine()
    private var hasRemoteCredentials = false
    private var pacing: CandidatePacing
    private var pacingTimer: LoopTimer?
    private lazy var offersLoopback = options.localAddresses().contains(where: \.isLoopback)

    init(
        _ configuration: ICEAgentConfiguration, _ options: LibniceProvider.Options, _ loop: TransportLoop,
        _ handler: any ICEAgentHandler
    ) throws(TransportError) {
        let servers = Servers(configuration.servers)
        try AgentBudget.shared.check()
        let context = try GLibContext(on: loop)
        var isDone = false
        defer { if !isDone { context.end() } }
        receiver = try DatagramReceiver.on(loop)
        let pacing = max(1, min(1000, options.pacing))
        nice = try NiceAgentHandle(configuration, options, pacing: pacing, in: context)
        self.loop = loop
        self.context = context
        self.options = options
        self.pacing = CandidatePacing(interval: .milliseconds(pacing))
        self.handler = handler
        isRelayOnly = configuration.policy == .relay
        let stunServers = configuration.policy == .relay ? [] : servers.stun
        stun = STUNClient(stunServers, on: loop, sockets: sockets)
        relays = RelayClient(servers.turn, on: loop, nice: nice)

        // Without twins to send from, libnice itself asks a STUN server, but only the first one.
        if !options.usesDirectPath || !DataSocket.isSupported, let server = stunServers.first {
            nice.setSTUNServer(server)
        }
        stun.onAnswer = { [unowned self] in answered(socket: $0, $1) }
        stun.onProgress = { [unowned self] in finishGathering() }
        stun.needsKeepalive = { [unowned self] in isOpen && selectedPath == nil }
        relays.onLookedUp = { [unowned self] in lookedUp($0, $1) }
        // libnice's callbacks get an unretained pointer. It is valid until `dispose`, which disconnects them, because
        // the end handler of the context keeps this object until then.
        nice.connect(to: self)
        isDone = true
        context.atEnd(of: self) { self.close() }
        AgentBudget.shared.made()
    }

    // MARK: Gathering

    public func gather() throws(TransportError) {
        try checkOpen()
        guard !gathering.isBegun else {
            throw TransportError(.invalidState, "this ICE agent has gathered already; make a new agent")
        }
        let addresses = options.localAddresses()
        guard !addresses.isEmpty else {
            throw TransportError(.unreachable, "this machine has no network address to offer", isRetryable: true)
        }
        let (usable, isRelayOnly) = try options.withPorts(addresses, hasRelays: !relays.relays.isEmpty)
        if isRelayOnly {
            nice.forceRelay()
        } else if let ports = options.ports {
            nice.setPorts(ports)
        }
        pacing.localCount = usable.count
        // Before: libnice may report its end at once.
        gathering.began(relays: relays.relays.count)
        guard nice.gather(on: usable) else {
            throw TransportError(
                .resourceExhausted, "libnice could not bind a socket to each of \(usable.count) local addresses",
                isRetryable: true)
        }
        splitSockets()
        if !isRelayOnly { stun.begin() }
        gathering.started()
        relays.begin()
        finishGathering()
    }

    /// libnice has found a candidate.
    func found(_ candidate: UnsafeMutablePointer<NiceCandidate>) {
        guard isOpen, let (value, line) = nice.describe(candidate) else { return }
        if value.kind == .relay { relays.stop() }
        if candidates.found(value) { emit(.candidate(line)) }
    }

    /// A STUN server has reported the address of a socket.
    private func answered(socket index: Int, _ address: IPEndpoint) {
        let socket = sockets.all[index]
        let line = candidates.reflexiveLine(
            index, base: IPEndpoint(socket.localAddress, port: socket.localPort), seenAt: address)
        if let line { emit(.candidate(line)) }
    }

    private func lookedUp(_ relay: Servers.Relay, _ addresses: [IPAddress]) {
        guard isOpen else { return }
        let wasDone = gathering.isLibniceDone
        let hasBegun = relays.requestAllocation(from: relay, at: addresses, using: options.localAddresses())
        gathering.relayLookedUp(asksAgain: wasDone && hasBegun)
        finishGathering()
    }

    /// libnice has all of its candidates.
    func gatheringDone() {
        gathering.libniceDone()
        finishGathering()
    }

    private func finishGathering() {
        guard gathering.takeEnd(isSTUNOver: stun.isOver) else { return }
        relays.stop()
        emit(.gatheringDone)
        closeSpareSockets()
    }

    // MARK: The other side

    public func setRemoteCredentials(_ credentials: ICECredentials) throws(TransportError) {
        try checkOpen()
        guard !hasRemoteCredentials else {
            throw TransportError(
                .invalidState, "the remote ICE credentials were set already; make a new agent for new ones")
        }
        let (fragment, password) = (credentials.usernameFragment, credentials.password)
        // RFC 8839 §5.4 allows only ice-chars. Some implementations send base64 with padding, or its variant for URLs;
        // libnice accepts both.
        func isVisible(_ text: String) -> Bool { text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } }
        guard (4...256).contains(fragment.utf8.count), isVisible(fragment), (22...256).contains(password.utf8.count),
            isVisible(password)
        else {
            throw TransportError(
                .protocolViolation,
                "the remote ICE credentials must have 4 to 256 and 22 to 256 characters of visible ASCII")
        }
        guard nice.setRemoteCredentials(credentials) else {
            throw TransportError(.protocolViolation, "libnice refused the remote ICE credentials")
        }
        hasRemoteCredentials = true
        addWaitingCandidates()
    }

    public func addRemoteCandidate(_ candidate: String) throws(TransportError) {
        try checkOpen()
        // Only a machine that offers its own loopback address accepts the other side's, which is the same machine then.
        // If everything goes through a relay, it is the relay's loopback.
        let line = try CandidateLine(candidate)
        guard pacing.append(line, takesLoopback: isRelayOnly || offersLoopback) else { return }
        addWaitingCandidates()
    }

    public func endOfRemoteCandidates() {
        loop.preconditionIsCurrent()
        guard isOpen else { return }
        pacing.end()
        addWaitingCandidates()
    }

    /// Gives libnice as many of the other side's candidates as it can check soon.
    private func addWaitingCandidates() {
        guard isOpen, hasRemoteCredentials else { return }
        while let line = pacing.next(at: loop.turnTime, isConnected: selectedPath != nil) { nice.add(line) }
        if pacing.takeEnd() { nice.endOfRemoteCandidates() }
        context.setNeedsPass()
        guard pacingTimer == nil, let pause = pacing.pause(at: loop.turnTime) else { return }
        pacingTimer = loop.schedule(after: pause) { [weak self] in
            self?.pacingTimer = nil
            self?.addWaitingCandidates()
        }
    }

    /// The other side has begun to check.
    func requestReceived() { nice.checkNow() }

    // MARK: Paths

    /// The state of libnice's component has changed.
    func changed(to component: ConnectivityMachine.Component) {
        let state = connectivity.changed(to: component)
        if isOpen {
            nice.setIdle(connectivity.isReady)
            closeSpareSockets()
        }
        if let state { emit(.state(state)) }
    }

    /// libnice has selected a pair.
    func selected(local: UnsafeMutablePointer<NiceCandidate>, remote: UnsafeMutablePointer<NiceCandidate>) {
        guard isOpen else { return }
        let (here, there) = (NiceCandidateValue(local), NiceCandidateValue(remote))
        sockets.deselect()
        if here.kind != .relay, here.isUDP {
            let descriptor = nice.selectedDescriptor
            if !sockets.hasTwin(of: descriptor) { splitSockets() }
            sockets.select(descriptor) { nice_address_copy_to_sockaddr(&remote.pointee.addr, $0) }
        }
        let path = candidates.path(local: here, remote: there)
        guard connectivity.selected(path) else { return }
        // Not inside a callback of libnice.
        if pacing.isWaiting { loop.atEndOfTurn { [self] in addWaitingCandidates() } }
        emit(.selected(path))
    }

    // MARK: Datagrams

    public func send(_ batch: DatagramBatch) {
        if !sockets.send(batch), selectedPath != nil, isOpen { nice.send(batch) }
        batch.removeAll()
    }

    /// Gives every UDP socket of libnice a companion for data, before the other side can know of its address.
    private func splitSockets() {
        guard options.usesDirectPath else { return }
        sockets.split(nice.descriptors, on: loop) { [unowned self] in receive(from: $0) }
    }

    /// Closes the twins that are not selected, when no candidate is gathered and no pair is checked any longer. Data
    /// that arrives on another socket then goes the slow way, through libnice.
    private func closeSpareSockets() {
        guard sockets.outgoing != nil, gathering.isEnded, connectivity.isReady else { return }
        stun.stop()
        sockets.closeSpare()
    }

    private func receive(from descriptor: Int32) {
        guard let handler, receiver.receive(from: descriptor, at: loop.turnTime) else { return }
        // Answers arrive in the first seconds, and as long as there is no path.
        let mayHoldAnswers = selectedPath == nil || stun.mayAnswer(at: loop.turnTime)
        let batch = mayHoldAnswers ? stun.takeAnswers(receiver.batch) : receiver.batch
        if !batch.isEmpty { handler.iceAgent(didReceive: batch) }
    }

    /// A datagram has arrived the slow way: libnice has read it, and does not handle it. Such datagrams may be repeated
    /// answers to requests that libnice has forgotten; STUN still belongs to the agent (RFC 7983 §7).
    func received(_ datagram: UnsafeRawBufferPointer) {
        guard let handler, let first = datagram.first, first > 3 else { return }
        receiver.batch.removeAll()
        guard receiver.batch.append(datagram) else { return }
        handler.iceAgent(didReceive: receiver.batch)
    }

    // MARK: Events

    /// Emits an event at the end of the turn, since libnice also emits events inside of calls that the handler made.
    private func emit(_ event: ICEAgentEvent) {
        guard isOpen else { return }
        if events.isEmpty { loop.atEndOfTurn { [self] in flushEvents() } }
        events.append(event)
    }

    private func flushEvents() {
        var index = 0
        while index < events.count {
            let event = events[index]
            index += 1
            handler?.iceAgent(didEmit: event)
        }
        events.removeAll(keepingCapacity: true)
    }

    // MARK: End

    private var isOpen: Bool { handler != nil }

    private func checkOpen() throws(TransportError) {
        loop.preconditionIsCurrent()
        guard isOpen else { throw TransportError(.closed, "the ICE agent is closed") }
    }

    public func close() {
        loop.preconditionIsCurrent()
        guard isOpen else { return }
        handler = nil
        events = []
        pacing.close()
        pacingTimer?.cancel()
        pacingTimer = nil
        connectivity.closed()
        relays.stop()
        stun.stop()
        sockets.close()
        AgentBudget.shared.closing()
        // `dispose` does the rest, once.
        nice.close(for: self)
    }

    /// libnice has released everything.
    func dispose() {
        guard nice.dispose(for: self) else { return }
        context.removeAtEnd(of: self)
        context.end()
        AgentBudget.shared.closed()
    }

    /// The number of GLib's passes for the agent. For tests: steady data flow must not raise it.
    var passCount: Int { context.passCount }
    /// Whether datagrams bypass libnice at the moment. For tests.
    var isDirect: Bool { sockets.outgoing != nil }
}
