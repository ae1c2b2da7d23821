internal import TransportPluginAPI

/// One ICE agent of a connection, with the candidates of its generation. A restart makes a second one.
final class AgentLink: ICEAgentHandler {
    let generation: PathMachine.Generation
    /// Strong until `close`, which breaks the cycle.
    private var connection: WebRTCConnection?
    private var agent: (any ICEAgent)?
    private(set) var local = ICECredentials(usernameFragment: "", password: "")
    private(set) var remote: ICECredentials?
    /// How long candidates are kept after the other side's description; nil: they are not.
    private var holdTime: Duration?
    private var held = HeldCandidates()
    /// Candidates that the agent has found.
    private(set) var localCandidates = CandidateTally()
    /// Candidates of the other side.
    private(set) var remoteCandidates = CandidateTally()

    init(_ connection: WebRTCConnection, generation: PathMachine.Generation) {
        self.connection = connection
        self.generation = generation
    }

    /// Sets the agent. Separate from `init`, since the agent needs its handler, this link, when it is made.
    func adopt(_ agent: any ICEAgent) {
        self.agent = agent
        local = agent.localCredentials
    }

    func setRemote(_ credentials: ICECredentials) throws(TransportError) {
        try agent?.setRemoteCredentials(credentials)
        remote = credentials
        scheduleRelease()
    }

    func gather() throws(TransportError) { try agent?.gather() }

    /// Keeps the other side's candidates for a while after its description. Meanwhile the agent answers checks, but
    /// begins none.
    func hold(for duration: Duration) {
        holdTime = duration
        if remote != nil { scheduleRelease() }
    }

    private func scheduleRelease() {
        guard let holdTime, let connection else { return }
        connection.core.loop.schedule(after: holdTime) { [self] in release() }
    }

    /// Passes on what is held, if anything is.
    func release() {
        holdTime = nil
        for item in held.take() { pass(item) }
    }

    func add(_ item: RemoteCandidates.Item) {
        switch item {
        case .candidate(let line): remoteCandidates.add(line)
        case .end: remoteCandidates.isComplete = true
        }
        pass(item)
    }

    private func pass(_ item: RemoteCandidates.Item) {
        guard holdTime == nil else { return held.add(item) }
        switch item {
        // The line was parsed when it arrived; one that the agent cannot use does no harm.
        case .candidate(let line): try? agent?.addRemoteCandidate(line)
        case .end: agent?.endOfRemoteCandidates()
        }
    }

    var path: PeerPath? { agent?.selectedPath.map(named) }

    /// Whether the path leaves from an address that this machine no longer has.
    var hasLostAddress: Bool {
        guard let text = agent?.selectedPath?.localAddress, let local = LocalAddress(text, interface: ""),
            !local.isLoopback
        else { return false }
        return !LocalAddress.all().contains { $0.bytes == local.bytes }
    }

    /// The part of a diagnosis that concerns this generation.
    var diagnosis: ConnectionDiagnosis {
        var diagnosis = ConnectionDiagnosis()
        diagnosis.local = localCandidates
        diagnosis.remote = remoteCandidates
        diagnosis.isAnswered = remote != nil
        return diagnosis
    }

    /// The agent's path, of this generation.
    func named(_ path: PeerPath) -> PeerPath {
        var path = path
        path.usernameFragment = local.usernameFragment
        return path
    }

    @inline(__always)
    func send(_ batch: DatagramBatch) {
        if let agent { agent.send(batch) }
        batch.removeAll()
    }

    func close() {
        connection = nil
        held = HeldCandidates()
        agent?.close()
        agent = nil
    }

    func iceAgent(didEmit event: ICEAgentEvent) {
        switch event {
        case .candidate(let line): localCandidates.add(line)
        case .gatheringDone: localCandidates.isComplete = true
        default: break
        }
        connection?.agent(self, didEmit: event)
    }

    func iceAgent(didReceive batch: DatagramBatch) { connection?.receive(batch) }
}
