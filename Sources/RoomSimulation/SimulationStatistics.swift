internal import TransportValues

/// The sums of many runs.
package struct SimulationStatistics: Sendable {
    package private(set) var runs = 0
    package private(set) var participants = 0
    package private(set) var faults = 0
    package private(set) var events = 0
    /// Rooms of a cluster that were taken from an owner that was gone, and those that had two for a while.
    package private(set) var takeovers: UInt64 = 0
    package private(set) var conflicts: UInt64 = 0
    /// The longest time that a client of a cluster was without its room after the only fault of a run.
    package private(set) var longestAbsence: Duration = .zero
    /// Messages that came whole, once and in order.
    package private(set) var messages = 0
    /// The most messages that one participant sent to the server in ten seconds.
    package private(set) var mostSends = 0
    package private(set) var virtualTime: Duration = .zero
    /// Runs by the whole seconds that it took from the end of the last fault until everything was well and delivered.
    private var recoveries: [Int] = []

    package init() {}

    package mutating func add(_ simulation: Simulation) {
        addRun(of: simulation, participants: simulation.scenario.participants)
        messages += simulation.messagesDelivered
        mostSends = max(mostSends, simulation.mostSends)
    }

    package mutating func add(_ simulation: ClusterSimulation) {
        addRun(of: simulation, participants: simulation.scenario.clients)
        takeovers += simulation.takeovers
        conflicts += simulation.conflicts
        if simulation.scenario.absenceLimit != nil {
            longestAbsence = max(longestAbsence, simulation.longestAbsence)
        }
    }

    private mutating func addRun(of simulation: some SeededSimulation, participants: Int) {
        runs += 1
        self.participants += participants
        faults += simulation.faults.count
        events += simulation.steps
        virtualTime += simulation.now - .zero
        guard let recovery = simulation.recovery else { return }
        let seconds = Int(recovery.inSeconds.rounded(.up))
        while recoveries.count <= seconds { recoveries.append(0) }
        recoveries[seconds] += 1
    }

    package mutating func add(_ other: SimulationStatistics) {
        runs += other.runs
        participants += other.participants
        faults += other.faults
        events += other.events
        takeovers += other.takeovers
        conflicts += other.conflicts
        longestAbsence = max(longestAbsence, other.longestAbsence)
        messages += other.messages
        mostSends = max(mostSends, other.mostSends)
        virtualTime += other.virtualTime
        while recoveries.count < other.recoveries.count { recoveries.append(0) }
        for (seconds, count) in other.recoveries.enumerated() { recoveries[seconds] += count }
    }

    /// Seconds, rounded up, within which this share of the runs was well again.
    package func recovery(share: Double) -> Int {
        let total = recoveries.reduce(0, +)
        var sum = 0
        for (seconds, count) in recoveries.enumerated() {
            sum += count
            if Double(sum) >= Double(total) * share { return seconds }
        }
        return recoveries.count
    }
}
