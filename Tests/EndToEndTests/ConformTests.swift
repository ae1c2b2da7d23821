import CommandLineIO
import Foundation
import Testing
import TransportPluginAPI

@testable import room

/// The exit statuses of `room conform`, by a few clauses each; the whole kit runs in the backends' own tests.
@Suite(.serialized, .timeLimit(.minutes(1)), .needsPeers) struct ConformTests {
    private func run(_ arguments: [String]) async throws -> (status: Int32, lines: [Line]) {
        var outcome: (Int32, [Line]) = (-1, [])
        try await withProcesses { processes in
            let process = processes.add(try RoomProcess("conform", ["conform", "--json"] + arguments))
            let status = await process.exitStatus()
            outcome = (status, process.lines)
        }
        return outcome
    }

    @Test(arguments: [("foundation", "signaling", "signaling.life.01"), ("webrtc-libnice", "peer", "peer.channel.0")])
    func aBackendThatKeepsTheClausesPasses(_ backend: String, _ kind: String, _ only: String) async throws {
        let (status, lines) = try await run([backend, "--only", only])
        #expect(status == 0)
        let clauses = lines.filter { $0["event"] as? String == "clause" }
        #expect(!clauses.isEmpty && clauses.allSatisfy { ($0["id"] as? String)?.hasPrefix(only) == true })
        let verdict = try #require(lines.last)
        #expect(verdict["event"] as? String == "conform" && verdict["kind"] as? String == kind)
        #expect(verdict["conforms"] as? Double == 1 && verdict["partial"] as? Double == 1)
        #expect(verdict["passed"] as? Double == Double(clauses.count))
    }

    /// Sixteen streams are too few for the clause.
    @Test func aClauseThatFailsIsStatusFive() async throws {
        try await withProcesses { processes in
            let file = try processes.file("room.yaml", "peerOptions: {streams: 16}\n")
            let (status, lines) = try await run(["webrtc-libnice", "--only", "peer.channel.04", "--config", file])
            #expect(status == 5)
            let clause = try #require(lines.first { $0["event"] as? String == "clause" })
            #expect(clause["result"] as? String == "failed" && clause["reason"] != nil)
            #expect(lines.last?["conforms"] as? Double == 0 && lines.last?["failed"] as? Double == 1)
        }
    }

    @Test(arguments: [
        ["pigeon"], ["foundation", "--only", "nonsense"], ["foundation", "--only", "peer."],
        ["webrtc-libnice", "--only", "peer.channel.99"], ["foundation", "--config", "/nonexistent/room.yaml"], [],
    ])
    func unknownBackendsAndClausesAreStatusTwo(_ arguments: [String]) async throws {
        let (status, lines) = try await run(arguments)
        #expect(status == 2 && lines.isEmpty, "no verdict about nothing: \(lines)")
    }

    @Test func anOptionThatABackendDoesNotTakeIsStatusTwo() async throws {
        try await withProcesses { processes in
            let file = try processes.file("room.yaml", "peerOptions: {streams: 1}\n")
            #expect(try await run(["webrtc-libnice", "--config", file]).status == 2)
        }
    }

    @Test func aFileThatIsNoPluginIsStatusFour() async throws {
        try await withProcesses { processes in
            let text = try processes.file("text.so", "no library")
            for path in [text, "/nonexistent/plugin.so", try Self.systemLibrary()] {
                let (status, lines) = try await run([path])
                #expect(status == 4 && lines.isEmpty, "\(path)")
            }
        }
    }

    /// A library that can be loaded and is no plugin: the C library, as this process has loaded it.
    private static func systemLibrary() throws -> String {
        // Read to the end: the file's size is given as zero.
        let maps = try #require(try FileHandle(forReadingAtPath: "/proc/self/maps")?.readToEnd())
        let lines = String(decoding: maps, as: UTF8.self).split(separator: "\n")
        let paths = lines.compactMap { $0.split(separator: " ").last.map(String.init) }
        return try #require(paths.first { $0.hasPrefix("/") && $0.contains("/libc.so") })
    }

    @Test func aBackendThatCannotRunHereIsStatusFour() throws {
        let absent = PluginDescriptor(
            name: "absent", summary: "", capabilities: [], unavailability: { "libabsent.so.1 is missing" })
        let error = #expect(throws: CommandError.self) { try ConformCommand.made(absent) { 1 } }
        #expect(error?.status == .unavailable && error?.message == "'absent': libabsent.so.1 is missing")
        let present = PluginDescriptor(name: "present", summary: "", capabilities: [])
        for (code, status) in [
            (TransportError.Code.resourceExhausted, ExitStatus.unavailable), (.invalidArgument, .usage),
        ] {
            let error = #expect(throws: CommandError.self) {
                try ConformCommand.made(present) { () throws(TransportError) -> Int in throw TransportError(code, "why")
                }
            }
            #expect(error?.status == status)
        }
    }
}
