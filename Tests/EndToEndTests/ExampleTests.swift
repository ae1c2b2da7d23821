import CommandLineIO
import Foundation
import Testing
import TransportPluginAPI

/// The programs in Tests/Examples, as somebody runs them who has just built the package.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct ExampleTests {
    private func start(_ example: String, _ arguments: String, _ url: String) throws -> Shell {
        let folder = URL(fileURLWithPath: RoomProcess.room).deletingLastPathComponent().path
        return try Shell.start("ROOM_SERVER=\(url) exec stdbuf -oL \(folder)/\(example) \(arguments)")
    }

    /// Runs an example twice, the second time a little later.
    private func withTwo(
        _ example: String, _ arguments: (String, String), _ body: (Shell, Shell) async throws -> Void
    ) async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let first = try start(example, arguments.0, url)
            defer { first.stop() }
            let second = try start(example, arguments.1, url)
            defer { second.stop() }
            try await body(first, second)
        }
    }

    @Test func twoPeopleChat() async throws {
        try await withTwo("ExampleChat", ("lobby ann", "lobby bob")) { ann, bob in
            try await ann.waitForLine("* bob is here")
            bob.type("hello ann\n")
            try await ann.waitForLine("bob: hello ann")
            bob.endInput()
            #expect(await bob.status() == 0)
            try await ann.waitForLine("* bob has left")
        }
    }

    @Test func aRobotIsSteered() async throws {
        try await withTwo("ExampleRobot", ("control", "robot")) { control, _ in
            try await control.waitForLine("the robot is at 3.5, 0.0")
            try await control.waitForLine("one move is 10 m at most")
            try await control.waitForLine("telemetry: 3.5, 0.0")
            #expect(await control.status() == 0)
        }
    }

    @Test func aFileIsSent() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let content = String(repeating: "0123456789abcdef", count: 100_000)
            let file = try processes.file("data.bin", content)
            let folder = processes.directory.appendingPathComponent("arrived")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let receiver = try start("ExampleFiles", "receive \(folder.path)", url)
            defer { receiver.stop() }
            let sender = try start("ExampleFiles", "send \(file)", url)
            defer { sender.stop() }
            #expect(await sender.status() == 0)
            #expect(await receiver.status() == 0)
            let arrived = try String(contentsOf: folder.appendingPathComponent("data.bin"), encoding: .utf8)
            #expect(arrived == content)
        }
    }
}
