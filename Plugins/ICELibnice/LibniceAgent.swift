internal import CGLib
internal import CNice
internal import GLibLoop
internal import Glibc
public import TransportPluginAPI

/// An ICE agent on libnice: one NiceAgent with one stream of one component.
///
/// libnice gathers, checks and keeps alive. Datagrams of the application bypass it on paths without a relay: see
/// `DataSocket`. libnice's consent checks are off, since they end a path after ten seconds of silence: whoever uses the
/// agent decides about life and death.
///
/// **Lifetime.** The agent keeps itself, and its handler, until `close()`. An agent that is still open when its loop ends is
/// closed then.
public final class LibniceAgent: ICEAgent {
    public let localCredentials: ICECredentials
    public private(set) var selectedPath: PeerPath?

    let loop: TransportLoop
    let context: GLibContext
    private let receiver: DatagramReceiver
    let options: LibniceProvider.Options
    /// The NiceAgent; nil once given back.
    private(set) var agent: OpaquePointer?
    let stream: guint
    private(set) var handler: (any ICEAgentHandler)?

    private var events: [ICEAgentEvent] = []
    private var state = ICEAgentState.new
    private var hasStartedGathering = false
    private var hasRemoteCredentials = false
    private var remoteCandidateCount = 0
    private lazy var offersLoopback = options.localAddresses().contains(where: \.isLoopback)
    private var pacing: CandidatePacing
    /// The id of libnice's timer for checks, 0 while unknown.
    private var checkTimer: guint = 0

    var relays = RelayInquiry()
    /// They are told to libnice when it has its sockets and these are split: while a socket is being split, the kernel may give an answer
    /// to the wrong one.
    private let turnServers: [Servers.Relay]
    /// How many of them libnice does not know of yet.
    var pendingRelays = 0
    let stunServers: [ICEServerURL]
    /// Everything goes through a relay, checks included.
    private let isRelayOnly: Bool
    var stun = StunInquiry()
    var stunTimer: LoopTimer?
    /// When the last answer will have come.
    var stunEnd = Timestamp.zero
    /// Of host candidates, by address and port.
    private(set) var hostPriorities: [String: UInt32] = [:]
    /// Addresses and ports of server-reflexive candidates that were told.
    var reflexive: Set<String> = []
    /// What libnice says; it knows nothing of pending relays.
    var hasGathered = false
    private var hasToldEnd = false
    /// libnice has nothing left to check.
    private var isReady = false
    /// Neither a STUN server nor a relay with a name was asked so far.
    private var isStarting = true

    private(set) var sockets: [DataSocket] = []
    /// Where datagrams leave while the selected path allows to bypass libnice.
    private var outgoing: DataSocket?
    private let remoteAddress: UnsafeMutablePointer<sockaddr_storage>
    private var remoteAddressSize: socklen_t = 0

    /// Candidates of the other side beyond this many are ignored.
    static let maximumRemoteCandidates = 64
    /// The pairs that libnice keeps: enough for all remote candidates with all that a machine gathers (RFC 8445 §6.1.2.5 asks for a limit
    /// and leaves it open; what bounds the checks that others can ask for is the number of their candidates). libnice's own limit of 100
    /// drops the pairs of the lowest priority, among them all relays', before anything is known of the others.
    private static let maximumPairs: guint = 2048
    static let component: guint = 1
    /// How long libnice goes on ticking when there is nothing left to check, in milliseconds: before a failure is told, and
    /// after success.
    private static let idleBeforeFailure: guint = 5000
    private static let idleAfterSuccess: guint = 50

    init(
        _ configuration: ICEAgentConfiguration, _ options: LibniceProvider.Options, _ loop: TransportLoop,
        _ handler: any ICEAgentHandler
    ) throws(TransportError) {
        let servers = Servers(configuration.servers)
        try AgentBudget.shared.check()
        let context = try GLibContext(on: loop)
        var isDone = false
        defer { if !isDone { context.end() } }
        let receiver = try DatagramReceiver.on(loop)
        guard
            let agent = CNice_agent_new(
                context.mainContext, configuration.isControlling ? 1 : 0, options.nomination == .aggressive ? 1 : 0,
                configuration.policy == .relay ? 1 : 0, options.usesTCP ? 1 : 0,
                guint(max(1, min(1000, options.pacing))),
                Self.idleBeforeFailure, Self.maximumPairs)
        else {
            throw TransportError(.resourceExhausted, "libnice gave no agent")
        }
        let stream = nice_agent_add_stream(agent, 1)
        var fragment: UnsafeMutablePointer<gchar>?
        var password: UnsafeMutablePointer<gchar>?
        guard stream > 0, nice_agent_get_local_credentials(agent, stream, &fragment, &password) != 0, let fragment,
            let password
        else {
            g_object_unref(UnsafeMutableRawPointer(agent))
            throw TransportError(.resourceExhausted, "libnice gave no stream")
        }
        localCredentials = ICECredentials(
            usernameFragment: String(cString: fragment), password: String(cString: password))
        g_free(fragment)
        g_free(password)
        self.loop = loop
        self.context = context
        self.receiver = receiver
        self.options = options
        pacing = CandidatePacing(interval: .milliseconds(max(1, min(1000, options.pacing))))
        self.agent = agent
        self.stream = stream
        self.handler = handler
        isRelayOnly = configuration.policy == .relay
        stunServers = configuration.policy == .relay ? [] : servers.stun
        turnServers = servers.turn
        remoteAddress = .allocate(capacity: 1)
        remoteAddress.initialize(to: sockaddr_storage())

        // Where there are no twins to ask from, libnice asks, the first one only.
        if !options.usesDirectPath || !DataSocket.isSupported, let stun = stunServers.first {
            CNice_set_stun_server(agent, stun.host, guint(stun.port))
        }
        // libnice's callbacks get an unretained pointer. It is valid until `dispose`, which disconnects them, because the
        // end handler of the context keeps this object until then.
        let pointer = Unmanaged.passUnretained(self).toOpaque()
        Callbacks.connect(agent, stream, context.mainContext, pointer)
        isDone = true
        context.atEnd(of: self) { self.close() }
        AgentBudget.shared.made()
    }

    deinit { remoteAddress.deallocate() }

    // MARK: ICEAgent

    public func gather() throws(TransportError) {
        let agent = try open()
        guard !hasStartedGathering else {
            throw TransportError(.invalidState, "this ICE agent has gathered; a fresh agent gathers anew")
        }
        let addresses = options.localAddresses()
        guard !addresses.isEmpty else {
            throw TransportError(.unreachable, "this machine has no network address to offer", isRetriable: true)
        }
        let (usable, isRelayOnly) = try withPorts(addresses)
        if isRelayOnly {
            CNice_force_relay(agent)
        } else if let ports = options.ports {
            nice_agent_set_port_range(agent, stream, Self.component, guint(ports.lowerBound), guint(ports.upperBound))
        }
        for address in usable { address.add(to: agent) }
        pacing.localCount = usable.count
        hasStartedGathering = true
        // Before: libnice may tell of the end at once.
        pendingRelays = turnServers.count
        var isGathering = false
        beginAtOnce { isGathering = nice_agent_gather_candidates(agent, stream) != 0 }
        guard isGathering else {
            throw TransportError(
                .resourceExhausted, "libnice could not bind a socket to each of \(usable.count) local addresses",
                isRetriable: true)
        }
        splitSockets()
        if !isRelayOnly { askStunServers() }
        isStarting = false
        for relay in turnServers { lookUp(relay) }
        askRelaysAgain()
        finishGathering()
    }

    /// Those on which a port of the configured range is free: libnice gives up all of them for one. Where there is none, relays can still be
    /// reached from another port, and only they.
    private func withPorts(_ addresses: [LocalAddress]) throws(TransportError) -> ([LocalAddress], isRelayOnly: Bool) {
        guard let ports = options.ports else { return (addresses, false) }
        let usable = addresses.filter { $0.hasFreePort(in: ports) }
        if !usable.isEmpty { return (usable, false) }
        guard !turnServers.isEmpty else {
            throw TransportError(
                .resourceExhausted,
                "no UDP port from \(ports.lowerBound) to \(ports.upperBound) is free; each peer takes one, and two while its "
                    + "path is replaced: widen ice-port-min and ice-port-max", isRetriable: true)
        }
        return (addresses, true)
    }

    public func setRemoteCredentials(_ credentials: ICECredentials) throws(TransportError) {
        let agent = try open()
        guard !hasRemoteCredentials else {
            throw TransportError(
                .invalidState, "the remote ICE credentials were set before; a fresh agent takes new ones")
        }
        let (fragment, password) = (credentials.usernameFragment, credentials.password)
        // RFC 8839 §5.4 has ice-chars only. Others send base64 with its padding, or its variant for URLs, and libnice minds neither.
        func isVisible(_ text: String) -> Bool { text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } }
        guard (4...256).contains(fragment.utf8.count), isVisible(fragment), (22...256).contains(password.utf8.count),
            isVisible(password)
        else {
            throw TransportError(
                .protocolViolation,
                "the remote ICE credentials are not 4 to 256 and 22 to 256 characters of visible ASCII")
        }
        guard nice_agent_set_remote_credentials(agent, stream, fragment, password) != 0 else {
            throw TransportError(.protocolViolation, "libnice refused the remote ICE credentials")
        }
        hasRemoteCredentials = true
        addWaitingCandidates()
    }

    public func addRemoteCandidate(_ candidate: String) throws(TransportError) {
        _ = try open()
        let line = try CandidateLine(candidate)
        guard line.isUsable, remoteCandidateCount < Self.maximumRemoteCandidates else { return }
        // What listens there is none of the other side's business, unless both are on this machine and have nothing else. A relay that
        // everything goes through means its own loopback, not this machine's.
        if IPAddress(line.address)?.isLoopback == true, !offersLoopback, !isRelayOnly { return }
        remoteCandidateCount += 1
        pacing.append(line)
        addWaitingCandidates()
    }

    public func endOfRemoteCandidates() {
        guard (try? open()) != nil else { return }
        pacing.end()
        addWaitingCandidates()
    }

    public func send(_ batch: DatagramBatch) {
        if let outgoing {
            outgoing.send(batch, to: remoteAddress, size: remoteAddressSize)
        } else if selectedPath != nil, let agent, handler != nil {
            for index in 0..<batch.count {
                let datagram = batch[index]
                nice_agent_send(
                    agent, stream, Self.component, guint(datagram.count),
                    datagram.baseAddress?.assumingMemoryBound(to: gchar.self))
            }
            // A relay's permissions and channels have timers.
            context.setNeedsPass()
        }
        batch.removeAll()
    }

    public func close() {
        loop.preconditionIsCurrent()
        guard handler != nil, let agent else { return }
        handler = nil
        events = []
        pacing.close()
        selectedPath = nil
        outgoing = nil
        relays.end()
        stun.end()
        stunTimer?.cancel()
        stunTimer = nil
        for socket in sockets { socket.close() }
        sockets = []
        AgentBudget.shared.closing()
        // TURN allocations are given back in the background; `onClosed` does the rest, once.
        let pointer = Unmanaged.passRetained(self).toOpaque()
        context.asDefault { nice_agent_close_async(agent, Callbacks.onClosed, pointer) }
        context.setNeedsPass()
    }

    /// How often GLib was run for the agent. For tests: steady data flow must not raise it.
    var passCount: Int { context.passCount }
    /// Whether datagrams bypass libnice at the moment. For tests.
    var isDirect: Bool { outgoing != nil }

    var isOpen: Bool { handler != nil }

    private func open() throws(TransportError) -> OpaquePointer {
        loop.preconditionIsCurrent()
        guard handler != nil, let agent else { throw TransportError(.closed, "the ICE agent is closed") }
        return agent
    }

    /// Gives libnice of the other side's candidates as many as it can check soon.
    private func addWaitingCandidates() {
        guard let agent, handler != nil, hasRemoteCredentials else { return }
        while let line = pacing.next(at: loop.turnTime, isConnected: selectedPath != nil) { add(line) }
        if pacing.takeEnd() { nice_agent_peer_candidate_gathering_done(agent, stream) }
        context.setNeedsPass()
        guard pacing.timer == nil, let pause = pacing.pause(at: loop.turnTime) else { return }
        pacing.timer = loop.schedule(after: pause) { [weak self] in
            self?.pacing.timer = nil
            self?.addWaitingCandidates()
        }
    }

    private func add(_ line: CandidateLine) {
        guard let agent, let candidate = nice_agent_parse_remote_candidate_sdp(agent, stream, "a=" + line.description)
        else { return }
        defer { nice_candidate_free(candidate) }
        // libnice copies the candidates, not the list.
        let list = g_slist_append(nil, candidate)
        defer { g_slist_free(list) }
        beginAtOnce { _ = nice_agent_set_remote_candidates(agent, stream, Self.component, list) }
    }

    // MARK: Haste

    /// Does what may give libnice its first pair to check, and lets it check at once.
    ///
    /// libnice paces its checks by a timer, the first one included, and so would add a period to every connection for each
    /// side. It has no call to begin at once, but the timer is a source of our context like any other: its name and
    /// the time of its creation tell which one. Where it is not found, the first checks are a period late, and no more.
    private func beginAtOnce(_ call: () -> Void) {
        defer { context.setNeedsPass() }
        guard checkTimer == 0 else { return context.asDefault(call) }
        let mark = newestSource()
        context.asDefault(call)
        for id in mark..<max(mark, newestSource()) where isSource(id, named: "Connectivity check schedule") {
            checkTimer = id
        }
        hurry()
    }

    /// Lets the next check go out now.
    func hurry() {
        guard checkTimer > 0, let timer = g_main_context_find_source_by_id(context.mainContext, checkTimer) else {
            return
        }
        g_source_set_ready_time(timer, 0)
    }

    func isSource(_ id: guint, named wanted: String) -> Bool {
        guard let source = g_main_context_find_source_by_id(context.mainContext, id),
            let name = g_source_get_name(source)
        else { return false }
        return strcmp(name, wanted) == 0
    }

    /// An id above those of all sources so far.
    func newestSource() -> guint {
        let probe = g_idle_source_new()
        defer { g_source_unref(probe) }
        let id = g_source_attach(probe, context.mainContext)
        g_source_destroy(probe)
        return id
    }

    // MARK: Events

    /// Events wait for the end of the turn: libnice also emits them from inside of calls that came from the handler.
    private func emit(_ event: ICEAgentEvent) {
        guard handler != nil else { return }
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

    func found(_ candidate: UnsafeMutablePointer<NiceCandidate>) {
        guard handler != nil, let agent, let text = nice_agent_generate_local_candidate_sdp(agent, candidate) else {
            return
        }
        defer { g_free(text) }
        let line = String(cString: text)
        let name = "\(host(&candidate.pointee.addr)) \(nice_address_get_port(&candidate.pointee.addr))"
        switch candidate.pointee.type {
        case NICE_CANDIDATE_TYPE_RELAYED: relays.end()
        // A relay has said the same as a STUN server.
        case NICE_CANDIDATE_TYPE_SERVER_REFLEXIVE: if !reflexive.insert(name).inserted { return }
        case NICE_CANDIDATE_TYPE_HOST:
            if candidate.pointee.transport == NICE_CANDIDATE_TRANSPORT_UDP {
                hostPriorities[name] = candidate.pointee.priority
            }
        default: break
        }
        tell(line.hasPrefix("a=") ? String(line.dropFirst(2)) : line)
    }

    func tell(_ candidate: String) { emit(.candidate(candidate)) }

    func gatheringDone() {
        hasGathered = true
        finishGathering()
    }

    func finishGathering() {
        guard hasGathered, !isStarting, pendingRelays == 0, stun.isOver, !hasToldEnd else { return }
        hasToldEnd = true
        relays.end()
        emit(.gatheringDone)
        closeSpareSockets()
    }

    func changed(to component: NiceComponentState) {
        let new: ICEAgentState
        switch component {
        case NICE_COMPONENT_STATE_CONNECTING: new = .checking
        case NICE_COMPONENT_STATE_CONNECTED, NICE_COMPONENT_STATE_READY: new = .connected
        case NICE_COMPONENT_STATE_FAILED: new = .failed
        default: return
        }
        // Nothing is left to check: ticking for five more seconds would only burn power.
        if let agent, handler != nil {
            isReady = component == NICE_COMPONENT_STATE_READY
            CNice_set_idle_timeout(agent, isReady ? Self.idleAfterSuccess : Self.idleBeforeFailure)
            closeSpareSockets()
        }
        // libnice goes back to CONNECTING when a late candidate brings new checks; the selected pair still works.
        guard new != state, !(new == .checking && selectedPath != nil) else { return }
        state = new
        emit(.state(new))
    }

    func selected(
        local: UnsafeMutablePointer<NiceCandidate>, remote: UnsafeMutablePointer<NiceCandidate>
    ) {
        guard handler != nil, let agent else { return }
        outgoing = nil
        if local.pointee.type != NICE_CANDIDATE_TYPE_RELAYED, local.pointee.transport == NICE_CANDIDATE_TRANSPORT_UDP {
            let descriptor = CNice_selected_descriptor(agent, stream, Self.component)
            if !sockets.contains(where: { $0.original == descriptor }) { splitSockets() }
            outgoing = sockets.first { $0.original == descriptor }
            remoteAddress.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                nice_address_copy_to_sockaddr(&remote.pointee.addr, address)
                remoteAddressSize = socklen_t(
                    Int32(address.pointee.sa_family) == AF_INET6
                        ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size)
                let remoteIP = IPAddress(address)
                let isHere = remoteIP?.isLoopback == true || LocalAddress.all().contains { $0.bytes == remoteIP?.bytes }
                outgoing?.setAggregation(isHere)
            }
        }
        let name = local.pointee.transport == NICE_CANDIDATE_TRANSPORT_UDP ? "udp" : "tcp"
        // libnice has learnt from the check's answer what we know from a STUN server.
        let isReflexive =
            local.pointee.type == NICE_CANDIDATE_TYPE_PEER_REFLEXIVE
            && reflexive.contains("\(host(&local.pointee.addr)) \(nice_address_get_port(&local.pointee.addr))")
        let path = PeerPath(
            local: isReflexive ? .srflx : kind(local.pointee.type), remote: kind(remote.pointee.type),
            summary: "\(name) \(text(&local.pointee.addr)) → \(text(&remote.pointee.addr))",
            localAddress: local.pointee.type == NICE_CANDIDATE_TYPE_RELAYED ? nil : host(&local.pointee.base_addr))
        guard path != selectedPath else { return }
        selectedPath = path
        // Not from inside of libnice.
        if pacing.isWaiting { loop.atEndOfTurn { [self] in addWaitingCandidates() } }
        emit(.selected(path))
    }

    // MARK: Datagrams

    /// Gives every UDP socket of libnice a companion for data, before the other side can know of its address.
    private func splitSockets() {
        guard options.usesDirectPath, let agent else { return }
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: 64) { descriptors in
            let count = CNice_descriptors(agent, stream, Self.component, descriptors.baseAddress, 64)
            for descriptor in descriptors.prefix(Int(count))
            where !sockets.contains(where: { $0.original == descriptor }) {
                let socket = DataSocket(splitting: descriptor, on: loop) { [unowned self] in receive(from: $0) }
                if let socket { sockets.append(socket) }
            }
        }
    }

    /// No candidate is gathered, no pair is checked any more: data that comes to another socket than the selected pair's goes the slow way, through libnice.
    private func closeSpareSockets() {
        guard let outgoing, hasToldEnd, isReady else { return }
        stun.end()
        stunTimer?.cancel()
        stunTimer = nil
        for socket in sockets where socket !== outgoing { socket.close() }
        sockets = [outgoing]
    }

    private func receive(from descriptor: Int32) {
        guard let handler, receiver.receive(from: descriptor, at: loop.turnTime) else { return }
        // Answers come in the first seconds, and as long as there is no path.
        let mayBeAnswers = selectedPath == nil || loop.turnTime < stunEnd
        let batch = mayBeAnswers ? takeStunAnswers(receiver.batch) : receiver.batch
        if !batch.isEmpty { handler.iceAgent(didReceive: batch) }
    }

    /// The slow way: what libnice read and found not to be its own. Among it are answers that came twice, to requests that it has forgotten:
    /// STUN is the agent's all the same (RFC 7983 §7).
    func received(_ datagram: UnsafeRawBufferPointer) {
        guard let handler, let first = datagram.first, first > 3 else { return }
        receiver.batch.removeAll()
        guard receiver.batch.append(datagram) else { return }
        handler.iceAgent(didReceive: receiver.batch)
    }

    // MARK: End

    func dispose() {
        guard let agent else { return }
        self.agent = nil
        Callbacks.disconnect(agent, stream, context.mainContext, Unmanaged.passUnretained(self).toOpaque())
        nice_agent_remove_stream(agent, stream)
        g_object_unref(UnsafeMutableRawPointer(agent))
        context.removeAtEnd(of: self)
        context.end()
        AgentBudget.shared.closed()
    }
}

private func kind(_ type: NiceCandidateType) -> PeerPath.Kind {
    switch type {
    case NICE_CANDIDATE_TYPE_HOST: .host
    case NICE_CANDIDATE_TYPE_SERVER_REFLEXIVE: .srflx
    case NICE_CANDIDATE_TYPE_PEER_REFLEXIVE: .prflx
    case NICE_CANDIDATE_TYPE_RELAYED: .relay
    default: .none
    }
}

private func text(_ address: UnsafeMutablePointer<NiceAddress>) -> String {
    let host = host(address)
    let port = nice_address_get_port(address)
    return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
}

private func host(_ address: UnsafeMutablePointer<NiceAddress>) -> String {
    withUnsafeTemporaryAllocation(of: gchar.self, capacity: 64) { buffer in
        guard let start = buffer.baseAddress else { return "" }
        nice_address_to_string(address, start)
        return String(cString: start)
    }
}
