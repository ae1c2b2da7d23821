import Glibc
import RoomSimulation

// simulate FROM COUNT [--cluster] [--all] [--trace]: runs seeds until one of them shows a violation; the exit status is
// 5 then. With --cluster those of a cluster of servers.
guard CommandLine.arguments.count > 2, let from = UInt64(CommandLine.arguments[1]),
    let count = UInt64(CommandLine.arguments[2])
else {
    print("usage: simulate FROM COUNT [--cluster] [--all] [--trace]")
    exit(2)
}
if CommandLine.arguments.contains("--cluster") { simulateClusters(from: from, count: count) }
var statistics = SimulationStatistics()
var failed = 0
for seed in from..<(from + count) {
    let simulation = Simulation(.mixed(seed: seed))
    if CommandLine.arguments.contains("--trace") { simulation.trace = { print($0) } }
    simulation.run()
    statistics.add(simulation)
    guard !simulation.violations.isEmpty else { continue }
    print("seed \(seed), \(seed - from + 1) of \(count): \(simulation.violations.joined(separator: "\n  "))")
    failed += 1
    if !CommandLine.arguments.contains("--all") { exit(5) }
}
let seconds = Double(clock()) / Double(CLOCKS_PER_SEC)
print(
    """
    \(count) schedules, \(failed) failed, \(statistics.events) events, \(statistics.messages) messages, \
    \(seconds) s of CPU, \(Double(count) / seconds) schedules/s, recovery \(statistics.recovery(share: 0.5)) \
    \(statistics.recovery(share: 0.99)) \(statistics.recovery(share: 1)), sends \(statistics.mostSends)
    """)
exit(failed > 0 ? 5 : 0)
