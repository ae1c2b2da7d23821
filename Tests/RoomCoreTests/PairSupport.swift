import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// Two peer machines whose signals can be held back, lost or reordered by a test. `a` is the offerer.
struct Pair {
    enum Side: Hashable {
        case a, b
        var other: Side { self == .a ? .b : .a }
    }
    var machines: [Side: PeerMachine] = [:]
    var now = Timestamp.zero
    var generator: SeededGenerator
    /// Signals on their way to the side.
    var inFlight: [Side: [Signal]] = [.a: [], .b: []]
    var timers: [Side: Timestamp] = [:]
    var actions: [Side: [PeerMachine.Action]] = [.a: [], .b: []]
    /// Connections answer descriptions by themselves.
    var answersDescriptions = true

    init(_ configuration: RecoveryConfiguration = RecoveryConfiguration(), seed: UInt64 = 1) {
        var configuration = configuration
        configuration.budgets.spread = .zero
        generator = SeededGenerator(seed: seed)
        for (side, us, other) in [(Side.a, "a", "b"), (.b, "b", "a")] {
            machines[side] = PeerMachine(
                makeParticipant(other), us: ParticipantID(us), configuration: configuration, iceServers: [])
        }
    }

    @discardableResult
    mutating func act(
        _ side: Side, _ body: (inout PeerMachine, Timestamp, inout SeededGenerator, inout [PeerMachine.Action]) -> Void
    ) -> [PeerMachine.Action] {
        guard var machine = machines[side] else { return [] }
        var out: [PeerMachine.Action] = []
        body(&machine, now, &generator, &out)
        machines[side] = machine
        actions[side]?.append(contentsOf: out)
        for action in out {
            switch action {
            case .signal(var signal):
                // The server stamps the sender.
                let sender = side == .a ? "a" : "b"
                signal.peer = ParticipantID(sender)
                signal.session = SessionID("s-\(sender)")
                inFlight[side.other]?.append(signal)
            case .scheduleTimer(.recovery, let time): timers[side] = time
            case .command(let id, let command): if answersDescriptions { perform(command, id, side) }
            case .scheduleTimer(.stall, _), .cancelTimer, .changeStatus, .report, .reportStall, .resolveStall: break
            }
        }
        return out
    }

    /// Acts like a transport.
    private mutating func perform(_ command: PeerCommand, _ id: PeerConnectionID, _ side: Side) {
        switch command {
        case .makeOffer, .restartPath:
            fact(side, .localDescription(SessionDescription(kind: .offer, text: "offer")), id)
        case .setRemoteDescription(let description):
            if description.kind == .offer {
                fact(side, .localDescription(SessionDescription(kind: .answer, text: "answer")), id)
            }
        case .create, .close, .addRemoteCandidate, .updateICEServers, .probe, .diagnose, .sendHint:
            break
        }
    }

    @discardableResult
    mutating func fact(_ side: Side, _ fact: PeerFact, _ id: PeerConnectionID? = nil) -> [PeerMachine
        .Action]
    {
        guard let id = id ?? machines[side]?.connection else { return [] }
        return act(side) { $0.handle(fact, of: id, now: $1, using: &$2, &$3) }
    }

    /// Delivers the oldest signal to the side. False: there was none.
    @discardableResult
    mutating func deliver(to side: Side) -> Bool {
        guard let signal = inFlight[side]?.first else { return false }
        inFlight[side]?.removeFirst()
        act(side) { $0.received(signal, now: $1, using: &$2, &$3) }
        return true
    }

    mutating func deliverAll() {
        var count = 0
        while deliver(to: .a) || deliver(to: .b) {
            count += 1
            if count > 1000 { return }
        }
    }

    mutating func connect() {
        act(.b) { $0.begin(now: $1, using: &$2, &$3) }
        act(.a) { $0.begin(now: $1, using: &$2, &$3) }
        deliverAll()
        fact(.a, .state(.connected))
        fact(.b, .state(.connected))
    }

    /// Fires timers in the order of time, up to `seconds`; signals are delivered at once when `delivers`.
    @discardableResult
    mutating func run(until seconds: Double, delivers: Bool = true) -> [Side: [PeerMachine.Action]] {
        let before = actions
        if delivers { deliverAll() }
        while let (side, time) = timers.min(by: { ($0.value, $0.key == .a ? 0 : 1) < ($1.value, $1.key == .a ? 0 : 1) }
        ),
            time <= at(seconds)
        {
            timers[side] = nil
            now = max(now, time)
            act(side) { $0.timerFired(.recovery, isSignalingUp: true, now: $1, using: &$2, &$3) }
            if delivers { deliverAll() }
        }
        now = max(now, at(seconds))
        var new: [Side: [PeerMachine.Action]] = [:]
        for (side, list) in actions { new[side] = Array(list.dropFirst(before[side]?.count ?? 0)) }
        return new
    }
}

extension [PeerMachine.Action] {
    var commands: [PeerCommand] {
        compactMap { if case .command(_, let command) = $0 { command } else { nil } }
    }
    var creations: Int { commands.count { if case .create = $0 { true } else { false } } }
    var restarts: Int { commands.count { if case .restartPath = $0 { true } else { false } } }
    var probes: Int { commands.count { $0 == .probe } }
    var bodies: [Signal.Body] { compactMap { if case .signal(let signal) = $0 { signal.body } else { nil } } }
    var restartRequests: Int { bodies.count { if case .restartRequest = $0 { true } else { false } } }
    var rebuildRequests: Int { bodies.count { if case .rebuildRequest = $0 { true } else { false } } }
    var incidents: [RoomIncident] { compactMap { if case .report(let incident) = $0 { incident } else { nil } } }
}

extension Pair {
    /// A pair that has been connected for a while.
    static func connected(_ configuration: RecoveryConfiguration = RecoveryConfiguration()) -> Pair {
        var pair = Pair(configuration)
        pair.connect()
        pair.run(until: 20)
        return pair
    }

    /// Checks that the fact ends the recovery of `a`, without a later step. Returns the incidents that its first data
    /// ends.
    mutating func incidents(endedBy fact: PeerFact) -> [RoomIncident] {
        self.fact(.a, fact)
        #expect(machines[.a]?.status == .connected(nil))
        let incidents = self.fact(.a, .dataArrived).incidents
        let later = run(until: 60)[.a]
        #expect(later?.restarts == 0 && later?.creations == 0)
        return incidents
    }
}
