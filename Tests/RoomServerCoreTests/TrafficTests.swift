import RoomProtocol
import RoomServerCore
import Testing
import TransportValues

@Suite("Signals, numbers and acknowledgements")
struct TrafficTests {
    @Test func senderOfASignalIsStampedByTheServer() throws {
        let server = ServerHarness.lobby()
        server.sayNumbered(server.signal(to: "bob"), as: "ann")
        let envelope = try #require(server.clients["bob"]?.inbox.first)
        guard case .signal(let signal) = envelope.message else {
            Issue.record("not a signal")
            return
        }
        #expect(signal.peer == server.joined("ann")?.participant)
        #expect(signal.session == server.joined("ann")?.session)
        #expect(envelope.sequence == 1)
    }

    @Test(arguments: ["unknown peer", "old session", "oneself"])
    func aSignalForAnUnknownMemberIsDroppedWithATypedError(_ what: String) throws {
        let server = ServerHarness.lobby()
        let bob = try #require(server.joined("bob"))
        let ann = try #require(server.joined("ann"))
        let (peer, session) =
            switch what {
            case "unknown peer": (ParticipantID("nobody"), bob.session)
            case "old session": (bob.participant, SessionID("old"))
            default: (ann.participant, ann.session)
            }
        let signal = Signal(
            peer: peer, session: session, connection: PeerConnectionID("c"), negotiation: 1,
            body: .restartRequest(reason: ""))
        server.sayNumbered(.signal(signal), as: "ann")
        let error = try #require(server.lastError("ann"))
        #expect(error.code == .peerNotFound && !error.isFatal && error.sequence == 1)
        #expect(server.clients["ann"]?.closed == nil)
        #expect(server.take("bob").isEmpty && server.take("ann").isEmpty)
        // It counts as received all the same.
        server.sayNumbered(server.signal(to: "bob", negotiation: 2), as: "ann")
        #expect(server.take("bob").compactMap(\.signalNegotiation) == [2])
    }

    @Test func acknowledgementComesAfterADelayOrWithTheNextMessage() {
        let server = ServerHarness.lobby()
        server.sayNumbered(server.signal(to: "bob"), as: "ann")
        #expect(server.take("ann").isEmpty)
        server.pass(.milliseconds(150))
        #expect(server.take("ann") == [.ack(received: 1)])
        server.sayNumbered(server.signal(to: "bob"), as: "ann")
        server.sayNumbered(server.signal(to: "ann"), as: "bob")
        #expect(server.clients["ann"]?.inbox.first?.ack == 2)
    }

    @Test func whatAMessageHasAcknowledgedIsNotAcknowledgedAgain() {
        let server = ServerHarness.lobby()
        server.sayNumbered(server.signal(to: "bob"), as: "ann")
        server.say(.ping(id: 7), as: "ann")
        #expect(server.clients["ann"]?.inbox.first?.ack == 1)
        server.forgetAll()
        server.pass(.milliseconds(150))
        #expect(server.take("ann").isEmpty)
        // The next message counts from its own time.
        server.sayNumbered(server.signal(to: "bob"), as: "ann")
        server.pass(.milliseconds(90))
        #expect(server.take("ann").isEmpty)
        server.pass(.milliseconds(20))
        #expect(server.take("ann") == [.ack(received: 2)])
    }

    @Test func manyMessagesAreAcknowledgedAtOnce() {
        let server = ServerHarness.lobby { $0.ackEvery = 4 }
        for _ in 0..<4 { server.sayNumbered(server.signal(to: "bob"), as: "ann") }
        #expect(server.take("ann") == [.ack(received: 4)])
    }

    @Test(arguments: ["gap", "ack of nothing"])
    func numbersThatMakeNoSenseEndTheConnection(_ what: String) {
        let server = ServerHarness.lobby()
        if what == "gap" {
            server.say(server.signal(to: "bob"), as: "ann", sequence: 2)
        } else {
            server.say(.ping(id: 1), as: "ann", ack: 50)
        }
        #expect(server.lastError("ann")?.code == .malformed)
        #expect(server.clients["ann"]?.closed != nil)
        #expect(server.take("bob").isEmpty)
        #expect(server.names == ["ann", "bob"])
    }

    @Test func refusedNumberedMessageIsCountedSoThatItIsNotSentForEver() throws {
        let server = ServerHarness.lobby()
        let connection = try #require(server.clients["ann"]).connection
        var error = ProtocolError.limitExceeded("The field x is over its limit.")
        error.sequence = 1
        server.perform(server.machine.receivedInvalid(error, from: connection, at: server.now))
        #expect(server.lastError("ann")?.code == .limitExceeded)
        #expect(server.clients["ann"]?.closed == nil)
        server.drop("ann")
        server.comeBack("ann")
        #expect(server.joined("ann")?.received == 1)
    }

    @Test func messageThatIsNoneEndsTheConnectionAndKeepsTheSession() throws {
        let server = ServerHarness.lobby()
        let connection = try #require(server.clients["ann"]).connection
        server.perform(server.machine.receivedInvalid(.malformed("x"), from: connection, at: server.now))
        #expect(server.clients["ann"]?.closed == CloseCode.refused.rawValue)
        server.comeBack("ann")
        #expect(server.joined("ann")?.isResumed == true)
    }

    @Test func unnumberedMessagesAreTakenToo() {
        let server = ServerHarness.lobby()
        server.say(server.signal(to: "bob", negotiation: 9), as: "ann")
        #expect(server.take("bob").compactMap(\.signalNegotiation) == [9])
    }

    @Test func freshICEServersComeHalfWayThroughTheirLife() {
        var authority = TrustingAuthority()
        authority.iceServers = ICEServerList(servers: [.init(urls: ["turn:t"])], ttl: .seconds(60))
        let server = ServerHarness(authority: authority)
        server.join("ann", .host)
        #expect(server.joined("ann")?.iceServers == authority.iceServers)
        server.forgetAll()
        server.pass(.seconds(29))
        #expect(server.take("ann").isEmpty)
        // It is looked at with each check of liveness.
        server.pass(.seconds(6))
        #expect(server.take("ann") == [.iceServers(authority.iceServers)])
        server.pass(.seconds(36))
        #expect(server.take("ann") == [.iceServers(authority.iceServers)])
    }
}

@Suite("Liveness and limits")
struct LimitTests {
    @Test func silentClientIsPingedAndThenGivenUp() {
        let server = ServerHarness()
        server.answersPings = false
        server.join("ann", .host)
        server.join("bob")
        server.forgetAll()
        server.pass(.milliseconds(4750))
        #expect(server.take("bob").isEmpty)
        server.pass(.milliseconds(250))
        #expect(server.take("bob") == [.ping(id: 2)])
        server.say(.pong(id: 2), as: "bob")
        server.pass(.seconds(6))
        #expect(server.clients["ann"]?.closed == 0, "ann has never answered")
        #expect(server.clients["bob"]?.closed == nil)
        // Given up, but not gone: the session waits.
        #expect(server.names == ["ann", "bob"])
    }

    /// Clients ping after five seconds of silence themselves.
    @Test func clientsArePingedTogetherAndBeforeTheyPing() {
        let server = ServerHarness()
        server.answersPings = false
        server.join("ann", .host)
        var silence = 0
        for name in ["bob", "carol", "dora"] {
            server.pass(.milliseconds(20))
            silence += 20
            server.join(name)
        }
        server.forgetAll()
        server.pass(.milliseconds(4800 - silence))
        var times: Set<Timestamp> = []
        while server.now.nanoseconds < 6_000_000_000, let next = server.machine.nextDeadline {
            server.pass(next - server.now)
            if !server.clients.keys.flatMap(server.take).isEmpty { times.insert(server.now) }
        }
        #expect(times.count == 1 && times.allSatisfy { $0.nanoseconds < 5_950_000_000 })
    }

    @Test func clientsPingIsAnswered() {
        let server = ServerHarness()
        server.join("ann", .host)
        server.forgetAll()
        server.say(.ping(id: 42), as: "ann")
        #expect(server.take("ann") == [.pong(id: 42)])
    }

    @Test func clientThatSendsTooMuchIsClosedAndMayResume() throws {
        let server = ServerHarness {
            $0.messageBurst = 10
            $0.messagesPerSecond = 10
        }
        server.join("ann", .host)
        for _ in 0...10 { server.say(.ping(id: 1), as: "ann") }
        let error = try #require(server.lastError("ann"))
        #expect(error.code == .tooManyRequests && error.isRetryable && error.retryAfter != nil)
        #expect(server.clients["ann"]?.closed != nil)
        server.comeBack("ann")
        #expect(server.joined("ann")?.isResumed == true)
        for _ in 0..<100 {
            server.pass(.milliseconds(150))
            server.say(.ping(id: 1), as: "ann")
        }
        #expect(server.clients["ann"]?.closed == nil)
    }

    /// Pings, pongs and fragments of WebSocket cost as much as messages do, whoever sends them.
    @Test func framesThatAreNoMessagesAreCountedLikeMessages() throws {
        let server = ServerHarness {
            $0.messageBurst = 10
            $0.messagesPerSecond = 10
        }
        server.join("ann", .host)
        server.open("new")
        for name in ["ann", "new"] {
            for _ in 0..<8 { server.frame(from: name) }
            #expect(server.clients[name]?.closed == nil)
            for _ in 0..<3 { server.frame(from: name) }
            #expect(try #require(server.lastError(name)).code == .tooManyRequests)
            #expect(server.clients[name]?.closed != nil)
        }
    }

    @Test func largeMessagesCountMoreThanOnce() {
        let server = ServerHarness {
            $0.messageBurst = 100
            $0.messagesPerSecond = 1
        }
        server.join("ann", .host)
        server.say(.ping(id: 1), bytes: 50 * 4096, as: "ann")
        #expect(server.clients["ann"]?.closed == nil)
        server.say(.ping(id: 2), bytes: 50 * 4096, as: "ann")
        #expect(server.lastError("ann")?.code == .tooManyRequests)
    }

    /// Parts of messages, and frames between messages, do not keep a connection open.
    @Test func onlyWholeMessagesAreASignOfLife() {
        let server = ServerHarness()
        server.answersPings = false
        server.join("ann", .host)
        for _ in 0..<10 {
            server.frame(from: "ann")
            server.pass(.seconds(1))
        }
        #expect(server.clients["ann"]?.closed == 0)
        #expect(server.names == ["ann"])
    }

    @Test func roomsHandshakesAndConnectionsAreLimited() {
        let server = ServerHarness {
            $0.rooms = 1
            $0.handshakes = 2
        }
        server.join("ann", .host)
        server.join("eve", .host, room: "second")
        #expect(server.lastError("eve")?.code == .tooManyRequests)
        server.open("a")
        server.open("b")
        // They will soon be in.
        #expect(server.machine.refusal.map { $0.upperBound <= .seconds(1) } == true)
        server.open("c")
        #expect(server.lastError("c")?.code == .tooManyRequests)
        #expect(server.clients["c"]?.closed != nil)
        server.drop("a")
        #expect(server.machine.refusal == nil)
    }

    @Test func drainSendsGoingAwayAndRefusesNewConnections() {
        let server = ServerHarness()
        server.join("ann", .host)
        server.forgetAll()
        let window: RetryWindow = .zero ... .seconds(2)
        server.perform(server.machine.drain(retryAfter: window, at: server.now))
        #expect(server.take("ann") == [.goingAway(retryAfter: window)])
        #expect(server.clients["ann"]?.closed == CloseCode.goingAway.rawValue)
        server.open("bob")
        #expect(server.lastError("bob")?.code == .shuttingDown)
    }

    /// Random clients do random things for a long time: nothing traps, and everything is given back in the end.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func randomHistoriesLeaveNothingBehind(_ seed: UInt64) {
        var generator = ServerHarness.Generator(state: seed)
        let server = ServerHarness(seed: seed) { $0.participantsPerRoom = 4 }
        let names = ["ann", "bob", "carol", "dave", "eve"]
        for _ in 0..<400 {
            let name = names.randomElement(using: &generator) ?? "ann"
            let other = names.randomElement(using: &generator) ?? "bob"
            let isOpen = server.clients[name].map { $0.closed == nil } ?? false
            switch Int.random(in: 0..<12, using: &generator) {
            case 0 where !isOpen: server.join(name, Bool.random(using: &generator) ? .host : .guest)
            case 1, 2: server.comeBack(name, mustRejoin: Bool.random(using: &generator))
            case 3: server.drop(name)
            case 4: server.pass(.seconds(Int.random(in: 0..<20, using: &generator)))
            case 5: server.say(.leave, as: name)
            case 6:
                let target = server.joined(other)?.participant ?? ParticipantID("x")
                server.sayNumbered(.kick(target, reason: ""), as: name)
            case 7 where Int.random(in: 0..<10, using: &generator) == 0: server.restartServer(seed: seed + 1)
            case 8: server.say(.ping(id: 1), as: name, ack: server.clients[name]?.received)
            default: server.sayNumbered(server.signal(to: other), as: name)
            }
            let hosts = server.machine.participants(of: RoomName("lobby")).filter(\.isHost)
            #expect(hosts.count <= 1)
            let present = server.names
            #expect(Set(present).count == present.count && present.count <= 4)
        }
        for name in names { server.drop(name) }
        server.pass(.seconds(3600))
        #expect(server.machine.load.rooms == 0 && server.machine.load.connections == 0)
        #expect(server.machine.nextDeadline == nil && server.machine.load.participants == 0)
        #expect(server.machine.streamBytes == 0)
    }
}
