import NIOCore
import NIOEmbedded
import RoomProtocol
import RoomServerCore
import Testing
import WebSocketWire

@testable import RoomServer

@Suite("Addresses", .timeLimit(.minutes(1)))
struct AddressTests {
    private static let bad = "127.0.0.2"
    private static let good = "127.0.0.3"

    /// A server that limits every address.
    private func withLimits(
        _ configure: (inout RoomServerConfiguration) -> Void, _ body: (RoomServer) async throws -> Void
    ) async throws {
        try await withServer {
            $0.unlimitedAddresses = []
            configure(&$0)
        } _: { server in
            try await body(server)
        }
    }

    /// Returns the status of a WebSocket handshake, or nil when the socket was closed at once.
    private static func status(_ client: TestClient, _ fields: String = "") async throws -> Int? {
        // The server may have closed already.
        try? await client.send(raw: TestClient.handshake.dropLast(1) + fields + "\r\n")
        guard let head = await client.head() else { return nil }
        return Int(head.split(separator: " ")[1])
    }

    /// Whether the server closes a socket at once.
    private static func isRefused(_ server: RoomServer, from source: String) async -> Bool {
        guard let client = try? await TestClient.dial(server, from: source) else { return true }
        return await client.isClosedByServer()
    }

    @Test func socketsOverTheNumberOfAnAddressAreClosedAtOnceAndOthersAreNot() async throws {
        try await withLimits {
            $0.limits.perAddress.connections = 2
        } _: { server in
            let first = try await TestClient.join(server, "ann", .host, from: Self.bad)
            let second = try await TestClient.open(server, from: Self.bad)
            #expect(await Self.isRefused(server, from: Self.bad))
            _ = try await TestClient.join(server, "bob", from: Self.good)
            // What has ended no longer counts.
            try await second.abort()
            while true {
                guard let next = try? await TestClient.dial(server, from: Self.bad) else { continue }
                if try await Self.status(next) == 101 { break }
            }
            try await first.abort()
        }
    }

    @Test(arguments: [1, 2]) func handshakesCountUntilTheHelloIsAccepted(_ threads: Int) async throws {
        try await withLimits {
            $0.limits.perAddress.handshakes = 2
            $0.threads = threads
        } _: { server in
            let host = try await TestClient.join(server, "ann", .host, from: Self.bad)
            var guests: [TestClient] = []
            for name in ["bob", "cat", "dan"] { guests.append(try await TestClient.join(server, name, from: Self.bad)) }
            // A page that was loaded is none either.
            let page = try await TestClient.dial(server, from: Self.bad)
            try await page.send(raw: "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            _ = await page.head()
            let silent = [
                try await TestClient.open(server, from: Self.bad), try await TestClient.open(server, from: Self.bad),
            ]
            #expect(await Self.isRefused(server, from: Self.bad))
            for client in silent + guests + [host, page] { try? await client.abort() }
        }
    }

    /// Sockets that wait for the next request take no place of those that come.
    @Test func idleSocketsAfterARequestLeaveRoomForOthers() async throws {
        try await withServer {
            $0.servesPage = true
            $0.limits.handshakes = 2
        } _: { server in
            var idle: [TestClient] = []
            for _ in 0..<6 {
                let client = try await TestClient.dial(server)
                try await client.send(raw: "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(await client.head()?.hasPrefix("HTTP/1.1 200 ") == true)
                idle.append(client)
            }
            _ = try await TestClient.join(server, "ann", .host)
            for client in idle { try? await client.abort() }
        }
    }

    @Test func newSocketsOverTheRateAreToldWhenToComeBack() async throws {
        try await withLimits {
            $0.limits.perAddress.connectionsPerSecond = 1
            $0.limits.perAddress.connectionBurst = 2
            $0.limits.perAddress.answerBurst = 1
        } _: { server in
            for _ in 0..<2 { #expect(try await Self.status(try await TestClient.dial(server, from: Self.bad)) == 101) }
            let told = try await TestClient.dial(server, from: Self.bad)
            try await told.send(raw: TestClient.handshake)
            let head = try #require(await told.head())
            #expect(head.hasPrefix("HTTP/1.1 429 ") && head.contains("\r\nRetry-After: "))
            #expect(try await Self.status(try await TestClient.dial(server, from: Self.good)) == 101)
        }
    }

    @Test func unlimitedAddressesHaveNoLimits() async throws {
        try await withServer {
            for limit in [\AddressLimits.connections, \.connectionBurst, \.rooms] {
                $0.limits.perAddress[keyPath: limit] = 1
            }
        } _: { server in
            for number in 0..<5 {
                _ = try await TestClient.join(server, "x", .host, room: "r\(number)", from: Self.bad)
            }
        }
    }

    @Test func roomsOfAnAddressAreLimitedOverAllLoops() async throws {
        try await withLimits {
            $0.limits.perAddress.rooms = 4
            $0.threads = 2
        } _: { server in
            var clients: [TestClient] = []
            for number in 0..<4 {
                clients.append(try await TestClient.join(server, "x", .host, room: "r\(number)", from: Self.bad))
            }
            let next = try await TestClient.open(server, from: Self.bad)
            try await next.say(.hello(Hello(room: RoomName("mine"), role: .host, name: "x")))
            guard case .error(let error) = try await next.next() else {
                Issue.record("no error")
                return
            }
            #expect(error.code == .tooManyRequests && error.retryAfter != nil)
            _ = try await TestClient.join(server, "x", .host, room: "mine", from: Self.good)
            for client in clients { try? await client.abort() }
        }
    }

    /// More is read later, not lost, and others are not affected.
    @Test func anAddressOverItsMessagesIsReadLater() async throws {
        try await withLimits {
            $0.limits.perAddress.messagesPerSecond = 200
            $0.limits.perAddress.messageBurst = 10
        } _: { server in
            let ann = try await TestClient.join(server, "ann", .host, from: Self.bad)
            let bob = try await TestClient.join(server, "bob", room: "lobby", from: Self.good)
            let start = ContinuousClock.now
            for round in 1...6 {
                for _ in 0..<20 { try await bob.say(.ping(id: UInt64(round))) }
                // Each batch is charged when it has come, so the next one waits.
                var pongs = 0
                while pongs < 20, let frame = await bob.nextFrame() { pongs += frame.text.contains("pong") ? 1 : 0 }
                try await ann.say(.ping(id: UInt64(round)))
            }
            let signal = ann.signal("over")
            try await bob.sayNumbered(signal)
            #expect(try await ann.nextSignal().reason == "over")
            // 120 messages less 10 at once, at 200 a second.
            #expect(ContinuousClock.now - start > .milliseconds(400))
        }
    }

    // MARK: Proxies

    @Test func behindATrustedProxyTheAddressThatItNamesCounts() async throws {
        try await withLimits {
            $0.trustedProxies = ["127.0.0.1"]
            $0.limits.perAddress.connections = 1
        } _: { server in
            let first = try await TestClient.dial(server, from: "127.0.0.1")
            #expect(try await Self.status(first, "X-Forwarded-For: 203.0.113.9\r\n") == 101)
            let second = try await TestClient.dial(server, from: "127.0.0.1")
            #expect(try await Self.status(second, "X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\n") == 429)
            let third = try await TestClient.dial(server, from: "127.0.0.1")
            #expect(try await Self.status(third, "X-Forwarded-For: 203.0.113.9, 198.51.100.1\r\n") == 101)
            // Nobody else is believed.
            let liar = try await TestClient.dial(server, from: Self.bad)
            #expect(try await Self.status(liar, "X-Forwarded-For: 192.0.2.1\r\n") == 101)
            #expect(await Self.isRefused(server, from: Self.bad))
        }
    }

    private static func header(_ source: [UInt8], command: UInt8 = 0x21) -> [UInt8] {
        [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10, command, 0x11, 0, 12] + source
            + [10, 0, 0, 1, 1, 2, 3, 4]
    }

    @Test func proxyHeaderPrecedesTheConnectionByteByByte() async throws {
        try await withLimits {
            $0.trustedProxies = ["127.0.0.0/31"]
            $0.expectsProxyProtocol = true
            $0.limits.perAddress.connections = 1
        } _: { server in
            let first = try await TestClient.dial(server, from: "127.0.0.1")
            for byte in Self.header([203, 0, 113, 9]) { try await first.send([byte]) }
            #expect(try await Self.status(first) == 101)
            // The same client again, by one segment.
            let second = try await TestClient.dial(server, from: "127.0.0.1")
            try await second.send(Self.header([203, 0, 113, 9]) + Array(TestClient.handshake.utf8))
            #expect(await second.head() == nil)
            let third = try await TestClient.dial(server, from: "127.0.0.1")
            try await third.send(Self.header([203, 0, 113, 10]) + Array(TestClient.handshake.utf8))
            #expect(await third.head()?.hasPrefix("HTTP/1.1 101") == true)
            // A health check of the proxy itself.
            let check = try await TestClient.dial(server, from: "127.0.0.1")
            try await check.send(Self.header([0, 0, 0, 0], command: 0x20))
            try await check.send(raw: "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(await check.head()?.hasPrefix("HTTP/1.1 200") == true)
        }
    }

    @Test func withTheProxyProtocolNothingElseIsServed() async throws {
        try await withLimits {
            $0.trustedProxies = ["127.0.0.1"]
            $0.expectsProxyProtocol = true
            $0.limits.handshakeTimeout = .milliseconds(200)
        } _: { server in
            let plain = try await TestClient.dial(server, from: "127.0.0.1")
            try? await plain.send(raw: TestClient.handshake)
            #expect(await plain.head() == nil)
            #expect(await Self.isRefused(server, from: Self.bad))
            let silent = try await TestClient.dial(server, from: "127.0.0.1")
            try await silent.send([13, 10])
            #expect(await silent.isClosedByServer())
        }
    }

    @Test(arguments: ["", "10.0.0.0/33", "localhost", "10.0.0.1-10.0.0.9"])
    func invalidRangesAreRefusedAtTheStart(_ range: String) {
        var configuration = RoomServerConfiguration()
        configuration.trustedProxies = [range]
        #expect(throws: RoomServerError.self) { try AddressGate(configuration) }
        configuration.trustedProxies = []
        configuration.unlimitedAddresses = [range]
        #expect(throws: RoomServerError.self) { try AddressGate(configuration) }
        configuration.unlimitedAddresses = []
        configuration.expectsProxyProtocol = true
        #expect(throws: RoomServerError.self) { try AddressGate(configuration) }
    }
}
