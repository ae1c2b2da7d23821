internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// Recorded calls of the client's machines, which every implementation must reproduce (`Tests/BrowserClient/vectors`).
package enum Vectors {
    /// Records a schedule: all machines, or those of `groups`. `line` gets the lines one by one, each of the group of
    /// machines that it names.
    @discardableResult
    package static func record(
        _ scenario: Scenario, groups: Set<String>? = nil, line: @escaping (_ group: String, _ line: String) -> Void
    ) -> Simulation {
        let tape = VectorTape(groups: groups, line)
        let simulation = Simulation(scenario)
        simulation.tape = tape
        simulation.run()
        simulation.tape = nil
        return simulation
    }

    /// Records random walks of single machines: so many times `steps` as each needs.
    package static func recordWalks(seed: UInt64, steps: Int, line: @escaping (_ group: String, _ line: String) -> Void)
    {
        VectorWalks.record(seed: seed, steps: steps, on: VectorTape(line))
    }

    /// Records encodings and decodings.
    package static func recordCodecs(seed: UInt64, line: @escaping (_ group: String, _ line: String) -> Void) {
        VectorCodecs.record(seed: seed, on: VectorTape(line))
    }

    /// The lines of the files that are kept beside the browser client's tests, by group.
    package static var kept: [String: [String]] {
        var files: [String: [String]] = [:]
        // The beginnings: what follows is much alike.
        let limits = [
            "room": 45_000, "delivery": 12_000, "streams": 6000, "exchange": 40_000, "walks": 600_000, "codec": 400_000,
        ]
        func keep(_ seed: UInt64, _ record: (@escaping (_ group: String, _ line: String) -> Void) -> Void) {
            var sizes: [String: Int] = [:]
            record { group, line in
                if sizes[group] == nil { files[group, default: []].append("{\"seed\":\(seed)}") }
                sizes[group, default: 0] += line.utf8.count + 1
                if sizes[group, default: 0] <= limits[group] ?? 0 { files[group, default: []].append(line) }
            }
        }
        for seed in UInt64(1)...4 { keep(seed) { record(.short(seed: seed), line: $0) } }
        // They have topics and requests.
        for seed in [5, 13] as [UInt64] { keep(seed) { record(.short(seed: seed), groups: ["exchange"], line: $0) } }
        keep(1) { recordWalks(seed: 1, steps: 26, line: $0) }
        keep(1) { recordCodecs(seed: 1, line: $0) }
        return files
    }
}

extension Scenario {
    /// Two participants to whom much happens in little time.
    package static func short(seed: UInt64) -> Scenario {
        var scenario = mixed(seed: seed)
        scenario.participants = 2
        scenario.faults.count = 8
        scenario.faults.begin = .milliseconds(1500)
        scenario.faults.end = .seconds(15)
        scenario.faults.longest = .seconds(5)
        if seed.isMultiple(of: 4) {
            scenario.faults.kinds = [.leaveAndReturn, .kick, .update, .serverCrash, .addressChange]
        }
        return scenario
    }
}
