import CommandLineIO
import Foundation
import Testing
import TransportTestKit

/// `room admin` against a running server.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct AdminCommandTests {
    /// Runs `room admin` to its end, and returns its output and its exit status.
    private func admin(
        _ processes: TestProcesses, _ arguments: [String], environment: [String: String] = [:]
    ) async throws -> (lines: [Line], status: Int32) {
        let command = processes.add(
            try RoomProcess("admin", ["admin"] + arguments + ["--json"], environment: environment))
        let status = await command.exitStatus()
        return (command.lines, status)
    }

    @Test func anOperatorLooksKicksClosesAndDrains() async throws {
        try await withProcesses { processes in
            let folder = processes.directory.path
            let (socket, token) = (folder + "/admin.sock", folder + "/admin.token")
            let server = processes.add(
                try RoomProcess(
                    "server",
                    [
                        "serve", "--port", "0", "--session-key-file", "none", "--admin-port", "0", "--admin-token-file",
                        token, "--admin-socket", socket,
                    ]))
            let (url, _) = try await server.listening()
            let adminURL = try #require(server.lines.first?["admin"] as? String)
            let (host, guest) = try await processes.pair(("alice", "bob"), at: url)
            let events = processes.add(
                try RoomProcess("events", ["admin", "events", "--admin", "unix:" + socket, "--json"]))

            // The port wants the token, which the server has made.
            #expect(try await admin(processes, ["rooms", "--admin", adminURL]).status == 3)
            let secret = try String(contentsOfFile: token, encoding: .utf8).trimmingCharacters(in: .newlines)
            #expect(secret.utf8.count == 64)
            let rooms = try await admin(
                processes, ["rooms", "--admin", adminURL], environment: ["ROOM_ADMIN_TOKEN": secret])
            #expect(rooms.status == 0 && rooms.lines.count == 1)
            #expect(rooms.lines.first?["name"] as? String == "lobby")
            #expect(rooms.lines.first?["participants"] as? Double == 2)
            let info = try await admin(processes, ["info", "--admin", adminURL, "--admin-token-file", token])
            #expect(info.status == 0 && info.lines.first?["state"] as? String == "serving")

            // Until the stream is open, and so the kick is seen there.
            var consumers = 0.0
            while consumers == 0 {
                let info = try await admin(processes, ["info", "--admin", socket])
                consumers = info.lines.first?["eventConsumers"] as? Double ?? 0
            }
            let kick = try await admin(processes, ["kick", "lobby", "bob", "--reason", "spam", "--admin", socket])
            #expect(kick.status == 0)
            try await host.waitForLeave(reason: "kicked")
            #expect(await guest.exitStatus() == 3)
            try await events.wait("the kick") { $0.contains { $0["type"] as? String == "participant.kicked" } }
            #expect(try await admin(processes, ["kick", "lobby", "bob", "--admin", socket]).status == 3)

            #expect(try await admin(processes, ["close", "lobby", "--admin", socket]).status == 0)
            #expect(await host.exitStatus() == 3)
            #expect(try await admin(processes, ["room", "lobby", "--admin", socket]).status == 3)

            #expect(try await admin(processes, ["drain", "--deadline", "5", "--admin", socket]).status == 0)
            #expect(await server.exitStatus() == 0)
            #expect(try await admin(processes, ["info", "--admin", socket]).status == 4)
            #expect(try await admin(processes, ["info"]).status == 2)
        }
    }
}
