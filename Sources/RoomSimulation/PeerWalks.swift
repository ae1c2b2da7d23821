internal import RoomCore
internal import RoomProtocol
internal import RoomValues
internal import TransportValues

/// The walks of the machines that a peer's connection consists of.
enum PeerWalks {
    // MARK: A peer's connection

    static func ladder(seed: UInt64, steps: Int, on tape: VectorTape) {
        var configuration = RecoveryConfiguration()
        configuration.rejoinPolicy = RejoinPolicy.allCases[Int(seed % 3)]
        let isOfferer = seed.isMultiple(of: 2)
        var walk = VectorWalk<RecoveryLadder, RecoveryLadder.Action>(
            RecoveryLadder(configuration, participant: ParticipantID("p1"), isOfferer: isOfferer),
            [configuration, ParticipantID("p1"), isOfferer], on: tape, seed: seed
        ) {
            [
                ("status", $0.status), ("isIdle", $0.isIdle), ("isReachable", $0.isReachable),
                ("isConnectingFirst", $0.isConnectingFirst), ("canPlan", $0.canPlan),
            ]
        }
        walk.call("begin", [walk.now]) { [now = walk.now] in $0.begin(now: now, &$2) }
        var deadline: Timestamp?
        for _ in 0..<steps {
            var actions: [RecoveryLadder.Action]
            if walk.fires(&deadline, 0.4) {
                let now = walk.now
                actions = walk.call("timerFired", [now]) { $0.timerFired(now: now, &$2) }
            } else {
                walk.pass()
                actions = ladderFact(&walk)
            }
            for action in actions {
                switch action {
                case .scheduleTimer(let time): deadline = time
                // What mostly follows.
                case .rebuild, .restart:
                    guard walk.chance(0.6) else { continue }
                    let now = walk.now
                    walk.call("described", [now]) { machine, _, _ in machine.described(now: now) }
                    walk.call("agreed", [now]) { $0.agreed(now: now, &$2) }
                    actions += walk.call("stateChanged", [PeerConnectionState.connected, now]) {
                        $0.stateChanged(.connected, now: now, &$2)
                    }
                case .probe, .changeStatus, .report: break
                }
            }
        }
        let now = walk.now
        walk.call("end", [now]) { $0.end(now: now, &$2) }
    }

    private static func ladderFact(_ walk: inout VectorWalk<RecoveryLadder, RecoveryLadder.Action>)
        -> [RecoveryLadder.Action]
    {
        let now = walk.now
        let causes: [RoomIncident.Cause] = [.requested, .requestedByPeer, .networkChanged, .relayCredentials]
        switch walk.number(0...21) {
        case 0...3:
            let state = walk.pick([PeerConnectionState.new, .connecting, .connected, .connected, .disconnected])
            return walk.call("stateChanged", [state, now]) { $0.stateChanged(state, now: now, &$2) }
        case 4...6:
            let since = now - walk.dice.duration(upTo: .seconds(1))
            let liveness = walk.chance(0.5) ? PeerLiveness.alive : .suspect(since: since)
            return walk.call("livenessChanged", [liveness, now]) { $0.livenessChanged(liveness, now: now, &$2) }
        case 7:
            let path = PeerPath(
                local: walk.pick([.host, .relay]), remote: walk.pick([.host, .srflx]), summary: "path",
                usernameFragment: "\(walk.number(0...2))")
            let isLatest = walk.chance(0.7)
            return walk.call("pathChanged", [path, isLatest, now]) {
                $0.pathChanged(path, isLatest: isLatest, now: now, &$2)
            }
        case 8: return walk.call("channelClosed", [now]) { $0.channelClosed(now: now, &$2) }
        case 9:
            walk.call("checked", [now]) { machine, _, _ in machine.checked(now: now) }
            return walk.call("dataArrived", [now]) { $0.dataArrived(now: now, &$2) }
        case 10:
            walk.call("gathered", [now]) { machine, _, _ in machine.gathered(now: now) }
            return walk.call("agreed", [now]) { $0.agreed(now: now, &$2) }
        case 11: return walk.call("replaced", [now]) { $0.replaced(now: now, &$2) }
        case 12:
            let failure = walk.pick([nil, PeerFailure("it failed"), PeerFailure("io", code: .io, isRefusal: true)])
            return walk.call("closed", [failure as Any, now]) { $0.closed(failure, now: now, &$2) }
        case 13:
            if walk.chance(0.5) {
                return walk.call("descriptionRefused", [now]) { $0.descriptionRefused(now: now, &$2) }
            }
            let isKept = walk.chance(0.5)
            return walk.call("notPrepared", [isKept, now]) { $0.notPrepared(isPathKept: isKept, now: now, &$2) }
        case 14:
            let isReachable = walk.chance(0.7)
            return walk.call("setReachable", [isReachable, now]) { $0.setReachable(isReachable, now: now, &$2) }
        case 15:
            let cause = walk.pick([RoomIncident.Cause.rejoined, .peerRejoined])
            return walk.call("rejoined", [cause, now, VectorTape.random]) {
                $0.rejoined(cause, now: now, using: &$1, &$2)
            }
        case 16: return walk.call("woke", [now]) { $0.woke(now: now, &$2) }
        case 17:
            return walk.call("checkPath", [RoomIncident.Cause.reconnectRequested, now]) {
                $0.checkPath(.reconnectRequested, now: now, &$2)
            }
        case 18:
            let (isLost, isOther) = (walk.chance(0.5), walk.chance(0.5))
            return walk.call("networkChanged", [isLost, isOther, now]) {
                $0.networkChanged(isPathLost: isLost, isOther: isOther, now: now, &$2)
            }
        case 19:
            let cause = walk.pick(causes)
            return walk.call("restartRequested", [cause, now]) { $0.restartRequested(cause, now: now, &$2) }
        case 20:
            let hasNone = walk.chance(0.5)
            return walk.call("rebuildRequested", [hasNone, now]) {
                $0.rebuildRequested(hasNone: hasNone, now: now, &$2)
            }
        default:
            if walk.chance(0.3) {
                return walk.call("cancelPlan", [RoomIncident.Cause.relayCredentials]) {
                    $0.cancelPlan(.relayCredentials, &$2)
                }
            }
            let earliest = now + walk.dice.duration(upTo: .seconds(3))
            return walk.call("plan", [RoomIncident.Cause.relayCredentials, earliest, VectorTape.random]) {
                $0.plan(.relayCredentials, from: earliest, using: &$1, &$2)
            }
        }
    }

    static func stall(seed: UInt64, steps: Int, on tape: VectorTape) {
        let configuration = RecoveryConfiguration()
        var walk = VectorWalk<StallMachine, StallMachine.Action>(
            StallMachine(configuration), [configuration], on: tape, seed: seed)
        var deadline: Timestamp?
        for _ in 0..<steps {
            var actions: [StallMachine.Action]
            let isDue = walk.fires(&deadline, 0.5)
            if !isDue { walk.pass(upTo: .seconds(10)) }
            let now = walk.now
            let stall = PeerStall(walk.pick([.noOffer, .noAnswer, .notConnected]), "stalled", cure: "wait")
            switch isDue ? 6 : walk.number(0...5) {
            case 0: actions = walk.call("disconnected", [now]) { $0.disconnected(now: now, &$2) }
            case 1: actions = walk.call("connected", [now]) { $0.connected(now: now, &$2) }
            case 2: actions = walk.call("unacknowledged", [now]) { $0.unacknowledged(now: now, &$2) }
            case 3: actions = walk.call("acknowledged", []) { $0.acknowledged(&$2) }
            case 4: actions = walk.call("woke", [now]) { $0.woke(now: now, &$2) }
            case 5: actions = walk.call("found", [stall, now]) { $0.found(stall, now: now, &$2) }
            default: actions = walk.call("timerFired", [now]) { $0.timerFired(now: now, &$2) }
            }
            for action in actions {
                switch action {
                case .scheduleTimer(let time): deadline = time
                case .cancelTimer: deadline = nil
                case .inquire:
                    if walk.chance(0.7) {
                        walk.call("found", [stall, now]) { $0.found(stall, now: now, &$2) }
                    }
                case .report, .resolve: break
                }
            }
        }
    }

    static func offers(seed: UInt64, steps: Int, on tape: VectorTape) {
        let configuration = RecoveryConfiguration()
        var walk = VectorWalk<OfferPace, Never>(OfferPace(configuration), [configuration], on: tape, seed: seed) {
            [("nextDeadline", $0.nextDeadline as Any)]
        }
        for step in 0..<steps {
            if walk.chance(0.3) { walk.now = walk.now + walk.dice.duration(upTo: .milliseconds(600)) }
            let now = walk.now
            let peer = ParticipantID("p\(walk.number(1...3))")
            switch walk.number(0...5) {
            case 0: walk.ask("next", [now]) { $0.next(now: now) }
            case 1 where walk.chance(0.2): walk.ask("forget", [peer]) { $0.forget(peer) }
            default:
                let offer = Signal(
                    peer: peer, session: SessionID("s1"), connection: PeerConnectionID("c\(walk.number(1...2))"),
                    negotiation: UInt64(walk.number(1...3)),
                    body: .description(SessionDescription(kind: .offer, text: "\(step)")))
                walk.ask("admits", [offer, now]) { $0.admits(offer, now: now) }
            }
        }
    }

    // MARK: Negotiation

    /// Both sides of a pair, with signals between them that are lost, late and doubled.
    static func negotiation(seed: UInt64, steps: Int, on tape: VectorTape) {
        typealias Walk = VectorWalk<NegotiationMachine, NegotiationMachine.Action>
        let limit = 4
        var walks = [true, false].map { isOfferer in
            Walk(
                NegotiationMachine(isOfferer: isOfferer, candidateLimit: limit), [isOfferer, limit], on: tape,
                instance: isOfferer ? "offerer" : "answerer", seed: isOfferer ? seed : seed ^ 1 << 40
            ) { [("connection", $0.connection as Any), ("isNegotiating", $0.isNegotiating)] }
        }
        // To each of them.
        var signals: [[Signal]] = [[], []]
        // What its transport will say.
        var facts: [[SessionDescription]] = [[], []]
        var texts = 0
        for _ in 0..<steps {
            let index = walks[0].number(0...1)
            var actions: [NegotiationMachine.Action] = []
            let choice = walks[0].number(0...19)
            if choice < 8, !signals[index].isEmpty {
                // Mostly in order.
                let place = walks[0].chance(0.1) ? walks[0].number(0...(signals[index].count - 1)) : 0
                let signal = signals[index][place]
                if !walks[0].chance(0.05) { signals[index].remove(at: place) }
                if walks[0].chance(0.05) { continue }
                if case .description(let description) = signal.body, description.kind == .offer {
                    walks[index].ask("willAnswer", [signal]) { $0.willAnswer(signal) }
                }
                actions = walks[index].call("received", [signal]) { $0.received(signal, &$2) }
            } else if choice < 14, !facts[index].isEmpty {
                let description = facts[index].removeFirst()
                actions = walks[index].call("localDescription", [description]) { $0.localDescription(description, &$2) }
                let candidate = PeerCandidate(text: "candidate", mediaID: "0", mediaLineIndex: 0, usernameFragment: "u")
                for _ in 0..<walks[0].number(0...6) {
                    actions += walks[index].call("localCandidate", [candidate]) { $0.localCandidate(candidate, &$2) }
                }
                actions += walks[index].call("endOfLocalCandidates", ["u"]) {
                    $0.endOfLocalCandidates(usernameFragment: "u", &$2)
                }
            } else {
                actions = negotiationFact(choice, &walks[index])
            }
            for action in actions {
                switch action {
                case .makeOffer, .restartPath:
                    texts += 1
                    facts[index].append(SessionDescription(kind: .offer, text: "\(texts)"))
                case .setRemoteDescription(_, let description) where description.kind == .offer:
                    texts += 1
                    facts[index].append(SessionDescription(kind: .answer, text: "\(texts)"))
                case .signal(let connection, let negotiation, let body):
                    signals[1 - index].append(
                        Signal(
                            peer: ParticipantID("p\(index)"), session: SessionID("s\(index)"), connection: connection,
                            negotiation: negotiation, body: body))
                case .create, .close: facts[index] = []
                case .setRemoteDescription, .addRemoteCandidate, .replaced, .described, .agreed, .restartRequested,
                    .rebuildRequested, .connectionRequested, .gathered:
                    break
                }
            }
        }
    }

    private static func negotiationFact(
        _ choice: Int, _ walk: inout VectorWalk<NegotiationMachine, NegotiationMachine.Action>
    ) -> [NegotiationMachine.Action] {
        switch choice {
        case 14:
            walk.ask("connectionClosed", []) { $0.connectionClosed() }
            return []
        case 15: return walk.call("descriptionRefused", []) { $0.descriptionRefused(&$2) }
        case 16: return walk.decide("notPrepared", []) { machine, _, actions in machine.notPrepared(&actions) }
        case 17 where walk.chance(0.1): return walk.call("close", []) { $0.close(&$2) }
        case 18, 19:
            return walk.call("rebuild", ["connectionFailed", VectorTape.random]) {
                $0.rebuild(reason: "connectionFailed", using: &$1, &$2)
            }
        default:
            let isSuperseding = walk.chance(0.3)
            return walk.call("restart", [isSuperseding, "silence", VectorTape.random]) {
                $0.restart(superseding: isSuperseding, reason: "silence", using: &$1, &$2)
            }
        }
    }
}
