internal import CommandLineIO
internal import Foundation
internal import TransportPluginAPI

/// Two ends in separate processes, and the room server between them.
final class BenchmarkPair: Sendable {
    let a: Conversation
    let b: Conversation
    private let server: Locked<ChildProcess?>
    private let port: Int
    private let keyFile: URL?

    /// Starts the pair. This process passes on the signals of a bare pair.
    /// - Parameters:
    ///   - options: The options of every child, in addition to the subject's.
    ///   - canCutPath: Whether the ends support `cut` and `restore`.
    init(_ subject: BenchmarkRunner.Subject, options: [String], canCutPath: Bool = false) async throws {
        var common = ["--peer", subject.peer] + options
        if canCutPath { common.append("--fault-injection") }
        if subject.isBare {
            (server, port, keyFile) = (Locked(nil), 0, nil)
            common.append("--bare")
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

    /// Kills the server, which loses its state.
    func killServer() { server.withLock { $0 }?.stop() }

    /// Restarts the server at its address. Returns when it listens.
    func startServerAgain() async throws {
        guard let keyFile else { return }
        let (child, _) = try await Self.startServer(port: port, keyFile: keyFile)
        server.withLock { $0 = child }
    }

    /// Returns the time of each end from `back`, when the server listened again, until it was in the room.
    func rejoins(since back: Timestamp) async throws -> [Double] {
        var times: [Double] = []
        for end in [a, b] {
            var joined = 0.0
            // Lines of an earlier join may still be there.
            while joined < back.seconds - 0.05 { joined = try await end.next("joined")["t"] as? Double ?? 0 }
            times.append(max(0, joined - back.seconds))
        }
        return times
    }

    /// Returns the seconds from when both are in the room until the channel is open; nil for a bare pair.
    func waitUntilOpen() async throws -> Double {
        let opened = [try await a.next("open"), try await b.next("open")]
        let joined = opened.compactMap { $0["joinedAt"] as? Double }.max() ?? 0
        let open = opened.compactMap { $0["t"] as? Double }.max() ?? 0
        return open - joined
    }

    /// Returns the CPU time of both processes together in seconds, and the memory of the larger one in bytes.
    func usage() async throws -> (cpu: Double, memory: Double) {
        let usages = try await both("usage") { $0.add("do", "usage") }
        return (usages.reduce(0) { $0 + $1.number("cpu") }, usages.map { $0.number("memory") }.max() ?? .nan)
    }

    /// Returns the answers of both ends to a request at the same time.
    func both(
        _ event: String, within deadline: Duration = .seconds(60), _ build: (inout JSONLine) -> Void
    ) async throws -> [BenchmarkAnswer] {
        var line = JSONLine()
        build(&line)
        a.child.send(line)
        b.child.send(line)
        return [try await a.next(event, within: deadline), try await b.next(event, within: deadline)]
    }

    func stop() {
        a.child.stop()
        b.child.stop()
        server.withLock { $0 }?.stop()
        if let keyFile { try? FileManager.default.removeItem(at: keyFile) }
    }
}

/// A line that a child printed.
typealias BenchmarkAnswer = [String: any Sendable]

extension BenchmarkAnswer {
    /// Returns a number, or NaN when there is none.
    func number(_ key: String) -> Double { self[key] as? Double ?? .nan }

    /// Returns the histogram that `JSONLine.add(_:encoding:)` wrote under `histogram`.
    func histogram() -> LatencyHistogram? {
        guard let object = self["histogram"], let data = try? JSONSerialization.data(withJSONObject: object) else {
            return nil
        }
        return try? JSONDecoder().decode(LatencyHistogram.self, from: data)
    }
}

/// The requests to a child and its answers, one at a time.
final class Conversation: Sendable {
    private struct State {
        var lines: [BenchmarkAnswer] = []
        /// Whether a line has arrived since `next` looked.
        var hasNews = false
        var hasEnded = false
        /// The child's message when it failed.
        var failure: String?
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
                switch line["event"] as? String {
                case "signal": Self.pass(line, state)
                case "failed": state.withLock { $0.failure = line["reason"] as? String }
                default: Self.keep(line, state)
                }
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

    /// Returns the first unread line with this event. Throws when the child ends, or prints none within `deadline`;
    /// then the child is ended.
    func next(_ event: String, within deadline: Duration = .seconds(60)) async throws -> BenchmarkAnswer {
        let isLate = Locked(false)
        let alarm = Task { [child] in
            try await Task.sleep(for: deadline)
            isLate.withLock { $0 = true }
            child.stop()
        }
        defer { alarm.cancel() }
        while true {
            let (line, hasEnded) = state.withLock { state -> (BenchmarkAnswer?, Bool) in
                state.hasNews = false
                guard let index = state.lines.firstIndex(where: { $0["event"] as? String == event }) else {
                    return (nil, state.hasEnded)
                }
                return (state.lines.remove(at: index), false)
            }
            if let line { return line }
            if hasEnded {
                if let reason = state.withLock({ $0.failure }) { throw BenchmarkError(reason) }
                throw BenchmarkError(
                    "the process '\(child.name)' "
                        + (isLate.withLock { $0 }
                            ? "did not say '\(event)' within \(deadline)" : "ended before it said '\(event)'"))
            }
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state -> Bool in
                    if state.hasNews || state.hasEnded { return true }
                    state.waiting = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        }
    }

    /// Sends a request and returns its answer.
    func ask(
        _ event: String, within deadline: Duration = .seconds(60), _ build: (inout JSONLine) -> Void
    ) async throws -> BenchmarkAnswer {
        var line = JSONLine()
        build(&line)
        child.send(line)
        return try await next(event, within: deadline)
    }

    private static func keep(_ line: [String: any Sendable], _ state: Locked<State>) {
        let waiting = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.lines.append(line)
            state.hasNews = true
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
