internal import ArgumentParser
internal import CommandLineIO
internal import Foundation
internal import Glibc
internal import TransportPluginAPI

struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "A room server and two peers on this machine: watch them lose the server and the path, and heal.")

    @OptionGroup var common: CommonOptions

    @Flag(help: "One JSON object a line.")
    var json = false

    func run() async throws {
        let demo = try Demo(json: json)
        let watches = SignalWatch.ending.map { number in
            SignalWatch(number) { _ in
                demo.stopAll()
                Glibc.exit(ExitStatus.interrupted.rawValue)
            }
        }
        defer { for watch in watches { watch.cancel() } }
        let hasPassed: Bool
        do {
            hasPassed = try await demo.run()
        } catch {
            demo.stopAll()
            throw error
        }
        demo.stopAll()
        guard hasPassed else { throw ExitStatus.checkFailed }
    }
}

/// The course of the demo: meet, talk, lose the server, lose the path, leave; and the record of every message.
private final class Demo: Sendable {
    private struct State {
        var ids: [String: String] = [:]
        var joins: [String: Int] = [:]
        var signaling: [String: String] = [:]
        var isConnected: [String: Bool] = [:]
        var sent = ["alice": 0, "bob": 0]
        /// The numbers that arrived, by receiver.
        var received: [String: [Int]] = ["alice": [], "bob": []]
        /// The time of the last message, by receiver.
        var lastMessage: [String: Timestamp] = [:]
        var largestGap: Duration = .zero
        var failure: String?
        var watchers: [(id: Int, isDone: @Sendable (State) -> Bool, resume: CheckedContinuation<Void, Never>)] = []
        var nextWatcher = 0
        var children: [ChildProcess] = []
        var serverURL: String?
        var isTalking = true
    }

    private let start = Timestamp.now()
    private let state = Locked(State())
    private let directory: URL
    private let json: Bool

    init(json: Bool) throws {
        self.json = json
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("room-demo-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        // The key that signs sessions outlives the server, so that a restarted server recognises its participants.
        let key = (0..<32).map { _ in String(format: "%02x", UInt8.random(in: 0...255)) }.joined()
        let file = directory.appendingPathComponent("session.key").path
        _ = FileManager.default.createFile(
            atPath: file, contents: Data(key.utf8), attributes: [.posixPermissions: 0o600])
    }

    deinit { try? FileManager.default.removeItem(at: directory) }

    func run() async throws -> Bool {
        say("A room server and two peers, each a process of its own.", Output.bold)
        var server = try await startServer(port: 0)
        guard let url = state.withLock({ $0.serverURL }), let port = URL(string: url)?.port else {
            throw CommandError(.checkFailed, "the room server did not say where it listens")
        }
        let began = Timestamp.now()
        try startPeer("alice", url, isHost: true)
        try await wait("alice to be in the room") { $0.joins["alice"] != nil }
        try startPeer("bob", url, isHost: false)
        try await wait("alice and bob to be connected") {
            $0.isConnected["alice"] == true && $0.isConnected["bob"] == true
        }
        say(
            "alice and bob are in the room, connected peer to peer, encrypted", Output.green,
            took: Timestamp.now() - began)

        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await self.talk() }
            say("they talk: 20 messages a second each way")
            try await hear(30)

            say("the room server is killed (SIGKILL), its state is lost", Output.red)
            let joins = state.withLock { $0.joins }
            server.stop()
            try await wait("the loss of the server to be noticed") { state in
                state.signaling.values.allSatisfy { $0 != "connected" }
            }
            let whileDown = try await hear(40)
            say("  they go on talking without it: \(whileDown) messages came meanwhile")
            server = try await startServer(port: port)
            let back = Timestamp.now()
            try await wait("both to be back in the room") { state in
                ["alice", "bob"].allSatisfy { state.joins[$0, default: 0] > joins[$0, default: 0] }
            }
            let serverRecovery = Timestamp.now() - back
            say("the server is back, and so are both in the room", Output.green, took: serverRecovery)
            try await hear(30)

            say("the path between them is cut: every datagram is dropped", Output.red)
            faults("cut")
            try await wait("the cut to be noticed") { $0.isConnected.values.contains(false) }
            say("  both noticed; messages are kept, new paths are tried")
            try await pause(sent: 40)
            faults("restore")
            let restored = Timestamp.now()
            try await wait("messages in both directions") { state in
                ["alice", "bob"].allSatisfy { state.lastMessage[$0].map { $0 > restored } ?? false }
            }
            let pathRecovery = Timestamp.now() - restored
            say("the path is back: first messages in both directions", Output.green, took: pathRecovery)
            try await hear(30)

            state.withLock { $0.isTalking = false }
            try await wait("the last messages to arrive") { state in
                state.received["bob"]?.count ?? 0 >= state.sent["alice", default: 0]
                    && state.received["alice"]?.count ?? 0 >= state.sent["bob", default: 0]
            }
            try await group.waitForAll()
            leave()
            return summary(serverRecovery, pathRecovery)
        }
    }

    private func summary(_ server: Duration, _ path: Duration) -> Bool {
        let state = state.withLock { $0 }
        var lost = 0
        var duplicated = 0
        var disordered = 0
        for (receiver, sender) in [("alice", "bob"), ("bob", "alice")] {
            let numbers = state.received[receiver] ?? []
            let distinct = Set(numbers)
            lost += state.sent[sender, default: 0] - distinct.count
            duplicated += numbers.count - distinct.count
            disordered += zip(numbers, numbers.dropFirst()).count { $0 > $1 }
        }
        let total = state.received.values.reduce(0) { $0 + $1.count }
        let isPerfect = lost == 0 && duplicated == 0 && disordered == 0
        if json {
            var line = JSONLine(event: "demo")
            line.add("passed", isPerfect)
            line.add("messages", total)
            line.add("lost", lost)
            line.add("duplicated", duplicated)
            line.add("disordered", disordered)
            line.add("serverRecoveredIn", server.inSeconds, digits: 3)
            line.add("pathRecoveredIn", path.inSeconds, digits: 3)
            Output.line(line)
            return isPerfect
        }
        say(
            String(
                format: "server restart healed in %.2f s, path in %.2f s; \(total) messages", server.inSeconds,
                path.inSeconds), Output.bold)
        say(
            "lost \(lost), duplicated \(duplicated)" + (disordered == 0 ? "" : ", out of order \(disordered)"),
            isPerfect ? Output.green : Output.red)
        return isPerfect
    }

    // MARK: The cast

    private func startServer(port: Int) async throws -> ChildProcess {
        let child = try ChildProcess(
            name: "server",
            arguments: [
                "serve", "--port", "\(port)", "--session-key-file",
                directory.appendingPathComponent("session.key").path,
            ])
        state.withLock { state in
            state.children.append(child)
            state.serverURL = nil
        }
        follow(child) { state, line in
            if line["event"] as? String == "listening" { state.serverURL = line["url"] as? String }
        }
        try await wait("the room server to listen") { $0.serverURL != nil }
        return child
    }

    private func startPeer(_ name: String, _ url: String, isHost: Bool) throws {
        var arguments = ["connect", "demo", "--name", name, "--server", url, "--json", "--fault-injection"]
        if isHost { arguments.append("--as-host") }
        let child = try ChildProcess(name: name, arguments: arguments)
        state.withLock { $0.children.append(child) }
        follow(child) { state, line in
            switch line["event"] as? String {
            case "joined":
                state.joins[name, default: 0] += 1
                state.ids[name] = line["self"] as? String
            case "signaling": state.signaling[name] = line["status"] as? String
            case "peer":
                switch line["state"] as? String {
                case "connected": state.isConnected[name] = true
                case "connecting", "recovering", "left": state.isConnected[name] = false
                default: break
                }
            case "message":
                guard let number = (line["text"] as? String).flatMap(Int.init) else { return }
                state.received[name, default: []].append(number)
                state.lastMessage[name] = .now()
            case "error":
                if line["retryable"] as? Double == 0 {
                    state.failure = "\(name): \(line["message"] as? String ?? "an error")"
                }
            default: break
            }
        }
    }

    /// Reads a child's lines into the state, and wakes tasks that wait for it. Runs on the thread of the child's pipe.
    private func follow(
        _ child: ChildProcess, _ update: @escaping @Sendable (inout State, [String: any Sendable]) -> Void
    ) {
        Task {
            for await line in child.lines {
                let ready = state.withLock { state -> [CheckedContinuation<Void, Never>] in
                    update(&state, line)
                    let snapshot = state
                    let ready = state.watchers.filter { $0.isDone(snapshot) || snapshot.failure != nil }
                    state.watchers.removeAll { watcher in ready.contains { $0.id == watcher.id } }
                    return ready.map(\.resume)
                }
                for continuation in ready { continuation.resume() }
            }
        }
    }

    private func faults(_ path: String) {
        for child in peers() {
            var line = JSONLine()
            line.add("do", "fault")
            line.add("path", path)
            child.send(line)
        }
    }

    private func leave() {
        for child in peers() {
            var line = JSONLine()
            line.add("do", "leave")
            child.send(line)
        }
    }

    private func peers() -> [ChildProcess] { state.withLock { $0.children.filter { $0.name != "server" } } }

    func stopAll() {
        for child in state.withLock({ $0.children }) { child.stop() }
    }

    // MARK: The pace

    /// Sends 20 messages a second in each direction, until it is told to stop.
    private func talk() async {
        let interval = Duration.milliseconds(50)
        var next = ContinuousClock.now
        while state.withLock({ $0.isTalking }), !Task.isCancelled {
            for child in peers() {
                let number = state.withLock { state -> Int in
                    state.sent[child.name, default: 0] += 1
                    return state.sent[child.name, default: 0]
                }
                var line = JSONLine()
                line.add("do", "send")
                line.add("text", String(number))
                child.send(line)
            }
            next = next.advanced(by: interval)
            try? await Task.sleep(until: next)
        }
    }

    /// Returns when `count` more messages have arrived at each side, with the total number of arrivals at both.
    @discardableResult
    private func hear(_ count: Int) async throws -> Int {
        let before = state.withLock { $0.received.mapValues(\.count) }
        try await wait("messages to arrive") { state in
            state.received.allSatisfy { $1.count >= before[$0, default: 0] + count }
        }
        return state.withLock { $0.received.values.reduce(0) { $0 + $1.count } } - before.values.reduce(0, +)
    }

    /// Waits until `count` more messages have been sent.
    private func pause(sent count: Int) async throws {
        let target = state.withLock { $0.sent["alice", default: 0] } + count
        while state.withLock({ $0.sent["alice", default: 0] }) < target { try await Task.sleep(for: .milliseconds(20)) }
    }

    private func wait(_ what: String, until isDone: @escaping @Sendable (State) -> Bool) async throws {
        let id = state.withLock { state -> Int in
            state.nextWatcher += 1
            return state.nextWatcher
        }
        let patience = Duration.seconds(20)
        let timeout = Task {
            try await Task.sleep(for: patience)
            let late = state.withLock { state -> CheckedContinuation<Void, Never>? in
                guard let index = state.watchers.firstIndex(where: { $0.id == id }) else { return nil }
                return state.watchers.remove(at: index).resume
            }
            late?.resume()
        }
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state -> Bool in
                if isDone(state) || state.failure != nil { return true }
                state.watchers.append((id, isDone, continuation))
                return false
            }
            if isThere { continuation.resume() }
        }
        timeout.cancel()
        let (isThere, failure) = state.withLock { (isDone($0), $0.failure) }
        if let failure { throw CommandError(.checkFailed, failure) }
        guard isThere else { throw CommandError(.checkFailed, "waited \(patience) for \(what), in vain") }
    }

    private func say(_ text: String, _ colour: Int? = nil, took: Duration? = nil) {
        if json {
            var line = JSONLine(event: "step")
            line.add("message", text.trimmingCharacters(in: .whitespaces))
            if let took { line.add("seconds", took.inSeconds, digits: 3) }
            return Output.line(line)
        }
        let time = Output.coloured(String(format: "%7.2f s", (Timestamp.now() - start).inSeconds), Output.grey)
        let suffix = took.map { String(format: "  (%.3f s)", $0.inSeconds) } ?? ""
        Output.line("\(time)  \(StyledText(text, colour: colour))\(suffix)")
    }
}
