internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// The topics and requests of one end of the data path: their machines, and what its application waits for.
final class ExchangeEnds {
    /// A message that the delivery counts.
    enum Counted {
        case message
        case topic(String, UInt64)
    }

    var budget = ReceiveWindow.Budget()
    private let budgetName: VectorJSON
    var topicSender: RecordedMachine<TopicSender>
    var topicReceiver: RecordedMachine<TopicReceiver>
    /// By topic, how many messages wait for the window or the buffer.
    var waiting: [String: Int] = [:]
    /// The latest that was accepted on the reliable channel, as much as may not be acknowledged yet.
    var counted: [Counted] = []

    var outgoing: RecordedMachine<OutgoingRequests>
    var incoming: RecordedMachine<IncomingRequests>
    /// The requests whose application waits, with their deadlines.
    var calls: [UInt64: (method: String, deadline: Timestamp?)] = [:]
    /// Those of them that the buffer has not taken.
    var unsent: [UInt64] = []
    /// The requests whose handler runs here.
    var handlers: Set<UInt64> = []
    /// When the deadlines are looked at, by the clock of the simulation.
    var timerAt: Timestamp?
    /// The session of either side has ended.
    var isClosed = false

    /// Small, so that publishers run into it.
    static let window: UInt64 = 600

    /// `base`: the ids of requests begin after it.
    init(_ record: ExchangeRecord, base: UInt64, _ tapes: ExchangeTapes) {
        topicSender = RecordedMachine(record.topicSender, tapes.sender)
        topicReceiver = RecordedMachine(record.topicReceiver, tapes.receiver)
        outgoing = RecordedMachine(OutgoingRequests(after: base), tapes.outgoing)
        incoming = RecordedMachine(IncomingRequests(after: record.lastRequest), tapes.incoming)
        budgetName = tapes.budgetName
    }

    /// Returns the rest of the machines, which is remembered. Their further calls change nothing of it.
    func end() -> ExchangeRecord {
        isClosed = true
        topicSender.end()
        topicReceiver.end()
        return ExchangeRecord(topicSender.machine, topicReceiver.machine, outgoing.machine, incoming.machine)
    }

    // MARK: Topics that come

    func index(of topic: String) -> Int? {
        Array(topic.utf8).withUnsafeBytes { topicReceiver.index(of: $0, &budget, budgetName) }
    }

    func grant(_ index: Int, now: Timestamp) -> UInt64? {
        topicReceiver.grant(index, now: now, &budget, budgetName)
    }

    func note(_ accepted: Counted, unacknowledged: Int) {
        counted.append(accepted)
        if counted.count > 2 * unacknowledged + 256 { counted.removeFirst(counted.count - unacknowledged) }
    }
}

/// The topics and requests in one direction between two sessions, as the simulation knows them from both ends.
final class ExchangeBook {
    struct Topic {
        var sent: UInt64 = 0
        var arrived: UInt64 = 0
        /// Messages that were dropped with the session, or with the sender's belief in the other one.
        var givenUp: Set<UInt64> = []
        /// The latest that the subscriber has read.
        var read: UInt64 = 0
        var lossySent: UInt64 = 0
        var lossyArrived: Set<UInt64> = []
    }

    /// The end of a request for the application that made it.
    enum CallEnd: Equatable {
        case answer
        case failure
        case timedOut
        case cancelled
        case gone
    }

    struct Call {
        var end: CallEnd?
        /// How often its handler was started.
        var runs = 0
        /// The receiver has sent an answer or a failure.
        var isAnswered = false
    }

    static let topics = ["a", "b", "c"]
    private var all = ExchangeBook.topics.map { _ in Topic() }
    var calls: [UInt64: Call] = [:]

    /// A topic of `topics`.
    subscript(name: String) -> Topic {
        _read { yield all[Self.place(of: name)] }
        _modify { yield &all[Self.place(of: name)] }
    }

    private static func place(of topic: String) -> Int {
        guard let place = topics.firstIndex(of: topic) else { preconditionFailure("nobody publishes \(topic)") }
        return place
    }
}

/// The body of a message of a topic, of a request or of an answer. All of it is known.
struct ExchangeBody {
    var ledger: Int
    var number: UInt64

    static let headLength = 12

    var isText: Bool { number & 1 == 1 }
    private var count: Int { Self.headLength + Int(number % 30) }

    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        withUnsafeBytes(of: UInt32(ledger).bigEndian) { bytes.append(contentsOf: $0) }
        withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) }
        for index in bytes.count..<count { bytes.append(filler(index)) }
        return bytes
    }

    private func filler(_ index: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: Int(truncatingIfNeeded: number) &* 3 &+ index)
    }

    init(ledger: Int, number: UInt64) {
        self.ledger = ledger
        self.number = number
    }

    /// Nil: it is not as it was sent.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Self.headLength else { return nil }
        ledger = Int(UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
        number = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt64.self))
        guard bytes.count == count else { return nil }
        for index in Self.headLength..<count where bytes[index] != filler(index) { return nil }
    }
}

/// A message of a topic that a subscriber has not read.
struct UnreadTopicMessage {
    let stream: PeerStream
    /// The receiver's number of the topic; nil: it is lossy, and has no window.
    let topic: Int?
    let cost: Int
    let number: UInt64
}

/// An event of topics and requests.
enum ExchangeOccurrence {
    /// A subscriber reads of a topic.
    case read(node: Int, life: Int, topic: String)
    /// A handler has its answer.
    case handled(PeerStream, UInt64, method: String)
    /// An application waits no longer for an answer.
    case cancel(PeerStream, UInt64)
    case timer(PeerStream)
    /// The buffer may take a request that it had no room for.
    case retry(PeerStream)
}

/// The events of topics and requests that are counted.
package enum ExchangeCount: Sendable {
    /// Messages that subscribers have read.
    case read
    case lossy
    /// Messages that nobody had subscribed to.
    case unwanted
    /// Publishers that had to wait.
    case waits
    /// Sides that have told the other one that they had given it up.
    case restarts
    // Requests, by their ends.
    case answers, failures, timeouts, cancellations, gone
}
