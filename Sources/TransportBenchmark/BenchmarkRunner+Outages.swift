internal import CommandLineIO
internal import TransportPluginAPI

extension BenchmarkRunner {
    /// The parts that fail in an outage, and for how long.
    private struct Outage {
        var name: String
        var seconds: Double
        var path = false
        var server = false
    }

    /// Measures the return of a server that was killed and lost its state: from when it listens until a participant is
    /// in the room again.
    func measureReconnects(_ subject: Subject, _ report: (String) -> Void) async throws -> [Measured] {
        let pair = try await BenchmarkPair(subject, options: childOptions)
        defer { pair.stop() }
        _ = try await pair.waitUntilOpen()
        var measured: [Measured] = []
        for seconds in [0.2, 2, 5] {
            report("reconnect, down \(seconds) s, 10 times")
            var times: [Double] = []
            while times.count < 20 {
                // Each outage is independent: the backoff starts anew after a connection that held for 5 s.
                try await Task.sleep(for: .milliseconds(5500))
                pair.killServer()
                try await Task.sleep(for: .milliseconds(Int(seconds * 1000)))
                try await pair.startServerAgain()
                times += try await pair.rejoins(since: .now())
            }
            let scenario = "reconnect, down \(seconds) s"
            measured += times.map { Measured(scenario, ["rejoin_ms": $0 * 1000]) }
            measured.append(Measured(scenario, ["rejoin_max_ms": (times.max() ?? .nan) * 1000]))
        }
        return measured
    }

    /// Measures outages under a conversation of numbered messages in both directions: the time from the end of the
    /// outage until data arrives in both directions and both are back in the room, and whether each message arrived
    /// once. The path is cut inside of the processes, in their ICE agents, so that no privilege is needed. Where it
    /// cannot be cut, only the server goes away.
    func measureRecovery(_ subject: Subject, _ report: (String) -> Void) async throws -> [Measured] {
        var outages = [Outage(name: "recovery, server down 2 s", seconds: 2, server: true)]
        if subject.canCutPath {
            outages.insert(Outage(name: "recovery, path silent 3 s", seconds: 3, path: true), at: 0)
            outages.append(Outage(name: "recovery, path and server away 3 s", seconds: 3, path: true, server: true))
        } else {
            report("recovery: \(subject.peer) has no ICE agent whose path can be cut: only the server is taken down")
        }
        let pair = try await BenchmarkPair(subject, options: childOptions, canCutPath: subject.canCutPath)
        defer { pair.stop() }
        _ = try await pair.waitUntilOpen()
        var measured: [Measured] = []
        for outage in outages {
            report("\(outage.name), 3 times")
            _ = try await pair.both("ok") { $0.add("do", "talk") }
            for _ in 0..<3 {
                // Each outage is independent: the backoff starts anew after a connection that held for 5 s.
                try await Task.sleep(for: outage.server ? .milliseconds(5500) : .seconds(1))
                measured.append(Measured(outage.name, try await measure(outage, pair)))
            }
            let sent = try await pair.both("talked") { $0.add("do", "stopTalking") }.map { $0.number("sent") }
            let books = [
                try await pair.a.ask("losses") { line in
                    line.add("do", "losses")
                    line.add("count", Int(sent[1]))
                },
                try await pair.b.ask("losses") { line in
                    line.add("do", "losses")
                    line.add("count", Int(sent[0]))
                },
            ]
            measured.append(
                Measured(
                    outage.name,
                    [
                        "lost": books[0].number("lost") + books[1].number("lost"),
                        "duplicated": books[0].number("duplicated") + books[1].number("duplicated"),
                    ]))
        }
        return measured
    }

    private func measure(_ outage: Outage, _ pair: BenchmarkPair) async throws -> [String: Double] {
        // On a path that stays up, the longest silence counts from before the outage; on a cut one, first data after
        // it.
        if !outage.path { _ = try await pair.both("ok") { $0.add("do", "arm") } }
        if outage.path { _ = try await pair.both("ok") { $0.add("do", "cut") } }
        if outage.server { pair.killServer() }
        try await Task.sleep(for: .milliseconds(Int(outage.seconds * 1000)))
        if outage.path { _ = try await pair.both("ok") { $0.add("do", "arm") } }
        if outage.server { try await pair.startServerAgain() }
        let end = Timestamp.now()
        var metrics: [String: Double] = [:]
        if outage.path { _ = try await pair.both("ok") { $0.add("do", "restore") } }
        if outage.server { metrics["rejoin_ms"] = (try await pair.rejoins(since: end).max() ?? .nan) * 1000 }
        if outage.path {
            let arrivals = try await pair.both("first") { $0.add("do", "first") }.map { $0.number("at") }
            metrics["data_ms"] = ((arrivals.max() ?? .nan) - end.seconds) * 1000
        }
        // The effect of the server's return on the path comes after it.
        try await Task.sleep(for: .seconds(1))
        let silences = try await pair.both("silence") { $0.add("do", "silence") }.map { $0.number("seconds") }
        metrics["gap_ms"] = (silences.max() ?? .nan) * 1000
        return metrics
    }
}
