internal import Foundation
internal import TransportPluginAPI

/// Runs scenarios over sets of backends, round by round and interleaved, each pair in processes of its own, and beside them the
/// C reference, so that ratios within one run say something even on a noisy machine.
package struct BenchmarkRunner: Sendable {
    package struct Subject: Sendable, Hashable {
        package var signaling: String
        package var peer: String
        /// The peer transport alone, without a room.
        package var isBare = false

        package init(signaling: String, peer: String, isBare: Bool = false) {
            self.signaling = signaling
            self.peer = peer
            self.isBare = isBare
        }

        package var name: String { isBare ? "\(peer) alone" : "\(signaling) + \(peer)" }
    }

    package enum Scenario: String, Sendable, CaseIterable {
        case connect, rtt, throughput, small, reconnect, many, signaling
    }

    package var subjects: [Subject]
    package var scenarios: [Scenario]
    /// Of each measurement that runs for a time.
    package var seconds: Double
    package var rounds: Int
    /// The C reference's executable, run in the same rounds.
    package var reference: String?
    package var progress: @Sendable (String) -> Void

    package init(
        subjects: [Subject], scenarios: [Scenario], seconds: Double, rounds: Int, reference: String?,
        progress: @escaping @Sendable (String) -> Void
    ) {
        self.subjects = subjects
        self.scenarios = scenarios
        self.seconds = seconds
        self.rounds = rounds
        self.reference = reference
        self.progress = progress
    }

    /// One measurement: what, of whom, and the values of its rounds by metric.
    package struct Result: Sendable {
        package var subject: String
        package var signaling: String
        package var peer: String
        package var scenario: String
        package var metrics: [String: [Double]]

        /// The median over the rounds.
        package func median(_ metric: String) -> Double? {
            guard let values = metrics[metric]?.filter(\.isFinite).sorted(), !values.isEmpty else { return nil }
            return values[values.count / 2]
        }

        package func spread(_ metric: String) -> (Double, Double)? {
            guard let values = metrics[metric]?.filter(\.isFinite), let low = values.min(), let high = values.max()
            else { return nil }
            return (low, high)
        }
    }

    package func run() async throws -> [Result] {
        var results: [String: Result] = [:]
        var order: [String] = []
        func record(
            _ subject: String, _ signaling: String, _ peer: String, _ scenario: String, _ values: [String: Double]
        ) {
            let key = subject + "|" + scenario
            if results[key] == nil {
                order.append(key)
                results[key] = Result(
                    subject: subject, signaling: signaling, peer: peer, scenario: scenario, metrics: [:])
            }
            for (metric, value) in values { results[key]?.metrics[metric, default: []].append(value) }
        }
        for round in 1...max(1, rounds) {
            if scenarios.contains(.signaling) {
                for (subject, scenario, values) in try await signaling() {
                    record(subject, subject == "C reference" ? "" : subject, "", scenario, values)
                }
            }
            if let reference {
                progress("round \(round) of \(rounds): C reference")
                for (scenario, values) in try runReference(reference) {
                    record("C reference", "", "", scenario, values)
                }
            }
            for subject in subjects {
                progress("round \(round) of \(rounds): \(subject.name)")
                for (scenario, values) in try await run(subject, round: round) {
                    record(subject.name, subject.signaling, subject.peer, scenario, values)
                }
            }
        }
        return order.compactMap { results[$0] }
    }

    // MARK: One round of one subject

    private func run(_ subject: Subject, round: Int) async throws -> [(String, [String: Double])] {
        var measured: [(String, [String: Double])] = []
        if scenarios.contains(.connect), !subject.isBare {
            var samples: [Double] = []
            for _ in 0..<5 {
                let pair = try await BenchmarkPair(subject)
                defer { pair.stop() }
                samples.append(try await pair.waitUntilOpen() * 1000)
            }
            samples.sort()
            measured.append(("connect", ["open_ms": samples[samples.count / 2], "max_ms": samples[samples.count - 1]]))
        }
        // Minutes long, with 20 samples of its own: once is enough.
        if scenarios.contains(.reconnect), !subject.isBare, round == 1 { measured += try await reconnect(subject) }
        if scenarios.contains(.many), subject.isBare { measured.append(("many", try await many(subject))) }
        guard !Set(scenarios).isDisjoint(with: [.rtt, .throughput, .small]) else { return measured }
        let pair = try await BenchmarkPair(subject)
        defer { pair.stop() }
        _ = try await pair.waitUntilOpen()
        if scenarios.contains(.rtt) {
            for receiver in BenchmarkReceiver.allCases {
                measured.append((receiver.scenario, try await roundTrips(pair, receiver)))
            }
        }
        if scenarios.contains(.throughput) {
            for size in [16_384, 65_536] {
                measured.append(("throughput \(size / 1024) KiB", try await flood(pair, size: size)))
            }
        }
        if scenarios.contains(.small) { measured.append(("small 64 B", try await flood(pair, size: 64))) }
        return measured
    }

    /// The server is killed and comes back after a while, its state lost: from its listening to being in the room again.
    private func reconnect(_ subject: Subject) async throws -> [(String, [String: Double])] {
        let pair = try await BenchmarkPair(subject)
        defer { pair.stop() }
        _ = try await pair.waitUntilOpen()
        var measured: [(String, [String: Double])] = []
        for seconds in [0.2, 2, 5] {
            var times: [Double] = []
            while times.count < 20 {
                // Each outage is one of its own: the backoff begins anew after a connection that held for 5 s.
                try await Task.sleep(for: .milliseconds(5500))
                times += try await pair.restartServer(downFor: seconds)
            }
            times.sort()
            measured.append(
                (
                    "reconnect, down \(seconds) s",
                    ["rejoin_ms": times[times.count / 2] * 1000, "rejoin_max_ms": times[times.count - 1] * 1000]
                ))
        }
        return measured
    }

    /// 100 connections in each process: what each of them costs, and what doing nothing costs.
    private func many(_ subject: Subject) async throws -> [String: Double] {
        let pair = try await BenchmarkPair(subject, connections: 101)
        defer { pair.stop() }
        let opened = try await pair.opening()
        let growth = opened.map { ($0["memory"] as? Double ?? .nan) - ($0["memoryOfOne"] as? Double ?? .nan) }
        try await Task.sleep(for: .seconds(2))
        let idled = try await pair.a.ask("idled") { line in
            line.add("do", "idle")
            line.add("seconds", 10.0)
        }
        return ["memory_MB": (growth.max() ?? .nan) / 1e6, "idle_percent": idled["cpu_percent"] as? Double ?? .nan]
    }

    private func roundTrips(_ pair: BenchmarkPair, _ receiver: BenchmarkReceiver) async throws -> [String: Double] {
        _ = try await pair.b.ask("ok") { line in
            line.add("do", "echo")
            line.add("receiver", receiver.rawValue)
        }
        let answer = try await pair.a.ask("roundTrips") { line in
            line.add("do", "roundTrips")
            line.add("count", 5000)
            line.add("receiver", receiver.rawValue)
        }
        return answer.compactMapValues { $0 as? Double }.filter { $0.key.hasSuffix("_us") }
    }

    private func flood(_ pair: BenchmarkPair, size: Int) async throws -> [String: Double] {
        _ = try await pair.b.ask("ok") { $0.add("do", "count") }
        let sent = try await pair.a.ask("flooded", within: .seconds(60 + seconds)) { line in
            line.add("do", "flood")
            line.add("size", size)
            line.add("seconds", seconds)
        }
        let got = try await pair.b.ask("counted") { $0.add("do", "counted") }
        func value(_ answer: [String: any Sendable], _ key: String) -> Double { answer[key] as? Double ?? .nan }
        let messages = value(got, "messages")
        let bytes = value(got, "bytes")
        let time = value(got, "seconds")
        let cpu = value(sent, "cpu") + value(got, "cpu")
        var metrics = [
            "MB_s": bytes / 1e6 / time, "msg_s": messages / time, "cpu_s_GB": cpu / (bytes / 1e9),
            "cpu_us_msg": cpu * 1e6 / messages, "lost": value(sent, "messages") - messages,
        ]
        metrics["cpu_us_sender"] = value(sent, "cpu") * 1e6 / messages
        return metrics
    }

    // MARK: The C reference

    private func runReference(_ path: String) throws -> [(String, [String: Double])] {
        var measured: [(String, [String: Double])] = []
        if scenarios.contains(.rtt) {
            let line = try reference(path, ["rtt"])
            measured.append(("rtt", ["p50_us": line["p50_us"] ?? .nan, "p99_us": line["p99_us"] ?? .nan]))
        }
        if scenarios.contains(.throughput) {
            for size in [16_384, 65_536] {
                let line = try reference(path, ["throughput", "\(size)"])
                measured.append(("throughput \(size / 1024) KiB", line))
            }
        }
        if scenarios.contains(.small) { measured.append(("small 64 B", try reference(path, ["small"]))) }
        return measured
    }

    private func reference(_ path: String, _ arguments: [String]) throws -> [String: Double] {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = ["--json", "--seconds", "\(seconds)"] + arguments
        process.standardOutput = output
        do { try process.run() } catch {
            throw BenchmarkError("cannot run the C reference at \(path): build it with make -C Benchmarks/reference")
        }
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        // One object a line; the first tells of the connection, the last of the scenario.
        guard let last = data.split(separator: 10).last,
            let object = try? JSONSerialization.jsonObject(with: Data(last)) as? [String: Any]
        else { throw BenchmarkError("the C reference said nothing that can be read") }
        let names = [
            "mb_per_s": "MB_s", "msg_per_s": "msg_s", "cpu_s_per_gb": "cpu_s_GB", "cpu_us_per_msg": "cpu_us_msg",
            "p50_us": "p50_us", "p99_us": "p99_us",
        ]
        var metrics: [String: Double] = [:]
        for (name, value) in object {
            if let metric = names[name], let number = value as? NSNumber { metrics[metric] = number.doubleValue }
        }
        return metrics
    }
}
