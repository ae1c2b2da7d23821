internal import RoomCore
internal import TransportValues

/// A run in virtual time that follows from its seed.
protocol SeededSimulation: AnyObject {
    associatedtype Kind: TimedFaultKind
    associatedtype Occurrence

    var queue: EventQueue<Occurrence> { get set }

    var violations: [String] { get set }
    var trace: ((String) -> Void)? { get set }
    var now: Timestamp { get set }
    /// Events that were handled.
    var steps: Int { get set }
    var faults: [TimedFault<Kind>] { get }
    /// How long it took from the end of the last fault until everything was well.
    var recovery: Duration? { get }
    var random: SeededGenerator { get set }

    func run()
    func handle(_ occurrence: Occurrence)
    /// Whether nothing more is expected. Changes only with an inspection.
    var isOver: Bool { get }
    /// The participants of the run, for people.
    var cast: String { get }
    func add(to statistics: inout SimulationStatistics)
}

extension SeededSimulation {
    /// The faults that happen in the run, for people.
    var faultLines: [String] { faults.map(\.description) }

    func chance(_ probability: Double) -> Bool { random.chance(probability) }

    func note(_ line: @autoclosure () -> String) { trace?("\(now.seconds) \(line())") }

    /// Handles what happens up to a time, if there are no more steps.
    func run(upTo end: Timestamp, steps limit: Int) {
        while let (time, occurrence) = queue.pop(), time <= end {
            now = time
            steps += 1
            handle(occurrence)
            if violations.count >= 20 || steps > limit || isOver { break }
        }
        if steps > limit { report("the run does not come to rest") }
    }

    func report(_ violation: String) {
        if violations.count < 20 { violations.append("at \(now.seconds): \(violation)") }
        note("VIOLATION: \(violation)")
    }
}

extension Simulation: SeededSimulation {
    var cast: String { "\(scenario.participants) participants" }
    func add(to statistics: inout SimulationStatistics) { statistics.add(self) }
}

extension ClusterSimulation: SeededSimulation {
    var cast: String { "\(scenario.nodes) nodes, \(scenario.rooms) rooms, \(scenario.clients) clients" }
    func add(to statistics: inout SimulationStatistics) { statistics.add(self) }
}

/// The kind of a simulation.
package enum SimulationSubject: Sendable {
    /// Participants of a room, with their peers, and a server.
    case room
    /// The nodes of a cluster of servers, their store, and clients.
    case cluster

    fileprivate func make(seed: UInt64) -> any SeededSimulation {
        switch self {
        case .room: Simulation(.mixed(seed: seed))
        case .cluster: ClusterSimulation(.mixed(seed: seed))
        }
    }
}

/// A run, with the end of its trace.
package struct TracedRun: Sendable {
    package let seed: UInt64
    /// The participants, for people.
    package let cast: String
    package let violations: [String]
    package let faults: [String]
    package let lines: [String]

    /// Runs a seed, and keeps the last `limit` lines of its trace. They end with the first violation, which later
    /// events do not explain, unless `limit` is `Int.max`.
    package init(_ subject: SimulationSubject, seed: UInt64, limit: Int) {
        var lines: [String] = []
        var violations = 0
        let simulation = subject.make(seed: seed)
        simulation.trace = { [unowned simulation] line in
            guard violations == 0 || limit == .max else { return }
            violations = simulation.violations.count
            lines.append(line)
            if lines.count > limit { lines.removeFirst() }
        }
        simulation.run()
        simulation.trace = nil
        self.seed = seed
        cast = simulation.cast
        self.violations = simulation.violations
        faults = simulation.faultLines
        self.lines = lines
    }
}

/// A search through consecutive seeds for one whose run violates an invariant, several runs at a time.
package struct SeedSearch: Sendable {
    /// The state of a search.
    package struct Progress: Sendable {
        /// The sums of the runs that have ended.
        package fileprivate(set) var statistics = SimulationStatistics()
        /// The lowest seed whose run has shown a violation.
        package fileprivate(set) var failedSeed: UInt64?
        /// The seed to continue from: the runs of all seeds before it have ended.
        package fileprivate(set) var nextSeed: UInt64
    }

    private let subject: SimulationSubject
    private let seeds: Range<UInt64>
    private let jobs: Int
    private let reportInterval: Duration

    /// Creates a search through `seeds` with `jobs` runs at a time, which reports after each `reportInterval`.
    package init(
        _ subject: SimulationSubject = .room, seeds: Range<UInt64>, jobs: Int, reportInterval: Duration = .seconds(10)
    ) {
        self.subject = subject
        self.seeds = seeds
        self.jobs = jobs
        self.reportInterval = reportInterval
    }

    /// The progress before the first run.
    package var start: Progress { Progress(nextSeed: seeds.lowerBound) }

    /// Runs the seeds until none is left or one has failed. Runs that have begun by then end first.
    /// - Parameter report: Called with the progress, from the task that ended a run.
    package func run(report: @escaping @Sendable (Progress) -> Void) async -> Progress {
        let ledger = Ledger(seeds: seeds, start: start, reportInterval: reportInterval)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<min(UInt64(jobs), seeds.upperBound - seeds.lowerBound) {
                group.addTask {
                    while let seed = await ledger.take() {
                        let simulation = subject.make(seed: seed)
                        simulation.run()
                        var statistics = SimulationStatistics()
                        simulation.add(to: &statistics)
                        let hasFailed = !simulation.violations.isEmpty
                        if let progress = await ledger.record(seed, statistics, hasFailed: hasFailed) {
                            report(progress)
                        }
                    }
                }
            }
        }
        return await ledger.progress
    }

    /// The record of which seeds are running, and of what has become of the others.
    private actor Ledger {
        private(set) var progress: Progress
        private let end: UInt64
        private let reportInterval: Duration
        private var next: UInt64
        private var running: Set<UInt64> = []
        private var reportedAt = Timestamp.now()

        init(seeds: Range<UInt64>, start: Progress, reportInterval: Duration) {
            progress = start
            next = seeds.lowerBound
            end = seeds.upperBound
            self.reportInterval = reportInterval
        }

        /// Returns the next seed to run, while there is one and none has failed.
        func take() -> UInt64? {
            guard next < end, progress.failedSeed == nil else { return nil }
            defer { next += 1 }
            running.insert(next)
            return next
        }

        /// Records a run that has ended. Returns the progress when a report is due.
        func record(_ seed: UInt64, _ statistics: SimulationStatistics, hasFailed: Bool) -> Progress? {
            running.remove(seed)
            progress.statistics.add(statistics)
            progress.nextSeed = running.min() ?? next
            if hasFailed { progress.failedSeed = min(seed, progress.failedSeed ?? seed) }
            let now = Timestamp.now()
            guard now - reportedAt >= reportInterval else { return nil }
            reportedAt = now
            return progress
        }
    }
}
