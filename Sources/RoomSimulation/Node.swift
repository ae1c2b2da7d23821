internal import RoomCore
internal import RoomProtocol
internal import RoomServerCore
internal import TransportValues

/// One participant: its machine, and what an application would have seen of it.
final class Node {
    let index: Int
    let name: String
    var machine: RoomMachine
    /// Which machine of this participant it is; what belongs to an older one is dropped.
    var life = 0
    var timers: [RoomMachine.TimerID: Timer] = [:]
    var links: [ConnectionGeneration: Link] = [:]
    var endpoints: [PeerConnectionID: Endpoint] = [:]
    var streams: [ParticipantID: PeerStream] = [:]
    var memory = DeliveryMemory()
    var membership: RoomMembership?
    /// Whose streams its machine has a place in.
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
    var sentDown: [Envelope<ServerMessage>] = []
    /// The last number of the server's stream that its machine was given.
    var taken: SequenceNumber = 0
    var metadata: [String: String] = [:]

    /// A join token from the provider's cache: when it expires.
    var cachedToken: Timestamp?
    /// Counts calls of the token provider.
    var lastTokenRequest: UInt64 = 0
    /// The call that is waited for.
    var tokenRequest: UInt64?
    /// Calls that have not come back; those that were given up included.
    var hangingProviders = 0
    var tokenHangs = 0
    var tokenFailures = 0
    var tokenRequests: [Timestamp] = []

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
    /// Those of interfaces that lead nowhere included.
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

    /// Looks at the machine where it is. A plain read of a property would copy all of it.
    func reading<Value>(_ body: (inout RoomMachine) -> Value) -> Value { body(&machine) }

    init(index: Int, machine: RoomMachine) {
        self.index = index
        self.machine = machine
        name = "n\(index)"
    }
}

/// One signaling connection between a participant and the server, with a mind of TCP: in order, and repeated while the
/// network is cut, as long as both ends are there.
final class Link {
    enum Frame {
        case message(Envelope<ClientMessage>)
        case closed
    }
    enum ServerFrame {
        case message(Envelope<ServerMessage>)
        /// Nil: in order.
        case closed(SignalingFailure?)
    }
    let id: ConnectionID
    let node: Int
    let life: Int
    let generation: ConnectionGeneration
    /// Which server it leads to; nil before it is there.
    var server: Server?
    /// The address that it leaves from.
    var localAddress: String?
    var isOpenAtClient = false
    var isOpenAtServer = false
    /// The attempt, or the connection, was given up by the machine.
    var isAbandoned = false
    /// Nothing comes through any more, and nobody is told.
    var isDead = false
    /// By the participant's clock.
    var openedAt = Timestamp.zero
    var lastUp = Timestamp.zero
    var lastDown = Timestamp.zero
    /// Messages on their way take another one, and do not arrive before this time.
    var isLateUntil = Timestamp.zero
    /// The contents of its `hello`, and of the server's answer.
    var resume: Resume?
    var joined: (session: SessionID, epoch: Epoch)?
    /// On their way; the oldest first. They wait here while the network is cut.
    var up = Fifo<Frame>()
    var down = Fifo<ServerFrame>()

    init(id: ConnectionID, node: Int, life: Int, generation: ConnectionGeneration) {
        self.id = id
        self.node = node
        self.life = life
        self.generation = generation
    }
}

/// The server's machine, where it can be changed in place.
final class Server {
    var machine: RoomServerMachine
    /// The highest epoch of a session whose client has said something over it.
    var confirmed: [SessionID: Epoch] = [:]
    /// The last number of a session's stream that the machine was given.
    var taken: [SessionID: SequenceNumber] = [:]
    var timerAt: Timestamp?
    init(_ machine: RoomServerMachine) { self.machine = machine }
}

/// One end of a peer connection.
final class Endpoint {
    let line: Line
    let node: Node
    let life: Int
    let remote: ParticipantID
    let isOfferer: Bool
    let stream: PeerStream?
    /// The data channels that are open here.
    var channels: [DataChannel] = []
    /// Those that wait for the association.
    var waiting: [(ChannelID, ChannelParameters)] = []
    /// Of the ids that this end has given.
    var lastChannel = -2
    /// When the credentials of the relays that it uses now expire.
    var relayExpiry = Timestamp.distantFuture
    var state = PeerConnectionState.new
    var isSuspect = false
    /// Of the path that its machine was told of.
    var pathAddress: String?
    /// It hears nothing, and will notice in its time, whatever else happens meanwhile.
    var isInSilence = false
    var isClosed = false
    var deadSince: Timestamp?
    var plainPipe: PlainPipe { line.plainPipe(fromOfferer: isOfferer) }
    /// Counts judgements of the path; an older one is void.
    var judgement = 0

    struct DataChannel {
        var id: ChannelID
        var parameters: ChannelParameters
        /// The room's channel with the same promises.
        var channel: DeliveryChannel
        /// The shell knows that it is open.
        var isTold = false

        init(_ id: ChannelID, _ parameters: ChannelParameters) {
            self.id = id
            self.parameters = parameters
            channel = parameters.isOrdered ? .reliable : parameters.reliability == .reliable ? .unordered : .lossy
        }
    }

    /// The promises of an open channel; nil when it is not open.
    func kind(of id: ChannelID) -> DeliveryChannel? {
        for channel in channels where channel.id == id { return channel.channel }
        return nil
    }

    init(line: Line, node: Node, remote: ParticipantID, isOfferer: Bool) {
        stream = node.streams[remote]
        self.line = line
        self.node = node
        life = node.life
        self.remote = remote
        self.isOfferer = isOfferer
    }
}

/// A peer connection as a whole: what the two ends have described to each other, and which round carries data.
final class Line {
    struct Round {
        /// Nil: there was none when the round was described, or it is not described yet.
        var offererNetwork: Int?
        var answererNetwork: Int?
        var offererAddress: String?
        var answererAddress: String?
        /// Until when the relays of both ends let data through.
        var expiry: Timestamp
        var isAnswered = false
        var candidates = 0
        /// How often a path is looked for.
        var patience: Int
        var tries = 0
    }
    let id: PeerConnectionID
    var offerer: Endpoint?
    var answerer: Endpoint?
    var rounds: [Round] = []
    var selected: Int?
    /// Since when the selected path has worked both ways.
    var worksSince: Timestamp?
    /// Single heartbeats are looked at, since some are lost.
    var isBeating = false
    /// The association, from the offerer and from the answerer.
    var isEstablished = false
    private let fromOfferer = Pipe()
    private let fromAnswerer = Pipe()
    private let plainFromOfferer = PlainPipe()
    private let plainFromAnswerer = PlainPipe()

    init(id: PeerConnectionID) { self.id = id }

    /// Both ends are closed. They and the line own each other.
    func dissolve() {
        offerer = nil
        answerer = nil
    }

    func pipe(fromOfferer isFromOfferer: Bool) -> Pipe { isFromOfferer ? fromOfferer : fromAnswerer }
    func plainPipe(fromOfferer isFromOfferer: Bool) -> PlainPipe {
        isFromOfferer ? plainFromOfferer : plainFromAnswerer
    }
    func end(isOfferer: Bool) -> Endpoint? { isOfferer ? offerer : answerer }
    func other(than endpoint: Endpoint) -> Endpoint? { endpoint.isOfferer ? answerer : offerer }
}
