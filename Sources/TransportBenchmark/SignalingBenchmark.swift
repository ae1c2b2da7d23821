package import CommandLineIO
internal import Foundation
package import TransportPluginAPI

/// The measurement of a signaling backend against an echo server: round trips one at a time, and messages with 100 in
/// flight.
package struct SignalingBenchmark: Sendable {
    package static let size = 64
    package static let inFlight = 100
    private static let warmUp = 1000

    private let url: String
    /// The seconds of each of the two measurements.
    private let seconds: Double

    package init(url: String, seconds: Double) {
        self.url = url
        self.seconds = seconds
    }

    /// - Parameter onLoop: Whether to measure in a task on the executor of the backend's connections. Returns nothing
    ///   if there is none.
    package func run(_ transport: some SignalingTransport, onLoop: Bool) async throws -> JSONLine {
        if onLoop, transport.preferredExecutor == nil { return JSONLine(event: "measured") }
        return try await withTaskExecutorPreference(onLoop ? transport.preferredExecutor : nil) {
            try await measure(transport)
        }
    }

    private func measure(_ transport: some SignalingTransport) async throws -> JSONLine {
        let connection = try await transport.connect(to: try SignalingEndpoint(url: url))
        let message = SignalingMessage.text(Payload(String(repeating: "x", count: Self.size)))
        for _ in 0..<Self.warmUp { try await exchange(message, connection) }

        var histogram = LatencyHistogram()
        let end = Timestamp.now() + .seconds(seconds)
        while case let start = Timestamp.now(), start < end {
            try await exchange(message, connection)
            histogram.record(nanoseconds: (Timestamp.now() - start).saturatedNanoseconds)
        }

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
        try line.add("histogram", encoding: histogram)
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

/// The echo server of the scenario `signaling`, in a separate process.
final class SignalingEcho: Sendable {
    let url: String
    private let server: ChildProcess

    init() async throws {
        server = try ChildProcess(name: "echo", arguments: ["bench-signaling", "--serve"])
        url = "ws://127.0.0.1:\(Int(try await Conversation(server).next("listening").number("port")))/"
    }

    func stop() { server.stop() }

    /// Returns the measurements of the C client.
    func measure(_ client: String, _ options: [String]) async throws -> [Measured] {
        let child = try ChildProcess(name: client, arguments: [url] + options, executable: client)
        defer { child.stop() }
        var lines = child.lines.makeAsyncIterator()
        guard let answer = await lines.next() else { throw BenchmarkError("\(client) measured nothing") }
        return try measured(answer)
    }

    fileprivate func measured(_ answer: BenchmarkAnswer) throws -> [Measured] {
        guard let histogram = answer.histogram() else { throw BenchmarkError("no round trips were measured") }
        let rate = ["msg_s": answer.number("msg_s"), "cpu_us_msg": answer.number("cpu_us_msg")]
        return [
            Measured("signaling rtt", histogram.metrics, histogram),
            Measured("signaling \(SignalingBenchmark.inFlight) in flight", rate),
        ]
    }
}

extension BenchmarkRunner {
    /// Measures a signaling backend against the echo server, in a separate process: from a task in the pool, or from
    /// one that prefers the backend's executor. Returns nothing when it has none.
    func signaling(_ name: String, _ server: SignalingEcho, onLoop: Bool) async throws -> [Measured] {
        let arguments = ["bench-signaling", "--signaling", name, "--url", server.url, "--seconds", "\(seconds)"]
        let child = try ChildProcess(
            name: name, arguments: arguments + childOptions + (onLoop ? ["--on-loop"] : []))
        defer { child.stop() }
        let answer = try await Conversation(child).next("measured", within: .seconds(60 + 2 * seconds))
        return onLoop && answer.number("hasExecutor") != 1 ? [] : try server.measured(answer)
    }
}
