internal import TransportPluginAPI

/// Decides which ICE agent carries the data of a connection, and the state of the connection. Pure: time is an
/// argument.
///
/// An ICE restart makes a second agent, which takes over as soon as it is connected (make before break). A replaced
/// agent still receives for a while.
struct PathMachine: Equatable {
    enum Action: Equatable {
        /// Send everything by this agent from now on.
        case carry(Generation)
        /// Candidates of the other side for this generation are dropped from now on.
        case expire(Generation)
        case close(Generation)
        case scheduleRetirement(after: Duration)
        case cancelRetirement
        /// Keep the other side's candidates from this agent for a while after its description.
        case holdCandidates(of: Generation, for: Duration)
        /// Pass the candidates on that are still kept from this agent, and keep no more.
        case releaseCandidates(of: Generation)
        /// The path is up: send everything that waited for it.
        case flush
        /// The path is up, but the association is not: continue the handshake.
        case handshake
        /// The path has changed: probe at once whether it works, and how large packets may be.
        case examinePath
        case reportState(PeerConnectionState)
        case reportChecked
        /// Report this path, or, if it is nil, the agent's selected path.
        case reportPath(Generation, PeerPath?)
    }

    /// The number of an agent, in the order in which they were made.
    typealias Generation = Int

    /// How long a replaced agent still receives datagrams that the other side had sent before it noticed.
    static let retirementTime = Duration.seconds(3)
    /// How long the other side's candidates are held from its description on, for its checks to come first: by the
    /// answerer, whose candidates take the way of signaling meanwhile, and by the offerer, whose candidates were there
    /// before the answer.
    static let answerersCandidateHold = Duration.milliseconds(250)
    static let offerersCandidateHold = Duration.milliseconds(50)
    /// The age below which a round cannot show yet what it lacks; the round before it shows more.
    static let diagnosisDelay = Duration.milliseconds(1500)

    private struct Agent: Equatable {
        var generation: Generation
        var madeAt: Timestamp
        var isConnected = false
        var hasFailed = false
        /// A check has succeeded, and it was reported.
        var isChecked = false
    }

    private struct Replacing: Equatable {
        var current: Agent
        var next: Agent
        /// Whether candidates are held from `next` while `current` works.
        var isHolding = false
    }

    private enum State: Equatable {
        /// No agent was made. Can transition to: single.
        case none
        /// One agent carries, or will. Can transition to: replacing.
        case single(Agent)
        /// `current` carries, and `next` takes over when it is connected. Can transition to: single, replacing (by
        /// another next one).
        case replacing(Replacing)
    }

    private var state = State.none
    /// The replaced agent, which still receives.
    private var retired: Generation?
    private var canCarryData = false
    private(set) var connectionState = PeerConnectionState.new

    // MARK: Facts

    /// An agent was made. `candidateHold`: how long the other side's candidates are held, if the path in use works as
    /// far as this machine knows; nil: it does not.
    ///
    /// If a check overtakes this side's candidate, a browser makes a peer-reflexive one with lower priority. While
    /// another path works, the browser drops that candidate at once, and with it the path (libwebrtc's pruning of
    /// connections). It goes on with this side's old address, and notices only seconds after its end. Measured: with
    /// candidates that came behind the checks, ten ICE restarts of twelve did not move the path. So, while there is
    /// time, the browser may check first.
    mutating func agentMade(_ generation: Generation, candidateHold: Duration?, at now: Timestamp) -> [Action] {
        let agent = Agent(generation: generation, madeAt: now)
        let candidateHold = isConnected ? candidateHold : nil
        let isHolding = candidateHold != nil
        let hold = candidateHold.map { [Action.holdCandidates(of: generation, for: $0)] } ?? []
        switch state {
        case .none:
            state = .single(agent)
            return [.carry(generation)] + report(.connecting)
        case .single(let current):
            state = .replacing(Replacing(current: current, next: agent, isHolding: isHolding))
            return hold
        case .replacing(let replacing):
            state = .replacing(Replacing(current: replacing.current, next: agent, isHolding: isHolding))
            let old = replacing.next.generation
            return [.expire(old), .close(old)] + hold
        }
    }

    /// The agent has chosen a pair.
    mutating func selected(_ path: PeerPath, by generation: Generation) -> [Action] {
        checked(generation) + (generation == carrying ? [.reportPath(generation, path)] : [])
    }

    mutating func connected(_ generation: Generation) -> [Action] {
        let actions = checked(generation)
        switch state {
        case .single(var agent) where agent.generation == generation:
            agent.isConnected = true
            agent.hasFailed = false
            state = .single(agent)
            return actions + pathIsUp()
        case .replacing(var replacing) where replacing.current.generation == generation:
            replacing.current.isConnected = true
            replacing.current.hasFailed = false
            state = .replacing(replacing)
            return actions + pathIsUp()
        case .replacing(var replacing) where replacing.next.generation == generation:
            replacing.next.isConnected = true
            replacing.next.hasFailed = false
            return actions + promote(replacing)
        case .none, .single, .replacing: return actions
        }
    }

    mutating func failed(_ generation: Generation) -> [Action] {
        switch state {
        case .single(var agent) where agent.generation == generation:
            agent.isConnected = false
            agent.hasFailed = true
            state = .single(agent)
            return report(.disconnected)
        case .replacing(var replacing) where replacing.current.generation == generation:
            replacing.current.isConnected = false
            replacing.current.hasFailed = true
            state = .replacing(replacing)
            return releaseCandidates() + report(.disconnected)
        case .none, .single, .replacing: return []
        }
    }

    /// The other side is silent: the path in use may be dead.
    mutating func peerSuspected() -> [Action] { releaseCandidates() }

    /// The association over the path carries data.
    mutating func associationEstablished() -> [Action] {
        canCarryData = true
        return current?.hasFailed == true ? [] : report(.connected)
    }

    mutating func retirementOver() -> [Action] {
        guard let old = retired else { return [] }
        retired = nil
        return [.close(old)]
    }

    // MARK: Questions

    /// The agent by which everything is sent.
    var carrying: Generation? { current?.generation }

    /// Whether the carrying agent has a path.
    var isConnected: Bool { current?.isConnected ?? false }

    /// The generation of the latest round, to which the next description belongs.
    var newest: Generation? {
        switch state {
        case .none: nil
        case .single(let agent): agent.generation
        case .replacing(let replacing): replacing.next.generation
        }
    }

    /// Returns whether the agent was replaced, so that its candidates are useless.
    func isRetired(_ generation: Generation) -> Bool { generation == retired }

    /// Returns the generation that shows best what the connection lacks, and whether its agent has a path.
    func diagnosed(at now: Timestamp) -> (generation: Generation, isConnected: Bool)? {
        guard let current else { return nil }
        guard case .replacing(let replacing) = state,
            current.isConnected || now - replacing.next.madeAt >= Self.diagnosisDelay
        else { return (current.generation, current.isConnected) }
        return (replacing.next.generation, replacing.next.isConnected)
    }

    // MARK: Parts

    private var current: Agent? {
        switch state {
        case .none: nil
        case .single(let agent): agent
        case .replacing(let replacing): replacing.current
        }
    }

    /// A check of a generation has succeeded. The first one is reported.
    private mutating func checked(_ generation: Generation) -> [Action] {
        switch state {
        case .single(var agent) where agent.generation == generation && !agent.isChecked:
            agent.isChecked = true
            state = .single(agent)
        case .replacing(var replacing) where replacing.current.generation == generation && !replacing.current.isChecked:
            replacing.current.isChecked = true
            state = .replacing(replacing)
        case .replacing(var replacing) where replacing.next.generation == generation && !replacing.next.isChecked:
            replacing.next.isChecked = true
            state = .replacing(replacing)
        case .none, .single, .replacing: return []
        }
        return [.reportChecked]
    }

    private mutating func promote(_ replacing: Replacing) -> [Action] {
        let old = replacing.current.generation
        let new = replacing.next.generation
        var actions: [Action] = []
        if let retired { actions = [.cancelRetirement, .close(retired)] }
        state = .single(replacing.next)
        retired = old
        actions += [.carry(new), .expire(old), .scheduleRetirement(after: Self.retirementTime), .reportPath(new, nil)]
        return actions + pathIsUp() + [.examinePath]
    }

    /// There is no path left to lose: the next agent gets the candidates that are held from it.
    private mutating func releaseCandidates() -> [Action] {
        guard case .replacing(var replacing) = state, replacing.isHolding else { return [] }
        replacing.isHolding = false
        state = .replacing(replacing)
        return [.releaseCandidates(of: replacing.next.generation)]
    }

    private mutating func pathIsUp() -> [Action] {
        canCarryData ? [.flush] + report(.connected) : [.flush] + report(.connecting) + [.handshake]
    }

    private mutating func report(_ state: PeerConnectionState) -> [Action] {
        guard connectionState != state else { return [] }
        connectionState = state
        return [.reportState(state)]
    }
}
