import RoomCluster
import RoomProtocol
import TransportValues

/// The stay of a client at a node: one connection, from its hello on.
final class Stay {
    let client: Int
    /// Which of the client's connections this is.
    let attempt: Int
    let edge: ClusterNode
    /// When its hello came to the edge.
    var startedAt = Timestamp.zero
    let life: Int
    var waiter: Waiter
    /// The hello waits for a route.
    var isWaiting = false
    /// The link over which the hello is carried, and the node at its other end.
    var carrier: (node: ClusterNode, link: Int)?

    init(client: Int, attempt: Int, edge: ClusterNode, waiter: Waiter) {
        self.client = client
        self.attempt = attempt
        self.edge = edge
        self.waiter = waiter
        life = edge.life
    }
}

/// A member of a room at its owner.
struct ClusterMember {
    var stay: Stay
    /// The link over which it is connected, by its other end; nil if it is connected to the owner itself.
    var link: (node: ClusterNode, number: Int)?
    var disconnectedAt: Timestamp?
}

/// A room as a node's server knows it.
struct ServedRoom {
    /// By client.
    var members: [Int: ClusterMember] = [:]
}

/// A connection of a node to the store.
final class StoreConnection {
    let node: ClusterNode
    let life: Int
    let incarnation: Incarnation
    var isOpen = true
    var toStore = Fifo<(request: StoreRequest, id: RequestID)>()
    var toNode = Fifo<(reply: StoreReply, id: RequestID)>()
    var lastToStore = Timestamp.zero
    var lastToNode = Timestamp.zero

    init(_ node: ClusterNode) {
        self.node = node
        life = node.life
        incarnation = node.incarnation
    }
}

/// A node: its machine, and the shell around it.
final class ClusterNode {
    enum Process { case running, draining, dead, powerless }

    let index: Int
    let id: NodeID
    var machine: RoomClusterMachine
    var incarnation = Incarnation(0)
    var life = 0
    var process = Process.dead
    var pausedUntil = Timestamp.zero
    /// When it was last started, or went on.
    var resumedAt = Timestamp.zero
    /// From when on it has run, with the same connection to the store and, as far as it can know, its lease.
    var steadySince = Timestamp.distantFuture
    /// The end of its lease by the replies that it has got, and the requests that it waits for.
    var leaseEnd = Timestamp.zero
    var renewals: [RequestID: Timestamp] = [:]
    /// When it last asked the store for a room.
    var lastAsked: [RoomName: Timestamp] = [:]
    /// When it last learned of an owner, or that one cannot be reached.
    var lastLearned = Timestamp.zero
    /// For nodes whose rooms it has taken although they lived: their lives, and the renewals of their leases then.
    var evictions: [Int: (incarnation: Incarnation, renewals: UInt64)] = [:]
    var drainsSince = Timestamp.zero
    var clockOffset: Duration
    var timerAt: Timestamp?
    var connection: StoreConnection?
    var isConnecting = false
    /// The current link to each other node, by its number.
    var links: [Int: Int] = [:]
    /// A dial is under way to these nodes.
    var dialling: Set<Int> = []
    /// By room.
    var rooms: [RoomName: ServedRoom] = [:]
    /// The hellos that wait here, of clients and of other nodes, by waiter. `number` is that of the link for the
    /// latter.
    var waiting: [WaiterID: (stay: Stay, from: (node: ClusterNode, link: Int)?, since: Timestamp)] = [:]
    /// This process's knowledge of kicked and left clients, and of closed rooms.
    var marks: [RoomName: Set<Mark>] = [:]
    /// The rooms that it had when its drain began.
    var roomsAtDrain: Set<RoomName> = []
    var storeCuts = 0

    init(index: Int, machine: RoomClusterMachine, clockOffset: Duration) {
        self.index = index
        self.machine = machine
        self.clockOffset = clockOffset
        id = NodeID("n\(index)")
    }

    var isAlive: Bool { process == .running || process == .draining }
}

/// A client: somebody who wants to be in a room.
struct ClusterClient {
    enum Phase {
        case away
        case trying(Stay?)
        case joined(Stay, owner: Int, Fence)
        /// It does not come back.
        case gone
    }

    let index: Int
    let room: RoomName
    let session: SessionID
    var phase = Phase.away
    var attempt = 0
    var failures = 0
    /// The highest fence that it was ever told, which its token carries.
    var fence: Fence = 0
    /// It was removed, or its room closed, and it must never be let in with its session again.
    var banned: Mark?
    /// The times that it still tries to return although it is banned.
    var triesLeft = 2
    var lostAt: Timestamp?
}
