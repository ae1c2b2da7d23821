internal import RoomCore
internal import RoomProtocol
internal import RoomServerCore
internal import TransportValues

/// One participant: its machine, and what an application would have seen of it.
final class Node {
    let index: Int
    /// In reports.
    let name: String
    /// The name under which it joins.
    var participantName: String
    /// Another participant joins under its name. Its machine does not know it yet; its user joins again under this one.
    var nameAfterReplacement: String?
    var replacedAt = Timestamp.zero
    /// The server knew it when the other one came into the room.
    var wasKnownWhenReplaced = false
    var machine: RoomMachine
    /// Which machine of this participant it is; what belongs to an older one is dropped.
    var life = 0
    var timers: [RoomMachine.TimerID: Timer] = [:]
    var connections: [ConnectionGeneration: SignalingConnection] = [:]
    var endpoints: [PeerConnectionID: Endpoint] = [:]
    var streams: [ParticipantID: PeerStream] = [:]
    var memory = DeliveryMemory()
    var membership: RoomMembership?
    /// Its program has streams, topics and requests.
    var hasExchange = true
    /// The topics to which it subscribes, and what it has not read of them.
    var subscriptions: Set<String> = ["a", "b"]
    var unread: [String: [UnreadTopicMessage]] = [:]
    /// The topics of which it is about to read.
    var reading: Set<String> = []
    /// Links so far that have requests.
    var exchangeLinks: UInt64 = 0
    /// The server whose streams its machine has a place in.
    var stream: Server?
    /// The roster as the events tell it.
    var roster: [ParticipantID: Participant] = [:]
    var end: EndReason?
    var hasLeft = false
    /// The host has tried to remove it.
    var isKicked = false
    var refusesNext = false
    /// The server has called its epoch stale: it may ask for a rejoin.
    var isStale = false
    /// Of its machine's connections and attempts.
    var newestGeneration: ConnectionGeneration?
    /// It counts its attempts in `hello`.
    var countsAttempts = true
    /// The latest of the numbered messages of its streams: what it has sent, and what the server has.
    var sentUp: [Envelope<ClientMessage>] = []
    var sentDown: [(connection: SignalingConnection, envelope: Envelope<ServerMessage>)] = []
    /// The last number of the server's stream that its machine was given.
    var taken: SequenceNumber = 0
    var metadata: [String: String] = [:]

    /// A join token from the provider's cache: when it expires.
    var cachedToken: Timestamp?
    var tokenProvider = SimulatedProvider()
    /// The relays' credentials in the cache of the provider of ICE servers: when they expire.
    var cachedRelays: Timestamp?
    var iceServerProvider = SimulatedProvider()
    /// When the provider of ICE servers last failed or did not answer at once.
    var lastICEServerTrouble: Timestamp?

    /// The name of its machine among those of all participants.
    var machineName: String { "\(name).\(life)" }

    // The network around it. Faults may overlap, so cuts are counted.
    /// Its way leads to the second server.
    var usesSecond = false
    var signalingUpCuts = 0
    var signalingDownCuts = 0
    var pathCuts = 0
    var slowness: Duration = .zero
    var losses = 0
    /// Counts addresses.
    var network = 0
    /// How many faults leave its machine without a network.
    var downs = 0
    /// Of its one interface; nil while there is no network.
    var address: String? { downs > 0 ? nil : "10.0.\(index).\(network)" }
    var reachableNetwork: Int? { downs > 0 ? nil : network }
    /// The addresses of all interfaces, including one that leads nowhere.
    var addresses: Set<String> { Set([address, index % 2 == 1 ? "172.17.0.1" : nil].compactMap(\.self)) }
    var suspendedUntil = Timestamp.zero
    /// When that began, the last time.
    var suspendedSince = Timestamp.zero
    /// Asleep, not stopped: its clock stands still.
    var isAsleep = false
    /// How far its clock is ahead.
    var clockOffset: Duration = .zero
    var clockJumps: [(at: Timestamp, by: Duration)] = []

    // What it did, for the bounds.
    var opens: [Timestamp] = []
    var sends: [Timestamp] = []
    var restarts: [ParticipantID: [Timestamp]] = [:]
    var incidents: [RoomIncident] = []
    var deadSince: Timestamp?
    /// It is in the room and in touch with the server.
    var calmSince: Timestamp?
    var lastInTouch: Timestamp?

    struct Timer {
        var token: UInt64
        /// By the participant's clock.
        var deadline: Timestamp
    }

    var isHost: Bool { reading { $0.membership?.isHost ?? false } }

    /// Reads from the machine in place. A plain read of a property would copy all of it.
    func reading<Value>(_ body: (inout RoomMachine) -> Value) -> Value { body(&machine) }

    init(index: Int, machine: RoomMachine) {
        self.index = index
        self.machine = machine
        name = "n\(index)"
        participantName = name
    }
}
