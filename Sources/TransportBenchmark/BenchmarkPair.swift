internal import Foundation
internal import TransportPluginAPI

/// Two ends in processes of their own, and the room server between them.
final class BenchmarkPair: Sendable {
    let a: Conversation
    let b: Conversation
    private let server: Locked<ChildProcess?>
    private let port: Int
    private let keyFile: URL?

    /// Starts the pair. `connections`: of each process, bare pairs only; their signals are passed on by this process.
    init(_ subject: BenchmarkRunner.Subject, connections: Int = 1) async throws {
        var common = ["--peer", subject.peer]
        if subject.isBare {
            (server, port, keyFile) = (Locked(nil), 0, nil)
            common += ["--bare", "--connections", "\(connections)"]
        } else {
            let file = FileManager.default.temporaryDirectory.appendingPathComponent(
                "room-bench-\(UUID().uuidString).key")
            let (child, url) = try await Self.startServer(port: 0, keyFile: file)
            (server, port, keyFile) = (Locked(child), URL(string: url)?.port ?? 0, file)
            common += ["--signaling", subject.signaling, "--server", url]
        }
        let first = try ChildProcess(name: "a", arguments: ["bench-peer", "--name", "a", "--as-host"] + common)
        a = Conversation(first)
        if !subject.isBare { _ = try await a.next("joined") }
        let second = try ChildProcess(name: "b", arguments: ["bench-peer", "--name", "b"] + common)
        b = Conversation(second)
        a.onSignal { second.send($0) }
        b.onSignal { first.send($0) }
    }

    private static func startServer(port: Int, keyFile: URL) async throws -> (ChildProcess, String) {
        let child = try ChildProcess(
            name: "server", arguments: ["serve", "--port", "\(port)", "--session-key-file", keyFile.path])
        let listening = try await Conversation(child).next("listening")
        guard let url = listening["url"] as? String else { throw BenchmarkError("the server named no URL") }
        return (child, url)
    }

    /// Kills the server with its state, starts it again after `seconds`, and returns how long it then took until both were back.
    func restartServer(downFor seconds: Double) async throws -> [Double] {
        guard let keyFile else { return [] }
        server.withLock { $0 }?.stop()
        try await Task.sleep(for: .milliseconds(Int(seconds * 1000)))
        let (child, _) = try await Self.startServer(port: port, keyFile: keyFile)
        let back = Timestamp.now().seconds
        server.withLock { $0 = child }
        var times: [Double] = []
        for end in [a, b] {
            var joined = 0.0
            // Lines of an earlier join may still be there.
            while joined < back - 0.05 { joined = try await end.next("joined")["t"] as? Double ?? 0 }
            times.append(max(0, joined - back))
        }
        return times
    }

    /// Seconds from both being in the room to the channel being open; nil for a bare pair.
    func waitUntilOpen() async throws -> Double {
        let opened = try await opening()
        let joined = opened.compactMap { $0["joinedAt"] as? Double }.max() ?? 0
        let open = opened.compactMap { $0["t"] as? Double }.max() ?? 0
        return open - joined
    }

    /// What both said when their channels were open.
    func opening() async throws -> [[String: any Sendable]] { [try await a.next("open"), try await b.next("open")] }

    func stop() {
        a.child.stop()
        b.child.stop()
        server.withLock { $0 }?.stop()
        if let keyFile { try? FileManager.default.removeItem(at: keyFile) }
    }
}

/// Requests to a child and its answers, one at a time.
final class Conversation: Sendable {
    private struct State {
        var lines: [[String: any Sendable]] = []
        var hasEnded = false
        var waiting: CheckedContinuation<Void, Never>?
        var signals: [JSONLine] = []
        var onSignal: (@Sendable (JSONLine) -> Void)?
    }

    let child: ChildProcess
    private let state = Locked(State())

    init(_ child: ChildProcess) {
        self.child = child
        Task { [state] in
            for await line in child.lines {
                if line["event"] as? String == "signal" { Self.pass(line, state) } else { Self.keep(line, state) }
            }
            let waiting = state.withLock { state -> CheckedContinuation<Void, Never>? in
                state.hasEnded = true
                defer { state.waiting = nil }
                return state.waiting
            }
            waiting?.resume()
        }
    }

    func onSignal(_ handler: @escaping @Sendable (JSONLine) -> Void) {
        let early = state.withLock { state in
            state.onSignal = handler
            defer { state.signals = [] }
            return state.signals
        }
        early.forEach(handler)
    }

    /// The next line with this event; others are skipped. Throws when the child ends or reports an error.
    func next(_ event: String) async throws -> [String: any Sendable] {
        while true {
            let (line, hasEnded) = state.withLock { state -> ([String: any Sendable]?, Bool) in
                (state.lines.isEmpty ? nil : state.lines.removeFirst(), state.hasEnded)
            }
            if let line {
                if line["event"] as? String == event { return line }
                continue
            }
            if hasEnded { throw BenchmarkError("the process '\(child.name)' ended before it said '\(event)'") }
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state -> Bool in
                    if !state.lines.isEmpty || state.hasEnded { return true }
                    state.waiting = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        }
    }

    /// A child that does not answer within `deadline` is ended, which is then the error.
    func ask(
        _ event: String, within deadline: Duration = .seconds(60), _ build: (inout JSONLine) -> Void
    ) async throws -> [String: any Sendable] {
        var line = JSONLine()
        build(&line)
        child.send(line)
        let alarm = Task { [child] in
            try await Task.sleep(for: deadline)
            child.stop()
        }
        defer { alarm.cancel() }
        return try await next(event)
    }

    private static func keep(_ line: [String: any Sendable], _ state: Locked<State>) {
        let waiting = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.lines.append(line)
            defer { state.waiting = nil }
            return state.waiting
        }
        waiting?.resume()
    }

    private static func pass(_ line: [String: any Sendable], _ state: Locked<State>) {
        var signal = JSONLine()
        signal.add("do", "signal")
        for key in ["index", "kind", "text", "mid", "ufrag"] { signal.add(key, line[key] as? String ?? "") }
        let copy = signal
        let handler = state.withLock { state in
            if state.onSignal == nil { state.signals.append(copy) }
            return state.onSignal
        }
        handler?(copy)
    }
}
