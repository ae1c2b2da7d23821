internal import RoomCore
internal import RoomProtocol
internal import RoomValues
internal import TransportValues

// A connection to a server that answers anything, and a stay in a room whose server says anything.
extension VectorWalks {
    private typealias SignalingWalk = VectorWalk<SignalingMachine, SignalingMachine.Action>
    private typealias SessionWalk = VectorWalk<RoomSessionMachine, RoomSessionMachine.Action>

    private static func configuration(_ seed: UInt64) -> MachineConfiguration {
        var configuration = MachineConfiguration(
            room: RoomName("lab"), role: seed.isMultiple(of: 2) ? .host : .guest, name: "n")
        configuration.capabilities = [DeliveryProtocol.capability]
        configuration.waitsForRoom = seed % 3 == 1
        configuration.token = seed % 4 == 3 ? "token" : nil
        configuration.hasCredentialProvider = seed % 4 == 1
        configuration.hasICEServerProvider = seed % 5 == 2
        // Small, so that they are met.
        configuration.signaling.queueLimit = 12
        configuration.signaling.queueByteLimit = 2000
        configuration.signaling.ackEvery = 3
        if seed % 6 == 5 { configuration.signaling.backoff.reconnect.attemptLimit = 4 }
        return configuration
    }

    private static let random = VectorTape.random

    // MARK: Signaling

    static func signaling(seed: UInt64, steps: Int, on tape: VectorTape) {
        var rest = steps
        var life: UInt64 = 0
        while rest > 0 {
            rest -= signaling(configuration(seed + life), seed: seed + life << 32, steps: rest, on: tape)
            life += 1
        }
    }

    /// Lets one machine live. Returns how many steps it took.
    private static func signaling(
        _ configuration: MachineConfiguration, seed: UInt64, steps: Int, on tape: VectorTape
    ) -> Int {
        var walk = SignalingWalk(SignalingMachine(configuration), [configuration], on: tape, seed: seed) {
            [
                ("status", $0.status), ("isConnected", $0.isConnected), ("isClosed", $0.isClosed),
                ("isCatchingUp", $0.isCatchingUp), ("queuedMessages", $0.queuedMessages),
            ]
        }
        var server = SignalingServer()
        var actions = walk.call("start", [walk.now]) { [now = walk.now] in $0.start(now: now, &$2) }
        var step = 0
        while step < steps, !walk.machine.isClosed {
            step += 1
            while !actions.isEmpty { actions = server.take(actions, &walk, configuration) }
            if let (timer, due) = server.nextTimer,
                walk.chance(server.isOpen ? 0.12 : 0.5)
            {
                server.timers[timer] = nil
                walk.pass(to: due)
                let now = walk.now
                actions = walk.call("timerFired", [timer, now, random]) {
                    $0.timerFired(timer, now: now, using: &$1, &$2)
                }
            } else {
                walk.pass(upTo: .milliseconds(300))
                actions = server.isOpen && walk.chance(0.8) ? server.message(&walk) : server.fact(&walk)
            }
        }
        walk.call("leave", []) { $0.leave(&$2) }
        return step
    }

    /// The transport and the server of a walk, as far as they remember.
    private struct SignalingServer {
        var timers: [SignalingMachine.TimerID: Timestamp] = [:]
        var isOpen = false
        private var generation: ConnectionGeneration = 0
        /// The last number of each direction.
        private var sent: UInt64 = 0
        private var received: UInt64 = 0
        private var lastPing: UInt64 = 0
        /// The latest ping of the client.
        private var pinged: UInt64 = 1
        private var hasJoined = false

        /// The timer that fires next; of several at the same time, always the same.
        var nextTimer: (SignalingMachine.TimerID, Timestamp)? {
            timers.min { ($0.value.nanoseconds, "\($0.key)") < ($1.value.nanoseconds, "\($1.key)") }
                .map { ($0.key, $0.value) }
        }

        /// Carries out actions. Returns those that follow at once.
        mutating func take(
            _ actions: [SignalingMachine.Action], _ walk: inout SignalingWalk, _ configuration: MachineConfiguration
        ) -> [SignalingMachine.Action] {
            var further: [SignalingMachine.Action] = []
            let now = walk.now
            for action in actions {
                switch action {
                case .openTransport(let generation):
                    (isOpen, self.generation) = (false, generation)
                    if walk.chance(0.2) { continue }
                    if walk.chance(0.25) {
                        let failure = walk.pick([
                            SignalingFailure("refused"), SignalingFailure("no such host", isRetryable: false),
                            SignalingFailure("HTTP 401", status: 401), SignalingFailure("HTTP 403", status: 403),
                            SignalingFailure("HTTP 503", status: 503, retryAfter: .seconds(1) ... .seconds(3)),
                        ])
                        further += walk.call("transportFailed", [generation, failure, now, random]) {
                            $0.transportFailed(generation, failure, now: now, using: &$1, &$2)
                        }
                    } else {
                        further += walk.call("transportConnected", [generation, now]) {
                            $0.transportConnected(generation, now: now, &$2)
                        }
                    }
                case .requestHello(let token, let last, let mustRejoin, _):
                    var hello = Hello(room: configuration.room, role: configuration.role, name: "n", token: token)
                    if hasJoined {
                        hello.resume = Resume(sessionToken: "t", received: last, mustRejoin: mustRejoin)
                    }
                    further += walk.call("sendHello", [hello]) { [hello] in $0.sendHello(hello, &$2) }
                    isOpen = true
                case .requestCredential:
                    if walk.chance(0.7) {
                        let expiry = walk.chance(0.5) ? now + walk.dice.duration(upTo: .seconds(60)) : nil
                        further += walk.call("credentialReady", ["token", expiry as Any, now]) {
                            $0.credentialReady(token: "token", expiresAt: expiry, now: now, &$2)
                        }
                    } else if walk.chance(0.5) {
                        let failure = SignalingFailure("no credential", isRetryable: walk.chance(0.9))
                        further += walk.call("credentialFailed", [failure, now, random]) {
                            $0.credentialFailed(failure, now: now, using: &$1, &$2)
                        }
                    }
                case .abortTransport(let generation), .closeTransport(let generation, _):
                    if generation == self.generation { isOpen = false }
                case .scheduleTimer(let timer, let time): timers[timer] = time
                case .cancelTimer(let timer): timers[timer] = nil
                case .send(let envelope, _):
                    if let sequence = envelope.sequence { received = sequence }
                    if case .ping(let id) = envelope.message { pinged = id }
                case .deliver(.joined, _): hasJoined = true
                case .changeStatus, .deliver, .overflow: break
                }
            }
            return further
        }

        /// A message of the server.
        mutating func message(_ walk: inout SignalingWalk) -> [SignalingMachine.Action] {
            var sequence: UInt64?
            let message: ServerMessage
            let isGreeting = !walk.machine.isConnected
            switch isGreeting ? walk.number(0...4) : walk.number(5...15) {
            case 0, 1, 2:
                let isResumed = hasJoined && walk.chance(0.7)
                if !isResumed { (sent, received) = (0, walk.chance(0.9) ? 0 : received) }
                message = .joined(VectorWalks.joined(isResumed: isResumed, received: received, sent: sent, &walk.dice))
            case 3: message = .waiting(pingInterval: .seconds(5), pingDeadline: .seconds(5))
            case 4: message = .error(VectorWalks.error(&walk.dice))
            case 5...9:
                // Now and then one that has come before, or one that leaves a gap.
                if walk.chance(0.1), sent > 1 { sent -= 2 }
                if walk.chance(0.05) { sent += 1 }
                sent += 1
                sequence = sent
                message = .peerChanged(VectorWalks.participant(walk.number(1...3), &walk.dice))
            case 10, 11:
                lastPing += 1
                message = .ping(id: lastPing)
            case 12: message = .pong(id: max(pinged, 1) - UInt64(walk.number(0...1)))
            case 13: message = .ack(received: UInt64(walk.number(0...Int(received) + 1)))
            case 14: message = .goingAway(retryAfter: .milliseconds(100) ... .seconds(2))
            default: message = .error(VectorWalks.error(&walk.dice))
            }
            if isGreeting, case .ping = message { return [] }
            let ack = walk.chance(0.3) ? received : nil
            let envelope = Envelope(sequence: sequence, ack: isGreeting ? nil : ack, message)
            let (generation, now) = (walk.chance(0.97) ? generation : generation - 1, walk.now)
            return walk.call("received", [envelope, generation, now, random]) {
                $0.received(envelope, generation, now: now, using: &$1, &$2)
            }
        }

        /// Something else that happens.
        mutating func fact(_ walk: inout SignalingWalk) -> [SignalingMachine.Action] {
            let (generation, now) = (generation, walk.now)
            switch walk.number(0...13) {
            case 0...4:
                let signal = Signal(
                    peer: ParticipantID("p\(walk.number(1...2))"), session: SessionID("s1"),
                    connection: PeerConnectionID("c1"), negotiation: UInt64(walk.number(1...3)),
                    body: walk.chance(0.5)
                        ? .description(SessionDescription(kind: .offer, text: String(repeating: "x", count: 250)))
                        : .candidate(PeerCandidate(text: "candidate")))
                let message = walk.pick([ClientMessage.signal(signal), .signal(signal), .update(metadata: ["a": "b"])])
                return walk.call("send", [message, now, random]) { $0.send(message, now: now, using: &$1, &$2) }
            case 5: return walk.call("probeOrRetry", [now, random]) { $0.probeOrRetry(now: now, using: &$1, &$2) }
            case 6: return walk.call("checkLateness", [now, random]) { $0.checkLateness(now: now, using: &$1, &$2) }
            case 7:
                let sleep = walk.dice.duration(upTo: .seconds(20))
                return walk.call("woke", [sleep, now, random]) { $0.woke(after: sleep, now: now, using: &$1, &$2) }
            case 8:
                let isLost = walk.chance(0.5)
                return walk.call("networkChanged", [isLost, now, random]) {
                    $0.networkChanged(isLost: isLost, now: now, using: &$1, &$2)
                }
            case 9: return walk.call("serverIsBack", [now, random]) { $0.serverIsBack(now: now, using: &$1, &$2) }
            case 10: return walk.call("unheard", [now, random]) { $0.unheard(now: now, using: &$1, &$2) }
            case 11:
                isOpen = false
                let failure = walk.chance(0.3) ? nil : SignalingFailure("reset")
                return walk.call("transportClosed", [generation, failure as Any, now, random]) {
                    $0.transportClosed(generation, failure, now: now, using: &$1, &$2)
                }
            case 12:
                let error = ProtocolError(
                    code: walk.chance(0.1) ? .versionMismatch : .malformed, message: "unreadable", isRetryable: false,
                    isFatal: walk.chance(0.5))
                return walk.call("receivedMalformed", [error, generation, now, random]) {
                    $0.receivedMalformed(error, generation, now: now, using: &$1, &$2)
                }
            default:
                switch walk.number(0...3) {
                case 0: return walk.call("reconnectInOrder", [now]) { $0.reconnectInOrder(now: now, &$2) }
                case 1: return walk.call("catchUp", [now, random]) { $0.catchUp(now: now, using: &$1, &$2) }
                case 2:
                    walk.ask("requireRejoin", []) { $0.requireRejoin() }
                    return []
                default:
                    let failure = SignalingFailure("the token is too old", code: .tokenExpired)
                    return walk.decide("refreshCredential", [failure, now, random]) {
                        $0.refreshCredential(failure, now: now, using: &$1, &$2)
                    }
                }
            }
        }
    }

    // MARK: A stay in a room

    static func session(seed: UInt64, steps: Int, on tape: VectorTape) {
        let configuration = configuration(seed)
        var walk = SessionWalk(RoomSessionMachine(configuration), [configuration], on: tape, seed: seed) {
            [
                ("membership", $0.membership as Any), ("participants", $0.participants),
                ("attributes", $0.attributes), ("iceServers", $0.iceServers),
                ("iceServersAt", $0.iceServersAt as Any),
            ]
        }
        var deadline: Timestamp?
        for _ in 0..<steps {
            var actions: [RoomSessionMachine.Action]
            if walk.fires(&deadline, 0.35) {
                let (now, isConnected, isCatchingUp) = (walk.now, walk.chance(0.8), walk.chance(0.2))
                let alive = walk.chance(0.3) ? "p\(walk.number(1...4))" : ""
                actions = walk.call(
                    "timerFired",
                    [isConnected, isCatchingUp, VectorJSON(text: "{\"$set\":[\"\(alive)\"]}"), now]
                ) {
                    $0.timerFired(
                        isConnected: isConnected, isCatchingUp: isCatchingUp, isAlive: { $0.rawValue == alive },
                        now: now, &$2)
                }
            } else {
                walk.pass(upTo: .seconds(4))
                actions = sessionFact(&walk)
            }
            for action in actions {
                if case .scheduleTimer(let time) = action { deadline = time }
            }
        }
    }

    private static func sessionFact(_ walk: inout SessionWalk) -> [RoomSessionMachine.Action] {
        let now = walk.now
        switch walk.number(0...17) {
        case 0, 1:
            let joined = joined(isResumed: walk.chance(0.3), received: 0, sent: nil, &walk.dice)
            return walk.call("joined", [joined, now]) { $0.joined(joined, now: now, &$2) }
        case 2...8:
            let message: ServerMessage
            let participant = participant(walk.number(1...4), &walk.dice)
            switch walk.number(0...7) {
            case 0, 1: message = .peerJoined(participant)
            case 2: message = .peerChanged(participant)
            case 3:
                message = .peerLeft(participant.id, participant.session, reason: walk.pick(LeaveReason.allCases))
            case 4:
                message = .hostChanged(
                    walk.chance(0.3) ? ParticipantID("p0") : participant.id, term: UInt64(walk.number(1...6)),
                    sessionToken: "t2")
            case 5:
                message = .roomChanged(
                    RoomAttributes(version: UInt64(walk.number(0...5)), values: ["topic": "\(walk.number(1...3))"]))
            case 6:
                message = .iceServers(iceServers(&walk.dice))
            default:
                message = .signal(
                    Signal(
                        peer: participant.id, session: participant.session, connection: PeerConnectionID("c1"),
                        negotiation: 1, body: .restartRequest(reason: "silence")))
            }
            let isReplayed = walk.chance(0.15)
            return walk.call("received", [message, isReplayed, now]) {
                $0.received(message, isReplayed: isReplayed, now: now, &$2)
            }
        case 9:
            let values = ["topic": "\(walk.number(1...4))"]
            return walk.call("updateAttributes", [values]) { $0.update(attributes: values, &$2) }
        case 10:
            let sleep = walk.dice.duration(upTo: .seconds(100))
            return walk.call("woke", [sleep, now]) { $0.woke(after: sleep, now: now, &$2) }
        case 11:
            let peer = ParticipantID("p\(walk.number(1...4))")
            return walk.call("peerLeaving", [peer]) { $0.peerLeaving(peer, &$2) }
        case 12: return walk.call("attempted", [now]) { $0.attempted(now: now, &$2) }
        case 13:
            let list = iceServers(&walk.dice)
            return walk.call("iceServersProvided", [list.servers, list.ttl as Any, now]) {
                $0.iceServersProvided(list.servers, ttl: list.ttl, now: now, &$2)
            }
        case 14:
            let failure = SignalingFailure("no provider", isRetryable: walk.chance(0.7))
            return walk.call("iceServersFailed", [failure, now]) { $0.iceServersFailed(failure, now: now, &$2) }
        case 15:
            let (error, isGreeting) = (error(&walk.dice), walk.chance(0.6))
            walk.ask("judge", [error, isGreeting, now]) { $0.judge(error, isGreeting: isGreeting, now: now) }
        case 16:
            let (received, mustRejoin) = (UInt64(walk.number(0...5)), walk.chance(0.3))
            walk.ask("hello", ["token", received, mustRejoin, UInt64(3)]) {
                $0.hello(token: "token", received: received, mustRejoin: mustRejoin, attempt: 3)
            }
        default:
            if walk.chance(0.2) { walk.ask("forgetSession", []) { $0.forgetSession() } }
        }
        return []
    }

    // MARK: Messages

    fileprivate static func participant(_ index: Int, _ dice: inout SeededGenerator) -> Participant {
        Participant(
            id: ParticipantID("p\(index)"), session: SessionID("s\(index)\(dice.number(0...9) == 0 ? "b" : "")"),
            epoch: UInt64(dice.number(1...3)), name: "n\(index)", isHost: dice.number(0...3) == 0,
            metadata: dice.number(0...1) == 0 ? [:] : ["mood": "\(dice.number(1...2))", "a": "b"],
            capabilities: [DeliveryProtocol.capability])
    }

    fileprivate static func joined(
        isResumed: Bool, received: UInt64, sent: UInt64?, _ dice: inout SeededGenerator
    ) -> Joined {
        var roster: [Participant] = []
        for index in 1...4 where dice.number(0...2) > 0 { roster.append(participant(index, &dice)) }
        let isHost = dice.number(0...2) == 0
        return Joined(
            participant: ParticipantID("p0"), session: SessionID("s0"), epoch: UInt64(dice.number(1...3)),
            isHost: isHost, hostTerm: UInt64(dice.number(1...5)), isResumed: isResumed, received: received,
            sent: dice.number(0...3) == 0 ? nil : sent, sessionToken: "t\(dice.number(1...3))", roster: roster,
            attributes: RoomAttributes(version: UInt64(dice.number(0...4)), values: ["topic": "x"]),
            iceServers: iceServers(&dice), grace: .seconds(dice.number(5...40)))
    }

    private static func iceServers(_ dice: inout SeededGenerator) -> ICEServerList {
        let urls = [
            "stun:stun.example.org", "turn:turn.example.org?transport=tcp", "turns:turn.example.org:443", "http://x",
            "turn:[2001:db8::1]:3479", "stun:192.0.2.7:99999",
        ]
        let servers = (0..<dice.number(0...3)).map { _ in
            ICEServer(
                urls: (0..<dice.number(1...2)).map { _ in urls[dice.number(0...5)] },
                username: dice.number(0...3) == 0 ? nil : "user", credential: "secret")
        }
        return ICEServerList(
            servers: servers, ttl: dice.number(0...2) == 0 ? nil : .seconds(dice.number(10...600)))
    }

    fileprivate static func error(_ dice: inout SeededGenerator) -> ProtocolError {
        let codes: [ProtocolError.Code] = [
            .malformed, .unauthorized, .tokenExpired, .roomNotFound, .roomExists, .roomFull, .nameTaken, .staleEpoch,
            .replaced, .kicked, .roomClosed, .notHost, .peerNotFound, .tooManyRequests, .shuttingDown, .internalError,
            .versionMismatch,
        ]
        // Most ends come seldom.
        let code = dice.number(0...2) == 0 ? codes[dice.number(0...16)] : codes[dice.number(11...15)]
        return ProtocolError(
            code: code, message: "an error", isRetryable: dice.number(0...1) == 0,
            isFatal: dice.number(0...3) == 0,
            retryAfter: dice.number(0...2) == 0 ? .seconds(1) ... .seconds(4) : nil,
            replacedBy: code == .replaced && dice.number(0...1) == 0 ? .participant : nil)
    }
}
