import CLinux
import CommandLineIO
import Foundation
import Testing
import TransportPluginAPI

@testable import FileTransfer
@testable import room

/// A command on a terminal of its own: what a person sees there, and types.
private final class PseudoTerminal: Sendable {
    private let controller: Int32
    private let process: Process
    private let seen = Locked("")

    init(_ command: String, columns: UInt16 = 100, in folder: URL? = nil) throws {
        var (controller, terminal): (Int32, Int32) = (-1, -1)
        var size = winsize(ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        try #require(openpty(&controller, &terminal, nil, nil, &size) == 0)
        self.controller = controller
        process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", "exec \(command)"]
        process.currentDirectoryURL = folder
        process.environment = ProcessInfo.processInfo.environment.merging([
            "TERM": "xterm", "NO_COLOR": "1", "TZ": "UTC",
            "ROOM": URL(fileURLWithPath: ChildProcess.ownPath).deletingLastPathComponent()
                .appendingPathComponent("room").path,
        ]) { $1 }
        let handle = FileHandle(fileDescriptor: terminal, closeOnDealloc: true)
        process.standardInput = handle
        process.standardOutput = handle
        process.standardError = handle
        try process.run()
    }

    deinit { close(controller) }

    /// Closes the terminal, as when its window is closed.
    func hangUp() {
        let other = open("/dev/null", O_RDWR | O_CLOEXEC)
        dup2(other, controller)
        close(other)
    }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    func type(_ keys: String) { _ = Array(keys.utf8).withUnsafeBytes { write(controller, $0.baseAddress, $0.count) } }

    /// Returns when what was drawn since the start contains `text`.
    func wait(for text: String, within deadline: Duration = .seconds(30)) async throws {
        try await wait(for: text, within: deadline) { $0.contains(text) }
    }

    func wait(
        for text: String, within deadline: Duration = .seconds(30), until isThere: @escaping @Sendable (String) -> Bool
    ) async throws {
        let end = Timestamp.now() + deadline
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            Thread.detachNewThread { [self] in
                var buffer = [UInt8](repeating: 0, count: 4096)
                while !seen.withLock({ isThere($0) }) {
                    var watched = pollfd(fd: controller, events: Int16(POLLIN), revents: 0)
                    guard Timestamp.now() < end, poll(&watched, 1, 100) >= 0 else {
                        return continuation.resume(
                            throwing: Timeout(description: "no '\(text)' in \(drawn.suffix(600))"))
                    }
                    guard watched.revents & Int16(POLLIN) != 0 else { continue }
                    let count = read(controller, &buffer, buffer.count)
                    seen.withLock { $0 += String(decoding: buffer[..<max(count, 0)], as: UTF8.self) }
                }
                continuation.resume()
            }
        }
    }

    var drawn: String { seen.withLock { $0 } }

    /// Whether the terminal echoes and hands over lines, as a shell wants it.
    var isInLineMode: Bool {
        var settings = termios()
        tcgetattr(controller, &settings)
        let both = tcflag_t(ICANON | ECHO)
        return settings.c_lflag & both == both
    }

    var identifier: Int32 { process.processIdentifier }

    func stop() {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
    }

    func status() async -> Int32 {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { [process] in
                process.waitUntilExit()
                continuation.resume(returning: process.terminationStatus)
            }
        }
    }
}

/// `room connect` as somebody at a terminal uses it.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct TerminalTests {
    /// Runs `body` with alice's `room connect` at a terminal, and the server that it was given.
    private func withTerminal(
        _ option: String,
        _ body: (PseudoTerminal, TestProcesses, (process: RoomProcess, url: String, port: Int)) async throws -> Void
    ) async throws {
        try await withProcesses { processes in
            let server = try await processes.server()
            let terminal = try PseudoTerminal("$ROOM connect lobby --name alice \(option) --server \(server.url)")
            defer { terminal.stop() }
            try await body(terminal, processes, (server.0, server.url, server.port))
        }
    }

    /// Runs `body` with two conversations at terminals in one room. Bob's is in a folder of its own. Both then quit.
    private func withConversations(
        serverOptions: [String] = [],
        _ body: (_ alice: PseudoTerminal, _ bob: PseudoTerminal, _ directory: URL, _ folder: URL) async throws -> Void
    ) async throws {
        try await withProcesses { processes in
            let server = try await processes.server(more: serverOptions)
            let folder = processes.directory.appendingPathComponent("bob")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let alice = try PseudoTerminal("$ROOM connect lobby --name alice --host-if-first --server \(server.url)")
            defer { alice.stop() }
            try await alice.wait(for: "You are in lobby")
            let bob = try PseudoTerminal("$ROOM connect lobby --name bob --server \(server.url)", in: folder)
            defer { bob.stop() }
            try await alice.wait(for: "bob is connected")
            try await bob.wait(for: "alice is connected")
            try await body(alice, bob, processes.directory, folder)
            for terminal in [alice, bob] {
                terminal.type("/quit\r")
                #expect(await terminal.status() == 0)
            }
        }
    }

    @Test func aServerDrainsWhenItsTerminalIsClosedAndReloadsWhileItIsThere() async throws {
        let terminal = try PseudoTerminal(
            "setsid -c -w $ROOM serve --port 0 --session-key-file none --log-level notice")
        defer { terminal.stop() }
        try await terminal.wait(for: "listening")
        let children = try Shell.children(of: terminal.identifier)
        kill(children.first ?? terminal.identifier, SIGHUP)
        try await terminal.wait(for: "the settings were read again")
        terminal.hangUp()
        #expect(await terminal.status() == 0)
    }

    @Test func aConversationHasNamesCommandsAndAnOutageInOneLine() async throws {
        try await withTerminal("--host-if-first") { terminal, processes, server in
            try await terminal.wait(for: "You are in lobby as alice, its host")
            #expect(!terminal.isInLineMode)
            let bob = processes.add(try .peer("bob", server.url, host: false))
            try await terminal.wait(for: "bob is connected")

            terminal.type("hello bob\r")
            try await bob.wait("hello") { RoomProcess.texts($0) == ["hello bob"] }
            try await terminal.wait(for: "you: hello bob")
            // Something comes in while something else is being typed: it is drawn again below.
            terminal.type("half a li")
            try await terminal.wait(for: "> half a li")
            bob.send(["do": "send", "text": "hi alice"])
            try await terminal.wait(for: "bob: hi alice")
            terminal.type("ne\r/to bob psst\r/who\r/dance\r")
            try await bob.wait("both") { RoomProcess.texts($0) == ["hello bob", "half a line", "psst"] }
            try await terminal.wait(for: "you to bob: psst")
            try await terminal.wait(for: "bob: connected (directly)")
            try await terminal.wait(for: "There is no command /dance")

            server.process.child.signal(SIGKILL)
            try await terminal.wait(for: ", for 2 s")
            _ = try await processes.server(port: server.port)
            try await terminal.wait(for: "back at the room server after")
            let lines = terminal.drawn.split(separator: "\n").filter { $0.contains("looking for") }
            #expect(lines.allSatisfy { !$0.contains("  looking") }, "the outage is no line of the conversation")

            terminal.type("/quit\r")
            #expect(await terminal.status() == 0)
            #expect(terminal.isInLineMode)
        }
    }

    @Test func filesGoFromOneConversationToAnother() async throws {
        try await withConversations { alice, bob, directory, folder in
            let file = directory.appendingPathComponent("notes.txt")
            try Data("what we said".utf8).write(to: file)
            alice.type("/send \(file.path)\r")
            try await bob.wait(for: "alice offers notes.txt, 12 bytes: /take or /refuse")
            bob.type("/refuse\r")
            try await alice.wait(for: "bob does not get it")
            alice.type("/send bob \(file.path)\r")
            let offer = "alice offers notes.txt"
            try await bob.wait(for: "a second offer") { $0.components(separatedBy: offer).count > 2 }
            bob.type("/take\r")
            try await bob.wait(for: "notes.txt from alice is here")
            try await alice.wait(for: "bob has it whole")
            #expect(try Data(contentsOf: folder.appendingPathComponent("notes.txt")) == Data("what we said".utf8))
            // A larger one shows its progress at both sides, below the conversation.
            let large = directory.appendingPathComponent("large")
            try Data(repeating: 7, count: 100_000_000).write(to: large)
            alice.type("/send \(large.path)\r")
            try await bob.wait(for: "alice offers large")
            bob.type("/take\r")
            try await alice.wait(for: "large to bob: ")
            try await bob.wait(for: "large from alice: ")
            try await bob.wait(for: "large from alice is here")
            try await alice.wait(for: "bob has it whole, 100.0 MB")
        }
    }

    /// Makes a file whose zeros take no room.
    private func largeFile(_ count: Int, in folder: URL) throws -> URL {
        let file = folder.appendingPathComponent("large")
        try Data().write(to: file)
        try #require(truncate(file.path, count) == 0)
        return file
    }

    @Test func eitherSideOfAConversationGivesATransferUp() async throws {
        try await withConversations { alice, bob, directory, _ in
            let file = try largeFile(4_000_000_000, in: directory)
            alice.type("/cancel bob\r")
            try await alice.wait(for: "Nothing is under way to or from bob.")
            alice.type("/send \(file.path)\r")
            try await bob.wait(for: "alice offers large")
            bob.type("/take\r")
            try await alice.wait(for: "large to bob: ")
            alice.type("/cancel bob\r")
            try await alice.wait(for: "bob does not get it: the transfer was given up")
            try await bob.wait(for: "nothing more comes from alice: alice has ended the transfer")
            alice.type("/send \(file.path)\r")
            try await bob.wait(for: "a second offer") { $0.components(separatedBy: "alice offers large").count > 2 }
            let seen = bob.drawn.count
            bob.type("/take\r")
            try await bob.wait(for: "its progress") { $0.dropFirst(seen).contains("large from alice: ") }
            bob.type("/cancel alice\r")
            try await bob.wait(for: "nothing more comes from alice: the transfer was given up")
            try await alice.wait(for: "bob does not get it: bob has ended the transfer")
            bob.type("/cancel alice\r")
            try await bob.wait(for: "Nothing is under way to or from alice.")
        }
    }

    @Test func aTransferInAConversationGoesOnAfterTheOtherSideWasGivenUp() async throws {
        try await withConversations(serverOptions: ["--grace", "1"]) { alice, bob, directory, folder in
            let file = try largeFile(600_000_000, in: directory)
            alice.type("/send \(file.path)\r")
            try await bob.wait(for: "alice offers large")
            bob.type("/take\r")
            try await bob.wait(for: "large from alice: ")
            bob.signal(SIGSTOP)
            try await alice.wait(for: "bob is gone: the transfer goes on", within: .seconds(60))
            bob.signal(SIGCONT)
            try await alice.wait(for: "bob has it whole, 600.0 MB", within: .seconds(60))
            try await bob.wait(for: "large from alice is here")
            #expect(bob.drawn.components(separatedBy: "alice offers large").count == 2, "it was asked once")
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["large"]
                    && folder.appendingPathComponent("large").resourceValues(forKeys: [.fileSizeKey]).fileSize
                        == 600_000_000
            )
        }
    }

    @Test func transfersAreOneLineWithAPartForEach() {
        var transfers = ConversationTransfers()
        #expect(transfers.status(now: .zero) == nil)
        func progress(_ path: String, _ count: UInt64) -> TransferEvent {
            .progress(TransferProgress(path: path, count: count, total: 10_000))
        }
        transfers.take(progress("a", 2000), "to bob", now: .zero)
        transfers.take(progress("a", 4000), "to bob", now: .zero + .seconds(1))
        transfers.take(progress("\u{1B}", 100), "from eve", now: .zero + .seconds(1))
        #expect(
            transfers.status(now: .zero + .seconds(1))
                == "\\u{1B} from eve: 1 %  100 bytes of 10.0 kB · "
                + "a to bob: 40 %  4.0 kB of 10.0 kB  2.0 kB/s  0:03 left"
        )
        #expect(transfers.status(now: .zero + .seconds(2))?.contains("1.0 kB/s") == true, "nothing moves")
        transfers.end("from eve")
        transfers.take(progress("a", 10_000), "to bob", now: .zero + .seconds(3))
        #expect(transfers.status(now: .zero + .seconds(3)) == nil)
    }

    @Test func ctrlDLeavesAndTheTerminalIsAsBefore() async throws {
        try await withTerminal("--wait-for-host") { terminal, processes, server in
            try await terminal.wait(for: "waiting for the host of lobby")
            let bob = processes.add(try .peer("bob", server.url, host: true))
            try await bob.wait(event: "joined")
            try await terminal.wait(for: "bob is connected")
            terminal.type("\u{4}")
            #expect(await terminal.status() == 0)
            #expect(terminal.isInLineMode)
        }
    }
}
