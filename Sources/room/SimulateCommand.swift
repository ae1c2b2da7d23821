internal import ArgumentParser
internal import CommandLineIO
internal import Foundation
internal import RoomSimulation
internal import TransportPluginAPI

struct SimulateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Run rooms with all their faults in virtual time, and look for what must not be.",
        discussion: """
            Each seed is a run of its own: several participants, a room server, and a network between them that fails \
            in all ways. The same seed makes the same run. Exits with 5 at the first violation, with its seed and what \
            led to it.
            """)

    @OptionGroup var common: CommonOptions

    @Option(help: "The first seed.")
    var seed: UInt64 = 1

    @Option(help: "How many seeds from there on.")
    var runs: UInt64 = 1

    @Option(help: "Runs side by side. Default: one for each processor.")
    var jobs = ProcessInfo.processInfo.activeProcessorCount

    @Option(
        name: .customLong("report"),
        help: """
            Write the result into this file as JSON, and what there is of it every ten seconds: an interrupted run \
            leaves it behind, with the seed to go on from.
            """)
    var reportFile: String?

    @Flag(help: "Print everything that happens (without it: the last lines before a violation).")
    var trace = false

    @Flag(help: "One JSON object a line.")
    var json = false

    func run() async throws {
        guard runs > 0, seed.addingReportingOverflow(runs).overflow == false, (1...1024).contains(jobs) else {
            throw CommandError(.usage, "--runs and --jobs are 1 or more, --jobs at most 1024")
        }
        let start = Timestamp.now()
        let search = Locked(Search(next: seed, end: seed + runs))
        let isTracing = trace && runs == 1
        if isTracing { replay(seed, lines: .max) }
        let record = Record(file: reportFile, seed: seed, runs: runs, jobs: jobs)
        try record.write(Search(next: seed, end: seed + runs), .zero)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<min(UInt64(jobs), runs) { group.addTask { Self.work(search, since: start, record) } }
        }
        let elapsed = Timestamp.now() - start
        let result = search.withLock { $0 }
        try record.write(result, elapsed)
        let failed = result.failed
        if let failed, !isTracing { replay(failed, lines: trace ? .max : 100) }
        report(result, elapsed, record)
        if failed != nil { throw ExitStatus.checkFailed }
    }

    private struct Search {
        var next: UInt64
        let end: UInt64
        /// The lowest seed that showed a violation.
        var failed: UInt64?
        var running: Set<UInt64> = []
        var statistics = SimulationStatistics()
        var toldAt = Timestamp.zero

        /// The seed before which all others are done.
        var reached: UInt64 { running.min() ?? next }
    }

    /// Runs seeds until there are no more, or one of them has failed.
    private static func work(_ search: Locked<Search>, since start: Timestamp, _ record: Record) {
        while let seed = search.withLock({ search -> UInt64? in
            guard search.next < search.end, search.failed == nil else { return nil }
            search.next += 1
            search.running.insert(search.next - 1)
            return search.next - 1
        }) {
            let simulation = Simulation(.mixed(seed: seed))
            simulation.run()
            var statistics = SimulationStatistics()
            statistics.add(simulation)
            let hasFailed = !simulation.violations.isEmpty
            let now = Timestamp.now()
            let progress = search.withLock { search -> Search? in
                search.statistics.add(statistics)
                search.running.remove(seed)
                if hasFailed { search.failed = min(seed, search.failed ?? seed) }
                guard now - max(search.toldAt, start) >= .seconds(10) else { return nil }
                search.toldAt = now
                return search
            }
            guard let progress else { continue }
            Output.complain("… \(progress.statistics.runs) of \(record.runs) schedules")
            // A disk that is full for a moment ends nothing: the last record is written again.
            try? record.write(progress, now - start)
        }
    }

    /// The result, for a program or a file.
    private struct Record: Sendable {
        var file: String?
        var seed: UInt64
        var runs: UInt64
        var jobs: Int

        /// Writes the file completely or not at all.
        func write(_ search: Search, _ elapsed: Duration) throws {
            guard let file else { return }
            do {
                try Data((line(search, elapsed).finished + "\n").utf8)
                    .write(to: URL(fileURLWithPath: file), options: .atomic)
            } catch {
                throw CommandError(
                    .usage, "the report cannot be written to '\(file)': \(error.localizedDescription)")
            }
        }

        func line(_ search: Search, _ elapsed: Duration) -> JSONLine {
            let statistics = search.statistics
            var line = JSONLine()
            line.add("event", "simulated")
            line.add("seed", seed)
            line.add("runs", statistics.runs)
            line.add("asked", runs)
            line.add("nextSeed", search.reached)
            line.add("violations", search.failed == nil ? 0 : 1)
            if let failed = search.failed { line.add("failedSeed", failed) }
            line.add("faults", statistics.faults)
            line.add("events", statistics.events)
            line.add("messages", statistics.messages)
            line.add("virtualSeconds", statistics.virtualTime.inSeconds, digits: 0)
            line.add("mostSendsInTenSeconds", statistics.mostSends)
            line.add("recoveryP50", statistics.recovery(share: 0.5))
            line.add("recoveryP99", statistics.recovery(share: 0.99))
            line.add("recoveryMaximum", statistics.recovery(share: 1))
            line.add("jobs", jobs)
            line.add("processors", ProcessInfo.processInfo.activeProcessorCount)
            line.add("seconds", elapsed.inSeconds, digits: 3)
            line.add("schedulesPerSecond", Double(statistics.runs) / max(elapsed.inSeconds, 1e-9), digits: 1)
            return line
        }
    }

    /// Runs a seed again, and prints the last lines of its trace and the violation.
    private func replay(_ seed: UInt64, lines limit: Int) {
        var lines: [String] = []
        var violations = 0
        let simulation = Simulation(.mixed(seed: seed))
        simulation.trace = { [unowned simulation] line in
            // Events after the first violation explain nothing.
            guard violations == 0 || limit == .max else { return }
            violations = simulation.violations.count
            lines.append(line)
            if lines.count > limit { lines.removeFirst() }
        }
        simulation.run()
        if json {
            var line = JSONLine()
            line.add("event", simulation.violations.isEmpty ? "run" : "violation")
            line.add("seed", seed)
            line.add("violations", simulation.violations)
            line.add("faults", simulation.faults.map(\.description))
            line.add("trace", lines)
            Output.line(line)
            return
        }
        for line in lines { Output.line("\(line)") }
        guard !simulation.violations.isEmpty else { return }
        Output.line(Output.coloured("seed \(seed), \(simulation.scenario.participants) participants:", Output.red))
        for violation in simulation.violations { Output.line("  \(violation)") }
        Output.line("faults:")
        for fault in simulation.faults { Output.line("  \(fault)") }
        Output.line("again: room simulate --seed \(seed) --trace")
    }

    private func report(_ result: Search, _ elapsed: Duration, _ record: Record) {
        let (statistics, failed) = (result.statistics, result.failed)
        let perSecond = Double(statistics.runs) / max(elapsed.inSeconds, 1e-9)
        if json {
            Output.line(record.line(result, elapsed))
            return
        }
        let hours = String(format: "%.1f", statistics.virtualTime.inSeconds / 3600)
        Output.line(
            """
            \(statistics.runs) schedules from seed \(seed) in \(String(format: "%.1f", elapsed.inSeconds)) s \
            (\(String(format: "%.0f", perSecond))/s): \(failed == nil ? "no violation" : "seed \(failed ?? 0) fails")
            \(statistics.faults) faults in \(hours) hours of virtual time, \(statistics.events) events, \
            \(statistics.messages) messages delivered once and in order
            well again after the last fault within \(statistics.recovery(share: 0.5)) s (median), \
            \(statistics.recovery(share: 0.99)) s (99 %), \(statistics.recovery(share: 1)) s (all); \
            at most \(statistics.mostSends) messages of one participant to the server in ten seconds
            """)
    }
}
