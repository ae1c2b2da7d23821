import Logging
import RoomProtocol
import RoomServer
import Testing
import TransportValues

@Suite("Rooms over real sockets", .timeLimit(.minutes(1)))
struct RoomTests {
    @Test func twoClientsRelayASignal() async throws {
        try await withServer { server in
            let ann = try await TestClient.join(server, "ann", .host)
            let bob = try await TestClient.join(server, "bob")
            #expect(bob.joined?.roster.map(\.name) == ["ann"])
            guard case .peerJoined(let participant) = try await ann.next() else {
                Issue.record("no peerJoined")
                return
            }
            #expect(participant.name == "bob")
            try await bob.sayNumbered(ann.signal("hello"))
            let signal = try await ann.nextSignal()
            #expect(signal.reason == "hello" && signal.peer == bob.joined?.participant)
            try await ann.sayNumbered(bob.signal("hello yourself"))
            #expect(try await bob.nextSignal().reason == "hello yourself")
        }
    }

    @Test func sessionIsResumedAfterAnAbruptEnd() async throws {
        try await withServer { server in
            let ann = try await TestClient.join(server, "ann", .host)
            let bob = try await TestClient.join(server, "bob")
            try await bob.abort()
            try await ann.sayNumbered(bob.signal("while you were away"))
            let again = try await TestClient.comeBack(server, "bob", from: bob)
            #expect(again.joined?.isResumed == true && again.joined?.session == bob.joined?.session)
            #expect(try await again.nextSignal().reason == "while you were away")
            // Ann has seen Bob arrive once, and nothing since.
            try await again.sayNumbered(ann.signal("back"))
            guard case .peerJoined = try await ann.next(), case .signal = try await ann.next() else {
                Issue.record("something else in between")
                return
            }
        }
    }

    @Test func serverThatLostItsStateIsRebuiltByTheGuestFirst() async throws {
        let key = [UInt8](repeating: 7, count: 32)
        let configure: (inout RoomServerConfiguration) -> Void = { $0.sessionKey = .bytes(key) }
        var before: (ann: TestClient, bob: TestClient)?
        try await withServer(configure) { server in
            before = (
                try await TestClient.join(server, "ann", .host), try await TestClient.join(server, "bob")
            )
        }
        let (oldAnn, oldBob) = try #require(before)
        #expect(await oldBob.isClosedByServer())
        try await withServer(configure) { server in
            let bob = try await TestClient.comeBack(server, "bob", from: oldBob)
            #expect(bob.joined?.isResumed == false && bob.joined?.epoch == 2)
            #expect(bob.joined?.participant == oldBob.joined?.participant)
            let ann = try await TestClient.comeBack(server, "ann", from: oldAnn)
            #expect(ann.joined?.isHost == true && ann.joined?.roster.map(\.name) == ["bob"])
            try await ann.sayNumbered(bob.signal("still here"))
            #expect(try await bob.nextSignal().reason == "still here")
        }
    }

    @Test func tokenOfAServerWithAnotherKeyIsRefused() async throws {
        var old: TestClient?
        try await withServer { server in old = try await TestClient.join(server, "ann", .host) }
        let ann = try #require(old)
        try await withServer { server in
            let client = try await TestClient.open(server)
            var hello = Hello(room: RoomName("lobby"), role: .host, name: "ann")
            hello.resume = Resume(sessionToken: ann.joined?.sessionToken ?? "", received: 0)
            try await client.say(.hello(hello))
            guard case .error(let error) = try await client.next() else {
                Issue.record("no error")
                return
            }
            #expect(error.code == .unauthorized)
        }
    }

    @Test func joinTokensAreAskedForWhereTheyAreConfigured() async throws {
        let secret = Array("a secret of the application".utf8)
        try await withServer {
            $0.joinTokenSecret = secret
        } _: { server in
            let good = JoinToken(room: "lobby", name: "ann", role: .host, expiry: 4_000_000_000)
            var expired = good
            expired.expiry = 1_000_000_000
            var elsewhere = good
            elsewhere.room = "other"
            var guest = good
            guest.role = .guest
            var bob = good
            bob.name = "bob"
            let refused: [(String?, ProtocolError.Code)] = [
                (nil, .unauthorized), ("a.b.c", .unauthorized), (good.signed(with: [1]), .unauthorized),
                (expired.signed(with: secret), .tokenExpired), (elsewhere.signed(with: secret), .unauthorized),
                (guest.signed(with: secret), .unauthorized), (bob.signed(with: secret), .unauthorized),
            ]
            for (token, code) in refused {
                let client = try await TestClient.open(server)
                try await client.say(.hello(Hello(room: RoomName("lobby"), role: .host, name: "ann", token: token)))
                guard case .error(let error) = try await client.next() else {
                    Issue.record("no error")
                    return
                }
                #expect(error.code == code)
            }
            let ann = try await TestClient.join(server, "ann", .host, token: good.signed(with: secret))
            #expect(ann.joined?.isHost == true)
        }
    }

    @Test func anAbsentMembersNameGoesToTheHolderOfATokenForIt() async throws {
        let secret = Array("a secret of the application".utf8)
        func token(_ name: String?) -> String {
            JoinToken(room: "lobby", name: name, expiry: 4_000_000_000).signed(with: secret)
        }
        try await withServer {
            $0.joinTokenSecret = secret
        } _: { server in
            let ann = try await TestClient.join(server, "ann", .host, token: token(nil))
            let bob = try await TestClient.join(server, "bob", token: token("bob"))
            #expect(ann.joined?.isHost == true)
            // In order, but without a `leave`: the server waits for the participant.
            try await bob.send(TestClient.frame(8, [3, 232]))
            #expect(await bob.isClosedByServer())
            let anybody = try await TestClient.open(server)
            try await anybody.say(
                .hello(Hello(room: RoomName("lobby"), role: .guest, name: "bob", token: token(nil))))
            guard case .error(let error) = try await anybody.next() else {
                Issue.record("no error")
                return
            }
            #expect(error.code == .nameTaken)
            let again = try await TestClient.join(server, "bob", token: token("bob"))
            #expect(again.joined?.participant != bob.joined?.participant)
        }
    }

    @Test func slowReaderIsClosedAndItsSessionStaysResumable() async throws {
        try await withServer {
            $0.limits.sendBuffer = 1 << 20
            $0.limits.messagesPerSecond = 100_000
            $0.limits.messageBurst = 100_000
        } _: { server in
            let ann = try await TestClient.join(server, "ann", .host)
            let bob = try await TestClient.join(server, "bob", receiveBuffer: 4096)
            try await bob.stopReading()
            // Far more than the server may keep for Bob, who reads nothing.
            let sdp = String(repeating: "x", count: 60_000)
            var signal = Signal(
                peer: bob.joined?.participant ?? ParticipantID("x"), session: bob.joined?.session ?? SessionID("x"),
                connection: PeerConnectionID("c"), negotiation: 1,
                body: .description(.init(kind: .offer, text: sdp)))
            var isClosed = false
            for negotiation in 1...300 where !isClosed {
                signal.negotiation = NegotiationID(negotiation)
                try await ann.sayNumbered(.signal(signal))
                guard negotiation.isMultiple(of: 20) else { continue }
                // The server has processed everything when it answers this.
                try await ann.send(TestClient.frame(9, []))
                while let frame = await ann.nextFrame(), frame.opcode != 10 {}
                let health = try await TestClient.dial(server)
                try await health.send(raw: "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                isClosed = await health.rest().contains(#""participants":2,"connections":1"#)
            }
            #expect(isClosed, "18 MB were taken for a client that reads nothing")
            let again = try await TestClient.comeBack(server, "bob", from: bob)
            #expect(again.joined?.session == bob.joined?.session)
        }
    }

    @Test func turnCredentialsAreWhatCoturnChecks() async throws {
        try await withServer {
            $0.ice.servers = [.init(urls: ["stun:stun.example.org"])]
            $0.ice.turn = .init(urls: ["turn:turn.example.org"], secret: Array("north".utf8), ttl: .seconds(600))
        } _: { server in
            let ann = try await TestClient.join(server, "ann", .host)
            let list = try #require(ann.joined?.iceServers)
            #expect(list.ttl == .seconds(600) && list.servers.count == 2)
            let username = try #require(list.servers.last?.username)
            #expect(username.hasSuffix(":\(try #require(ann.joined?.participant))"))
            #expect(list.servers.last?.credential?.count == 28)
        }
    }

    @Test func gracefulEndTellsEverybodyToComeBack() async throws {
        let (server, running, ann) = try await closingServer()
        server.shutdown()
        guard case .goingAway(let window) = try await ann.next() else {
            Issue.record("no goingAway")
            return
        }
        #expect(window.upperBound == .seconds(2))
        #expect(await ann.closeCode() == 1001)
        try await ann.send(TestClient.frame(8, [0x03, 0xE9]))
        try await running.value
        #expect(await ann.isClosedByServer())
    }

    @Test func portInUseIsAnErrorThatSaysSo() async throws {
        try await withServer { server in
            var configuration = RoomServerConfiguration()
            configuration.port = try await server.address.port
            let second = RoomServer(configuration: configuration, logger: Logger(label: "test"))
            let error = await #expect(throws: RoomServerError.self) { try await second.run() }
            #expect(error?.message.contains("Cannot listen on 127.0.0.1, port \(configuration.port)") == true)
            await #expect(throws: RoomServerError.self) { try await second.address }
        }
    }
}
