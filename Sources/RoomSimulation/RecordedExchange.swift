internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// The tapes of topics and requests between two sessions, as one side has them. Those of the topics' windows go on with
/// the next link.
struct ExchangeTapes {
    private static let group = "exchange"

    /// Nil: nothing is recorded.
    private let tape: VectorTape?
    private(set) var sender: VectorTape.Instance?
    private(set) var receiver: VectorTape.Instance?
    private var record: VectorTape.Instance?
    private(set) var outgoing: VectorTape.Instance?
    private(set) var incoming: VectorTape.Instance?
    private var budget: VectorJSON?

    init(_ tape: VectorTape?) { self.tape = tape }

    /// There is a new record, whose windows have this size.
    mutating func recordMade(window: UInt64) {
        sender = instance("TopicSender", window)
        receiver = instance("TopicReceiver", window)
        record = instance("ExchangeRecord", sender, receiver)
    }

    /// A link begins with the record.
    mutating func recordRestarted(firstRequest: UInt64, _ messages: [[UInt8]]) {
        guard let name = tape?.uniqueName("ExchangeEnds") else { return }
        budget = VectorJSON(text: "{\"$budget\":\"\(name)\"}")
        record?("restart", [firstRequest, budget as Any], messages)
    }

    /// The requests of the link are made.
    mutating func requestsMade(base: UInt64, lastIncoming: UInt64) {
        outgoing = instance("OutgoingRequests", base)
        incoming = instance("IncomingRequests", lastIncoming)
    }

    /// The link has ended, and a record is made of the rest.
    mutating func recordKept() { record = instance("ExchangeRecord", sender, receiver, outgoing, incoming) }

    /// The budget of the link's windows, as an argument.
    var budgetName: VectorJSON { budget ?? VectorJSON(text: "null") }

    private func instance(_ machine: String, _ size: UInt64) -> VectorTape.Instance? {
        let instance = tape?.instance(machine, tape?.uniqueName(machine) ?? "", group: Self.group)
        instance?("init", [size])
        return instance
    }

    private func instance(_ machine: String, _ parts: VectorTape.Instance?...) -> VectorTape.Instance? {
        let instance = tape?.instance(machine, tape?.uniqueName(machine) ?? "", group: Self.group)
        instance?("init", parts.map { $0.map(\.reference) as Any })
        return instance
    }
}

/// A machine of topics or requests whose calls are recorded until `end`, if there is a tape.
struct RecordedMachine<Machine> {
    private(set) var machine: Machine
    private var tape: VectorTape.Instance?

    init(_ machine: Machine, _ tape: VectorTape.Instance?) {
        self.machine = machine
        self.tape = tape
    }

    /// Makes a call.
    @discardableResult
    mutating func callAsFunction<Result>(
        _ method: String, _ arguments: @autoclosure () -> [Any], _ body: (inout Machine) -> Result
    ) -> Result {
        let result = body(&machine)
        tape?(method, arguments(), result is Void ? nil : result)
        return result
    }

    /// Records no further calls: the other side has another machine from now on.
    mutating func end() { tape = nil }
}

extension RecordedMachine<TopicSender> {
    mutating func begin(_ topic: ByteText, count: Int) -> TopicSender.Start {
        self("begin", [topic, count]) { $0.begin(topic, count: count) }
    }

    mutating func undo(_ topic: ByteText, count: Int) { self("undo", [topic, count]) { $0.undo(topic, count: count) } }

    mutating func grant(_ topic: ByteText, limit: UInt64) -> Bool? {
        self("grant", [topic, limit]) { $0.grant(topic, limit: limit) }
    }
}

extension RecordedMachine<TopicReceiver> {
    mutating func index(
        of name: UnsafeRawBufferPointer, _ budget: inout ReceiveWindow.Budget, _ budgetName: VectorJSON
    ) -> Int? {
        self("index", [[UInt8](name), budgetName]) { $0.index(of: name, &budget) }
    }

    mutating func receive(_ index: Int, count: Int) -> Bool {
        self("receive", [index, count]) { $0.receive(index, count: count) }
    }

    mutating func consume(_ index: Int, cost: Int) -> Bool {
        self("consume", [index, cost]) { $0.consume(index, cost: cost) }
    }

    mutating func grant(
        _ index: Int, now: Timestamp, _ budget: inout ReceiveWindow.Budget, _ budgetName: VectorJSON
    ) -> UInt64? {
        self("grant", [index, now, budgetName]) { $0.grant(index, now: now, &budget) }
    }

    mutating func skip(_ index: Int, to sent: UInt64) -> Bool {
        self("skip", [index, sent]) { $0.skip(index, to: sent) }
    }

    mutating func name(of index: Int) -> String { self("name", [index]) { $0.name(of: index) } }
}

extension RecordedMachine<OutgoingRequests> {
    mutating func begin(deadline: Timestamp?) -> (id: UInt64, isStarted: Bool) {
        self("begin", [deadline as Any]) { $0.begin(deadline: deadline) }
    }

    mutating func sent(_ id: UInt64) -> OutgoingRequests.End? { self("sent", [id]) { $0.sent(id) } }
    mutating func refused(_ id: UInt64) -> OutgoingRequests.End { self("refused", [id]) { $0.refused(id) } }
    mutating func answered(_ id: UInt64) -> OutgoingRequests.End? { self("answered", [id]) { $0.answered(id) } }
    mutating func giveUp(_ id: UInt64) -> OutgoingRequests.End? { self("giveUp", [id]) { $0.giveUp(id) } }

    mutating func restartReceived(last: UInt64) -> [UInt64] {
        self("restartReceived", [last]) { $0.restartReceived(last: last) }
    }

    mutating func nextDeadline() -> Timestamp? { self("nextDeadline", []) { $0.nextDeadline } }
    mutating func late(now: Timestamp) -> [UInt64] { self("late", [now]) { $0.late(now: now) } }
    mutating func close() { self("close", []) { $0.close() } }
}

extension RecordedMachine<IncomingRequests> {
    mutating func received(_ id: UInt64, count: Int, deadline: Timestamp?) -> IncomingRequests.Arrival {
        self("received", [id, count, deadline as Any]) { $0.received(id, count: count, deadline: deadline) }
    }

    mutating func cancelled(_ id: UInt64) -> Bool { self("cancelled", [id]) { $0.cancelled(id) } }

    mutating func restartReceived(first: UInt64) -> [UInt64] {
        self("restartReceived", [first]) { $0.restartReceived(first: first) }
    }

    mutating func isWanted(_ id: UInt64) -> Bool { self("isWanted", [id]) { $0.isWanted(id) } }
    mutating func finished(_ id: UInt64) { self("finished", [id]) { $0.finished(id) } }
    mutating func nextDeadline() -> Timestamp? { self("nextDeadline", []) { $0.nextDeadline } }
    mutating func late(now: Timestamp) -> [UInt64] { self("late", [now]) { $0.late(now: now) } }
}
