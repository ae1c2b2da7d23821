import RoomCore
import RoomSimulation
import Testing
import TransportPluginAPI

@Suite struct SimulationTests {
    private func check(_ scenario: Scenario) {
        let simulation = Simulation(scenario)
        simulation.run()
        guard !simulation.violations.isEmpty else { return }
        Issue.record(
            """
            seed \(scenario.seed), \(scenario.participants) participants:
            \(simulation.violations.joined(separator: "\n"))
            faults:
            \(simulation.faults.map(\.description).joined(separator: "\n"))
            """)
    }

    @Test func withoutFaultsEverybodyMeetsWithinASecond() {
        for seed in 0..<20 {
            var scenario = Scenario(seed: UInt64(seed))
            scenario.participants = 2 + seed % 6
            scenario.faults = 0
            scenario.faultsEnd = .seconds(12)
            scenario.calm = .zero
            check(scenario)
        }
    }

    @Test(arguments: Fault.Kind.allCases)
    func everybodyIsBackAfterFaultsOfOneKind(kind: Fault.Kind) {
        for seed in 0..<8 {
            var scenario = Scenario(seed: UInt64(seed))
            scenario.participants = 3
            scenario.faults = 2
            scenario.kinds = [kind]
            check(scenario)
        }
    }

    @Test(arguments: 0..<10)
    func everybodyIsBackAfterFaultsOfAllKinds(part: Int) {
        for seed in 0..<12 {
            var scenario = Scenario(seed: UInt64(1000 + part * 100 + seed))
            scenario.participants = 2 + seed % 4
            check(scenario)
        }
    }

    @Test func theSameSeedMakesTheSameRun() {
        let runs = (0..<2).map { _ in
            let simulation = Simulation(Scenario(seed: 7))
            simulation.run()
            return simulation.steps
        }
        #expect(runs[0] == runs[1])
    }
}
