import CommandLineIO
import Foundation
import Testing

/// The essential scenario on every signaling backend with every peer backend that can run here, plugins of ROOM_PLUGINS
/// included, and with different signaling backends at the two ends. Peer backends of different kinds cannot connect to
/// each other.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct MatrixTests {
    struct Combination: Sendable, CustomTestStringConvertible {
        var left: String
        var right: String
        var peer: String
        var testDescription: String { "\(left) ↔ \(right), \(peer)" }
    }

    static func combinations() async throws -> [Combination] {
        let list = try RoomProcess("plugins", ["plugins", "--json"])
        guard await list.exitStatus() == 0 else { throw Timeout(description: "room plugins failed") }
        func names(_ kind: String) -> [String] {
            list.lines.filter { $0["kind"] as? String == kind && $0["available"] as? Double == 1 }
                .compactMap { $0["name"] as? String }
        }
        try await list.wait("the backends") { lines in lines.contains { $0["kind"] as? String == "peer" } }
        let signaling = names("signaling")
        return names("peer").flatMap { peer in
            // Each backend on the left once with itself and once with the next one, so that each is on both sides.
            signaling.indices.flatMap { index in
                Set([index, (index + 1) % signaling.count]).sorted().map { other in
                    Combination(left: signaling[index], right: signaling[other], peer: peer)
                }
            }
        }
    }

    @Test func everyCombinationMeetsTalksLosesTheServerAndLosesNothing() async throws {
        let combinations = try await Self.combinations()
        #expect(!combinations.isEmpty)
        for combination in combinations {
            do { try await Self.run(combination) } catch {
                Issue.record("\(combination.testDescription): \(error)")
            }
        }
    }

    private static func run(_ combination: Combination) async throws {
        try await withProcesses { processes in
            let (server, url, port) = try await processes.server()
            let host = processes.add(
                try .peer(
                    "host", url, host: true, more: ["--signaling", combination.left, "--peer", combination.peer]))
            try await host.wait(event: "joined")
            let guest = processes.add(
                try .peer("guest", url, more: ["--signaling", combination.right, "--peer", combination.peer]))
            try await host.waitUntilConnected(to: 1)
            try await guest.waitUntilConnected(to: 1)
            for number in 1...20 { host.send(["do": "send", "text": "\(number)"]) }
            try await guest.wait("the first messages") { RoomProcess.texts($0).count == 20 }

            server.child.stop()
            for number in 21...40 { host.send(["do": "send", "text": "\(number)"]) }
            try await guest.wait("messages without a server") { RoomProcess.texts($0).count == 40 }
            _ = try await processes.server(port: port)
            for peer in [host, guest] {
                try await peer.wait("the way back") { RoomProcess.count($0, "joined") == 2 }
            }
            for number in 41...60 { host.send(["do": "send", "text": "\(number)"]) }
            try await guest.wait("every message once, in order") { RoomProcess.texts($0) == (1...60).map(String.init) }
            host.send(["do": "leave"])
            try await host.wait(event: "left")
            try await guest.waitForLeave()
        }
    }
}
