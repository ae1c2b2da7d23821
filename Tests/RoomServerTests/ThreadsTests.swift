import NIOCore
import RoomProtocol
import RoomServer
import Testing

@Suite("Several threads", .timeLimit(.minutes(1)))
struct ThreadsTests {
    private static let rooms = (0..<24).map { "room \($0)" }

    @Test func roomsOfAllThreadsRelayAndAreCountedTogether() async throws {
        try await withServer { server in
            for (ann, bob) in try await TestClient.pairs(server, in: Self.rooms) {
                try await bob.sayNumbered(ann.signal("hello"))
                #expect(try await ann.nextSignal().reason == "hello")
                try await ann.sayNumbered(bob.signal("hello yourself"))
                #expect(try await bob.nextSignal().reason == "hello yourself")
            }
            let health = try await health(of: server)
            #expect(health.contains("\"rooms\":24,\"participants\":48,\"connections\":48"))
        }
    }

    /// All in one segment: the rest moves along with the connection.
    @Test func messagesRightBehindTheHelloArrive() async throws {
        try await withServer { server in
            for room in Self.rooms {
                let client = try await TestClient.dial(server)
                let hello = Hello(room: RoomName(room), role: .host, name: "ann")
                var bytes = Array(TestClient.handshake.utf8)
                bytes += TestClient.frame(1, RoomProtocolCodec.encode(Envelope(.hello(hello))))
                for id in UInt64(1)...3 {
                    bytes += TestClient.frame(1, RoomProtocolCodec.encode(Envelope(ClientMessage.ping(id: id))))
                }
                try await client.send(bytes + TestClient.frame(9, Array("still there?".utf8)))
                #expect(try #require(await client.head()).hasPrefix("HTTP/1.1 101 "))
                var pongs: [UInt64] = []
                while let frame = await client.nextFrame(), frame.opcode != 10 {
                    let message = try RoomProtocolCodec.decodeServerMessage(frame.payload).message
                    if case .pong(let id) = message { pongs.append(id) }
                }
                #expect(pongs == [1, 2, 3])
            }
        }
    }

    @Test func limitOfRoomsIsTheServersAndNotAThreads() async throws {
        try await withServer {
            $0.limits.rooms = 5
        } _: { server in
            for room in Self.rooms.prefix(5) { _ = try await TestClient.join(server, "ann", .host, room: room) }
            for room in Self.rooms.dropFirst(5) {
                let client = try await TestClient.open(server)
                try await client.say(.hello(Hello(room: RoomName(room), role: .host, name: "ann")))
                guard case .error(let error) = try await client.next() else {
                    Issue.record("admitted over the limit")
                    return
                }
                #expect(error.code == .tooManyRequests)
            }
        }
    }

    @Test func drainReachesTheClientsOfAllThreads() async throws {
        try await withServer { server in
            var clients: [TestClient] = []
            for room in Self.rooms { clients.append(try await TestClient.join(server, "ann", .host, room: room)) }
            server.shutdown()
            for client in clients {
                guard case .goingAway = try await client.next() else {
                    Issue.record("not told")
                    continue
                }
                #expect(await client.nextFrame()?.closeCode == 1001)
                try await client.channel.close()
            }
        }
    }

    private func health(of server: RoomServer) async throws -> String {
        let client = try await TestClient.dial(server)
        try await client.send(raw: "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return await client.rest()
    }
}
