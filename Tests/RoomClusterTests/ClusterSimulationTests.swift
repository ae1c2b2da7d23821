import Glibc
import RoomSimulation
import Testing
import TransportValues

/// `SIMULATION_FROM` and `SIMULATION_COUNT` choose other and more seeds for `everybodyIsBackAfterFaultsOfAllKinds`;
/// `SIMULATION_TRACE=1` prints the trace of the first one that fails.
@Suite struct ClusterSimulationTests {
    private func number(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }

    @discardableResult
    private func check(_ scenario: ClusterScenario) -> ClusterSimulation {
        let simulation = ClusterSimulation(scenario)
        simulation.run()
        guard !simulation.violations.isEmpty else { return simulation }
        Issue.record(
            """
            seed \(scenario.seed), \(scenario.nodes) nodes, \(scenario.clients) clients:
            \(simulation.violations.joined(separator: "\n"))
            faults:
            \(simulation.faults.map(\.description).joined(separator: "\n"))
            """)
        return simulation
    }

    @Test func withoutFaultsEverybodyJoinsAndNobodyIsInterrupted() {
        for seed in 0..<20 {
            var scenario = ClusterScenario(seed: UInt64(seed))
            scenario.faults.count = 0
            scenario.faults.end = .seconds(8)
            scenario.faults.calm = .zero
            #expect(check(scenario).interruptions == 0)
        }
    }

    @Test(arguments: ClusterFaultKind.allCases)
    func everybodyIsBackAfterFaultsOfOneKind(kind: ClusterFaultKind) {
        for seed in 0..<20 {
            var scenario = ClusterScenario(seed: UInt64(seed))
            scenario.nodes = 3 + seed % 3
            scenario.faults.count = 3
            scenario.faults.kinds = [kind]
            check(scenario)
        }
    }

    @Test func everybodyIsBackAfterFaultsOfAllKinds() {
        let from = number("SIMULATION_FROM") ?? 1
        for seed in from..<(from + (number("SIMULATION_COUNT") ?? 300)) { check(.mixed(seed: seed)) }
    }
}
