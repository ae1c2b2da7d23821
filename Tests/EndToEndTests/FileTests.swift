import CommandLineIO
import Foundation
import Testing
import TransportPluginAPI

/// `room send` and `room receive`, as processes with a server.
@Suite(.serialized, .timeLimit(.minutes(3)), .needsPeers) struct FileTests {
    /// The folders of one test, below that of its processes.
    private struct Folders {
        let source: URL
        let target: URL

        init(_ processes: TestProcesses) throws {
            source = processes.directory.appendingPathComponent("source")
            target = processes.directory.appendingPathComponent("target")
            for folder in [source, target] {
                try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            }
        }

        /// Makes a file whose bytes differ everywhere.
        func add(_ name: String, _ count: Int) throws -> Data {
            var content = Data(capacity: count)
            var number: UInt64 = 0
            while content.count < count {
                number &+= 0x9E37_79B9_7F4A_7C15
                withUnsafeBytes(of: number.byteSwapped ^ (number << 7)) { content.append(contentsOf: $0) }
            }
            content = content.prefix(count)
            let file = source.appendingPathComponent(name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try content.write(to: file)
            return content
        }

        func arrived(_ name: String) -> Data? { try? Data(contentsOf: target.appendingPathComponent(name)) }
        var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: target.path)) ?? []).sorted() }
    }

    private static func sender(
        _ folders: Folders, _ names: [String], _ url: String, _ more: [String] = [], code: String? = nil
    ) throws -> RoomProcess {
        try RoomProcess(
            "sender",
            ["send"] + names.map { folders.source.appendingPathComponent($0).path } + ["--server", url, "--json"]
                + more,
            environment: code.map { ["ROOM_CODE": $0] } ?? [:])
    }

    private static func receiver(
        _ folders: Folders, _ url: String, _ more: [String] = [], code: String? = nil
    ) throws -> RoomProcess {
        try RoomProcess(
            "receiver", ["receive", "--into", folders.target.path, "--server", url, "--json"] + more,
            environment: code.map { ["ROOM_CODE": $0] } ?? [:])
    }

    private static func code(of sender: RoomProcess) async throws -> String {
        try await sender.wait(event: "code")
        return try #require(sender.lines.first { $0["event"] as? String == "code" }?["code"] as? String)
    }

    private static func isInTheMiddle(_ lines: [Line]) -> Bool {
        lines.contains { $0["event"] as? String == "progress" && $0["bytes"] as? Double ?? 0 > 0 }
    }

    private static func present(_ actor: RoomProcess) -> Double? {
        actor.lines.last { $0["event"] as? String == "done" }?["present"] as? Double
    }

    @Test func filesAndFoldersArriveByACode() async throws {
        try await withProcesses { processes in
            let folders = try Folders(processes)
            let (_, url, _) = try await processes.server()
            let large = try folders.add("large", 5_000_000)
            let small = try folders.add("folder/small", 10)
            let sender = processes.add(try Self.sender(folders, ["large", "folder"], url))
            let code = try await Self.code(of: sender)
            let receiver = processes.add(try Self.receiver(folders, url, [code]))
            #expect(await receiver.child.exitStatus() == 0)
            #expect(await sender.child.exitStatus() == 0)
            await receiver.waitForEnd()
            #expect(folders.arrived("large") == large && folders.arrived("folder/small") == small)
            #expect(folders.names == ["folder", "large"])
            let digests = [sender, receiver].map { actor in
                actor.lines.filter { $0["event"] as? String == "file" }.compactMap { $0["sha256"] as? String }
            }
            #expect(digests[0] == digests[1] && digests[0].count == 2)
            #expect(receiver.lines.contains { $0["event"] as? String == "met" && $0["proved"] as? Double == 1 })
            #expect(RoomProcess.count(receiver.lines, "done") == 1)
        }
    }

    @Test func aCodeInTheArgumentsIsOverwritten() async throws {
        try await withProcesses { processes in
            let folders = try Folders(processes)
            let (_, url, _) = try await processes.server()
            _ = try folders.add("a", 10)
            let first = processes.add(try Self.sender(folders, ["a"], url))
            let code = try await Self.code(of: first)
            first.child.stop()
            let sender = processes.add(try Self.sender(folders, ["a"], url, ["--code", code]))
            #expect(try await Self.code(of: sender) == code)
            let arguments = try String(contentsOfFile: "/proc/\(sender.child.identifier)/cmdline", encoding: .utf8)
            #expect(arguments.contains("--code") && !arguments.contains(code))
            // A receiver that waits: its own arguments have to be clean before it has reached anybody.
            let receiver = processes.add(try Self.receiver(folders, url, [code]))
            try await receiver.wait(event: "met")
            if let seen = try? String(contentsOfFile: "/proc/\(receiver.child.identifier)/cmdline", encoding: .utf8) {
                #expect(!seen.contains(code))
            }
            #expect(await receiver.child.exitStatus() == 0)
        }
    }

    @Test(arguments: [false, true]) func whoIsKilledGoesOn(bothSides: Bool) async throws {
        try await withProcesses { processes in
            let folders = try Folders(processes)
            let (_, url, _) = try await processes.server()
            let content = try folders.add("large", 400_000_000)
            var sender = processes.add(try Self.sender(folders, ["large"], url))
            let code = try await Self.code(of: sender)
            let first = processes.add(try Self.receiver(folders, url, code: code))
            try await first.wait("the middle", until: Self.isInTheMiddle)
            first.child.signal(SIGKILL)
            #expect(await first.child.exitStatus() == SIGKILL)
            #expect(folders.arrived("large") == nil && folders.names.count == 1)
            if bothSides {
                sender.child.stop()
                sender = processes.add(try Self.sender(folders, ["large"], url, code: code))
                #expect(try await Self.code(of: sender) == code)
            }
            let second = processes.add(try Self.receiver(folders, url, code: code))
            #expect(await second.child.exitStatus() == 0)
            #expect(await sender.child.exitStatus() == 0)
            await second.waitForEnd()
            #expect(folders.arrived("large") == content && folders.names == ["large"])
            #expect(Self.present(second) ?? 0 > 0)
        }
    }

    /// A machine that slept for longer than the server waits for it: the two have given each other up, and meet again.
    @Test(arguments: [false, true]) func aPairThatGaveEachOtherUpGoesOnWhenItMeetsAgain(
        senderSleeps: Bool
    ) async throws {
        try await withProcesses { processes in
            let folders = try Folders(processes)
            let (_, url, _) = try await processes.server(more: ["--grace", "1"])
            let content = try folders.add("large", 200_000_000)
            let sender = processes.add(try Self.sender(folders, ["large"], url))
            let receiver = processes.add(try Self.receiver(folders, url, code: try await Self.code(of: sender)))
            try await receiver.wait("the middle", until: Self.isInTheMiddle)
            let (asleep, awake) = senderSleeps ? (sender, receiver) : (receiver, sender)
            asleep.child.signal(SIGSTOP)
            try await awake.wait("the loss", within: .seconds(60)) { lines in
                lines.contains { $0["event"] as? String == "error" && $0["code"] as? String == "interrupted" }
            }
            #expect(folders.arrived("large") == nil)
            asleep.child.signal(SIGCONT)
            #expect(await receiver.exitStatus() == 0)
            #expect(await sender.exitStatus() == 0)
            #expect(folders.arrived("large") == content && folders.names == ["large"])
            #expect(Self.present(receiver) ?? 0 > 0 && RoomProcess.count(receiver.lines, "done") == 1)
        }
    }

    @Test func aServerThatIsKilledDoesNotMatter() async throws {
        try await withProcesses { processes in
            let folders = try Folders(processes)
            let (server, url, port) = try await processes.server()
            let content = try folders.add("large", 200_000_000)
            let sender = processes.add(try Self.sender(folders, ["large"], url))
            let receiver = processes.add(try Self.receiver(folders, url, code: try await Self.code(of: sender)))
            try await receiver.wait("the middle", until: Self.isInTheMiddle)
            server.child.stop()
            _ = try await processes.server(port: port)
            #expect(await receiver.child.exitStatus() == 0)
            #expect(await sender.child.exitStatus() == 0)
            #expect(folders.arrived("large") == content && folders.names == ["large"])
        }
    }

    @Test func aReceiverMayComeFirstIntoARoom() async throws {
        try await withProcesses { processes in
            let folders = try Folders(processes)
            let (_, url, _) = try await processes.server()
            let content = try folders.add("a", 1000)
            let receiver = processes.add(try Self.receiver(folders, url, ["--room", "office", "--name", "bob"]))
            let other = processes.add(
                try RoomProcess(
                    "other",
                    [
                        "receive", "--room", "office", "--name", "eve", "--json", "--server", url,
                        "--into", "/proc/nowhere",
                    ]))
            #expect(await other.child.exitStatus() == 1, "no such folder")
            let sender = processes.add(try Self.sender(folders, ["a"], url, ["--room", "office", "--to", "bob"]))
            #expect(await receiver.child.exitStatus() == 0)
            #expect(await sender.child.exitStatus() == 0)
            #expect(folders.arrived("a") == content)
        }
    }

    @Test func whatIsThereIsNotOverwritten() async throws {
        try await withProcesses { processes in
            let folders = try Folders(processes)
            let (_, url, _) = try await processes.server()
            _ = try folders.add("a", 1000)
            try Data("mine".utf8).write(to: folders.target.appendingPathComponent("a"))
            let sender = processes.add(try Self.sender(folders, ["a"], url))
            let receiver = processes.add(try Self.receiver(folders, url, code: try await Self.code(of: sender)))
            #expect(await receiver.child.exitStatus() == 9)
            #expect(await sender.child.exitStatus() == 6)
            await sender.waitForEnd()
            #expect(folders.arrived("a") == Data("mine".utf8) && folders.names == ["a"])
            #expect(sender.lines.contains { $0["event"] as? String == "error" && $0["code"] as? String == "exists" })
        }
    }

    @Test func standardInputArrivesOnStandardOutput() async throws {
        try await withProcesses { processes in
            let folders = try Folders(processes)
            let (_, url, _) = try await processes.server()
            let content = try folders.add("large", 3_000_000)
            let path = folders.source.appendingPathComponent("large").path
            let arrived = folders.target.appendingPathComponent("arrived").path
            async let sending = Shell.run("cat '\(path)' | $ROOM send - --room pipe --json --server \(url)")
            let received = try await Shell.run(
                "$ROOM receive --room pipe --into - --yes --server \(url) > '\(arrived)'")
            #expect(received.status == 0, "\(received.errors)")
            #expect(received.errors.contains("stdin: 3.0 MB, whole"))
            let sent = try await sending
            #expect(sent.status == 0 && sent.output.contains("\"name\":\"stdin\""), "\(sent.output)")
            #expect(folders.arrived("arrived") == content)
        }
    }

    @Test func wrongUseIsToldAtOnce() async throws {
        let code = "0000-0000-0000-0000-0000-0000-0001"
        for (arguments, text) in [
            ("send", "Missing expected argument"), ("send /none", "cannot be sent"),
            ("receive --json \(code)", "mistyped"), ("receive --json ABC", "28 characters"),
            ("receive \(code)", "--yes"), ("receive --json", "there is no code"),
            ("receive --room a \(code)", "exclude"), ("receive --overwrite --rename --json", "exclude"),
            ("send - -", "once"), ("send a --to b", "--room"), ("send a --room b --code \(code)", "exclude"),
        ] {
            let result = try await Shell.run("$ROOM " + arguments + " </dev/null")
            #expect(result.status == (text == "cannot be sent" ? 1 : 2), "\(arguments): \(result.status)")
            #expect(result.errors.contains(text), "\(arguments): \(result.errors)")
        }
    }
}
