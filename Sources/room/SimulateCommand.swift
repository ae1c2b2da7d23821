internal import ArgumentParser
internal import CommandLineIO
internal import Foundation
internal import RoomSimulation
internal import TransportPluginAPI

struct SimulateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Run rooms with all their faults in virtual time, and look for violations of their rules.",
        discussion: """
            Each seed is a run of its own: several participants, a room server, and a network between them that fails \
            in all ways. With --cluster: several servers of a cluster, their store, and clients. The same seed makes \
            the same run. Exits with 5 at the first violation, with its seed and what led to it.
            """)

    @OptionGroup var common: CommonOptions

    @Flag(help: "Simulate the nodes of a cluster of servers.") var cluster = false
    @Option(help: "The first seed.") var seed: UInt64 = 1
    @Option(help: "The number of seeds from there on.") var runs: UInt64 = 1

    @Option(help: "Runs at a time. Default: one for each processor.")
    var jobs = ProcessInfo.processInfo.activeProcessorCount

    @Option(
        name: .customLong("report"),
        help: """
            Write the result into this file as JSON, and what there is of it every ten seconds: an interrupted run \
            leaves it behind, with the seed to go on from.
            """)
    var reportFile: String?

    @Option(
        name: .customLong("vectors"),
        help: """
            Record every call of the client's machines, which other implementations must reproduce, as lines of JSON: \
            for each seed a file of each group of machines in this folder. '-': all to the standard output, behind a \
            line with the seed.
            """)
    var vectorFolder: String?

    @Option(
        name: .customLong("group"),
        help: """
            With --vectors: only this group of machines: room, delivery, streams, exchange, walks or codec. May be \
            repeated.
            """)
    var vectorGroups: [String] = []

    @Flag(
        name: .customLong("short"),
        help: "With --vectors: schedules of two participants and few faults. There can be many times as many of them.")
    var hasShortSchedules = false

    @Flag(
        name: .customLong("kept"),
        help: "With --vectors: write those that are kept beside the tests of the browser client, instead.")
    var keepsVectors = false

    @Flag(help: "Print the whole trace, not only the last lines before a violation.") var trace = false
    @Flag(help: "One JSON object a line.") var json = false

    func run() async throws {
        guard runs > 0, seed.addingReportingOverflow(runs).overflow == false, (1...1024).contains(jobs) else {
            throw CommandError(.usage, "--runs must be 1 or more, and --jobs from 1 to 1024")
        }
        if let vectorFolder {
            guard !cluster else { throw CommandError(.usage, "--vectors and --cluster exclude each other") }
            return try writeVectors(to: vectorFolder)
        }
        let search = SeedSearch(subject, seeds: seed..<(seed + runs), jobs: jobs)
        let report = Report(file: reportFile, isCluster: cluster, seed: seed, runs: runs, jobs: jobs)
        let isTracing = trace && runs == 1
        if isTracing { replay(seed, lines: .max) }
        try report.write(search.start)
        let result = await search.run { progress in
            Output.printError("… \(progress.statistics.runs) of \(report.runs) schedules")
            // A write that fails now, on a full disk for instance, ends nothing: the last one follows.
            try? report.write(progress)
        }
        try report.write(result)
        if let failed = result.failedSeed, !isTracing { replay(failed, lines: trace ? .max : 100) }
        if json { Output.line(report.line(result)) } else { summarize(result, report.elapsed) }
        if result.failedSeed != nil { throw ExitStatus.checkFailed }
    }

    private var subject: SimulationSubject { cluster ? .cluster : .room }

    /// The groups of vectors that come of whole schedules.
    private static let schedules: Set<String> = ["room", "delivery", "streams", "exchange"]

    private func writeVectors(to folder: String) throws {
        func write(_ lines: [String], _ name: String) throws {
            let file = URL(fileURLWithPath: folder).appendingPathComponent("\(name).jsonl")
            do {
                try Data(lines.map { $0 + "\n" }.joined().utf8).write(to: file)
            } catch {
                throw CommandError(.usage, "'\(file.path)' cannot be written: \(error.localizedDescription)")
            }
        }
        if keepsVectors { return try Vectors.kept.forEach { try write($1, $0) } }
        for seed in seed..<(seed + runs) {
            var groups: [String: [String]] = [:]
            var output = "{\"seed\":\(seed)}\n"
            let add = { (group: String, line: String) in
                guard folder == "-" else { return groups[group, default: []].append(line) }
                output += line + "\n"
                guard output.utf8.count >= 1 << 16 else { return }
                Output.raw(output)
                output = ""
            }
            let wanted = vectorGroups.isEmpty ? Self.schedules.union(["walks", "codec"]) : Set(vectorGroups)
            if !wanted.isDisjoint(with: Self.schedules) {
                Vectors.record(
                    hasShortSchedules ? .short(seed: seed) : .mixed(seed: seed), groups: wanted, line: add)
            }
            if wanted.contains("walks") { Vectors.recordWalks(seed: seed, steps: 200, line: add) }
            if wanted.contains("codec") { Vectors.recordCodecs(seed: seed, line: add) }
            if folder == "-" { Output.raw(output) }
            for (group, lines) in groups { try write(lines, "\(group)-\(seed)") }
        }
    }

    /// The result as JSON, for a program or a file.
    private struct Report: Sendable {
        var file: String?
        var isCluster: Bool
        var seed: UInt64
        var runs: UInt64
        var jobs: Int
        private let start = Timestamp.now()

        init(file: String?, isCluster: Bool, seed: UInt64, runs: UInt64, jobs: Int) {
            self.file = file
            self.isCluster = isCluster
            self.seed = seed
            self.runs = runs
            self.jobs = jobs
        }

        var elapsed: Duration { Timestamp.now() - start }

        /// Writes the file completely or not at all.
        func write(_ progress: SeedSearch.Progress) throws {
            guard let file else { return }
            do {
                try Data((line(progress).finished + "\n").utf8)
                    .write(to: URL(fileURLWithPath: file), options: .atomic)
            } catch {
                throw CommandError(
                    .usage, "the report cannot be written to '\(file)': \(error.localizedDescription)")
            }
        }

        func line(_ progress: SeedSearch.Progress) -> JSONLine {
            let (statistics, elapsed) = (progress.statistics, elapsed)
            var line = JSONLine()
            line.add("event", "simulated")
            line.add("subject", isCluster ? "cluster" : "room")
            line.add("seed", seed)
            line.add("runs", statistics.runs)
            line.add("asked", runs)
            line.add("nextSeed", progress.nextSeed)
            line.add("violations", progress.failedSeed == nil ? 0 : 1)
            if let failed = progress.failedSeed { line.add("failedSeed", failed) }
            line.add("faults", statistics.faults)
            line.add("events", statistics.events)
            if isCluster {
                line.add("takeovers", statistics.takeovers)
                line.add("conflicts", statistics.conflicts)
                line.add("longestAbsence", statistics.longestAbsence.inSeconds, digits: 3)
            } else {
                line.add("messages", statistics.messages)
                line.add("mostSendsInTenSeconds", statistics.mostSends)
            }
            line.add("virtualSeconds", statistics.virtualTime.inSeconds, digits: 0)
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
        let run = TracedRun(subject, seed: seed, limit: limit)
        if json {
            var line = JSONLine()
            line.add("event", run.violations.isEmpty ? "run" : "violation")
            line.add("seed", seed)
            line.add("violations", run.violations)
            line.add("faults", run.faults)
            line.add("trace", run.lines)
            Output.line(line)
            return
        }
        for line in run.lines { Output.line("\(line)") }
        guard !run.violations.isEmpty else { return }
        Output.line(Output.coloured("seed \(seed), \(run.cast):", Output.red))
        for violation in run.violations { Output.line("  \(violation)") }
        Output.line("faults:")
        for fault in run.faults { Output.line("  \(fault)") }
        Output.line("again: room simulate \(cluster ? "--cluster " : "")--seed \(seed) --trace")
    }

    private func summarize(_ result: SeedSearch.Progress, _ elapsed: Duration) {
        let statistics = result.statistics
        let perSecond = Double(statistics.runs) / max(elapsed.inSeconds, 1e-9)
        let verdict = result.failedSeed.map { "seed \($0) fails" } ?? "no violation"
        let hours = String(format: "%.1f", statistics.virtualTime.inSeconds / 3600)
        let absence = String(format: "%.1f", statistics.longestAbsence.inSeconds)
        let results =
            cluster
            ? "\(statistics.takeovers) rooms taken over, \(statistics.conflicts) with two owners for a while"
            : "\(statistics.messages) messages delivered once and in order"
        let extremes =
            cluster
            ? "a client without its room for at most \(absence) s after a single fault"
            : "at most \(statistics.mostSends) messages of one participant to the server in ten seconds"
        Output.line(
            """
            \(statistics.runs) schedules from seed \(seed) in \(String(format: "%.1f", elapsed.inSeconds)) s \
            (\(String(format: "%.0f", perSecond))/s): \(verdict)
            \(statistics.faults) faults in \(hours) hours of virtual time, \(statistics.events) events, \(results)
            well again after the last fault within \(statistics.recovery(share: 0.5)) s (median), \
            \(statistics.recovery(share: 0.99)) s (99 %), \(statistics.recovery(share: 1)) s (all); \(extremes)
            """)
    }
}
