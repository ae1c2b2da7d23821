import Foundation
import Logging
import NIOCore
import RoomProtocol
import Testing

@testable import RoomServer

@Suite("Admin API", .timeLimit(.minutes(1)))
struct AdminTests {
    private static let token = "0123456789abcdef0123456789abcdef"

    private func withAdmin(
        _ configure: (inout RoomServerConfiguration) -> Void = { _ in },
        isolation: isolated (any Actor)? = #isolation, _ body: (RoomServer, AdminClient) async throws -> Void
    ) async throws {
        try await withServer {
            $0.threads = 2
            $0.admin = .init()
            $0.admin?.port = 0
            $0.admin?.token = Array(Self.token.utf8)
            configure(&$0)
        } _: { server in
            try await body(server, try await client(server))
        }
    }

    private func client(_ server: RoomServer, token: String? = AdminTests.token) async throws -> AdminClient {
        try AdminClient(AdminClient.Address(#require(await server.adminURL)), token: token)
    }

    private func json(_ answer: AdminClient.Answer) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(answer.body)) as? [String: Any])
    }

    private func code(_ answer: AdminClient.Answer) throws -> String? {
        (try json(answer)["error"] as? [String: Any])?["code"] as? String
    }

    /// Names of rooms such that each loop of several has some.
    private static let rooms = (0..<8).map { "room \($0)" }

    @Test func roomsOfAllThreadsAreListedPageByPage() async throws {
        try await withAdmin { server, admin in
            var clients: [TestClient] = []
            for room in Self.rooms { clients.append(try await .join(server, "ann", .host, room: room)) }
            var (names, after): ([String], String?) = ([], nil)
            repeat {
                let query = [(name: "limit", value: "3")] + (after.map { [(name: "after", value: $0)] } ?? [])
                let page = try json(try await admin.request("GET", ["rooms"], query: query))
                let rooms = try #require(page["rooms"] as? [[String: Any]])
                #expect(rooms.count <= 3 && page["partial"] as? Bool == false)
                names += rooms.compactMap { $0["name"] as? String }
                after = page["next"] as? String
            } while after != nil
            #expect(names == Self.rooms)
            let info = try json(try await admin.request("GET", ["info"]))
            #expect(info["rooms"] as? Int == 8 && info["participants"] as? Int == 8 && info["threads"] as? Int == 2)
            #expect(info["state"] as? String == "serving")
            withExtendedLifetime(clients) {}
        }
    }

    @Test func aRoomIsShownWithItsParticipants() async throws {
        try await withAdmin { server, admin in
            let ann = try await TestClient.join(server, "ann", .host, room: "a/b ü%")
            let bob = try await TestClient.join(server, "bob", room: "a/b ü%")
            try await bob.abort()
            // The server has noticed it once another participant that comes in later is there.
            var members: [[String: Any]] = []
            repeat {
                let room = try json(try await admin.request("GET", ["rooms", "a/b ü%"]))
                members = try #require(room["members"] as? [[String: Any]])
                #expect(room["name"] as? String == "a/b ü%" && room["host"] as? String == "ann")
            } while members.last?["connected"] as? Bool == true
            #expect(members.map { $0["name"] as? String } == ["ann", "bob"])
            #expect(members.map { $0["role"] as? String } == ["host", "guest"])
            #expect(members.first?["id"] as? String == ann.joined?.participant.rawValue)
            let left = try #require(members.last?["graceLeft"] as? Double)
            #expect(left > 0 && left <= 60)
            let unknown = try await admin.request("GET", ["rooms", "none"])
            #expect(try unknown.status == 404 && code(unknown) == "room_not_found")
        }
    }

    @Test func aKickedParticipantIsToldAndCannotComeBack() async throws {
        try await withAdmin { server, admin in
            for room in Self.rooms.prefix(4) {
                let ann = try await TestClient.join(server, "ann", .host, room: room)
                let bob = try await TestClient.join(server, "bob", room: room)
                let id = try #require(bob.joined?.participant.rawValue)
                let path = ["rooms", room, "participants", id]
                let answer = try await admin.request("DELETE", path, query: [("reason", "too loud & rude")])
                #expect(answer.status == 200)
                #expect((try json(answer)["kicked"] as? [String: Any])?["name"] as? String == "bob")
                guard case .error(let error) = try #require(await bob.next()) else { throw TestFailure(message: "") }
                #expect(error.code == .kicked && error.message.hasSuffix("too loud & rude"))
                guard case .peerJoined = try await ann.next(), case .peerLeft(_, _, .kicked) = try await ann.next()
                else { throw TestFailure(message: "the host saw no kick") }
                let again = try await TestClient.open(server)
                try await again.say(.hello(Hello(room: RoomName(room), role: .guest, name: "bob")))
                guard case .error(let refusal) = try #require(await again.next()) else {
                    throw TestFailure(message: "bob is in again")
                }
                #expect(refusal.code == .kicked)
                // Once more changes nothing.
                let repeated = try await admin.request("DELETE", path)
                #expect(try repeated.status == 404 && code(repeated) == "participant_not_found")
            }
        }
    }

    @Test func aBanOutlivesTheRoom() async throws {
        try await withAdmin { server, admin in
            let ann = try await TestClient.join(server, "ann", .host)
            let bob = try await TestClient.join(server, "bob")
            let path = ["rooms", "lobby", "participants", try #require(bob.joined?.participant.rawValue)]
            for ban in ["-1", "1.5", "2592001", "long"] {
                #expect(try await admin.request("DELETE", path, query: [("ban", ban)]).status == 400)
            }
            #expect(try await admin.request("DELETE", path, query: [("ban", "2592000")]).status == 200)
            #expect(try await admin.request("DELETE", ["rooms", "lobby"]).status == 200)
            #expect(await ann.isClosedByServer())
            let again = try await TestClient.join(server, "ann", .host)
            let other = try await TestClient.open(server)
            try await other.say(.hello(Hello(room: RoomName("lobby"), role: .guest, name: "bob")))
            guard case .error(let error) = try #require(await other.next()) else {
                throw TestFailure(message: "bob is in again")
            }
            #expect(error.code == .kicked)
            withExtendedLifetime(again) {}
        }
    }

    @Test func aClosedRoomIsGoneForEverybody() async throws {
        try await withAdmin { server, admin in
            let ann = try await TestClient.join(server, "ann", .host)
            let answer = try await admin.request("DELETE", ["rooms", "lobby"])
            #expect(try answer.status == 200 && (json(answer)["participants"] as? Int) == 1)
            guard case .error(let error) = try #require(await ann.next()) else { throw TestFailure(message: "") }
            #expect(error.code == .roomClosed)
            #expect(try await admin.request("DELETE", ["rooms", "lobby"]).status == 404)
        }
    }

    @Test func aDrainTellsTheClientsAndEndsTheServer() async throws {
        var configuration = RoomServerConfiguration()
        configuration.admin = .init()
        configuration.admin?.port = 0
        configuration.admin?.token = Array(Self.token.utf8)
        let server = RoomServer(configuration: configuration, logger: Self.silent)
        async let run: Void = server.run()
        _ = try await server.address
        let admin = try await client(server)
        let ann = try await TestClient.join(server, "ann", .host)
        #expect(try await admin.request("PUT", ["drain"], body: Array(#"{"deadline":-1}"#.utf8)).status == 400)
        let answer = try await admin.request("PUT", ["drain"], body: Array(#"{"deadline":3.5}"#.utf8))
        #expect(try answer.status == 202 && (json(answer)["deadline"] as? Double) == 3.5)
        guard case .goingAway = try await ann.next() else { throw TestFailure(message: "no notice") }
        try await run
    }

    // MARK: Who may ask

    @Test func withoutTheTokenNothingIsTold() async throws {
        try await withAdmin { server, admin in
            for token in [nil, "", "wrong", Self.token + "0", String(Self.token.dropLast())] {
                let answer = try await client(server, token: token).request("GET", ["info"])
                #expect(try answer.status == 401 && code(answer) == "unauthorized")
            }
            #expect(try await admin.request("GET", ["info"]).status == 200)
        }
    }

    @Test func manyWrongTokensAreNotCheckedAnyMore() async throws {
        try await withAdmin { server, _ in
            let guesser = try await client(server, token: "a guess")
            var statuses: [Int] = []
            for _ in 0..<40 { statuses.append(try await guesser.request("GET", ["info"]).status) }
            #expect(statuses.prefix(10).allSatisfy { $0 == 401 } && statuses.contains(429))
        }
    }

    @Test func theUnixSocketIsForItsOwnerAndNeedsNoToken() async throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "room-\(UUID().uuidString.prefix(8))").path
        for _ in 1...2 {
            try await withServer {
                $0.admin = .init()
                $0.admin?.socketPath = path
            } _: { server in
                #expect(await server.adminURL == nil)
                var status = stat()
                #expect(lstat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
                let admin = try AdminClient(.socket(path: path), token: nil)
                #expect(try await admin.request("GET", ["info"]).status == 200)
                // It is in use: another server cannot have it.
                #expect(throws: RoomServerError.self) { try AdminSocket.bind(path) }
            }
            #expect(access(path, F_OK) != 0)
            // One that a killed server has left behind is replaced.
            close(try AdminSocket.bind(path))
        }
        unlink(path)
        try Data().write(to: URL(filePath: path))
        #expect(throws: RoomServerError.self) { try AdminSocket.bind(path) }
        unlink(path)
    }

    @Test func aPortWithoutATokenOrWithAShortOneIsRefusedAtTheStart() async throws {
        for token in [nil, Array("short".utf8), Array("with a blank, and long enough".utf8)] {
            var configuration = RoomServerConfiguration()
            configuration.admin = .init()
            configuration.admin?.port = 0
            configuration.admin?.token = token
            let server = RoomServer(configuration: configuration, logger: Self.silent)
            await #expect(throws: RoomServerError.self) { try await server.run() }
        }
    }

    // MARK: HTTP

    /// Sends text, and returns the statuses of the answers until the server closes.
    private func statuses(_ server: RoomServer, _ text: String) async throws -> [String] {
        let client = try await TestClient.dial(try await self.port(server))
        try await client.send(raw: text)
        return await client.rest().components(separatedBy: "HTTP/1.1 ").dropFirst().map { String($0.prefix(3)) }
    }

    private func port(_ server: RoomServer) async throws -> Int {
        try HTTPURL(try #require(await server.adminURL)).port
    }

    private static let authorized = "Host: x\r\nAuthorization: bearer \(token)\r\n"

    @Test func requestsFollowEachOtherOnOneConnection() async throws {
        try await withAdmin { server, _ in
            let get = "GET /v1/info HTTP/1.1\r\n\(Self.authorized)\r\n"
            let put = "PUT /v1/drain HTTP/1.1\r\n\(Self.authorized)Content-Length: 3\r\n\r\n{x}"
            let last = "GET /v1/nothing HTTP/1.1\r\n\(Self.authorized)Connection: close\r\n\r\n"
            let statuses = try await statuses(server, get + get + put + get + last)
            #expect(statuses == ["200", "200", "400", "200", "404"])
        }
    }

    @Test(arguments: [
        ("GET /v1/rooms?limit=0 HTTP/1.1\r\n", "400"), ("GET /v1/rooms/%zz HTTP/1.1\r\n", "400"),
        ("POST /v1/rooms HTTP/1.1\r\n", "405"), ("GET / HTTP/1.1\r\n", "404"),
        ("GET /v1/rooms/a/b HTTP/1.1\r\n", "404"),
        ("DELETE /v1/rooms/x?reason=%00 HTTP/1.1\r\n", "400"),
        ("PUT /v1/drain HTTP/1.1\r\nContent-Length: 16385\r\n", "413"),
        ("PUT /v1/drain HTTP/1.1\r\nContent-Length: -1\r\n", "400"),
        ("PUT /v1/drain HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n", "400"),
        ("PUT /v1/drain HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", "411"),
        ("GET /v1/info HTTP/1.1\r\nX: \(String(repeating: "x", count: 17_000))\r\n", "431"),
        ("nonsense\r\n", "400"),
    ])
    func aRequestThatIsWrongHasItsStatus(_ head: String, _ status: String) async throws {
        try await withAdmin { server, _ in
            let statuses = try await statuses(server, "\(head)\(Self.authorized)Connection: close\r\n\r\n")
            #expect(statuses == [status])
        }
    }

    // MARK: Events

    @Test func eventsComeAsTheyHappenAndAgainAfterTheLastOneSeen() async throws {
        try await withAdmin { server, admin in
            let (opened, isOpen) = AsyncStream<Void>.makeStream()
            let (events, feed) = AsyncStream<ServerSentEvent>.makeStream()
            let reading = Task { try await admin.events(after: nil, isOpen: { isOpen.yield() }) { feed.yield($0) } }
            for await _ in opened { break }
            // Registered at the latest when another request has been answered.
            while try json(try await admin.request("GET", ["info"]))["eventConsumers"] as? Int == 0 {}
            let ann = try await TestClient.join(server, "ann", .host)
            _ = try await admin.request("DELETE", ["rooms", "lobby"])
            var seen: [ServerSentEvent] = []
            for await event in events {
                seen.append(event)
                if seen.count == 5 { break }
            }
            #expect(
                seen.map(\.type) == [
                    "room.opened", "participant.joined", "host.changed", "participant.left", "room.closed",
                ])
            #expect(Set(seen.map(\.id)).count == 5 && seen.allSatisfy { $0.id != nil })
            let first = try #require(
                try JSONSerialization.jsonObject(with: Data(seen[1].data.utf8)) as? [String: Any])
            #expect(first["id"] as? String == seen[1].id && first["type"] as? String == "participant.joined")
            let data = try #require(first["data"] as? [String: Any])
            #expect((data["participant"] as? [String: Any])?["id"] as? String == ann.joined?.participant.rawValue)

            // After the second one: the same three again, with the same ids.
            let (missed, more) = AsyncStream<ServerSentEvent>.makeStream()
            let second = seen[1].id
            let again = Task { try await admin.events(after: second) { more.yield($0) } }
            var repeated: [ServerSentEvent] = []
            for await event in missed {
                repeated.append(event)
                if repeated.count == 3 { break }
            }
            #expect(repeated == Array(seen[2...]))
            // Of an earlier run of the server: that some were missed.
            let (old, stale) = AsyncStream<ServerSentEvent>.makeStream()
            let third = Task { try await admin.events(after: "evt_other-7") { stale.yield($0) } }
            for await event in old {
                #expect(event.type == "events.missed")
                break
            }
            _ = (reading, again, third)
        }
    }

    @Test func consumersNeedTheToken() async throws {
        try await withAdmin { server, _ in
            let refusal = try await client(server, token: "wrong").events(after: nil) { _ in }
            #expect(refusal?.status == 401)
        }
    }

    private static let silent: Logger = {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }()
}
