import Glibc
import RoomSimulation
import Testing

/// `SIMULATION_FROM` and `SIMULATION_COUNT` choose other and more seeds for `everybodyIsBackAfterFaultsOfAllKinds`;
/// `SIMULATION_SEED` replays one of them with a trace.
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

    private static func number(_ name: String) -> UInt64? {
        getenv(name).flatMap { UInt64(String(cString: $0)) }
    }

    /// Seeds in parts, so that they run side by side.
    private static let parts: [Range<UInt64>] = {
        let from = number("SIMULATION_FROM") ?? 1000
        let count = number("SIMULATION_COUNT") ?? 90
        return stride(from: from, to: from + count, by: 30).map { $0..<min($0 + 30, from + count) }
    }()

    @Test func withoutFaultsEverybodyMeetsWithinASecond() {
        for seed in 0..<20 {
            var scenario = Scenario(seed: UInt64(seed))
            scenario.participants = 2 + seed % 6
            scenario.faults.count = 0
            scenario.faults.end = .seconds(2)
            scenario.faults.calm = .zero
            check(scenario)
        }
    }

    @Test(arguments: FaultKind.allCases)
    func everybodyIsBackAfterFaultsOfOneKind(kind: FaultKind) {
        for seed in 0..<5 {
            var scenario = Scenario(seed: UInt64(seed))
            scenario.participants = 3
            scenario.faults.count = 2
            scenario.faults.kinds = [kind]
            if kind == .tokenOutage { scenario.tokenLife = .seconds(20) }
            if kind == .iceServerOutage { scenario.useICEServerProvider(needsRelays: seed % 2 == 1) }
            if kind == .nameTaken { scenario.replaceDuplicateNames() }
            scenario.faults.kinds = [kind]
            check(scenario)
        }
    }

    /// Nothing waits for a provider of ICE servers, which fails from the beginning.
    @Test func everybodyMeetsWhileTheProvidersOfICEServersFail() {
        for seed in 0..<10 {
            var scenario = Scenario(seed: UInt64(seed))
            scenario.useICEServerProvider(needsRelays: false)
            scenario.faults.kinds = [.iceServerOutage]
            scenario.faults.count = 20
            scenario.faults.begin = .zero
            scenario.faults.end = .seconds(60)
            scenario.faults.longest = .seconds(60)
            scenario.faults.calm = .seconds(100)
            check(scenario)
        }
    }

    /// Two servers with the same key and different state, several times in a run.
    private func makeSplit(seed: UInt64) -> Scenario {
        var scenario = Scenario.mixed(seed: seed)
        scenario.faults.kinds = [.serverSplit]
        scenario.faults.count = 2 + Int(seed % 6)
        scenario.faults.longest = .seconds(60)
        return scenario
    }

    @Test func everybodyIsBackAfterTwoServersBecameOne() { for seed in 0..<60 { check(makeSplit(seed: UInt64(seed))) } }

    /// Both servers had begun an epoch of the same number, and one resumed a stream of the other.
    @Test func nobodyIsResumedByAServerThatItWasNotIn() { check(.mixed(seed: 2255)) }

    /// The repetitions of one server's messages came over a connection to the other one: the model's mistake.
    @Test func aServerRepeatsOnlyItsOwnMessages() { check(makeSplit(seed: 1341)) }

    /// The model's network faults do occur: otherwise the invariants about them would prove nothing.
    @Test func singleDatagramsGetLostDoubledAndOvertaken() {
        var scenario = Scenario(seed: 1)
        scenario.faults.count = 0
        scenario.datagramLoss = 0.1
        scenario.datagramDuplication = 0.1
        let simulation = Simulation(scenario)
        simulation.run()
        #expect(simulation.violations.isEmpty)
        let plain = simulation.plainStatistics
        #expect(plain.delivered > 100 && plain.overtaken > 20 && plain.repeated > 20 && plain.lost > 5)
        #expect(simulation.incidentCount > 0, "heartbeats were lost in a row")
    }

    /// Topics and requests beside everything else, with whatever can happen to them.
    @Test func topicsAndRequestsEndAsTheyMustThroughFaultsOfAllKinds() {
        var ends: [ExchangeCount: Int] = [:]
        for seed in UInt64(2000)..<2030 {
            var scenario = Scenario.mixed(seed: seed)
            scenario.hasTopicsAndRequests = true
            let simulation = Simulation(scenario)
            simulation.run()
            #expect(simulation.violations.isEmpty, "seed \(seed)")
            ends.merge(simulation.exchangeCounts, uniquingKeysWith: +)
        }
        // Otherwise the invariants would prove nothing.
        let least: [ExchangeCount: Int] = [
            .read: 1000, .lossy: 100, .unwanted: 100, .waits: 100, .restarts: 0, .answers: 1000, .failures: 100,
            .timeouts: 20, .cancellations: 20, .gone: 10,
        ]
        for (count, number) in least { #expect(ends[count, default: 0] > number, "\(count)") }
    }

    @Test(arguments: parts)
    func everybodyIsBackAfterFaultsOfAllKinds(seeds: Range<UInt64>) {
        for seed in seeds { check(.mixed(seed: seed)) }
    }

    /// A stream that was blocked when the last frame went through a closing window stayed blocked: the model's mistake.
    @Test func aStreamGoesOnAfterItsLastFrameUsedUpTheWindow() { check(.mixed(seed: 6128)) }

    /// A freeze that hit a machine while it slept ended with its sleep, and turned its clock back by its own duration:
    /// the model's mistake.
    @Test func aSleepIsAsLongAsItWas() { check(.mixed(seed: 167312)) }

    /// Its connection had failed, and it did not know yet that the server had lost its state: it had not left.
    @Test func whoHasNotSaidSoHasNotLeft() { check(.mixed(seed: 260940)) }

    /// Each interruption delayed a relayed path's renewal, beyond the expiry of its credentials.
    @Test func aRelayedPathThatFlapsIsMovedInTime() { check(.mixed(seed: 569627)) }

    /// A path that flaps faster than silence is noticed is not dead: the inspection's mistake.
    @Test func aPathThatFlapsIsNotDead() { check(.mixed(seed: 263112)) }

    /// Every further cut delayed the time at which silence is noticed: the model's mistake.
    @Test func aSilenceIsNoticedWhateverElseHappens() { check(.mixed(seed: 58985)) }

    /// A participant returned from a long sleep a moment before it was given up, and nobody could know: the invariant's
    /// mistake.
    @Test func aReturnIsNewsThatTakesItsTime() { check(.mixed(seed: 991376)) }

    /// The late hello of a program that has ended arrives after that of its restarted successor, whose name it takes.
    @Test(arguments: [30375, 30971, 140078]) func aLateHelloShutsNobodyOut(seed: UInt64) { check(.mixed(seed: seed)) }

    /// An old path was reported again while a newer round searched for its own, and was taken for the newer one's.
    @Test func anOldPathIsNotTakenForTheNewRounds() { check(.mixed(seed: 292131)) }

    @Test func theSameSeedMakesTheSameRun() {
        let runs = (0..<2).map { _ in
            var trace: [String] = []
            let simulation = Simulation(.mixed(seed: 7))
            simulation.trace = { trace.append($0) }
            simulation.run()
            return trace
        }
        #expect(runs[0] == runs[1])
        #expect(runs[0].count > 100)
    }

    @Test(.enabled(if: number("SIMULATION_SEED") != nil))
    func replay() {
        let simulation = Simulation(.mixed(seed: Self.number("SIMULATION_SEED") ?? 0))
        simulation.trace = { print($0) }
        simulation.run()
        #expect(simulation.violations.isEmpty)
    }
}
