internal import DequeModule
import TransportValues

/// The connection to the store, and the requests that are under way on it.
///
/// Can transition: disconnected → connected (the shell) → disconnected (the shell, or a request without an answer).
struct Requests: Sendable {
    private(set) var isConnected = false
    private var underWay: [RequestID: StoreRequest] = [:]
    /// In the order of sending. Those that were answered stay until they come first.
    private var sent: Deque<(id: RequestID, at: Timestamp)> = []
    private var last: UInt64 = 0

    var count: Int { underWay.count }

    /// The time at which the oldest request that is under way was sent.
    var oldest: Timestamp? { sent.first?.at }

    mutating func connected() { isConnected = true }

    mutating func add(_ request: StoreRequest, at now: Timestamp) -> RequestID {
        last += 1
        let id = RequestID(last)
        underWay[id] = request
        sent.append((id, now))
        return id
    }

    /// Returns the request that a reply belongs to; nil for one of an earlier connection.
    mutating func take(_ id: RequestID) -> StoreRequest? {
        guard let request = underWay.removeValue(forKey: id) else { return nil }
        while let first = sent.first, underWay[first.id] == nil { sent.removeFirst() }
        return request
    }

    /// The connection has ended. Returns the requests that will have no reply, in the order of sending. Nothing is
    /// known about their effects.
    mutating func disconnected() -> [StoreRequest] {
        defer {
            isConnected = false
            underWay = [:]
            sent = []
        }
        return sent.compactMap { underWay[$0.id] }
    }
}
