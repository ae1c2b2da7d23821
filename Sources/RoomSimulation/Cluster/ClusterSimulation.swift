internal import RoomCluster
internal import RoomCore
internal import RoomProtocol
package import TransportValues

/// Several nodes of a cluster, with their machines, a store, links between them, and clients that come and go, in
/// virtual time.
///
/// Everything that is left to chance comes from the scenario's seed: the same scenario makes the same run.
package final class ClusterSimulation {
    enum Occurrence {
        case start(node: Int)
        case timer(node: Int, life: Int, at: Timestamp)
        case connectStore(node: Int, life: Int)
        case atStore(StoreConnection)
        case fromStore(StoreConnection)
        case storeReset(StoreConnection)
        /// Something comes over a link.
        case overLink(LinkMessage, to: Int, life: Int, from: Int, fromLife: Int, link: Int)
        case linkUp(node: Int, life: Int, other: Int, otherLife: Int, link: Int)
        case linkDown(node: Int, life: Int, other: Int, link: Int, LinkFailure)
        case dialFailed(node: Int, life: Int, other: Int, LinkFailure)
        case dial(node: Int, life: Int, other: Int)
        /// A client connects.
        case tries(client: Int, attempt: Int)
        case hello(Stay)
        case clientClosed(Stay)
        case toClient(Stay, ClientNews)
        case clientTimeout(client: Int, attempt: Int)
        case roomCheck(node: Int, life: Int, RoomName)
        case snapshot
        case fault(ClusterFault)
        case heal(ClusterFault)
        case inspect
    }

    package let scenario: ClusterScenario
    /// Gets a line for everything that happens, for the search after a fault.
    package var trace: ((String) -> Void)?
    package internal(set) var violations: [String] = []
    package private(set) var faults: [ClusterFault]
    /// Events that were handled.
    package internal(set) var steps = 0
    package internal(set) var now = Timestamp.zero
    /// When everybody was in one roster with everybody of the same room, for the last time that it became so.
    package internal(set) var wellSince: Timestamp?
    /// Everybody was well for long enough after the last fault, at the last inspection.
    var isOver = false
    /// The times that a client lost its connection after the first fault, and was not removed.
    package internal(set) var interruptions = 0
    /// The longest time that a client was without its room; from the fault on, if there is only one.
    package internal(set) var longestAbsence = Duration.zero
    package internal(set) var takeovers: UInt64 = 0
    package internal(set) var conflicts: UInt64 = 0
    var queue = EventQueue<Occurrence>()
    var random: SeededGenerator
    var nodes: [ClusterNode] = []
    var clients: [ClusterClient] = []
    let rooms: [RoomName]
    var store = StoreModel()
    var storeOffset = Duration.zero
    var isStorePaused = 0
    var isStoreDown = 0
    /// The writes that a replica of the store has got.
    var replica = StoreModel()
    /// When the store's record of a room last changed.
    var recordChanges: [RoomName: Timestamp] = [:]
    var records: [RoomName: RoomRecord] = [:]
    /// Rooms whose records are what a request has made of them whose connection was given up before.
    var strayRecords: Set<RoomName> = []
    /// By the numbers of both nodes: nothing comes through from the first to the second.
    var linkCuts: [Int: Int] = [:]
    var refusals: [Int: Int] = [:]
    var lastLink = 0
    /// By the numbers of both nodes: when the last message from the first to the second arrives.
    var lastOverLink: [Int: Timestamp] = [:]
    var lastWaiter: UInt64 = 0
    /// The bans that the store has got from the room's owner.
    var bindingBans: Set<Int> = []
    /// The highest fence with which a room was closed.
    var closings: [RoomName: Fence] = [:]
    var activeDrains = 0
    let faultsEnd: Timestamp
    private let end: Timestamp

    package init(_ scenario: ClusterScenario) {
        self.scenario = scenario
        var random = SeededGenerator(seed: scenario.seed)
        faultsEnd = .zero + scenario.faults.end
        end = scenario.faults.deadline
        rooms = (0..<scenario.rooms).map { RoomName("r\($0)") }
        faults = scenario.script
        for _ in 0..<(scenario.script.isEmpty ? scenario.faults.count : 0) {
            let (at, duration) = random.faultTime(scenario.faults)
            let node = Int.random(in: 0..<scenario.nodes, using: &random)
            let other = (node + Int.random(in: 1..<scenario.nodes, using: &random)) % scenario.nodes
            let kind = scenario.faults.kinds.randomElement(using: &random) ?? .crash
            faults.append(
                ClusterFault(
                    kind: kind, at: .zero + at, duration: duration, node: node, other: other, chance: random.next()))
        }
        faults.sort { $0.at < $1.at }
        self.random = random
        for index in 0..<scenario.nodes {
            let node = ClusterNode(
                index: index, machine: makeMachine(index),
                clockOffset: .seconds(Int.random(in: 0...100_000, using: &self.random)))
            nodes.append(node)
            queue.push(.start(node: index), at: .zero + latency() * 20)
        }
        for index in 0..<scenario.clients { addClient(rooms[index % rooms.count], after: .seconds(1) + latency() * 50) }
        for fault in faults {
            queue.push(.fault(fault), at: fault.at)
            queue.push(.heal(fault), at: fault.at + fault.duration)
            if fault.kind == .storeFailover {
                let lag = Duration.milliseconds(Int(fault.chance % 2000))
                queue.push(.snapshot, at: max(.zero, fault.at - lag))
            }
        }
        queue.push(.inspect, at: .zero + .seconds(1))
    }

    func makeMachine(_ index: Int) -> RoomClusterMachine {
        RoomClusterMachine(
            node: NodeID("n\(index)"), address: "n\(index):7001", random: SeededGenerator(seed: random.next()))
    }

    func latency() -> Duration { .microseconds(Int.random(in: 200...10_000, using: &random)) }

    /// How long it took from the end of the last fault until everything was well.
    package var recovery: Duration? { wellSince.map { max(.zero, $0 - faultsEnd) } }

    /// Runs to the end. What is not as it must be is in `violations`.
    package func run() {
        run(upTo: end, steps: 500_000)
        inspectEnd()
    }

    func handle(_ occurrence: Occurrence) {
        switch occurrence {
        case .start(let index): start(nodes[index])
        case .timer(let index, let life, let time):
            guard let node = awake(index, life, occurrence), node.timerAt == time else { return }
            node.timerAt = nil
            feed(node) { $0.timePassed(to: $1) }
        case .connectStore(let index, let life):
            if let node = awake(index, life, occurrence) { connectStore(node) }
        case .atStore(let connection): arriveAtStore(connection)
        case .fromStore(let connection):
            if let node = awake(connection.node.index, connection.life, occurrence) {
                arriveFromStore(connection, node)
            }
        case .storeReset(let connection):
            if let node = awake(connection.node.index, connection.life, occurrence) { storeReset(connection, node) }
        case .overLink(let message, let index, let life, let from, let fromLife, let link):
            if let node = awake(index, life, occurrence) {
                arrive(message, at: node, from: nodes[from], fromLife, link, occurrence)
            }
        case .linkUp(let index, let life, let other, let otherLife, let link):
            if let node = awake(index, life, occurrence) { linkUp(node, nodes[other], otherLife, link) }
        case .linkDown(let index, let life, let other, let link, let failure):
            if let node = awake(index, life, occurrence) { linkDown(node, nodes[other], link, failure) }
        case .dialFailed(let index, let life, let other, let failure):
            if let node = awake(index, life, occurrence) { dialFailed(node, other, failure) }
        case .dial(let index, let life, let other):
            if let node = awake(index, life, occurrence) { arriveDial(from: node, at: nodes[other]) }
        case .tries(let client, let attempt): tries(client, attempt)
        case .hello(let stay): arriveHello(stay, occurrence)
        case .clientClosed(let stay):
            if awake(stay.edge.index, stay.life, occurrence) != nil { clientClosed(stay) }
        case .toClient(let stay, let news): arriveAtClient(stay, news)
        case .clientTimeout(let client, let attempt): clientTimeout(client, attempt)
        case .roomCheck(let index, let life, let room):
            if let node = awake(index, life, occurrence) { checkRoom(room, at: node) }
        case .snapshot: replica = store
        case .fault(let fault):
            note("begins: \(fault)")
            begin(fault, of: nodes[fault.node], and: nodes[fault.other])
        case .heal(let fault):
            note("ends: \(fault)")
            heal(fault, of: nodes[fault.node], and: nodes[fault.other])
        case .inspect:
            inspect()
            queue.push(.inspect, at: now + .seconds(1))
        }
    }

    /// The node, if it lives the life that is meant and is not stopped. What comes to a stopped one waits for it.
    func awake(_ index: Int, _ life: Int, _ occurrence: Occurrence) -> ClusterNode? {
        let node = nodes[index]
        guard node.life == life, node.isAlive else { return nil }
        guard node.pausedUntil <= now else {
            queue.push(occurrence, at: node.pausedUntil)
            return nil
        }
        return node
    }

    // MARK: The machine

    func clock(of node: ClusterNode) -> Timestamp { now + node.clockOffset }

    /// Hands an event to the node's machine, and performs its actions.
    func feed(_ node: ClusterNode, _ event: (inout RoomClusterMachine, Timestamp) -> [ClusterAction]) {
        let actions = event(&node.machine, clock(of: node))
        inspectTables(of: node)
        let life = node.life
        for action in actions where node.life == life { perform(action, node) }
        guard node.life == life, let deadline = node.machine.nextDeadline else { return }
        let time = max(now, deadline - node.clockOffset)
        if let timer = node.timerAt, timer <= time { return }
        node.timerAt = time
        queue.push(.timer(node: node.index, life: life, at: time), at: max(time, node.pausedUntil))
    }

    private func perform(_ action: ClusterAction, _ node: ClusterNode) {
        if case .send = action {} else { note("\(node.id): \(action)") }
        switch action {
        case .send(let request, let id): send(request, id, node)
        case .reconnectStore: reconnectStore(node)
        case .route(let waiter, let route): answered(waiter, route, node)
        case .own(let room, let fence, let marks):
            if node.process == .draining, !node.roomsAtDrain.contains(room) {
                report("\(node.id) gets \(room) with fence \(fence) while it drains")
            }
            node.marks[room, default: []].formUnion(marks)
            if node.rooms[room] == nil { scheduleRoomCheck(room, at: node) }
        case .yield(let room, let reason): yielded(room, reason, node)
        case .tell(let other, let room, let fence):
            guard let number = index(of: other), let link = node.links[number] else {
                return report("\(node.id) tells \(other) something without a link")
            }
            send(.fence(room, fence), from: node, to: nodes[number], link: link)
        case .dial(let other, _):
            if let number = index(of: other) { dial(node, number) }
        case .hangUp(let other):
            if let number = index(of: other) { hangUp(node, number) }
        case .drained: drained(node)
        case .superseded: report("\(node.id) is superseded")
        }
    }

    func index(of node: NodeID) -> Int? { Int(node.rawValue.dropFirst()) }
}
