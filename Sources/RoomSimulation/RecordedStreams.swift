internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// `OutgoingStreams` whose calls are recorded, if there is a tape. Their methods are those of the streams.
struct RecordedOutgoingStreams {
    private(set) var streams: OutgoingStreams
    private let tape: VectorTape.Instance?

    init(lastID: UInt64, window: UInt64, tape: VectorTape.Instance?) {
        streams = OutgoingStreams(lastID: lastID, window: window)
        self.tape = tape
        tape?("init", [lastID, window], state: state)
    }

    private var state: [(String, Any)] { [("ids", streams.ids), ("newestID", streams.newestID)] }

    var ids: [UInt64] { streams.ids }

    mutating func open(length: UInt64?) -> UInt64? {
        let result = streams.open(length: length)
        tape?("open", [length as Any], result as Any, state: state)
        return result
    }

    mutating func begin(_ id: UInt64, count: Int) -> OutgoingStreams.Start {
        let result = streams.begin(id, count: count)
        tape?("begin", [id, count], result, state: state)
        return result
    }

    mutating func undo(_ id: UInt64, count: Int) {
        streams.undo(id, count: count)
        tape?("undo", [id, count], state: state)
    }

    mutating func end(_ id: UInt64) -> Bool {
        let result = streams.end(id)
        tape?("end", [id], result, state: state)
        return result
    }

    mutating func cancel(_ id: UInt64) -> Bool {
        let result = streams.cancel(id)
        tape?("cancel", [id], result, state: state)
        return result
    }

    mutating func windowReceived(_ id: UInt64, consumed: UInt64, limit: UInt64) -> UInt64? {
        let result = streams.windowReceived(id, consumed: consumed, limit: limit)
        tape?("windowReceived", [id, consumed, limit], result as Any, state: state)
        return result
    }

    mutating func finishedReceived(_ id: UInt64) -> UInt64? {
        let result = streams.finishedReceived(id)
        tape?("finishedReceived", [id], result as Any, state: state)
        return result
    }

    mutating func stopReceived(_ id: UInt64) -> Bool {
        let result = streams.stopReceived(id)
        tape?("stopReceived", [id], result, state: state)
        return result
    }

    mutating func restartReceived(last: UInt64) -> [UInt64] {
        let result = streams.restartReceived(last: last)
        tape?("restartReceived", [last], result, state: state)
        return result
    }

    mutating func removeAll() -> [UInt64] {
        let result = streams.removeAll()
        tape?("removeAll", [], result, state: state)
        return result
    }
}

/// `IncomingStreams` whose calls are recorded, if there is a tape. Their methods are those of the streams.
struct RecordedIncomingStreams {
    private(set) var streams: IncomingStreams
    private let tape: VectorTape.Instance?

    init(lastID: UInt64, window: UInt64, tape: VectorTape.Instance?) {
        streams = IncomingStreams(lastID: lastID, window: window)
        self.tape = tape
        tape?("init", [lastID, window], state: [("ids", streams.ids), ("newestID", streams.newestID)])
    }

    /// The budget of the instance.
    private static let budgetName = VectorJSON(text: "{\"$budget\":true}")

    private func state(_ budget: ReceiveWindow.Budget) -> [(String, Any)] {
        [("ids", streams.ids), ("newestID", streams.newestID), ("used", budget.used)]
    }

    var ids: [UInt64] { streams.ids }
    func unconsumed(_ id: UInt64) -> UInt64 {
        let result = streams.unconsumed(id)
        tape?("unconsumed", [id], result)
        return result
    }

    mutating func openReceived(
        _ id: UInt64, length: UInt64?, _ budget: inout ReceiveWindow.Budget
    ) -> IncomingStreams.Opening {
        let result = streams.openReceived(id, length: length, &budget)
        tape?("openReceived", [id, length as Any, Self.budgetName], result, state: state(budget))
        return result
    }

    mutating func dataReceived(
        _ id: UInt64, count: Int, _ budget: inout ReceiveWindow.Budget
    ) -> IncomingStreams.Chunk {
        let result = streams.dataReceived(id, count: count, &budget)
        tape?("dataReceived", [id, count, Self.budgetName], result, state: state(budget))
        return result
    }

    mutating func endReceived(_ id: UInt64, _ budget: inout ReceiveWindow.Budget) -> IncomingStreams.End {
        let result = streams.endReceived(id, &budget)
        tape?("endReceived", [id, Self.budgetName], result, state: state(budget))
        return result
    }

    mutating func resetReceived(_ id: UInt64, _ budget: inout ReceiveWindow.Budget) -> Bool {
        let result = streams.resetReceived(id, &budget)
        tape?("resetReceived", [id, Self.budgetName], result, state: state(budget))
        return result
    }

    mutating func restartReceived(first: UInt64, _ budget: inout ReceiveWindow.Budget) -> [UInt64] {
        let result = streams.restartReceived(first: first, &budget)
        tape?("restartReceived", [first, Self.budgetName], result, state: state(budget))
        return result
    }

    mutating func consume(
        _ id: UInt64, count: Int, now: Timestamp, _ budget: inout ReceiveWindow.Budget
    ) -> IncomingStreams.Grant? {
        let result = streams.consume(id, count: count, now: now, &budget)
        tape?("consume", [id, count, now, Self.budgetName], result as Any, state: state(budget))
        return result
    }

    mutating func finish(_ id: UInt64, _ budget: inout ReceiveWindow.Budget) -> Bool {
        let result = streams.finish(id, &budget)
        tape?("finish", [id, Self.budgetName], result, state: state(budget))
        return result
    }

    mutating func stop(_ id: UInt64, _ budget: inout ReceiveWindow.Budget) -> Bool {
        let result = streams.stop(id, &budget)
        tape?("stop", [id, Self.budgetName], result, state: state(budget))
        return result
    }

    mutating func removeAll(_ budget: inout ReceiveWindow.Budget) -> [UInt64] {
        let result = streams.removeAll(&budget)
        tape?("removeAll", [Self.budgetName], result, state: state(budget))
        return result
    }
}
