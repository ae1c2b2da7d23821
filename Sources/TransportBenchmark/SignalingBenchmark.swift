internal import Foundation
package import TransportPluginAPI

/// A signaling backend against an echo server: round trips one at a time, and messages with 100 in flight.
package struct SignalingBenchmark: Sendable {
    package static let size = 64
    package static let inFlight = 100
    private static let warmUp = 1000

    private let url: String
    /// Of each of the two measurements.
    private let seconds: Double

    package init(url: String, seconds: Double) {
        self.url = url
        self.seconds = seconds
    }

    /// - Parameter onLoop: measure in a task that runs where the backend's connections live, if it has such a place.
    package func run(_ transport: some SignalingTransport, onLoop: Bool) async throws -> JSONLine {
        try await withTaskExecutorPreference(onLoop ? transport.preferredExecutor : nil) {
            try await measure(transport)
        }
    }

    private func measure(_ transport: some SignalingTransport) async throws -> JSONLine {
        let connection = try await transport.connect(to: try SignalingEndpoint(url: url))
        let message = SignalingMessage.text(Payload(String(repeating: "x", count: Self.size)))
        for _ in 0..<Self.warmUp { try await exchange(message, connection) }

        var samples: [Int64] = []
        let end = Timestamp.now() + .seconds(seconds)
        while case let start = Timestamp.now(), start < end {
            try await exchange(message, connection)
            samples.append((Timestamp.now() - start).saturatedNanoseconds)
        }
        samples.sort()

        for _ in 0..<Self.inFlight { try await connection.send(message) }
        var count = 0
        let start = Timestamp.now()
        let cpu = processorTime()
        let limit = start + .seconds(seconds)
        while Timestamp.now() < limit {
            for _ in 0..<Self.inFlight {
                guard try await connection.receive() != nil else { throw BenchmarkError("the echo server closed") }
                try await connection.send(message)
            }
            count += Self.inFlight
        }
        let elapsed = (Timestamp.now() - start).inSeconds
        let used = processorTime() - cpu
        await connection.close(.normal, within: .seconds(1))

        var line = JSONLine(event: "measured")
        line.add("hasExecutor", transport.preferredExecutor != nil)
        line.add("p50_us", Double(samples[samples.count / 2]) / 1000)
        line.add("p99_us", Double(samples[samples.count * 99 / 100]) / 1000)
        line.add("msg_s", Double(count) / elapsed)
        line.add("cpu_us_msg", used * 1e6 / Double(count))
        return line
    }

    private func exchange(_ message: SignalingMessage, _ connection: some SignalingConnection) async throws {
        try await connection.send(message)
        guard try await connection.receive() != nil else { throw BenchmarkError("the echo server closed") }
    }

    private func processorTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

extension BenchmarkRunner {
    /// The signaling backends one after the other against one server, each in a process of its own; before them libwebsockets' own
    /// client in C, where its executable lies beside the reference's. A backend with an executor of its own is measured twice: from
    /// a task in the pool, and from one that prefers that executor.
    func signaling() async throws -> [(subject: String, scenario: String, [String: Double])] {
        let server = try ChildProcess(name: "echo", arguments: ["bench-signaling", "--serve"])
        defer { server.stop() }
        var lines = server.lines.makeAsyncIterator()
        guard let port = await lines.next()?["port"] as? Double else { throw BenchmarkError("no echo server started") }
        let url = "ws://127.0.0.1:\(Int(port))/"
        var measured: [(String, String, [String: Double])] = []
        func note(_ subject: String, _ child: ChildProcess) async throws -> [String: Double] {
            defer { child.stop() }
            var lines = child.lines.makeAsyncIterator()
            guard let answer = await lines.next()?.compactMapValues({ $0 as? Double }), answer["msg_s"] != nil else {
                throw BenchmarkError("\(subject) measured nothing in the scenario signaling")
            }
            measured.append((subject, "signaling rtt", answer.filter { $0.key.hasSuffix("_us") }))
            measured.append(
                (
                    subject, "signaling \(SignalingBenchmark.inFlight) in flight",
                    answer.filter { $0.key.contains("msg") }
                ))
            return answer
        }
        if let reference, case let client = reference + "-websocket", access(client, X_OK) == 0 {
            progress("signaling: libwebsockets in C")
            _ = try await note(
                "C reference", ChildProcess(name: client, arguments: [url, "\(seconds)"], executable: client))
        }
        var seen: Set<String> = []
        for name in subjects.map(\.signaling) where !name.isEmpty && seen.insert(name).inserted {
            progress("signaling: \(name)")
            let arguments = ["bench-signaling", "--signaling", name, "--url", url, "--seconds", "\(seconds)"]
            let answer = try await note(name, ChildProcess(name: name, arguments: arguments))
            guard answer["hasExecutor"] == 1 else { continue }
            _ = try await note("\(name) on its loop", ChildProcess(name: name, arguments: arguments + ["--on-loop"]))
        }
        return measured
    }
}
