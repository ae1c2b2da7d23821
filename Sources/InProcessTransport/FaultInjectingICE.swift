public import TransportPluginAPI

/// Breaks the paths of the agents of a `FaultInjectingICEAgentProvider`, from any thread: an outage without root.
public final class ICEFaultControl: Sendable {
    private struct State {
        var cutsNewAgents = false
        var agents: [ObjectIdentifier: Entry] = [:]
    }
    private struct Entry {
        weak var agent: (any FaultyICEAgent)?
        let loop: TransportLoop
    }
    private let state = Locked(State())

    /// Creates a control with no path cut.
    public init() {}

    /// Drops every datagram of the existing agents in both directions, and hides what they learn.
    /// - Parameter newAgentsToo: Whether agents made from now on find no path either. When false, a fresh agent (an ICE
    ///   restart) works.
    public func cut(newAgentsToo: Bool = true) {
        state.withLock { $0.cutsNewAgents = newAgentsToo }
        setCut(true)
    }

    /// Lets everything through again.
    public func restore() {
        state.withLock { $0.cutsNewAgents = false }
        setCut(false)
    }

    private func setCut(_ isCut: Bool) {
        let entries = state.withLock { Array($0.agents.values) }
        for entry in entries {
            guard let agent = entry.agent else { continue }
            entry.loop.execute { agent.setCut(isCut) }
        }
    }

    /// Adds an agent, and returns whether it starts cut.
    fileprivate func add(_ agent: any FaultyICEAgent, on loop: TransportLoop) -> Bool {
        state.withLock { state in
            state.agents = state.agents.filter { $0.value.agent != nil }
            state.agents[ObjectIdentifier(agent)] = Entry(agent: agent, loop: loop)
            return state.cutsNewAgents
        }
    }
}

private protocol FaultyICEAgent: AnyObject, Sendable {
    func setCut(_ isCut: Bool)
}

/// Wraps an ICE agent provider, so that an `ICEFaultControl` can break the paths of its agents.
public struct FaultInjectingICEAgentProvider<Base: ICEAgentProvider>: ICEAgentProvider {
    private let base: Base
    private let control: ICEFaultControl

    /// Creates a provider for agents of `base` whose paths `control` can cut.
    public init(_ base: Base, control: ICEFaultControl) {
        self.base = base
        self.control = control
    }

    public func makeAgent(
        _ configuration: ICEAgentConfiguration, on loop: TransportLoop, handler: any ICEAgentHandler
    ) throws(TransportError) -> FaultInjectingICEAgent<Base.Agent> {
        let relay = ICEEventFilter(handler)
        let agent = FaultInjectingICEAgent(
            try base.makeAgent(configuration, on: loop, handler: relay), relay: relay)
        agent.setCut(control.add(agent, on: loop))
        return agent
    }
}

/// An agent of a `FaultInjectingICEAgentProvider`.
///
/// While it is cut, datagrams are dropped in both directions. Candidates of both sides are held back until it is
/// restored, so an agent that starts cut finds no path. Events about a path found meanwhile are held back too. Checks
/// between agents that know each other already continue underneath.
// SAFETY: like every ICE agent, touched only on its loop; the control posts to it.
public final class FaultInjectingICEAgent<Base: ICEAgent>: ICEAgent, FaultyICEAgent, @unchecked Sendable {
    private let base: Base
    private let relay: ICEEventFilter
    private enum Withheld {
        case candidate(String)
        case end
    }
    private var withheld: [Withheld] = []
    private var isClosed = false

    fileprivate init(_ base: Base, relay: ICEEventFilter) {
        self.base = base
        self.relay = relay
    }

    public var localCredentials: ICECredentials { base.localCredentials }
    public var selectedPath: PeerPath? { base.selectedPath }

    public func gather() throws(TransportError) { try base.gather() }

    public func setRemoteCredentials(_ credentials: ICECredentials) throws(TransportError) {
        try base.setRemoteCredentials(credentials)
    }

    public func addRemoteCandidate(_ candidate: String) throws(TransportError) {
        guard relay.isCut else { return try base.addRemoteCandidate(candidate) }
        if withheld.count < 128 { withheld.append(.candidate(candidate)) }
    }

    public func endOfRemoteCandidates() {
        if relay.isCut { withheld.append(.end) } else { base.endOfRemoteCandidates() }
    }

    public func send(_ batch: DatagramBatch) {
        if relay.isCut { batch.removeAll() } else { base.send(batch) }
    }

    public func close() {
        isClosed = true
        withheld = []
        relay.close()
        base.close()
    }

    fileprivate func setCut(_ isCut: Bool) {
        guard !isClosed, relay.isCut != isCut else { return }
        relay.isCut = isCut
        guard !isCut else { return }
        relay.release()
        let remote = withheld
        withheld = []
        for item in remote where !isClosed {
            switch item {
            // Malformed text was the fault of a caller that has returned by now. The base refuses it, and nothing is
            // lost.
            case .candidate(let candidate): try? base.addRemoteCandidate(candidate)
            case .end: base.endOfRemoteCandidates()
            }
        }
    }
}

/// Filters the events from an agent to its handler. Touched only on the loop.
private final class ICEEventFilter: ICEAgentHandler {
    private var handler: (any ICEAgentHandler)?
    private var withheld: [ICEAgentEvent] = []
    var isCut = false

    init(_ handler: any ICEAgentHandler) { self.handler = handler }

    func iceAgent(didEmit event: ICEAgentEvent) {
        guard isCut else {
            handler?.iceAgent(didEmit: event)
            return
        }
        // Candidates over the limit are dropped, as trickled candidates may be.
        if withheld.count < 128 { withheld.append(event) }
    }

    func iceAgent(didReceive batch: DatagramBatch) {
        if isCut { batch.removeAll() } else { handler?.iceAgent(didReceive: batch) }
    }

    func release() {
        let events = withheld
        withheld = []
        for event in events { handler?.iceAgent(didEmit: event) }
    }

    func close() {
        withheld = []
        handler = nil
    }
}
