internal import CommandLineIO
internal import TransportPluginAPI

extension BenchmarkRunner {
    /// Measures 100 and then 1,000 further connections in each process: the time to open each, one after the other, the
    /// memory, and the CPU time while idle. Stops earlier when the machine has no more resources.
    func measureManyConnections(_ subject: Subject, _ report: (String) -> Void) async throws -> [Measured] {
        let pair = try await BenchmarkPair(subject, options: childOptions)
        defer { pair.stop() }
        _ = try await pair.waitUntilOpen()
        let before = try await pair.both("usage") { $0.add("do", "usage") }
        var measured: [Measured] = []
        var opened = 0
        var seconds = 0.0
        var stoppedBy: String?
        for target in [100, 1000] where stoppedBy == nil {
            while opened < target, stoppedBy == nil {
                let goal = min(target, opened + 100)
                report("many: \(opened) of \(target) connections")
                let answer = try await pair.a.ask("opened", within: .seconds(300)) { line in
                    line.add("do", "open")
                    // The first one is there already.
                    line.add("count", goal + 1)
                }
                opened = Int(answer.number("count")) - 1
                seconds += answer.number("seconds")
                stoppedBy = answer["stoppedBy"] as? String
            }
            if let stoppedBy { report("many: no more than \(opened) connections: \(stoppedBy)") }
            guard opened > 0 else { break }
            report("many: \(opened) connections, idle")
            // Work that opening them left behind is not idling.
            try await Task.sleep(for: .seconds(2))
            let after = try await pair.both("usage") { $0.add("do", "usage") }
            let idle = try await pair.both("idled") { line in
                line.add("do", "idle")
                line.add("seconds", 10.0)
            }
            let growth = zip(before, after).map { $1.number("memory") - $0.number("memory") }
            measured.append(
                Measured(
                    "many, \(target) connections",
                    [
                        "connections": Double(opened), "each_ms": seconds * 1000 / Double(opened),
                        "memory_MB": (growth.max() ?? .nan) / 1e6,
                        "idle_percent": idle.map { $0.number("cpu_percent") }.max() ?? .nan,
                    ]))
        }
        return measured
    }
}
