import Glibc
import RoomSimulation

/// Runs seeds of a cluster, and exits.
func simulateClusters(from: UInt64, count: UInt64) -> Never {
    var failed = 0
    var (events, takeovers, conflicts) = (0, UInt64(0), UInt64(0))
    var recoveries: [Int] = []
    var absences: [Duration: Duration] = [:]
    for seed in from..<(from + count) {
        let simulation = ClusterSimulation(.mixed(seed: seed))
        if CommandLine.arguments.contains("--trace") { simulation.trace = { print($0) } }
        simulation.run()
        events += simulation.steps
        takeovers += simulation.takeovers
        conflicts += simulation.conflicts
        if let recovery = simulation.recovery { recoveries.append(Int(recovery / .seconds(1))) }
        if let limit = simulation.scenario.absenceLimit {
            absences[limit] = max(absences[limit] ?? .zero, simulation.longestAbsence)
        }
        guard !simulation.violations.isEmpty else { continue }
        print("seed \(seed), \(seed - from + 1) of \(count): \(simulation.violations.joined(separator: "\n  "))")
        failed += 1
        if !CommandLine.arguments.contains("--all") { exit(5) }
    }
    let seconds = Double(clock()) / Double(CLOCKS_PER_SEC)
    recoveries.sort()
    let worst = recoveries.last ?? 0
    let usual = recoveries.isEmpty ? 0 : recoveries[recoveries.count * 99 / 100]
    print(
        """
        \(count) schedules of a cluster, \(failed) failed, \(events) events, \(takeovers) takeovers, \
        \(conflicts) conflicts, \(seconds) s of CPU, \(Double(count) / seconds) schedules/s, \
        recovery \(usual) \(worst), longest absences \(absences.map { "\($0.value) of \($0.key)" }.sorted())
        """)
    exit(failed > 0 ? 5 : 0)
}
