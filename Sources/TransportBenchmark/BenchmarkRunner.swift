internal import CommandLineIO
internal import Foundation
internal import TransportPluginAPI

/// Runs scenarios over sets of backends, in interleaved rounds, each pair in separate processes. Beside them it runs
/// the C reference, so that ratios within one run are meaningful even on a noisy machine.
package struct BenchmarkRunner: Sendable {
    package struct Subject: Sendable, Hashable {
        package var signaling: String
        package var peer: String
        /// Whether to measure the peer transport alone, without a room.
        package var isBare = false
        /// Whether its paths can be cut from inside of the process, because it uses an ICE agent of ours.
        package var canCutPath = false

        package init(signaling: String, peer: String, isBare: Bool = false, canCutPath: Bool = false) {
            self.signaling = signaling
            self.peer = peer
            self.isBare = isBare
            self.canCutPath = canCutPath
        }

        package var name: String { isBare ? "\(peer) alone" : "\(signaling) + \(peer)" }
    }

    package enum Scenario: String, Sendable, CaseIterable {
        case connect, rtt, request, throughput, small, send, stream, signaling, many, reconnect, recovery

        /// Whether the scenario takes many minutes.
        package var isLong: Bool { [.many, .reconnect, .recovery].contains(self) }

        /// The scenarios of a comma-separated list, or `all` of them. Nil: those that do not take minutes.
        package static func chosen(by list: String?) throws(BenchmarkError) -> [Scenario] {
            guard let list else { return allCases.filter { !$0.isLong } }
            if list == "all" { return allCases }
            var chosen: [Scenario] = []
            for name in list.split(separator: ",") {
                guard let scenario = Scenario(rawValue: String(name)) else {
                    let all = allCases.map(\.rawValue).joined(separator: ", ")
                    throw BenchmarkError(
                        "there is no scenario '\(name)': write \(all), or all", isUsage: true)
                }
                chosen.append(scenario)
            }
            return chosen
        }
    }

    package var subjects: [Subject]
    package var scenarios: [Scenario]
    /// The seconds of each measurement that runs for a time.
    package var seconds: Double
    package var rounds: Int
    /// The executable of the C reference, which runs in the same rounds.
    package var reference: String?
    /// The options of every child: the configuration file, the plugins to load.
    package var childOptions: [String]
    package var progress: @Sendable (String) -> Void

    package init(
        subjects: [Subject], scenarios: [Scenario], seconds: Double, rounds: Int, reference: String? = nil,
        childOptions: [String] = [], progress: @escaping @Sendable (String) -> Void
    ) {
        self.subjects = subjects
        self.scenarios = scenarios
        self.seconds = seconds
        self.rounds = rounds
        self.reference = reference
        self.childOptions = childOptions
        self.progress = progress
    }

    /// Measures, on request beside a busy loop, and returns the report, with the version of the measured program.
    package func report(besideBusyLoop busy: Bool, version: String) async throws -> BenchmarkReport {
        let machine = BenchmarkReport.Machine.current(busyLoopBeside: busy)
        let began = Date().formatted(.iso8601)
        let spinner = busy ? BusyLoop() : nil
        defer { spinner?.stop() }
        let (results, failures) = try await run()
        return BenchmarkReport(
            machine: machine, run: .init(seconds: seconds, rounds: rounds, began: began, version: version),
            results: results, failures: failures.isEmpty ? nil : failures)
    }

    /// Returns what was measured, and the subjects that could not be: one that fails is left out of the rounds that
    /// follow.
    private func run() async throws -> (results: [BenchmarkReport.Result], failures: [BenchmarkReport.Failure]) {
        var results: [BenchmarkReport.Result] = []
        var failures: [BenchmarkReport.Failure] = []
        func record(_ subject: String, _ signaling: String, _ peer: String, _ measured: [Measured]) {
            for round in measured {
                let index =
                    results.firstIndex { $0.subject == subject && $0.scenario == round.scenario } ?? results.endIndex
                if index == results.endIndex {
                    results.append(
                        .init(subject: subject, signaling: signaling, peer: peer, scenario: round.scenario))
                }
                results[index].add(round)
            }
        }
        for round in 1...max(1, rounds) {
            func report(_ step: String) { progress("round \(round) of \(rounds): \(step)") }
            func attempt(_ subject: String, _ body: () async throws -> Void) async throws {
                guard !failures.contains(where: { $0.subject == subject }) else { return }
                func failed(_ reason: String) {
                    report("\(subject) failed: \(reason)")
                    failures.append(.init(subject: subject, reason: reason))
                }
                do {
                    try await body()
                } catch let error as BenchmarkError {
                    failed(error.description)
                } catch let error as ChildProcess.NotStarted {
                    failed(error.description)
                }
            }
            if scenarios.contains(.signaling) {
                let server = try await SignalingEcho()
                defer { server.stop() }
                if let reference, case let client = reference + "-websocket", access(client, X_OK) == 0 {
                    report("signaling: \(BenchmarkReport.reference)")
                    record(BenchmarkReport.reference, "", "", try await server.measure(client, ["\(seconds)"]))
                }
                for name in Set(subjects.map(\.signaling)).sorted() where !name.isEmpty {
                    for isOnLoop in [false, true] {
                        let subject = isOnLoop ? "\(name) on its loop" : name
                        try await attempt(subject) {
                            report("signaling: \(subject)")
                            record(subject, name, "", try await signaling(name, server, onLoop: isOnLoop))
                        }
                    }
                }
            }
            if let reference {
                report(BenchmarkReport.reference)
                record(BenchmarkReport.reference, "", "", try runReference(reference))
            }
            for subject in subjects {
                try await attempt(subject.name) {
                    try await run(subject, isFirst: round == 1) {
                        report("\(subject.name): \($0)")
                    } record: {
                        record(subject.name, subject.signaling, subject.peer, $0)
                    }
                }
            }
        }
        return (results, failures)
    }

    // MARK: One round of one subject

    private func run(
        _ subject: Subject, isFirst: Bool, _ report: (String) -> Void, record: ([Measured]) -> Void
    ) async throws {
        if scenarios.contains(.connect), !subject.isBare {
            report("connect")
            var samples: [Double] = []
            for _ in 0..<5 {
                let pair = try await BenchmarkPair(subject, options: childOptions)
                defer { pair.stop() }
                samples.append(try await pair.waitUntilOpen() * 1000)
            }
            samples.sort()
            record([
                Measured("connect", ["open_ms": samples[samples.count / 2], "max_ms": samples[samples.count - 1]])
            ])
        }
        // Takes minutes and has 20 samples of its own: once is enough.
        if scenarios.contains(.reconnect), !subject.isBare, isFirst {
            record(try await measureReconnects(subject, report))
        }
        if scenarios.contains(.recovery), !subject.isBare { record(try await measureRecovery(subject, report)) }
        if scenarios.contains(.many), subject.isBare { record(try await measureManyConnections(subject, report)) }
        guard !Set(scenarios).isDisjoint(with: [.rtt, .request, .throughput, .small, .send, .stream]) else { return }
        let pair = try await BenchmarkPair(subject, options: childOptions)
        defer { pair.stop() }
        _ = try await pair.waitUntilOpen()
        if scenarios.contains(.rtt) {
            for receiver in BenchmarkReceiver.allCases {
                report(receiver.scenario)
                record([try await roundTrips(pair, receiver)])
            }
        }
        if scenarios.contains(.request), !subject.isBare {
            for receiver in [BenchmarkReceiver.sequence, .loopSequence] {
                let name = receiver == .sequence ? "request" : "request on the loop"
                report(name)
                record([try await requests(pair, receiver, name)])
            }
        }
        if scenarios.contains(.throughput) {
            for size in [16_384, 65_536] {
                let name = "throughput \(size / 1024) KiB"
                report(name)
                record([Measured(name, try await flood(pair, size: size))])
            }
        }
        if scenarios.contains(.small) {
            report("small 64 B")
            record([Measured("small 64 B", try await flood(pair, size: 64))])
        }
        // An array is what `small` sends.
        if scenarios.contains(.send), !subject.isBare {
            for form in BenchmarkForm.allCases where form != .array || !scenarios.contains(.small) {
                let name = "small 64 B, \(form.rawValue)"
                report(name)
                record([Measured(name, try await flood(pair, size: 64, as: form))])
            }
        }
        if scenarios.contains(.stream), !subject.isBare {
            for pings in [false, true] {
                let name = pings ? "64 B beside a stream" : "stream"
                report(name)
                record([try await stream(pair, name, pings: pings)])
            }
        }
    }

    /// A stream at full speed: its rate, or the round trips of messages beside it.
    private func stream(_ pair: BenchmarkPair, _ name: String, pings: Bool) async throws -> Measured {
        _ = try await pair.b.ask("ok") { $0.add("do", "receiveStream") }
        let sent = try await pair.a.ask("streamed", within: .seconds(60 + seconds)) { line in
            line.add("do", "stream")
            line.add("seconds", seconds)
            line.add("count", pings ? 1 : 0)
        }
        let got = try await pair.b.ask("received") { $0.add("do", "received") }
        let bytes = got.number("bytes")
        var metrics: [String: Double] = [
            "MB_s": bytes / 1e6 / got.number("seconds"),
            "cpu_s_GB": (sent.number("cpu") + got.number("cpu")) / (bytes / 1e9),
            "process_MB": max(sent.number("memory"), got.number("memory")) / 1e6,
        ]
        let histogram = sent.histogram()
        for (name, value) in histogram?.metrics ?? [:] { metrics[name] = value }
        return Measured(name, metrics, histogram)
    }

    private func roundTrips(_ pair: BenchmarkPair, _ receiver: BenchmarkReceiver) async throws -> Measured {
        try await exchanges(pair, "roundTrips", answeredBy: "echo", receiver, receiver.scenario)
    }

    private func requests(
        _ pair: BenchmarkPair, _ receiver: BenchmarkReceiver, _ name: String
    ) async throws -> Measured {
        try await exchanges(pair, "requests", answeredBy: "answer", receiver, name)
    }

    /// Lets one end make 5,000 exchanges one after the other. `work`: what it is asked to do, and the event that it
    /// answers with.
    private func exchanges(
        _ pair: BenchmarkPair, _ work: String, answeredBy other: String, _ receiver: BenchmarkReceiver, _ name: String
    ) async throws -> Measured {
        _ = try await pair.b.ask("ok") { line in
            line.add("do", other)
            line.add("receiver", receiver.rawValue)
        }
        let before = try await pair.usage()
        let answer = try await pair.a.ask(work) { line in
            line.add("do", work)
            line.add("count", 5000)
            line.add("receiver", receiver.rawValue)
        }
        let after = try await pair.usage()
        guard let histogram = answer.histogram() else {
            throw BenchmarkError("a peer has measured nothing for \(work)")
        }
        var metrics = histogram.metrics
        metrics["cpu_us_msg"] = (after.cpu - before.cpu) * 1e6 / answer.number("messages")
        return Measured(name, metrics, histogram)
    }

    private func flood(
        _ pair: BenchmarkPair, size: Int, as form: BenchmarkForm = .array
    ) async throws -> [String: Double] {
        _ = try await pair.b.ask("ok") { $0.add("do", "count") }
        let sent = try await pair.a.ask("flooded", within: .seconds(60 + seconds)) { line in
            line.add("do", "flood")
            line.add("size", size)
            line.add("as", form.rawValue)
            line.add("seconds", seconds)
        }
        let got = try await pair.b.ask("counted") { $0.add("do", "counted") }
        let messages = got.number("messages")
        let bytes = got.number("bytes")
        let time = got.number("seconds")
        let cpu = sent.number("cpu") + got.number("cpu")
        return [
            "MB_s": bytes / 1e6 / time, "msg_s": messages / time, "cpu_s_GB": cpu / (bytes / 1e9),
            "cpu_us_msg": cpu * 1e6 / messages, "cpu_us_sender": sent.number("cpu") * 1e6 / messages,
            "lost": sent.number("messages") - messages,
            "process_MB": max(sent.number("memory"), got.number("memory")) / 1e6,
        ]
    }

    // MARK: The C reference

    private func runReference(_ path: String) throws -> [Measured] {
        var measured: [Measured] = []
        if scenarios.contains(.rtt) { measured.append(try reference(path, ["rtt"], "rtt")) }
        if scenarios.contains(.throughput) {
            for size in [16_384, 65_536] {
                measured.append(
                    try reference(path, ["throughput", "\(size)"], "throughput \(size / 1024) KiB"))
            }
        }
        if scenarios.contains(.small) { measured.append(try reference(path, ["small"], "small 64 B")) }
        return measured
    }

    private func reference(_ path: String, _ arguments: [String], _ scenario: String) throws -> Measured {
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
        // One object a line: the first is about the connection, the last about the scenario.
        guard let last = data.split(separator: 10).last, let line = ChildProcess.decode(last) else {
            throw BenchmarkError("the output of the C reference cannot be read")
        }
        let names = [
            "mb_per_s": "MB_s", "msg_per_s": "msg_s", "cpu_s_per_gb": "cpu_s_GB", "cpu_us_per_msg": "cpu_us_msg",
        ]
        let histogram = line.histogram()
        var metrics = histogram?.metrics ?? [:]
        for (name, metric) in names { metrics[metric] = line.number(name) }
        return Measured(scenario, metrics, histogram)
    }
}
