internal import ArgumentParser
internal import Foundation
internal import RoomConnection
internal import TransportBenchmark
internal import TransportPluginAPI

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure backends side by side, each pair in processes of its own.")

    @OptionGroup var common: CommonOptions

    @Option(help: "Signaling backends, comma-separated. Default: all that can run here.")
    var signaling: String?

    @Option(help: "Peer backends, comma-separated. Default: all that can run here.")
    var peer: String?

    @Option(help: "connect, rtt, throughput, small, reconnect, many, signaling; comma-separated. Default: all.")
    var scenario: String?

    @Option(help: "Seconds of each measurement that runs for a time.")
    var duration = 3.0

    @Option(help: "Rounds; the table shows medians.")
    var rounds = 3

    @Option(help: "Write the results to this file as JSON.")
    var json: String?

    @Option(help: "The C reference's executable (make -C Benchmarks/reference), run in the same rounds.")
    var reference: String?

    @Flag(help: "Keep a core awake with a busy loop beside.")
    var busy = false

    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        let registry = try Backends.registry()
        let scenarios = try chosenScenarios()
        let signalings = try chosen(signaling, registry.signaling.map(\.descriptor), "signaling")
        let peers = try chosen(peer, registry.peer.map(\.descriptor), "peer")
        var subjects: [BenchmarkRunner.Subject] = []
        for peer in peers {
            subjects += signalings.map { .init(signaling: $0, peer: peer) }
            subjects.append(.init(signaling: "", peer: peer, isBare: true))
        }
        guard duration > 0, duration <= 600, (1...1000).contains(rounds) else {
            throw CommandError(.usage, "--duration is from 0 to 600 seconds, --rounds from 1 to 1000")
        }
        let runner = BenchmarkRunner(
            subjects: subjects, scenarios: scenarios, seconds: duration, rounds: rounds, reference: reference,
            progress: { Output.complain("… \($0)") })
        let spinner = busy ? BusyLoop() : nil
        defer { spinner?.stop() }
        let results: [BenchmarkRunner.Result]
        do {
            results = try await runner.run()
        } catch let error as BenchmarkError {
            throw CommandError(.checkFailed, error.description)
        }
        printTable(results)
        if let json { try report(results).finished.write(toFile: json, atomically: true, encoding: .utf8) }
    }

    private func chosenScenarios() throws -> [BenchmarkRunner.Scenario] {
        guard let scenario else { return BenchmarkRunner.Scenario.allCases }
        return try scenario.split(separator: ",").map { name in
            guard let scenario = BenchmarkRunner.Scenario(rawValue: String(name)) else {
                let all = BenchmarkRunner.Scenario.allCases.map(\.rawValue).joined(separator: ", ")
                throw CommandError(.usage, "there is no scenario '\(name)': there is \(all)")
            }
            return scenario
        }
    }

    private func chosen(_ names: String?, _ known: [PluginDescriptor], _ kind: String) throws -> [String] {
        guard let names else { return known.filter { $0.unavailability() == nil }.map(\.name) }
        return try names.split(separator: ",").map { name in
            guard let descriptor = known.first(where: { $0.name == name }) else {
                throw CommandError(
                    .usage,
                    "no \(kind) backend is called '\(name)': there is \(known.map(\.name).joined(separator: ", "))")
            }
            if let reason = descriptor.unavailability() { throw CommandError(.unavailable, "'\(name)': \(reason)") }
            return descriptor.name
        }
    }

    // MARK: Results

    private func printTable(_ results: [BenchmarkRunner.Result]) {
        let columns = [
            ("open_ms", "open ms"), ("rejoin_ms", "back ms"), ("rejoin_max_ms", "worst ms"),
            ("memory_MB", "MB per 100"), ("idle_percent", "idle % of core"), ("p50_us", "p50 µs"), ("p99_us", "p99 µs"),
            ("MB_s", "MB/s"),
            ("cpu_s_GB", "CPU s/GB"), ("msg_s", "msg/s"), ("cpu_us_msg", "CPU µs/msg"), ("lost", "lost"),
        ]
        let scenarios = results.reduce(into: [String]()) { if !$0.contains($1.scenario) { $0.append($1.scenario) } }
        for scenario in scenarios {
            let rows = results.filter { $0.scenario == scenario }
            let used = columns.filter { column in rows.contains { $0.median(column.0) != nil } }
            let reference = rows.first { $0.subject == "C reference" }
            Output.line("")
            var header = pad(scenario, 34)
            for column in used { header += pad(column.1, 22, left: true) }
            Output.line(Output.coloured(header, Output.bold))
            for row in rows {
                var line = pad("  " + row.subject, 34)
                for column in used { line += pad(cell(row, column.0, reference), 22, left: true) }
                Output.line(line)
            }
        }
        Output.line("")
        Output.line("Medians of \(rounds) rounds; × is the ratio to the C reference of the same run.")
    }

    private func cell(
        _ row: BenchmarkRunner.Result, _ metric: String, _ reference: BenchmarkRunner.Result?
    ) -> String {
        guard let value = row.median(metric) else { return "" }
        let digits = value >= 1000 ? 0 : value >= 100 ? 1 : 2
        var text = String(format: "%.\(digits)f", value)
        if let base = reference?.median(metric), base > 0, row.subject != reference?.subject, metric != "lost" {
            text += String(format: " (×%.2f)", value / base)
        }
        return text
    }

    private func pad(_ text: String, _ width: Int, left: Bool = false) -> String {
        let blanks = String(repeating: " ", count: max(1, width - text.count))
        return left ? blanks + text : text + blanks
    }

    private func report(_ results: [BenchmarkRunner.Result]) -> JSONLine {
        var machine = JSONLine()
        machine.add("cores", ProcessInfo.processInfo.activeProcessorCount)
        machine.add("memory", UInt64(ProcessInfo.processInfo.physicalMemory))
        machine.add("system", ProcessInfo.processInfo.operatingSystemVersionString)
        machine.add("busyLoopBeside", busy)
        #if DEBUG
            machine.add("build", "debug")
        #else
            machine.add("build", "release")
        #endif
        var report = JSONLine()
        report.add("machine", machine)
        report.add(
            "results",
            results.map { result in
                var metrics = JSONLine()
                for metric in result.metrics.keys.sorted() {
                    metrics.add(metric, result.median(metric) ?? .nan, digits: 3)
                }
                let count = result.metrics.values.map(\.count).max() ?? 0
                let rounds = (0..<count).map { round in
                    var line = JSONLine()
                    for (metric, values) in result.metrics.sorted(by: { $0.key < $1.key }) where round < values.count {
                        line.add(metric, values[round], digits: 3)
                    }
                    return line
                }
                var line = JSONLine()
                line.add("subject", result.subject)
                line.add("signaling", result.signaling)
                line.add("peer", result.peer)
                line.add("scenario", result.scenario)
                line.add("metrics", metrics)
                line.add("rounds", rounds)
                return line
            })
        return report
    }
}

/// A thread that does nothing, eagerly, at the lowest priority: a core that never sleeps.
private final class BusyLoop: Sendable {
    private let isStopped = Locked(false)

    init() {
        let thread = Thread { [isStopped] in
            nice(19)
            var turns: UInt64 = 0
            while true {
                turns &+= 1
                if turns & 0xFFFFF == 0, isStopped.withLock({ $0 }) { return }
            }
        }
        thread.start()
    }

    func stop() { isStopped.withLock { $0 = true } }
}
