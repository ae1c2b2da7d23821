internal import TransportValues

/// The sums of many runs.
package struct SimulationStatistics: Sendable {
    package private(set) var runs = 0
    package private(set) var participants = 0
    package private(set) var faults = 0
    package private(set) var events = 0
    /// Messages that came whole, once and in order.
    package private(set) var messages = 0
    /// The most messages that one participant sent to the server in ten seconds.
    package private(set) var mostSends = 0
    package private(set) var virtualTime: Duration = .zero
    /// Runs by the whole seconds that it took from the end of the last fault until everything was well and delivered.
    private var recoveries: [Int] = []

    package init() {}

    package mutating func add(_ simulation: Simulation) {
        runs += 1
        participants += simulation.scenario.participants
        faults += simulation.scenario.faults
        events += simulation.steps
        messages += simulation.messagesDelivered
        mostSends = max(mostSends, simulation.mostSends)
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
