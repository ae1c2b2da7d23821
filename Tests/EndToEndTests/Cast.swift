import CommandLineIO
import Foundation
import Testing
import TransportPluginAPI

typealias Line = [String: any Sendable]

struct Timeout: Error, CustomStringConvertible {
    var description: String
}

/// One `room` process, with what it printed, and waits that have a deadline.
final class Actor: Sendable {
    private struct Watcher {
        let id: Int
        let isDone: @Sendable ([Line]) -> Bool
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var lines: [Line] = []
        var hasEnded = false
        var watchers: [Watcher] = []
        var lastWatcher = 0
    }

    let child: ChildProcess
    private let state = Locked(State())

    static let room = URL(fileURLWithPath: ChildProcess.ownPath).deletingLastPathComponent()
        .appendingPathComponent("room").path

    init(
        _ name: String, _ arguments: [String], executable: String = Actor.room, environment: [String: String] = [:]
    ) throws {
        let child = try ChildProcess(
            name: name, arguments: arguments, executable: executable, environment: environment)
        self.child = child
        Task { [self] in
            for await line in child.lines { record { $0.lines.append(line) } }
            record { $0.hasEnded = true }
        }
    }

    /// A participant that speaks JSON.
    static func peer(
        _ name: String, _ url: String, host: Bool = false, room: String = "stage", more: [String] = []
    ) throws -> Actor {
        try Actor(
            name,
            ["connect", room, "--name", name, "--server", url, "--json", "--fault-injection"]
                + (host ? ["--as-host"] : []) + more)
    }

    var lines: [Line] { state.withLock { $0.lines } }

    func send(_ members: KeyValuePairs<String, String>) {
        var line = JSONLine()
        for (name, value) in members { line.add(name, value) }
        child.send(line)
    }

    /// Returns when the lines so far fulfil the condition.
    func wait(
        _ what: String, within deadline: Duration = .seconds(20), until isDone: @escaping @Sendable ([Line]) -> Bool
    ) async throws {
        let id = state.withLock { state -> Int in
            state.lastWatcher += 1
            return state.lastWatcher
        }
        let alarm = Task {
            try await Task.sleep(for: deadline)
            let late = state.withLock { state -> Watcher? in
                state.watchers.firstIndex { $0.id == id }.map { state.watchers.remove(at: $0) }
            }
            late?.continuation.resume(returning: false)
        }
        defer { alarm.cancel() }
        let isThere = await withCheckedContinuation { continuation in
            let answer = state.withLock { state -> Bool? in
                if isDone(state.lines) { return true }
                if state.hasEnded { return false }
                state.watchers.append(Watcher(id: id, isDone: isDone, continuation: continuation))
                return nil
            }
            if let answer { continuation.resume(returning: answer) }
        }
        guard isThere else {
            let last = lines.suffix(5).map { line in
                line.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }.joined(separator: " ")
            }
            throw Timeout(description: "\(child.name): \(what) did not happen within \(deadline); last lines: \(last)")
        }
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

    private func record(_ change: (inout State) -> Void) {
        let ready = state.withLock { state -> [(CheckedContinuation<Bool, Never>, Bool)] in
            change(&state)
            var ready: [(CheckedContinuation<Bool, Never>, Bool)] = []
            state.watchers.removeAll { watcher in
                let isDone = watcher.isDone(state.lines)
                guard isDone || state.hasEnded else { return false }
                ready.append((watcher.continuation, isDone))
                return true
            }
            return ready
        }
        for (continuation, isDone) in ready { continuation.resume(returning: isDone) }
    }
}

/// All processes of one test. They end with the test, whatever happens.
final class Stage: Sendable {
    private let actors = Locked<[Actor]>([])
    let directory: URL
    let keyFile: String

    init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("room-e2e-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        keyFile = directory.appendingPathComponent("session.key").path
    }

    /// Runs a play and ends its processes.
    static func play(_ body: (Stage) async throws -> Void) async throws {
        signal(SIGPIPE, SIG_IGN)
        let stage = try Stage()
        do {
            try await body(stage)
        } catch {
            stage.clear()
            throw error
        }
        stage.clear()
    }

    func add(_ actor: Actor) -> Actor {
        actors.withLock { $0.append(actor) }
        return actor
    }

    /// Starts a server and waits until it listens. Pass the same port again for one that comes back.
    func server(port: Int = 0, more: [String] = []) async throws -> (Actor, url: String, port: Int) {
        let server = add(try Actor("server", ["serve", "--port", "\(port)", "--session-key-file", keyFile] + more))
        try await server.wait(event: "listening")
        let url = try #require(server.lines.first { $0["event"] as? String == "listening" }?["url"] as? String)
        return (server, url, try #require(URL(string: url)?.port))
    }

    func file(_ name: String, _ text: String) throws -> String {
        let file = directory.appendingPathComponent(name)
        try text.write(to: file, atomically: true, encoding: .utf8)
        return file.path
    }

    private func clear() {
        for actor in actors.withLock({ $0 }) {
            actor.child.signal(SIGCONT)
            actor.child.stop()
        }
        try? FileManager.default.removeItem(at: directory)
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
