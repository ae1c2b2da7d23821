import Foundation
import Logging
import RoomProtocol
import Testing

@testable import RoomServer

/// Nodes of a cluster in one process, with a real store.
@Suite("Cluster", .enabled(if: RedisProcess.isInstalled), .timeLimit(.minutes(1)))
struct ClusterTests {
    private static let key = [UInt8](repeating: 7, count: 32)

    /// Runs `body` beside nodes that share a store.
    private func withNodes(
        _ count: Int, threads: Int = 1, log: CapturedLog? = nil, isolation: isolated (any Actor)? = #isolation,
        configure: (inout RoomServerConfiguration) -> Void = { _ in },
        _ body: (_ nodes: [RoomServer], _ stop: (Int) async throws -> Void) async throws -> Void
    ) async throws {
        let redis = try RedisProcess.started()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        try await expectNothingRemains(log?.logger ?? logger) { first in
            try await expectNothingRemains(logger) { others in
                try await withNodes(count, threads: threads, redis, first, others, configure: configure, body)
            }
        }
        withExtendedLifetime(redis) {}
    }

    private func withNodes(
        _ count: Int, threads: Int, _ redis: RedisProcess, _ first: Logger, _ others: Logger,
        isolation: isolated (any Actor)? = #isolation, configure: (inout RoomServerConfiguration) -> Void,
        _ body: (_ nodes: [RoomServer], _ stop: (Int) async throws -> Void) async throws -> Void
    ) async throws {
        var nodes: [RoomServer] = []
        var running: [Task<Void, any Error>] = []
        for number in 0..<count {
            var configuration = RoomServerConfiguration()
            configuration.sessionKey = .bytes(Self.key)
            configuration.threads = threads
            configuration.cluster = .init(redis: redis.url, node: "n\(number)", advertise: "link://127.0.0.1:0")
            if number == 0 { configure(&configuration) }
            let node = RoomServer(configuration: configuration, logger: number == 0 ? first : others)
            nodes.append(node)
            running.append(Task { try await node.run() })
        }
        do {
            for node in nodes { _ = try await node.address }
            try await body(nodes) { number in
                running[number].cancel()
                _ = await running[number].result
            }
        } catch {
            for task in running { task.cancel() }
            for task in running { _ = await task.result }
            throw error
        }
        for task in running { task.cancel() }
        for task in running { _ = await task.result }
    }

    @Test(arguments: [1, 3])
    func membersOfOneRoomMeetThroughDifferentNodes(threads: Int) async throws {
        try await withNodes(3, threads: threads) { nodes, _ in
            for room in ["a", "b", "c"] {
                let host = try await TestClient.join(nodes[0], "host", .host, room: room)
                let second = try await TestClient.join(nodes[1], "second", room: room)
                let third = try await TestClient.join(nodes[2], "third", room: room)
                for (sender, receiver) in [(host, third), (third, second), (second, host)] {
                    let peer = try #require(receiver.joined)
                    try await sender.sayNumbered(
                        .signal(
                            Signal(
                                peer: peer.participant, session: peer.session, connection: PeerConnectionID("c"),
                                negotiation: 1, body: .restartRequest(reason: room))))
                    #expect(try await receiver.nextSignal().reason == room)
                }
            }
        }
    }

    @Test func membersRebuildTheRoomElsewhereWhenItsOwnerEnds() async throws {
        try await withNodes(3) { nodes, stop in
            let host = try await TestClient.join(nodes[0], "host", .host)
            let guest = try await TestClient.join(nodes[1], "guest")
            try await stop(0)
            // The guest's node says that the owner is gone.
            var isTold = false
            while let message = try await guest.next() { if case .goingAway = message { isTold = true } }
            #expect(isTold)
            var back: TestClient?
            while back == nil { back = try? await TestClient.comeBack(nodes[1], "guest", from: guest) }
            let other = try await TestClient.comeBack(nodes[2], "host", from: host)
            #expect(other.joined?.participant == host.joined?.participant)
            #expect(back?.joined?.participant == guest.joined?.participant)
        }
    }

    private func json(_ answer: AdminClient.Answer) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(answer.body)) as? [String: Any])
    }

    @Test func theAdminAPIOfOneNodeReachesTheRoomsOfAll() async throws {
        let token = "0123456789abcdef0123456789abcdef"
        let log = CapturedLog(.critical)
        try await withNodes(3, threads: 2, log: log) {
            $0.admin = .init()
            $0.admin?.port = 0
            $0.admin?.token = Array(token.utf8)
        } _: { nodes, _ in
            let admin = try AdminClient(AdminClient.Address(#require(await nodes[0].adminURL)), token: token)
            var hosts: [TestClient] = []
            for number in 0...2 {
                hosts.append(try await TestClient.join(nodes[number], "host", .host, room: "r\(number)"))
            }
            let guest = try await TestClient.join(nodes[2], "guest", room: "r1")

            let list = try json(try await admin.request("GET", ["rooms"]))
            let rooms = try #require(list["rooms"] as? [[String: Any]])
            #expect(rooms.map { $0["name"] as? String } == ["r0", "r1", "r2"])
            #expect(rooms.map { $0["node"] as? String } == ["n0", "n1", "n2"])
            #expect(rooms.map { $0["participants"] as? Int } == [1, 2, 1])
            #expect(list["partial"] as? Bool == false && list["next"] == nil)
            // Page by page.
            let page = try json(try await admin.request("GET", ["rooms"], query: [("limit", "2"), ("after", "r0")]))
            #expect((page["rooms"] as? [[String: Any]])?.map { $0["name"] as? String } == ["r1", "r2"])

            let room = try json(try await admin.request("GET", ["rooms", "r1"]))
            let members = try #require(room["members"] as? [[String: Any]])
            #expect(members.map { $0["name"] as? String } == ["host", "guest"])
            let id = try #require(members.last?["id"] as? String)
            let kick = try await admin.request("DELETE", ["rooms", "r1", "participants", id], query: [("reason", "x")])
            #expect(kick.status == 200)
            var code: ProtocolError.Code?
            while let message = try await guest.next() { if case .error(let error) = message { code = error.code } }
            #expect(code == .kicked)
            #expect(try await admin.request("DELETE", ["rooms", "r1", "participants", id]).status == 404)

            #expect(try await admin.request("DELETE", ["rooms", "r2"]).status == 200)
            #expect(try await admin.request("GET", ["rooms", "r2"]).status == 404)
            #expect(try await admin.request("GET", ["rooms", "nowhere"]).status == 404)
            #expect(try await admin.request("DELETE", ["rooms", "nowhere"]).status == 404)
            // The log says what has become of a change, also where another node has done it.
            let outcomes = log.lines.compactMap { line in
                ["done", "participant_not_found", "room_not_found"].first { line.contains($0) }
            }
            #expect(outcomes == ["done", "participant_not_found", "done", "room_not_found"])
            withExtendedLifetime(hosts) {}
        }
    }

    @Test func metricsAndReadinessSayHowTheNodeStands() async throws {
        try await withNodes(2) { nodes, _ in
            let host = try await TestClient.join(nodes[0], "host", .host)
            let guest = try await TestClient.join(nodes[1], "guest")
            let owner = try #require(await nodes[0].report)
            let edge = try #require(await nodes[1].report)
            let exposition = try Exposition(owner.text(.prometheus))
            let rest = try Exposition(edge.text(.prometheus))
            func value(_ exposition: Exposition, _ name: String, _ labels: [String: String] = [:]) -> Double? {
                exposition.value("room_server_cluster_" + name, labels)
            }
            #expect(value(exposition, "rooms") == 1 && value(rest, "rooms") == 0)
            #expect(value(exposition, "claims_total") == 1)
            #expect(value(exposition, "store_connected") == 1)
            #expect(value(exposition, "lease_seconds") ?? 0 > 5)
            #expect(value(exposition, "links", ["opener": "other"]) == 1)
            #expect(value(rest, "links", ["opener": "self"]) == 1)
            #expect(value(exposition, "carried_clients", ["to": "self"]) == 1)
            #expect(value(rest, "carried_clients", ["to": "other"]) == 1)
            #expect(value(rest, "link_sent_bytes_total") ?? 0 > 100)
            #expect(owner.states == ["cluster: rooms: 1, links: 1"])
            withExtendedLifetime((host, guest)) {}
        }
    }

    @Test func nodeWithoutASharedSessionKeyDoesNotStart() async throws {
        var configuration = RoomServerConfiguration()
        configuration.cluster = .init(redis: "redis://127.0.0.1:1", node: "a", advertise: "link://127.0.0.1:0")
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let node = RoomServer(configuration: configuration, logger: logger)
        await #expect(throws: RoomServerError.self) { try await node.run() }
    }
}
