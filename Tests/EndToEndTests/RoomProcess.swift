import CommandLineIO
import Foundation
import Testing
import TransportPluginAPI
import TransportTestKit

typealias Line = [String: any Sendable]

struct Timeout: Error, CustomStringConvertible {
    var description: String
}

/// One `room` process, with the lines that it printed, and waits that have a deadline.
final class RoomProcess: Sendable {
    let child: ChildProcess
    private let journal = Journal<Line> { line in
        line.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }.joined(separator: " ")
    }

    static let room = URL(fileURLWithPath: ChildProcess.ownPath).deletingLastPathComponent()
        .appendingPathComponent("room").path

    init(
        _ name: String, _ arguments: [String], executable: String = RoomProcess.room,
        environment: [String: String] = [:]
    ) throws {
        let child = try ChildProcess(
            name: name, arguments: arguments, executable: executable, environment: environment)
        self.child = child
        Task { [journal] in
            for await line in child.lines { journal.append(line) }
            journal.finish()
        }
    }

    /// A participant that speaks JSON.
    static func peer(
        _ name: String, _ url: String, host: Bool = false, room: String = "lobby", more: [String] = []
    ) throws -> RoomProcess {
        try RoomProcess(
            name,
            ["connect", room, "--name", name, "--server", url, "--json", "--fault-injection"]
                + (host ? ["--as-host"] : []) + more)
    }

    var lines: [Line] { journal.entries }

    func send(_ members: KeyValuePairs<String, String>) {
        var line = JSONLine()
        for (name, value) in members { line.add(name, value) }
        child.send(line)
    }

    /// Lets a measured peer do something, and returns when it has answered that it does.
    func order(_ what: String) async throws {
        let before = Self.count(lines, "ok")
        send(["do": what])
        try await wait("its answer to \(what)") { Self.count($0, "ok") > before }
    }

    /// Returns when the lines so far fulfil the condition.
    func wait(
        _ what: String, within deadline: Duration = .seconds(20), until isDone: @escaping @Sendable ([Line]) -> Bool
    ) async throws {
        try await journal.wait("\(child.name): \(what)", within: deadline, until: isDone)
    }

    func wait(event: String, within deadline: Duration = .seconds(20)) async throws {
        try await wait(event, within: deadline) { $0.contains { $0["event"] as? String == event } }
    }

    /// Returns when the process has written all of its output.
    func waitForEnd() async {
        // No line matches, so the wait ends with the last line.
        try? await wait("the end") { _ in false }
    }

    /// Returns the exit status when the process has ended and `lines` has all of its output.
    func exitStatus() async -> Int32 {
        let status = await child.exitStatus()
        await waitForEnd()
        return status
    }

    /// Returns when `count` others are connected at the same time.
    func waitUntilConnected(to count: Int) async throws {
        try await wait("\(count) connected peers", within: .seconds(40)) { lines in
            Self.connected(lines).count >= count
        }
    }

    /// Returns when another participant has left.
    ///
    /// - Parameter reason: The reason, if only one is awaited.
    func waitForLeave(reason: String? = nil) async throws {
        try await wait("a participant's leave") { lines in
            lines.contains { line in
                line["state"] as? String == "left" && (reason == nil || line["reason"] as? String == reason)
            }
        }
    }

    /// Ids of the peers whose last state is `connected`.
    static func connected(_ lines: [Line]) -> Set<String> {
        var connected: Set<String> = []
        for line in lines where line["event"] as? String == "peer" {
            guard let id = line["id"] as? String else { continue }
            switch line["state"] as? String {
            case "connected": connected.insert(id)
            case "connecting", "recovering", "left": connected.remove(id)
            default: break
            }
        }
        return connected
    }

    static func texts(_ lines: [Line], channel: String = "reliable") -> [String] {
        lines.filter { $0["event"] as? String == "message" && $0["channel"] as? String == channel }
            .compactMap { $0["text"] as? String ?? $0["data"] as? String }
    }

    static func count(_ lines: [Line], _ event: String) -> Int { lines.count { $0["event"] as? String == event } }

    var selfID: String? { lines.last { $0["event"] as? String == "joined" }?["self"] as? String }
}

/// The processes of one test, and its folder. They end with the test, whatever happens.
final class TestProcesses: Sendable {
    private let processes = Locked<[RoomProcess]>([])
    let directory: URL
    let keyFile: String

    fileprivate init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("room-e2e-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        keyFile = directory.appendingPathComponent("session.key").path
    }

    func add(_ process: RoomProcess) -> RoomProcess {
        processes.withLock { $0.append(process) }
        return process
    }

    /// Starts the host of a room, and waits until it has joined.
    func host(_ name: String = "alice", at url: String, more: [String] = []) async throws -> RoomProcess {
        let host = add(try .peer(name, url, host: true, more: more))
        try await host.wait(event: "joined")
        return host
    }

    /// Starts two participants, the first of them the host, and waits until they are connected.
    ///
    /// - Parameter guestURL: The server's URL for the second one. Nil: the same.
    func pair(
        _ names: (String, String) = ("alice", "bob"), at url: String, guestAt guestURL: String? = nil
    ) async throws -> (RoomProcess, RoomProcess) {
        let host = try await host(names.0, at: url)
        let guest = add(try .peer(names.1, guestURL ?? url))
        for process in [host, guest] { try await process.waitUntilConnected(to: 1) }
        return (host, guest)
    }

    /// Starts two of the processes that the benchmark measures, and waits until they are connected.
    func measuredPair(_ url: String) async throws -> (RoomProcess, RoomProcess) {
        let options = ["--server", url, "--fault-injection"]
        let alice = add(try RoomProcess("alice", ["bench-peer", "--name", "a", "--as-host"] + options))
        try await alice.wait(event: "joined")
        let bob = add(try RoomProcess("bob", ["bench-peer", "--name", "b"] + options))
        try await alice.wait(event: "open")
        try await bob.wait(event: "open")
        return (alice, bob)
    }

    /// Starts a server and waits until it listens. Pass the same port again for one that comes back.
    func server(port: Int = 0, more: [String] = []) async throws -> (RoomProcess, url: String, port: Int) {
        let server = add(
            try RoomProcess("server", ["serve", "--port", "\(port)", "--session-key-file", keyFile] + more))
        try await server.wait(event: "listening")
        let url = try #require(server.lines.first { $0["event"] as? String == "listening" }?["url"] as? String)
        return (server, url, try #require(URL(string: url)?.port))
    }

    func file(_ name: String, _ text: String) throws -> String {
        let file = directory.appendingPathComponent(name)
        try text.write(to: file, atomically: true, encoding: .utf8)
        return file.path
    }

    fileprivate func clear() {
        for process in processes.withLock({ $0 }) {
            process.child.signal(SIGCONT)
            process.child.stop()
        }
        try? FileManager.default.removeItem(at: directory)
    }
}

/// Runs `body` with a set of processes, and ends them.
func withProcesses(_ body: (TestProcesses) async throws -> Void) async throws {
    signal(SIGPIPE, SIG_IGN)
    let processes = try TestProcesses()
    defer { processes.clear() }
    try await body(processes)
}

/// Runs `body` beside a server, its port, and a measured pair that is connected.
func withMeasuredPair(
    _ body: (TestProcesses, _ server: RoomProcess, _ port: Int, RoomProcess, RoomProcess) async throws -> Void
) async throws {
    try await withProcesses { processes in
        let (server, url, port) = try await processes.server()
        let (alice, bob) = try await processes.measuredPair(url)
        try await body(processes, server, port, alice, bob)
    }
}

extension Trait where Self == ConditionTrait {
    /// Skips the tests where `room` was built without a transport that connects peers.
    static var needsPeers: Self {
        #if WebRTC
            .enabled(if: true)
        #else
            .disabled("SKIPPED: room was built without the trait WebRTC, and connects no peers")
        #endif
    }
}
