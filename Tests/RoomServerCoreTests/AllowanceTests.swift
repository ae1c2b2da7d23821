import RoomProtocol
import RoomServerCore
import Testing
import TransportValues

@Suite("What a participant may cost")
struct AllowanceTests {
    /// Sends until it is refused; how many were taken.
    private func spend(_ server: ServerHarness, as name: String) -> Int {
        for count in 0..<1000 {
            server.say(server.signal(to: "ann"), as: name)
            if server.clients[name]?.closed != nil {
                #expect(server.lastError(name)?.code == .tooManyRequests)
                return count
            }
        }
        return 1000
    }

    @Test func messagesAreCountedOverAllConnectionsOfASession() {
        let server = ServerHarness.lobby {
            $0.messagesPerSecond = 10
            $0.messageBurst = 50
        }
        #expect(spend(server, as: "bob") == 50)
        server.comeBack("bob")
        #expect(server.joined("bob")?.isResumed == true)
        #expect(spend(server, as: "bob") == 0)
        server.pass(.seconds(2))
        server.comeBack("bob", mustRejoin: true)
        #expect(spend(server, as: "bob") == 20)
    }

    /// A new session under the old name is the same participant.
    @Test(arguments: ["dropped", "left"])
    func theSameNameKeepsItsRemainingAllowance(_ end: String) {
        let server = ServerHarness.lobby {
            $0.messagesPerSecond = 10
            $0.messageBurst = 50
        }
        for _ in 0..<50 { server.say(server.signal(to: "ann"), as: "bob") }
        if end == "left" {
            server.pass(.seconds(1))
            server.say(.leave, as: "bob")
        } else {
            server.drop("bob")
            server.pass(.seconds(1))
        }
        let session = server.joined("bob")?.session
        server.join("bob")
        #expect(server.joined("bob")?.session != session)
        #expect(spend(server, as: "bob") == (end == "left" ? 9 : 10))
    }

    @Test func returnsAreLimitedAndWhatIsRefusedChangesNothing() {
        // The join counts, too.
        let server = ServerHarness.lobby { $0.returnBurst = 4 }
        for _ in 0..<3 {
            server.comeBack("bob")
            #expect(server.joined("bob")?.isResumed == true)
        }
        let connection = server.clients["bob"]?.connection
        let token = server.token("bob")
        // Another client with the same token: the one that is connected stays.
        server.open("other")
        var hello = Hello(room: RoomName("lobby"), role: .guest, name: "bob")
        hello.resume = Resume(sessionToken: token, received: 0)
        server.say(.hello(hello), as: "other")
        let error = server.lastError("other")
        #expect(error?.code == .tooManyRequests && error?.isRetryable == true && error?.retryAfter != nil)
        #expect(server.clients["bob"]?.connection == connection && server.clients["bob"]?.closed == nil)
        server.pass(.seconds(1))
        server.comeBack("bob")
        #expect(server.joined("bob")?.isResumed == true)
        server.drop("bob")
        server.join("bob")
        #expect(server.lastError("bob")?.code == .tooManyRequests)
    }

    /// Every resume asks for all of it again.
    @Test func replayIsLimitedAndThenTheSessionRejoins() {
        let server = ServerHarness.lobby {
            $0.replayBurst = 10_000
            $0.replayBytesPerSecond = 1
        }
        server.drop("bob")
        for _ in 0..<8 { server.sayNumbered(server.signal(to: "bob"), as: "ann") }
        var signals: [Int] = []
        while server.joined("bob")?.epoch == 1 {
            server.comeBack("bob", received: 0)
            signals.append(server.take("bob").compactMap(\.signalNegotiation).count)
        }
        // 8 signals count 512 bytes each.
        #expect(signals == [8, 8, 0])
        #expect(server.joined("bob")?.isResumed == false)
    }

    @Test func newMetadataAreChargedByBytesAndReceiversAndOnlyTheNewestGoOut() {
        let server = ServerHarness {
            $0.updateBurst = 6000
            $0.updateBytesPerSecond = 1500
        }
        server.join("ann", .host)
        for name in ["bob", "carol", "dave"] { server.join(name) }
        server.forgetAll()
        func update(_ number: Int) {
            server.sayNumbered(.update(metadata: ["n": "\(number)" + String(repeating: "x", count: 486)]), as: "bob")
        }
        func seen(by name: String) -> [String] {
            server.take(name).compactMap(\.changed).compactMap { $0.metadata["n"].map { String($0.prefix(1)) } }
        }
        // 1000 bytes for each of three receivers: two are in the burst, then one each 2 s.
        for number in 1...9 { update(number) }
        #expect(seen(by: "ann") == ["1", "2"])
        server.pass(.milliseconds(1900))
        #expect(seen(by: "ann").isEmpty)
        server.pass(.milliseconds(200))
        #expect(seen(by: "ann") == ["9"] && seen(by: "carol") == ["1", "2", "9"])
        // Whoever comes meanwhile has the newest in its roster.
        update(5)
        server.join("eve")
        #expect(server.joined("eve")?.roster.first { $0.name == "bob" }?.metadata["n"]?.first == "5")
        #expect(server.clients["bob"]?.closed == nil)
    }

    @Test func metadataThatAreTheSameAreNotToldAgain() {
        let server = ServerHarness.lobby()
        server.sayNumbered(.update(metadata: ["a": "\u{E9}"]), as: "bob")
        server.sayNumbered(.update(metadata: ["a": "\u{E9}"]), as: "bob")
        #expect(server.take("ann").compactMap(\.changed).count == 1)
        server.sayNumbered(.update(metadata: ["a": "e\u{301}"]), as: "bob")
        #expect(server.take("ann").compactMap(\.changed).count == 1)
    }
}
