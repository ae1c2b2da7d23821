internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// One end of the data path between two sessions: the smallest shell around a `DeliveryLink`. It outlives peer
/// connections.
final class PeerStream {
    let node: Node
    let life: Int
    let remote: ParticipantID
    @exclusivity(unchecked) var link: RecordedLink
    var outbox: RecordedOutbox
    /// Indices of ledgers.
    let outgoing: Int
    let incoming: Int
    /// Its peer connection. They own each other until they are detached.
    var endpoint: Endpoint?
    var timers = StreamTimers()
    var transfers: TransferEnds
    /// Topics and requests, where the scenario has them.
    var exchange: ExchangeEnds?
    /// The latest frames of the reliable stream that were sent.
    var sent: [(frame: Packet, sequence: UInt64)] = []
    /// Messages that were dropped while the connection was broken, and that it was not told of yet.
    var unreported = 0

    /// Bytes in the buffer of a channel; above it an application would wait.
    static let bufferLimit = 6000
    static let bulkLimit = 800
    static let messageLimit = 400
    /// Bytes of a message that connections take.
    static let frameLimit = 64

    init(
        node: Node, remote: ParticipantID, streams: NumberedStreams, level: DeliveryLevel, outgoing: Int,
        incoming: Int, tape: VectorTape?
    ) {
        self.node = node
        life = node.life
        self.remote = remote
        self.outgoing = outgoing
        self.incoming = incoming
        let name = tape?.uniqueName("\(node.machineName)") ?? ""
        transfers = TransferEnds(streams.record, tape, name)
        link = RecordedLink(
            streams: streams, level: level, messageLimit: Self.messageLimit, memory: node.machineName,
            tape: tape?.instance("DeliveryLink", name, group: "delivery"))
        var limits = DeliveryOutbox.Limits(buffer: Self.bufferLimit, message: Self.messageLimit)
        limits.bulk = Self.bulkLimit
        limits.block = 2048
        limits.frame = Self.frameLimit
        outbox = RecordedOutbox(
            level: level, streams: streams, limits: limits,
            tape: tape?.instance("DeliveryOutbox", name, group: "delivery"))
    }

    // Gives the memory back.
    deinit { link.free(&outbox) }
}

/// The bytes of one message of a transport, at most `PeerStream.frameLimit` of them: there is nothing to count
/// references of.
struct Packet: BitwiseCopyable {
    let isText: Bool
    let count: Int
    private var bytes: [64 of UInt8] = .init(repeating: 0)

    init(_ bytes: UnsafeRawBufferPointer, isText: Bool) {
        precondition(bytes.count <= 64)
        self.isText = isText
        count = bytes.count
        var span = self.bytes.mutableSpan
        span.withUnsafeMutableBytes { $0.copyMemory(from: bytes) }
    }

    func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        bytes.span.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }
}

/// A message of an association that comes in order.
enum Frame {
    /// A channel is opened (RFC 8832).
    case open(ChannelID, ChannelParameters)
    case message(ChannelID, Packet)
    /// A channel is closed (RFC 8831 §6.7).
    case close(ChannelID)
}

/// One direction of an association: ordered, and as long as the association lives nothing is lost.
final class Pipe {
    var frames = Fifo<Frame>()
    var isScheduled = false
    /// Frames that still come through while nothing comes back.
    var credit = Pipe.window
    /// The channels that were told to wait.
    var blocked: Set<ChannelID> = []

    static let window = 8
    /// Frames at which it takes no more.
    static let highWater = 48
    static let lowWater = 16
}

/// The messages of one direction of an association on unordered channels: each message in a datagram of its own, which
/// may be lost, come twice, or be overtaken. SCTP takes each once, and repeats what is lost where the channel wants it
/// (RFC 3758).
final class PlainPipe {
    struct Message {
        var id: ChannelID
        var channel: DeliveryChannel
        /// Of its ledger.
        var number: UInt64
        var packet: Packet
    }
    private var nextTSN: UInt64 = 0
    /// By transmission sequence number.
    private(set) var underWay: [UInt64: Message] = [:]
    /// Bytes and channels by `DeliveryChannel.rawValue`.
    private(set) var bytes = DeliveryChannel.allCases.map { _ in 0 }
    var blocked: [ChannelID?] = DeliveryChannel.allCases.map { _ in nil }

    static let highWater = 3000
    static let lowWater = 1000

    func isFull(_ channel: DeliveryChannel) -> Bool { bytes[channel.rawValue] >= Self.highWater }
    var numbers: [UInt64] { underWay.keys.sorted() }

    func push(_ message: Message) -> UInt64 {
        nextTSN += 1
        underWay[nextTSN] = message
        bytes[message.channel.rawValue] += message.packet.count
        return nextTSN
    }

    func take(_ number: UInt64) -> Message? {
        let message = underWay.removeValue(forKey: number)
        if let message { bytes[message.channel.rawValue] -= message.packet.count }
        return message
    }

    /// The channel that may go on, if one waited.
    func takeWritable(_ channel: DeliveryChannel) -> ChannelID? {
        guard bytes[channel.rawValue] <= Self.lowWater, let id = blocked[channel.rawValue] else { return nil }
        blocked[channel.rawValue] = nil
        return id
    }
}

/// The token of each timer of a link that is set. There are few timers, so each has its place.
struct StreamTimers {
    private var tokens: [11 of UInt64] = .init(repeating: 0)

    /// Tokens begin with 1.
    subscript(timer: DeliveryLink.TimerID) -> UInt64? {
        get {
            let token = tokens[Self.place(of: timer)]
            return token == 0 ? nil : token
        }
        set { tokens[Self.place(of: timer)] = newValue ?? 0 }
    }

    mutating func removeAll() { tokens = .init(repeating: 0) }

    private static func place(of timer: DeliveryLink.TimerID) -> Int {
        switch timer {
        case .watch: 0
        case .acknowledgement(let channel): 1 + channel.rawValue
        case .reopening(let channel): 6 + channel.rawValue
        }
    }
}

struct SessionPair: Hashable {
    var from: SessionID
    var to: SessionID
}
