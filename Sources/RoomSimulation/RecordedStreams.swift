internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// Streams whose calls are recorded, if there is a tape. Their methods are those of the streams.
struct Recorded<Streams: StreamTable> {
    private(set) var streams: Streams
    private let tape: VectorTape.Instance?

    init(lastID: UInt64, window: UInt64, tape: VectorTape.Instance?) {
        streams = Streams(lastID: lastID, window: window)
        self.tape = tape
        tape?("init", [lastID, window], state: state)
    }

    private var state: [(String, Any)] { [("ids", streams.ids), ("newestID", streams.newestID)] }

    var ids: [UInt64] { streams.ids }
}

/// The streams of either direction.
protocol StreamTable {
    init(lastID: UInt64, window: UInt64)
    var ids: [UInt64] { get }
    var newestID: UInt64 { get }
}

extension OutgoingStreams: StreamTable {}
extension IncomingStreams: StreamTable {}

/// The budget of the instance.
private let budgetName = VectorJSON(text: "{\"$budget\":true}")

extension Recorded<OutgoingStreams> {
    mutating func open(length: UInt64?) -> UInt64? { recorded("open", [length as Any]) { $0.open(length: length) } }

    mutating func begin(_ id: UInt64, count: Int) -> OutgoingStreams.Start {
        recorded("begin", [id, count]) { $0.begin(id, count: count) }
    }

    mutating func undo(_ id: UInt64, count: Int) { recorded("undo", [id, count]) { $0.undo(id, count: count) } }

    mutating func end(_ id: UInt64) -> Bool { recorded("end", [id]) { $0.end(id) } }

    mutating func cancel(_ id: UInt64) -> Bool { recorded("cancel", [id]) { $0.cancel(id) } }

    mutating func windowReceived(_ id: UInt64, consumed: UInt64, limit: UInt64) -> UInt64? {
        recorded("windowReceived", [id, consumed, limit]) { $0.windowReceived(id, consumed: consumed, limit: limit) }
    }

    mutating func finishedReceived(_ id: UInt64) -> UInt64? {
        recorded("finishedReceived", [id]) { $0.finishedReceived(id) }
    }

    mutating func stopReceived(_ id: UInt64) -> Bool { recorded("stopReceived", [id]) { $0.stopReceived(id) } }

    mutating func restartReceived(last: UInt64) -> [UInt64] {
        recorded("restartReceived", [last]) { $0.restartReceived(last: last) }
    }

    mutating func removeAll() -> [UInt64] { recorded("removeAll", []) { $0.removeAll() } }

    private mutating func recorded<Result>(
        _ method: String, _ arguments: @autoclosure () -> [Any], _ body: (inout OutgoingStreams) -> Result
    ) -> Result {
        let result = body(&streams)
        tape?(method, arguments(), result is Void ? nil : result, state: state)
        return result
    }
}

extension Recorded<IncomingStreams> {
    private func state(_ budget: ReceiveWindow.Budget) -> [(String, Any)] { state + [("used", budget.used)] }

    func isOpen(_ id: UInt64) -> Bool { streams.isOpen(id) }

    func unconsumed(_ id: UInt64) -> UInt64 {
        let result = streams.unconsumed(id)
        tape?("unconsumed", [id], result)
        return result
    }

    mutating func openReceived(
        _ id: UInt64, length: UInt64?, _ budget: inout ReceiveWindow.Budget
    ) -> IncomingStreams.Opening {
        recorded("openReceived", [id, length as Any], &budget) { $0.openReceived(id, length: length, &$1) }
    }

    mutating func dataReceived(
        _ id: UInt64, count: Int, _ budget: inout ReceiveWindow.Budget
    ) -> IncomingStreams.Chunk {
        recorded("dataReceived", [id, count], &budget) { $0.dataReceived(id, count: count, &$1) }
    }

    mutating func endReceived(_ id: UInt64, _ budget: inout ReceiveWindow.Budget) -> IncomingStreams.End {
        recorded("endReceived", [id], &budget) { $0.endReceived(id, &$1) }
    }

    mutating func resetReceived(_ id: UInt64, _ budget: inout ReceiveWindow.Budget) -> Bool {
        recorded("resetReceived", [id], &budget) { $0.resetReceived(id, &$1) }
    }

    mutating func restartReceived(first: UInt64, _ budget: inout ReceiveWindow.Budget) -> [UInt64] {
        recorded("restartReceived", [first], &budget) { $0.restartReceived(first: first, &$1) }
    }

    mutating func consume(
        _ id: UInt64, count: Int, now: Timestamp, _ budget: inout ReceiveWindow.Budget
    ) -> IncomingStreams.Grant? {
        recorded("consume", [id, count, now], &budget) { $0.consume(id, count: count, now: now, &$1) }
    }

    mutating func finish(_ id: UInt64, _ budget: inout ReceiveWindow.Budget) -> Bool {
        recorded("finish", [id], &budget) { $0.finish(id, &$1) }
    }

    mutating func stop(_ id: UInt64, _ budget: inout ReceiveWindow.Budget) -> Bool {
        recorded("stop", [id], &budget) { $0.stop(id, &$1) }
    }

    mutating func removeAll(_ budget: inout ReceiveWindow.Budget) -> [UInt64] {
        recorded("removeAll", [], &budget) { $0.removeAll(&$1) }
    }

    private mutating func recorded<Result>(
        _ method: String, _ arguments: @autoclosure () -> [Any], _ budget: inout ReceiveWindow.Budget,
        _ body: (inout IncomingStreams, inout ReceiveWindow.Budget) -> Result
    ) -> Result {
        let result = body(&streams, &budget)
        tape?(method, arguments() + [budgetName], result, state: state(budget))
        return result
    }
}
