import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// Signals stay in order on one signaling connection. After its replacement, older ones may arrive late, or again: none
/// of them may disturb newer state.
@Suite struct LateSignalsTests {
    @Test func lateAndRepeatedSignalsNeverDisturbTheNewestRound() {
        for seed in 0..<1000 {
            let pair = UnreliablePair(seed: UInt64(seed))
            pair.disturb(steps: 120)
            pair.calmDown()
            #expect(pair.complaints.isEmpty, "seed \(seed)")
        }
    }
}

/// Two peer machines over transports that know which description answers which, and a path between them that delays and
/// repeats.
private final class UnreliablePair {
    typealias Side = Pair.Side
    /// One end of a peer connection.
    private struct Connection {
        var offers = 0
        var local = ""
        var remote = ""
        var isClosed = false
    }

    private var machines: [Side: PeerMachine] = [:]
    private var timers: [Side: Timestamp] = [:]
    private var now = Timestamp.zero
    private var connections: [Side: [PeerConnectionID: Connection]] = [.a: [:], .b: [:]]
    /// The events of the transports, in order.
    private var facts: [Side: [(PeerConnectionID, PeerFact)]] = [.a: [], .b: []]
    /// Signals to a side, in order; those that come late; those that came.
    private var onTheWay: [Side: [Signal]] = [.a: [], .b: []]
    private var late: [Side: [Signal]] = [.a: [], .b: []]
    private var arrived: [Side: [Signal]] = [.a: [], .b: []]
    private var random: SeededGenerator
    private(set) var complaints: [String] = []

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        for (side, us, other) in [(Side.a, "a", "b"), (.b, "b", "a")] {
            machines[side] = PeerMachine(
                makeParticipant(other), us: ParticipantID(us), configuration: RecoveryConfiguration(), iceServers: [])
        }
        for side in [Side.b, .a] { act(side) { $0.begin(now: $1, using: &$2, &$3) } }
    }

    // MARK: What happens

    func disturb(steps: Int) {
        for _ in 0..<steps {
            let side = Bool.random(using: &random) ? Side.a : .b
            switch Int.random(in: 0..<16, using: &random) {
            case 0..<5: tellFact(side)
            case 5..<11: deliver(side, mayDelay: true)
            case 11: deliverLate(side)
            case 12: if let signal = arrived[side]?.randomElement(using: &random) { late[side]?.append(signal) }
            case 13: fireTimer(within: .seconds(5))
            case 14: settle()
            default: happen(side)
            }
        }
    }

    /// Everything comes in the end, and nothing goes wrong any more.
    func calmDown() {
        while late[.a]?.isEmpty == false || late[.b]?.isEmpty == false {
            for side in [Side.a, .b] { deliverLate(side) }
            if Bool.random(using: &random) { tellFact(.a) }
            if Bool.random(using: &random) { deliver(.b, mayDelay: false) }
        }
        let end = now + .seconds(600)
        repeat {
            while tellFact(.a) || tellFact(.b) || deliver(.a, mayDelay: false) || deliver(.b, mayDelay: false) {}
            settle()
        } while fireTimer(within: end - now)
        for side in [Side.a, .b] {
            guard case .connected = machines[side]?.status else {
                complaints.append("\(side) is \(machines[side].map { "\($0.status)" } ?? "gone")")
                continue
            }
        }
        if agreed == nil { complaints.append("the two have not described the same round of the same connection") }
    }

    private func happen(_ side: Side) {
        guard let id = machines[side]?.connection else { return }
        switch Int.random(in: 0..<7, using: &random) {
        case 0: act(side) { $0.handle(.state(.disconnected), of: id, now: $1, using: &$2, &$3) }
        case 1: act(side) { $0.handle(.liveness(.suspect(since: $1)), of: id, now: $1, using: &$2, &$3) }
        case 2:
            connections[side]?[id]?.isClosed = true
            act(side) { $0.handle(.closed(PeerFailure("failed")), of: id, now: $1, using: &$2, &$3) }
        case 3: act(side) { $0.restart(now: $1, using: &$2, &$3) }
        case 4: act(side) { $0.checkPath(.reconnectRequested, now: $1, using: &$2, &$3) }
        default:
            // One of them rejoins: what was under way is lost, or comes over an older connection.
            for side in [Side.a, .b] {
                late[side]?.append(contentsOf: onTheWay[side]?.filter { _ in Bool.random(using: &random) } ?? [])
                onTheWay[side] = []
            }
            act(side) { $0.rejoined(.rejoined, now: $1, using: &$2, &$3) }
            act(side.other) { $0.rejoined(.peerRejoined, now: $1, using: &$2, &$3) }
        }
    }

    @discardableResult
    private func tellFact(_ side: Side) -> Bool {
        guard let (id, fact) = facts[side]?.first else { return false }
        facts[side]?.removeFirst()
        act(side) { $0.handle(fact, of: id, now: $1, using: &$2, &$3) }
        return true
    }

    @discardableResult
    private func deliver(_ side: Side, mayDelay: Bool) -> Bool {
        guard let signal = onTheWay[side]?.first else { return false }
        onTheWay[side]?.removeFirst()
        if mayDelay, Int.random(in: 0..<8, using: &random) == 0 {
            late[side]?.append(signal)
        } else {
            arrived[side]?.append(signal)
            act(side) { $0.received(signal, now: $1, using: &$2, &$3) }
        }
        return true
    }

    private func deliverLate(_ side: Side) {
        guard let count = late[side]?.count, count > 0 else { return }
        guard let signal = late[side]?.remove(at: Int.random(in: 0..<count, using: &random)) else { return }
        act(side) { $0.received(signal, now: $1, using: &$2, &$3) }
    }

    @discardableResult
    private func fireTimer(within limit: Duration) -> Bool {
        let next = timers.min { ($0.value, $0.key == .a ? 0 : 1) < ($1.value, $1.key == .a ? 0 : 1) }
        guard let (side, time) = next, time <= now + limit else { return false }
        timers[side] = nil
        now = max(now, time)
        act(side) { $0.timerFired(.recovery, isSignalingUp: true, now: $1, using: &$2, &$3) }
        return true
    }

    /// The connection whose newest round both have described to each other.
    private var agreed: PeerConnectionID? {
        guard let id = machines[.a]?.connection, machines[.b]?.connection == id, let a = connections[.a]?[id],
            let b = connections[.b]?[id], !a.isClosed, !b.isClosed, a.local == b.remote, b.local == a.remote
        else { return nil }
        return id
    }

    /// A path comes up; or an end whose other end is gone hears nothing any more.
    private func settle() {
        guard let id = agreed else {
            for side in [Side.a, .b] {
                guard let id = machines[side]?.connection, case .connected = machines[side]?.status,
                    connections[side.other]?[id]?.isClosed ?? true
                else { continue }
                act(side) { $0.handle(.liveness(.suspect(since: $1)), of: id, now: $1, using: &$2, &$3) }
            }
            return
        }
        for side in [Side.a, .b] {
            act(side) {
                $0.handle(.pathChanged(PeerPath(local: .host, remote: .host)), of: id, now: $1, using: &$2, &$3)
            }
            act(side) { $0.handle(.state(.connected), of: id, now: $1, using: &$2, &$3) }
            act(side) { $0.handle(.liveness(.alive), of: id, now: $1, using: &$2, &$3) }
        }
    }

    // MARK: What the machines do

    private func act(
        _ side: Side, _ body: (inout PeerMachine, Timestamp, inout SeededGenerator, inout [PeerMachine.Action]) -> Void
    ) {
        guard var machine = machines[side] else { return }
        var actions: [PeerMachine.Action] = []
        body(&machine, now, &random, &actions)
        machines[side] = machine
        for action in actions {
            switch action {
            case .signal(var signal):
                signal.peer = ParticipantID(side == .a ? "a" : "b")
                signal.session = SessionID(side == .a ? "s-a" : "s-b")
                onTheWay[side.other]?.append(signal)
            case .scheduleTimer(.recovery, let time): timers[side] = time
            case .command(let id, let command): perform(command, id, side)
            case .scheduleTimer(.stall, _), .cancelTimer, .changeStatus, .report, .reportStall, .resolveStall: break
            }
        }
    }

    private func perform(_ command: PeerCommand, _ id: PeerConnectionID, _ side: Side) {
        switch command {
        case .create:
            if connections[side]?[id] != nil { complaints.append("\(side) makes the connection \(id) again") }
            if connections[side]?.values.contains(where: { !$0.isClosed }) == true {
                complaints.append("\(side) has two connections")
            }
            connections[side]?[id] = Connection()
        case .close: connections[side]?[id]?.isClosed = true
        case .makeOffer, .restartPath:
            guard var connection = connections[side]?[id], !connection.isClosed else { return }
            connection.offers += 1
            connection.local = "\(id)/\(connection.offers)"
            connections[side]?[id] = connection
            describe(connection.local, .offer, id, side)
        case .setRemoteDescription(let description):
            guard var connection = connections[side]?[id], !connection.isClosed else {
                complaints.append("\(side) describes a connection that is no more")
                return
            }
            switch description.kind {
            case .answer:
                if description.text != "answer to \(connection.local)" {
                    complaints.append("\(side) takes \(description.text) for its offer \(connection.local)")
                }
            case .offer:
                let number = description.text.split(separator: "/").last.flatMap { Int($0) } ?? 0
                if !description.text.hasPrefix("\(id)/") || number <= connection.offers {
                    complaints.append("\(side) takes \(description.text) after \(connection.remote)")
                }
                connection.offers = number
                connection.local = "answer to \(description.text)"
            }
            connection.remote = description.text
            connections[side]?[id] = connection
            if description.kind == .offer { describe(connection.local, .answer, id, side) }
        case .addRemoteCandidate(let candidate):
            if candidate.usernameFragment != connections[side]?[id]?.remote {
                complaints.append("\(side) takes a candidate of an earlier round: \(candidate)")
            }
        case .updateICEServers, .probe, .diagnose, .sendHint: break
        }
    }

    private func describe(_ text: String, _ kind: SessionDescription.Kind, _ id: PeerConnectionID, _ side: Side) {
        // The agent before says nothing any more.
        facts[side]?.removeAll { fact in
            switch fact {
            case (id, .localCandidate), (id, .endOfLocalCandidates): true
            default: false
            }
        }
        facts[side]? += [
            (id, .localDescription(SessionDescription(kind: kind, text: text))),
            (id, .localCandidate(PeerCandidate(text: "candidate", usernameFragment: text))),
            (id, .endOfLocalCandidates(usernameFragment: text)),
        ]
    }
}
