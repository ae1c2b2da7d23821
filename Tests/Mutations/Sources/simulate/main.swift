import Glibc
import RoomSimulation

// simulate FROM COUNT [--trace]: runs seeds until one shows a violation; the exit status is 5 then.
let from = UInt64(CommandLine.arguments[1]) ?? 0
let count = UInt64(CommandLine.arguments[2]) ?? 1
let start = clock()
var steps = 0
var failed = 0
var messages = 0
var mostSends = 0
var recoveries: [Double] = []
for seed in from..<(from + count) {
    let simulation = Simulation(.mixed(seed: seed))
    if CommandLine.arguments.contains("--trace") { simulation.trace = { print($0) } }
    simulation.run()
    steps += simulation.steps
    messages += simulation.messagesDelivered
    mostSends = max(mostSends, simulation.mostSends)
    if let recovery = simulation.recovery {
        recoveries.append(recovery.components.0 == 0 ? 0.5 : Double(recovery.components.0))
    }
    guard !simulation.violations.isEmpty else { continue }
    print("seed \(seed):")
    for violation in simulation.violations { print("  \(violation)") }
    failed += 1
    if !CommandLine.arguments.contains("--all") { exit(5) }
}
let seconds = Double(clock() - start) / Double(CLOCKS_PER_SEC)
print(
    "\(count) schedules, \(failed) failed, \(steps) events, \(seconds) s of CPU, \(Double(count) / seconds) schedules/s"
)
recoveries.sort()
print(
    "\(messages) messages, most sends in 10 s \(mostSends), recovery median \(recoveries[recoveries.count / 2]) p99 \(recoveries[recoveries.count * 99 / 100]) max \(recoveries.last ?? 0)"
)
exit(failed > 0 ? 5 : 0)
