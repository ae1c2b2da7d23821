internal import CGLib
internal import CNice
internal import GLibLoop
internal import Glibc
internal import TransportPluginAPI

/// One NiceAgent with one stream of one component: all calls of libnice that concern an agent are made here.
final class NiceAgentHandle {
    static let component: guint = 1
    /// The pairs that libnice keeps: enough for all remote candidates with all that a machine gathers (RFC 8445
    /// §6.1.2.5 asks for a limit and leaves it open; the number of remote candidates bounds the checks that others can
    /// ask for). libnice's own limit of 100 drops the pairs of the lowest priority, among them all relays', before
    /// anything is known of the others.
    private static let maximumPairs: guint = 2048
    /// The time for which libnice continues to tick when nothing is left to check, in milliseconds: before it reports a
    /// failure, and after success.
    private static let idleBeforeFailure: guint = 5000
    private static let idleAfterSuccess: guint = 50

    let context: GLibContext
    let localCredentials: ICECredentials
    private let stream: guint
    /// The NiceAgent; nil once released.
    private var agent: OpaquePointer?
    /// The id of libnice's timer for checks, 0 while unknown. libnice ends it when nothing is left to check, and makes
    /// another for new pairs.
    private var checkTimer: guint = 0
    /// Sources of the context with lower ids are not that timer. GLib's ids begin with 1.
    private var firstUnseenSource: guint = 1

    /// `pacing`: milliseconds between checks. Throws `.resourceExhausted`.
    init(
        _ configuration: ICEAgentConfiguration, _ options: LibniceProvider.Options, pacing: Int, in context: GLibContext
    ) throws(TransportError) {
        guard
            let agent = CNice_agent_new(
                context.mainContext, configuration.isControlling ? 1 : 0, options.nomination == .aggressive ? 1 : 0,
                configuration.policy == .relay ? 1 : 0, options.usesTCP ? 1 : 0, guint(pacing), Self.idleBeforeFailure,
                Self.maximumPairs)
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
        self.context = context
        self.agent = agent
        self.stream = stream
    }

    // MARK: Life

    /// Has libnice call `owner` back until `dispose(for:)`. Ownership: unretained, see `LibniceAgent`.
    func connect(to owner: LibniceAgent) {
        guard let agent else { return }
        Callbacks.connect(agent, stream, context.mainContext, Unmanaged.passUnretained(owner).toOpaque())
    }

    /// Releases TURN allocations in the background. `owner` is kept until then, and disposed of at the end.
    func close(for owner: LibniceAgent) {
        guard let agent else { return }
        let pointer = Unmanaged.passRetained(owner).toOpaque()
        context.asDefault { nice_agent_close_async(agent, Callbacks.onClosed, pointer) }
        context.setNeedsPass()
    }

    /// Releases the NiceAgent. Returns false if it was released before.
    func dispose(for owner: LibniceAgent) -> Bool {
        guard let agent else { return false }
        self.agent = nil
        Callbacks.disconnect(agent, stream, context.mainContext, Unmanaged.passUnretained(owner).toOpaque())
        nice_agent_remove_stream(agent, stream)
        g_object_unref(UnsafeMutableRawPointer(agent))
        return true
    }

    // MARK: Gathering

    /// Has libnice itself ask a STUN server, the only one.
    func setSTUNServer(_ server: ICEServerURL) {
        if let agent { CNice_set_stun_server(agent, server.host, guint(server.port)) }
    }

    func forceRelay() { if let agent { CNice_force_relay(agent) } }

    func setPorts(_ ports: ClosedRange<UInt16>) {
        guard let agent else { return }
        nice_agent_set_port_range(agent, stream, Self.component, guint(ports.lowerBound), guint(ports.upperBound))
    }

    /// Binds to the addresses and begins to gather. Returns false if one of them cannot be bound.
    func gather(on addresses: [LocalAddress]) -> Bool {
        guard let agent else { return false }
        for address in addresses { address.add(to: agent) }
        var isGathering = false
        startingChecks { isGathering = nice_agent_gather_candidates(agent, stream) != 0 }
        return isGathering
    }

    func requestAllocation(from relay: Servers.Relay) {
        guard let agent else { return }
        nice_agent_set_relay_info(
            agent, stream, Self.component, relay.host, guint(relay.url.port), relay.username, relay.credential,
            relay.url.transport == .udp ? NICE_RELAY_TYPE_TURN_UDP : NICE_RELAY_TYPE_TURN_TCP)
    }

    /// Returns whether libnice has begun its discovery since `mark`, as far as its timers show.
    func hasBegunDiscovery(since mark: guint) -> Bool {
        (mark..<max(mark, newestSource())).contains { isSource($0, named: "Candidate discovery tick") }
    }

    // MARK: The other side

    /// Returns false if libnice refuses the credentials.
    func setRemoteCredentials(_ credentials: ICECredentials) -> Bool {
        guard let agent else { return false }
        var isTaken = false
        startingChecks {
            isTaken =
                nice_agent_set_remote_credentials(
                    agent, stream, credentials.usernameFragment, credentials.password) != 0
        }
        return isTaken
    }

    func add(_ line: CandidateLine) {
        guard let agent, let candidate = nice_agent_parse_remote_candidate_sdp(agent, stream, "a=" + line.description)
        else { return }
        defer { nice_candidate_free(candidate) }
        // libnice copies the candidates, not the list.
        let list = g_slist_append(nil, candidate)
        defer { g_slist_free(list) }
        startingChecks { _ = nice_agent_set_remote_candidates(agent, stream, Self.component, list) }
    }

    func endOfRemoteCandidates() { if let agent { nice_agent_peer_candidate_gathering_done(agent, stream) } }

    // MARK: Paths

    /// Sets how long libnice ticks. After success nothing is left to check, and ticking for five more seconds would
    /// waste power.
    func setIdle(_ isReady: Bool) {
        if let agent { CNice_set_idle_timeout(agent, isReady ? Self.idleAfterSuccess : Self.idleBeforeFailure) }
    }

    /// The descriptors of libnice's sockets.
    var descriptors: [Int32] {
        guard let agent else { return [] }
        return withUnsafeTemporaryAllocation(of: Int32.self, capacity: 64) { descriptors in
            let count = CNice_descriptors(agent, stream, Self.component, descriptors.baseAddress, 64)
            return Array(descriptors.prefix(Int(count)))
        }
    }

    /// The descriptor of the selected pair's socket, -1 when there is none.
    var selectedDescriptor: Int32 {
        agent.map { CNice_selected_descriptor($0, stream, Self.component) } ?? -1
    }

    /// Sends datagrams through libnice.
    func send(_ batch: DatagramBatch) {
        guard let agent else { return }
        for index in 0..<batch.count {
            let datagram = batch[index]
            nice_agent_send(
                agent, stream, Self.component, guint(datagram.count),
                datagram.baseAddress?.assumingMemoryBound(to: gchar.self))
        }
        // A relay's permissions and channels have timers.
        context.setNeedsPass()
    }

    /// A candidate of this side, with its line.
    func describe(_ candidate: UnsafeMutablePointer<NiceCandidate>) -> (candidate: NiceCandidateValue, line: String)? {
        guard let agent, let text = nice_agent_generate_local_candidate_sdp(agent, candidate) else { return nil }
        defer { g_free(text) }
        let line = String(cString: text)
        return (NiceCandidateValue(candidate), line.hasPrefix("a=") ? String(line.dropFirst(2)) : line)
    }

    // MARK: Checks without delay

    /// Makes a call that may give libnice its first pair, and has it check that pair without delay.
    ///
    /// libnice paces its checks by a timer, even the first one, which would delay every connection by a period on each
    /// side. It has no call to start without that delay. But the timer is a source of our context, and its name
    /// identifies it. If it is not found, the first checks are a period late, nothing worse.
    private func startingChecks(_ call: () -> Void) {
        defer { context.setNeedsPass() }
        let wasChecking = findCheckTimer()
        context.asDefault(call)
        if !wasChecking { checkNow() }
    }

    /// Sends the next connectivity check now. The first pair may also come from a request of the other side, by which
    /// its address is learned.
    func checkNow() {
        guard findCheckTimer(), let timer = g_main_context_find_source_by_id(context.mainContext, checkTimer) else {
            return
        }
        g_source_set_ready_time(timer, 0)
    }

    /// Looks for libnice's timer, unless the known one still runs, among the sources that are new since the last look.
    /// Returns whether it is known.
    private func findCheckTimer() -> Bool {
        if checkTimer > 0, isCheckTimer(checkTimer) { return true }
        checkTimer = 0
        let newest = newestSource()
        for id in firstUnseenSource..<max(firstUnseenSource, newest) where isCheckTimer(id) { checkTimer = id }
        firstUnseenSource = newest
        return checkTimer > 0
    }

    private func isCheckTimer(_ id: guint) -> Bool { isSource(id, named: "Connectivity check schedule") }

    private func isSource(_ id: guint, named wanted: String) -> Bool {
        guard let source = g_main_context_find_source_by_id(context.mainContext, id),
            let name = g_source_get_name(source)
        else { return false }
        return strcmp(name, wanted) == 0
    }

    /// Returns an id above those of all sources so far.
    func newestSource() -> guint {
        let probe = g_idle_source_new()
        defer { g_source_unref(probe) }
        let id = g_source_attach(probe, context.mainContext)
        g_source_destroy(probe)
        return id
    }
}
