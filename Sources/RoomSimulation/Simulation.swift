internal import RoomCore
internal import RoomProtocol
internal import RoomServerCore
package import TransportValues

/// Several participants' machines, the server's machine, and a network between them, in virtual time.
///
/// Everything that is left to chance comes from the scenario's seed: the same scenario makes the same run.
package final class Simulation {
    enum Occurrence {
        case start(Int)
        /// In a box, since it is large and rare.
        indirect case machine(node: Int, life: Int, RoomMachine.Event)
        case timer(node: Int, life: Int, RoomMachine.TimerID, token: UInt64)
        /// The shell looks at its machine's network.
        case network(node: Int, life: Int)
        case token(node: Int, life: Int, question: UInt64, SimulatedProvider.Answer)
        case iceServers(node: Int, life: Int, question: UInt64, SimulatedProvider.Answer)
        case connect(SignalingConnection, deadline: Timestamp)
        case toServer(SignalingConnection)
        case toClient(SignalingConnection)
        case serverTimer(Server, at: Timestamp)
        case peer(PeerOccurrence)
        case delivery(DeliveryOccurrence)
        case flap(Fault, isCut: Bool)
        case turn(node: Int, Fault)
        case fault(Fault)
        case heal(Fault)
        case inspect
    }

    package let scenario: Scenario
    /// Gets a line for everything that happens, for the search after a fault.
    package var trace: ((String) -> Void)?
    /// Records the calls of the participants' machines.
    var tape: VectorTape?
    package internal(set) var violations: [String] = []
    package let faults: [Fault]
    /// When everybody was connected to everybody for the last time that it became so.
    package private(set) var wellSince: Timestamp?
    /// Everybody was well for long enough after the last fault, at the last inspection.
    private(set) var isOver = false
    /// Events that were handled.
    package internal(set) var steps = 0
    package internal(set) var now = Timestamp.zero
    var queue = EventQueue<Occurrence>()
    var random: SeededGenerator
    /// For what applications do with topics and requests: without them, everything else is as it was.
    var exchangeRandom: SeededGenerator
    var nodes: [Node] = []
    var server: Server?
    /// Another one, for those whose way leads there, and when it came.
    var second: (server: Server, since: Timestamp)?
    /// There were two servers then, for the last time.
    var lastSplit: Timestamp?
    /// When a server last lost its state, or a second one came or went.
    var lastStateLoss = Timestamp.zero
    /// By name, when an attempt to join that had been given up last took the name, or might have.
    var lateHellos: [String: Timestamp] = [:]
    /// Nothing comes back from the (first) server's address, not even a refusal.
    var isServerSilent = false
    var connections: [ConnectionID: SignalingConnection] = [:]
    var lastConnection: UInt64 = 0
    var lastToken: UInt64 = 0
    var pairs: [PeerConnectionID: PeerPair] = [:]
    var directory: [ParticipantID: Int] = [:]
    var ledgers: [Ledger] = []
    /// Two for each of them: of the unordered channel, and of the lossy one.
    var plainLedgers: [PlainLedger] = []
    package internal(set) var plainStatistics = PlainStatistics()
    var ledgerIndex: [SessionPair: Int] = [:]
    /// By ledger, and by the id of the stream.
    var transfers: [[UInt64: Transfer]] = []
    /// Bytes of streams that came, and streams that came whole.
    package var streamBytesDelivered = 0
    package var streamsDelivered = 0
    /// By the ledger of the messages in the same direction.
    var exchangeBooks: [ExchangeBook] = []
    /// Those of the directions in which topics and requests have begun.
    var exchangeTapes: [Int: ExchangeTapes] = [:]
    package internal(set) var exchangeCounts: [ExchangeCount: Int] = [:]
    /// Messages that came whole and in order.
    package var messagesDelivered = 0
    /// The most messages that one participant sent to the server in ten seconds.
    package var mostSends = 0
    /// Nobody says anything from then on.
    let lastChatter: Timestamp
    var pathCuts: PathCuts
    let authority: SimulatedAuthority
    /// The server process is stopped.
    var isServerStopped = false
    /// A server that cannot be reached, and its connections.
    var isolated: (server: Server, connections: [ConnectionID])?
    let faultsEnd: Timestamp
    private let end: Timestamp

    package init(_ scenario: Scenario) {
        self.scenario = scenario
        var random = SeededGenerator(seed: scenario.seed)
        exchangeRandom = SeededGenerator(seed: ~scenario.seed)
        faultsEnd = .zero + scenario.faults.end
        end = scenario.faults.deadline
        lastChatter = faultsEnd + .seconds(5)
        pathCuts = PathCuts(participants: scenario.participants)
        authority = SimulatedAuthority(
            relayLife: scenario.hasICEServerProvider ? nil : scenario.relayLife, needsToken: scenario.tokenLife != nil)
        faults = (0..<scenario.faults.count).map { _ in
            let (at, duration) = random.faultTime(scenario.faults)
            let node = Int.random(in: 0..<scenario.participants, using: &random)
            return Fault(
                kind: scenario.faults.kinds.randomElement(using: &random) ?? .reconnectNow, at: .zero + at,
                duration: duration,
                node: node,
                other: (node + Int.random(in: 1..<max(2, scenario.participants), using: &random))
                    % scenario.participants, chance: random.next())
        }
        .sorted { $0.at < $1.at }
        self.random = random
        for index in 0..<scenario.participants {
            let hasExchange = !scenario.hasOldPrograms || index % 3 != 2
            let machine = makeMachine("n\(index)", index == 0 ? .host : .guest, hasExchange: hasExchange)
            let node = Node(index: index, machine: machine)
            node.hasExchange = hasExchange
            node.countsAttempts = !scenario.hidesAttempts || index.isMultiple(of: 2)
            nodes.append(node)
            queue.push(.start(index), at: index == 0 ? .zero : .zero + .milliseconds(200) + latency() * 20)
            queue.push(.delivery(.sendMessages(node: index, life: 0)), at: .zero + latency() * 50)
        }
        for fault in faults {
            queue.push(.fault(fault), at: fault.at)
            queue.push(.heal(fault), at: fault.at + fault.duration)
        }
        startServer()
        queue.push(.inspect, at: .zero + .seconds(1))
    }

    deinit {
        // Break the reference cycles.
        for pair in pairs.values { pair.dissolve() }
        for node in nodes {
            for stream in node.streams.values { stream.endpoint = nil }
            node.unread = [:]
            node.endpoints = [:]
            node.streams = [:]
        }
    }

    func makeMachine(_ name: String, _ role: Hello.Role, hasExchange: Bool) -> RoomMachine {
        var configuration = MachineConfiguration(room: RoomName("lab"), role: role, name: name)
        configuration.capabilities =
            [DeliveryProtocol.capability] + (hasExchange ? [ExchangeProtocol.capability] : [])
        configuration.hasICEServerProvider = scenario.hasICEServerProvider
        configuration.hasCredentialProvider = scenario.tokenLife != nil
        configuration.recovery.rejoinPolicy =
            RejoinPolicy.allCases[Int(scenario.seed % 3)]
        return RoomMachine(configuration, seed: random.next())
    }

    func latency() -> Duration { .microseconds(Int.random(in: 1000...40_000, using: &random)) }

    /// As `latency`, with what faults add at one participant. A transport repeats what is lost on the way.
    func latency(_ node: Node) -> Duration {
        let repetitions =
            node.losses > 0 && chance(0.3) ? Duration.milliseconds(Int.random(in: 200...1000, using: &random)) : .zero
        return latency() + node.slowness + repetitions
    }

    func latency(between left: Node, _ right: Node) -> Duration { max(latency(left), latency(right)) }

    /// Runs to the end. What is not as it must be is in `violations`.
    package func run() {
        run(upTo: end, steps: 2_000_000)
        inspectEnd()
    }

    func handle(_ occurrence: Occurrence) {
        switch occurrence {
        case .start(let index): feed(nodes[index], .started)
        case .machine(let index, let life, let event):
            if let node = awake(index, life, occurrence) { feed(node, event) }
        case .timer(let index, let life, let timer, let token):
            guard let node = awake(index, life, occurrence) else { return }
            if let current = node.timers[timer], current.token == token, now + node.clockOffset < current.deadline {
                // Its clock has stood still.
                queue.push(occurrence, at: current.deadline - node.clockOffset)
                return
            }
            // Now and then a timer that was moved or cancelled fires nevertheless, or one fires twice.
            guard node.timers[timer]?.token == token || chance(0.05) else { return }
            feed(node, .timerFired(timer))
            if chance(0.02) { feed(node, .timerFired(timer)) }
        case .network(let index, let life):
            if let node = awake(index, life, occurrence) { feed(node, .networkChanged(networkChange(of: node))) }
        case .token(let index, let life, let question, let answer):
            if let node = awake(index, life, occurrence) { tokenAnswered(node, question, answer) }
        case .iceServers(let index, let life, let question, let answer):
            if let node = awake(index, life, occurrence) { iceServersAnswered(node, question, answer) }
        case .connect(let connection, let deadline): connect(connection, deadline: deadline)
        case .toServer(let connection): arriveAtServer(connection)
        case .toClient(let connection):
            guard
                nodes[connection.node].life != connection.life
                    || awake(connection.node, connection.life, occurrence) != nil
            else { return }
            arriveAtClient(connection)
        // An earlier deadline has taken the place of an older one.
        case .serverTimer(let server, let time): if server.timerAt == time { timerFired(of: server) }
        case .peer(let occurrence): handle(occurrence)
        case .delivery(let occurrence): handle(occurrence)
        case .flap(let fault, let isCut): flap(fault, isCut: isCut)
        case .turn(let node, let fault): wander(nodes[node], fault)
        case .fault(let fault):
            note("begins: \(fault)")
            begin(fault, of: nodes[fault.node])
        case .heal(let fault):
            note("ends: \(fault)")
            heal(fault, of: nodes[fault.node])
        case .inspect:
            inspect()
            queue.push(.inspect, at: now + .seconds(1))
        }
    }

    /// The node, if it is the one that is meant and not asleep. What comes to a sleeper waits for it.
    private func awake(_ index: Int, _ life: Int, _ occurrence: Occurrence) -> Node? {
        let node = nodes[index]
        guard node.life == life else { return nil }
        guard node.suspendedUntil <= now else {
            queue.push(occurrence, at: node.suspendedUntil)
            return nil
        }
        return node
    }

    // MARK: Machines

    private func schedule(_ timer: RoomMachine.TimerID, of node: Node, at deadline: Timestamp) {
        lastToken += 1
        node.timers[timer] = Node.Timer(token: lastToken, deadline: deadline)
        let late = Duration.microseconds(Int.random(in: 0...3000, using: &random))
        queue.push(
            .timer(node: node.index, life: node.life, timer, token: lastToken),
            at: max(now, deadline - node.clockOffset) + late)
    }

    /// The participant's clock has moved: its timers come due by it.
    func rescheduleTimers(of node: Node) {
        for (timer, known) in node.timers.sorted(by: { $0.value.token < $1.value.token }) {
            schedule(timer, of: node, at: known.deadline)
        }
    }

    func feed(_ node: Node, _ event: RoomMachine.Event) {
        let time = now + node.clockOffset
        let actions =
            tape?.handle(event, &node.machine, name: node.machineName, now: time)
            ?? node.machine.handle(event, now: time)
        if trace != nil {
            for action in actions {
                switch action {
                case .openTransport, .abortTransport, .closeTransport, .send, .peer: note("\(node.name) does \(action)")
                case .requestCredential, .requestICEServers, .scheduleTimer, .cancelTimer, .emit: break
                }
            }
        }
        inspectLateNews(event, actions, of: node)
        inspectAddresses(event, of: node)
        inspectRepetition(event, actions, of: node)
        if case .transportConnected(let generation) = event, node.connections[generation] == nil,
            !actions.contains(.abortTransport(generation))
        {
            report("\(node.name) keeps a connection that it had given up")
        }
        if case .received(let envelope, let generation) = event, case .error(let error) = envelope.message {
            // No message here is malformed; a hello may come too late.
            if error.code == .malformed, !error.isRetryable { report("\(node.name) is told: \(error.message)") }
            if error.code == .staleEpoch { node.isStale = true }
            // Nobody else has its session. Of connections that are not counted, the server cannot know which is the
            // newer one.
            if error.code == .replaced, error.replacedBy != .participant, node.connections[generation] != nil,
                node.countsAttempts
            {
                report("\(node.name)'s connection was replaced by an older one")
            }
        }
        if case .timerFired(.signaling(.attempt)) = event {
            for case .abortTransport(let generation) in actions {
                guard let connection = node.connections[generation],
                    now + node.clockOffset - connection.openedAt < .seconds(5)
                else {
                    continue
                }
                report("\(node.name) gives an attempt up before its time")
            }
        }
        if actions.count > 500 { report("\(node.name) does \(actions.count) things at once") }
        if case .received(let envelope, let generation) = event, case .joined(let joined) = envelope.message,
            let connection = node.connections[generation]
        {
            repeatUp(connection, behind: joined)
            if joined.isResumed, node.stream !== connection.server {
                report("\(node.name)'s session is resumed by a server that it was not in")
            }
            node.stream = connection.server
        }
        let session = node.membership?.session
        for action in actions { perform(action, of: node) }
        // Where our own session is another one now, so is everybody for us.
        if node.membership?.session == session { inspectLeaves(event, actions, of: node) }
    }

    private func perform(_ action: RoomMachine.Action, of node: Node) {
        switch action {
        case .openTransport(let generation): open(generation, of: node)
        case .abortTransport(let generation): abort(generation, of: node)
        case .closeTransport(let generation, _): close(generation, of: node)
        case .send(let envelope, let generation):
            node.sends.append(now)
            guard let connection = node.connections[generation], connection.isOpenAtClient else { return }
            var envelope = envelope
            if case .hello(var hello) = envelope.message {
                if hello.resume?.mustRejoin == true, !node.isStale {
                    report("\(node.name) has lost its place in the stream")
                }
                if !node.countsAttempts { hello.resume?.attempt = 0 }
                connection.resume = hello.resume
                envelope.message = .hello(hello)
            }
            if envelope.sequence != nil { note(envelope, sentBy: node) }
            sendUp(connection, .message(envelope))
        case .requestCredential(let forced): provideToken(node, forced: forced)
        case .requestICEServers: provideICEServers(node)
        case .scheduleTimer(let timer, let deadline): schedule(timer, of: node, at: deadline)
        case .cancelTimer(let timer): node.timers[timer] = nil
        case .emit(let event): observe(event, of: node)
        case .peer(let participant, let connection, let command):
            perform(command, on: connection, to: participant, of: node)
        }
    }

    func noteWell(_ isWell: Bool) {
        wellSince = isWell ? wellSince ?? now : nil
        isOver = wellSince.map { now - max($0, lastChatter) >= scenario.faults.wellFor } ?? false
    }

    package var incidentCount: Int { nodes.reduce(0) { $0 + $1.incidents.count } }

    /// How long it took from the end of the last fault until everything was well.
    package var recovery: Duration? { wellSince.map { max(.zero, $0 - faultsEnd) } }
}
