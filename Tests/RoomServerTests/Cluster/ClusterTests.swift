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
        _ count: Int, threads: Int = 1,
        _ body: (_ nodes: [RoomServer], _ stop: (Int) async throws -> Void) async throws -> Void
    ) async throws {
        let redis = try RedisProcess.started()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        var nodes: [RoomServer] = []
        var running: [Task<Void, any Error>] = []
        for number in 0..<count {
            var configuration = RoomServerConfiguration()
            configuration.sessionKey = .bytes(Self.key)
            configuration.threads = threads
            configuration.cluster = .init(redis: redis.url, node: "n\(number)", advertise: "link://127.0.0.1:0")
            let node = RoomServer(configuration: configuration, logger: logger)
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
        withExtendedLifetime(redis) {}
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

    @Test func nodeWithoutASharedSessionKeyDoesNotStart() async throws {
        var configuration = RoomServerConfiguration()
        configuration.cluster = .init(redis: "redis://127.0.0.1:1", node: "a", advertise: "link://127.0.0.1:0")
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let node = RoomServer(configuration: configuration, logger: logger)
        await #expect(throws: RoomServerError.self) { try await node.run() }
    }
}
