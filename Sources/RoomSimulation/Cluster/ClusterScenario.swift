internal import TransportValues

/// The conditions of one run of a cluster, besides the seed's own chances.
package struct ClusterScenario: Sendable {
    package var seed: UInt64
    package var nodes = 3
    package var rooms = 3
    package var clients = 6
    package var faults = FaultPlan(
        kinds: ClusterFaultKind.general, begin: .seconds(5), end: .seconds(65), longest: .seconds(40),
        calm: .seconds(25))
    /// Given instead of faults of chance.
    package var script: [ClusterFault] = []
    /// The share of the requests to the store that arrive although their connection was given up before.
    package var zombies = 0.0
    /// The longest time from the only fault until all clients are in their rooms again. Nil: there are several.
    package var absenceLimit: Duration?
    /// No client may lose its connection.
    package var isUnnoticed = false

    package init(seed: UInt64) { self.seed = seed }

    /// Everything follows from the seed: from one fault to a storm of short ones.
    package static func mixed(seed: UInt64) -> ClusterScenario {
        var scenario = ClusterScenario(seed: seed)
        scenario.nodes = 3 + Int(seed % 3)
        scenario.rooms = 1 + Int(seed % 4)
        scenario.clients = 3 + Int(seed % 7)
        scenario.faults.count = 1 + Int(seed % 9)
        if seed % 5 == 0 {
            scenario.faults.count = 25
            scenario.faults.longest = .seconds(8)
        }
        if seed % 4 == 1 { scenario.faults.kinds = ClusterFaultKind.faithful }
        if seed % 3 == 1 { scenario.zombies = 0.5 }
        if seed % 12 == 4 {
            scenario.faults.kinds = ClusterFaultKind.forgetful
            scenario.faults.count = 14
            scenario.faults.longest = .seconds(12)
            scenario.clients = scenario.rooms
        }
        if seed % 12 == 10 {
            scenario.faults.kinds = ClusterFaultKind.refusing
            scenario.faults.count = 20
            scenario.faults.longest = .seconds(30)
        }
        if seed % 10 >= 7 { scenario.measure() }
        return scenario
    }

    /// One fault of a kind that must not take longer, or not be noticed at all.
    private mutating func measure() {
        let node = Int(seed / 10) % nodes
        zombies = 0
        absenceLimit = .seconds(20)
        switch seed % 20 {
        // The others learn at once.
        case 7, 17:
            absenceLimit = .seconds(4)
            script = [ClusterFault(kind: .crash, at: .zero + .seconds(20), duration: .seconds(40), node: node)]
        case 8: script = [ClusterFault(kind: .pause, at: .zero + .seconds(20), duration: .seconds(40), node: node)]
        case 18: script = [ClusterFault(kind: .powerLoss, at: .zero + .seconds(20), duration: .seconds(40), node: node)]
        case 9:
            isUnnoticed = true
            script = [ClusterFault(kind: .storePause, at: .zero + .seconds(20), duration: .seconds(20))]
        default:
            isUnnoticed = true
            let kind: ClusterFaultKind = seed % 40 == 19 ? .storeEmpty : .storeRestart
            script = [ClusterFault(kind: kind, at: .zero + .seconds(20), duration: .seconds(20))]
        }
    }
}

/// The kinds of faults of a cluster, and of what people do.
package enum ClusterFaultKind: String, TimedFaultKind, CaseIterable {
    package static var victims: String { "nodes" }

    package static var general: [ClusterFaultKind] { allCases }
    /// The store forgets, and rooms end and begin meanwhile.
    package static var forgetful: [ClusterFaultKind] {
        [
            .storeCut, .storeCut, .storePause, .storeReset, .storeFlush, .storeFlush, .storeFailover, .storeEmpty,
            .leave, .leave, .leave, .close,
        ]
    }
    /// Nodes that live do not reach each other, and clients come by changing ones.
    package static var refusing: [ClusterFaultKind] {
        [.linkRefused, .linkRefused, .linkRefused, .linkReset, .leave, .leave, .clientReset, .clientReset]
    }
    /// Those after which the store has everything that was ever written to it.
    package static var faithful: [ClusterFaultKind] {
        allCases.filter { ![.storeEmpty, .storeFailover, .storeFlush, .storeClock].contains($0) }
    }

    /// A node's process dies, and a new one starts later under the same name.
    case crash
    /// A node's machine loses power: nothing is reset, and a new process starts later.
    case powerLoss
    /// A node's process is stopped and goes on later, with everything that came meanwhile.
    case pause
    /// A node drains, and a new process starts later under the same name.
    case drain
    /// All nodes drain one after the other.
    case rollingUpdate
    /// A node is cut off from the store: nothing comes through.
    case storeCut
    /// The connection of a node to the store is reset, with what was under way on it.
    case storeReset
    /// Nothing comes through between two nodes, in one direction.
    case linkCut
    /// The link of two nodes is reset.
    case linkReset
    /// One node's connections to another are refused, although it lives.
    case linkRefused
    /// A node is cut off from the store and from all other nodes, but not from its clients.
    case isolation
    /// The store's process is stopped, and goes on later.
    case storePause
    /// The store is killed, and is started again later with what it had.
    case storeRestart
    /// The same, but it has lost everything.
    case storeEmpty
    /// Another store takes over that has not got the last writes.
    case storeFailover
    /// The store loses everything, and nobody is told.
    case storeFlush
    /// The store's clock jumps forward, or back.
    case storeClock
    /// A node's clock jumps forward.
    case nodeClock
    /// A client leaves its room, and a new one joins.
    case leave
    /// The connection of a client is reset.
    case clientReset
    /// A client is removed from its room, and tries to return.
    case kick
    /// A room is closed; its clients try to return. Somebody creates it again later.
    case close
}
