internal import ArgumentParser
internal import CommandLineIO
internal import Foundation
internal import RoomConnection
internal import TransportBenchmark
internal import TransportPluginAPI

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure backends side by side, each pair in separate processes.",
        discussion: """
            Scenarios: connect, rtt, request, throughput, small, send (as small, from a payload and from a span), \
            stream (a stream at full speed, and small messages beside it), signaling; and those that take minutes \
            for each backend: many (100 and 1,000 connections), reconnect (the server killed, back after 0.2, 2 \
            and 5 s), recovery (the server killed, the path silent, both). The backends are those of `room plugins`: \
            the configuration file's plugins are loaded here too, and its options reach the backends that it names.
            """)

    @OptionGroup var common: CommonOptions

    @Option(help: "Signaling backends, comma-separated. Default: all that can run here.") var signaling: String?
    @Option(help: "Peer backends, comma-separated. Default: all that can run here.") var peer: String?
    @Option(help: "Scenarios, comma-separated, or all. Default: those that do not take minutes.") var scenario: String?
    @Option(help: "Seconds of each measurement with a fixed duration.") var duration = 3.0
    @Option(help: "Rounds; the table shows medians.") var rounds = 3

    @OptionGroup var files: ResultOptions

    @Option(help: "The C reference's executable (make -C Benchmarks/reference), run in the same rounds.")
    var reference: String?

    @Flag(help: "Keep a core awake with a busy loop at the same time.") var busy = false

    func run() async throws {
        guard duration > 0, duration <= 600, (1...1000).contains(rounds), files.tolerance >= 0 else {
            throw CommandError(
                .usage, "--duration must be from 0 to 600 seconds, --rounds from 1 to 1000, --tolerance 0 or more")
        }
        let watches = SignalWatch.interrupting { ChildProcess.stopAll() }
        defer { for watch in watches { watch.cancel() } }
        do {
            // An unreadable baseline is reported before minutes of measuring.
            let baseline = try files.check.map(BenchmarkReport.init(contentsOf:))
            let results =
                if let from = files.from { try BenchmarkReport(contentsOf: from) } else { try await measure() }
            BenchTable.print(results)
            if let json = files.json { try write(results.json(), to: json) }
            if let report = files.report { try write(results.html(), to: report) }
            for failure in results.failures ?? [] { Output.printError("room: \(failure.subject): \(failure.reason)") }
            let isWorse = baseline.map { compare($0, results) } ?? false
            if isWorse || results.failures?.isEmpty == false { throw ExitStatus.checkFailed }
        } catch let error as BenchmarkError {
            throw CommandError(error.isUsage ? .usage : .checkFailed, error.description)
        } catch let error as ChildProcess.NotStarted {
            throw CommandError(.checkFailed, error.description)
        }
    }

    private func measure() async throws -> BenchmarkReport {
        let settings = try common.settings()
        let registry = try Backends.registry(plugins: settings.strings("plugins"))
        let scenarios = try BenchmarkRunner.Scenario.chosen(by: scenario)
        let signalings = try chosen(signaling, registry.signaling.map(\.descriptor), "signaling")
        let peers = try chosen(peer, registry.peer.map(\.descriptor), "peer")
        var subjects: [BenchmarkRunner.Subject] = []
        for peer in peers {
            subjects += signalings.map {
                .init(signaling: $0, peer: peer, canCutPath: Backends.faultable.contains(peer))
            }
            subjects.append(.init(signaling: "", peer: peer, isBare: true))
        }
        let runner = BenchmarkRunner(
            subjects: subjects, scenarios: scenarios, seconds: duration, rounds: rounds, reference: reference,
            childOptions: common.configFile.map { ["--config", $0] } ?? [], progress: { Output.printError("… \($0)") })
        return try await runner.report(besideBusyLoop: busy, version: RoomCommand.configuration.version)
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

    private func write(_ text: String, to file: String) throws {
        do {
            try text.write(toFile: file, atomically: true, encoding: .utf8)
        } catch {
            throw CommandError(.usage, "\(file) cannot be written: \(error.localizedDescription)")
        }
    }

    /// Prints the comparison of the run. Returns whether the check fails.
    private func compare(_ baseline: BenchmarkReport, _ results: BenchmarkReport) -> Bool {
        let comparison = BaselineComparison(baseline: baseline, current: results, tolerance: files.tolerance / 100)
        let name = files.check ?? ""
        func list(_ head: String, _ lines: [String], _ colour: Int? = nil) {
            guard !lines.isEmpty else { return }
            Output.line(StyledText(head, colour: colour))
            for line in lines { Output.line("  \(line)") }
        }
        Output.line("")
        list("The conditions of \(name) and this run differ:", comparison.differences, Output.yellow)
        list("Better than \(name):", comparison.better.map(\.text), Output.green)
        list("In \(name), but not run now:", comparison.notRun)
        list("Run now, but not in \(name):", comparison.unknown)
        list("Not compared, since a single round has no spread:", comparison.notJudged)
        list("In \(name), but not measured now:", comparison.missing, Output.red)
        list("Worse than \(name), beyond the spread of both:", comparison.worse.map(\.text), Output.red)
        let sum =
            "\(comparison.judged) figures compared with \(name): \(comparison.worse.count) worse, "
            + "\(comparison.better.count) better, \(comparison.missing.count) missing"
        Output.line(Output.coloured(sum, comparison.passes ? Output.green : Output.red))
        if comparison.judged == 0 { Output.printError("room: nothing in this run can be compared with \(name)") }
        return !comparison.passes
    }
}

/// The files with results that `room bench` writes, reads and compares.
struct ResultOptions: ParsableArguments {
    @Option(help: "Write the results to this file as JSON.") var json: String?
    @Option(help: "Write the results to this file as an HTML page, for any browser.") var report: String?

    @Option(
        help: """
            Compare with this file, which --json wrote: exit status 5 when a median is worse by more than both spreads \
            together and by more than --tolerance.
            """)
    var check: String?

    @Option(help: "For --check: changes below this percentage are ignored.") var tolerance = 5.0
    @Option(help: "Take the results from this file, which --json wrote, instead of measuring.") var from: String?
}
