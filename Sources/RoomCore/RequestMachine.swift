internal import DequeModule
package import TransportValues

/// The limits of requests between two participants, in each direction.
package enum RequestLimits {
    /// Requests without an answer yet; at the sender more wait.
    package static let outstanding = 64
    /// Bytes of the bodies of all requests without an answer at their receiver.
    package static let bodyBytes = 8 << 20
}

/// The requests that this side makes to one participant: which go out, which are answered, which have had their time.
///
/// Pure. A shell keeps the tasks that wait, by id.
package struct OutgoingRequests: Sendable {
    private enum State: Sendable, Equatable {
        /// Too many are outstanding. Can transition to: sending, or be removed.
        case waiting
        /// The shell hands it to the channel. Can transition to: sent, given up, or be removed.
        case sending
        /// The channel has it. Can be removed.
        case sent
        /// Nobody waits for the answer, but the channel may have it. Can be removed.
        case givenUp
    }
    private struct Request: Sendable {
        var state: State
        let deadline: Timestamp?
    }

    /// The end of a wait for an answer.
    package struct End: Sendable, Equatable {
        /// Whether the other side is told: it may have the request.
        package var mustCancel = false
        /// A request that can go out now.
        package var started: UInt64?
    }

    private var requests: [UInt64: Request] = [:]
    private var waiting: Deque<UInt64> = []
    private let base: UInt64
    private var last: UInt64
    private var outstanding = 0

    /// `after`: the ids that were used before.
    package init(after last: UInt64 = 0) {
        base = last
        self.last = last
    }

    /// The newest request; 0: none was made.
    package var newestID: UInt64 { last > base ? last : 0 }

    /// A request is made. `isStarted`: it can go out now; otherwise when `End` names it.
    package mutating func begin(deadline: Timestamp?) -> (id: UInt64, isStarted: Bool) {
        last += 1
        let isStarted = outstanding < RequestLimits.outstanding
        requests[last] = Request(state: isStarted ? .sending : .waiting, deadline: deadline)
        if isStarted { outstanding += 1 } else { waiting.append(last) }
        return (last, isStarted)
    }

    /// Whether a request can go out now.
    package func isStarted(_ id: UInt64) -> Bool { requests[id]?.state == .sending }

    /// The channel has taken a request. Nobody waits for its answer any more: an end with `mustCancel`.
    package mutating func sent(_ id: UInt64) -> End? {
        switch requests[id]?.state {
        case .sending:
            requests[id]?.state = .sent
            return nil
        case .givenUp: return remove(id, mustCancel: true)
        case .waiting, .sent, nil: return nil
        }
    }

    /// The channel has not taken a request, and never will.
    package mutating func refused(_ id: UInt64) -> End { remove(id, mustCancel: false) }

    /// An answer or a failure has come. Nil: nobody waits for it.
    package mutating func answered(_ id: UInt64) -> End? {
        guard let state = requests[id]?.state, state == .sending || state == .sent else { return nil }
        return remove(id, mustCancel: false)
    }

    /// Nobody waits for an answer any more. Nil: it has come already.
    package mutating func giveUp(_ id: UInt64) -> End? {
        switch requests[id]?.state {
        case .waiting, .sent: return remove(id, mustCancel: requests[id]?.state == .sent)
        case .sending:
            // `sent` or `refused` follows.
            requests[id]?.state = .givenUp
            return End()
        case .givenUp, nil: return nil
        }
    }

    private mutating func remove(_ id: UInt64, mustCancel: Bool) -> End {
        guard let request = requests.removeValue(forKey: id) else { return End() }
        if request.state == .waiting {
            // Those that have waited longest give up first.
            if let index = waiting.firstIndex(of: id) { waiting.remove(at: index) }
            return End()
        }
        guard let next = waiting.popFirst() else {
            outstanding -= 1
            return End(mustCancel: mustCancel)
        }
        requests[next]?.state = .sending
        return End(mustCancel: mustCancel, started: next)
    }

    /// The other side had given this one up, and answers no request up to `last`: each of those returned is refused.
    package func restartReceived(last: UInt64) -> [UInt64] {
        requests.filter { $0.key <= last && $0.value.state != .waiting }.keys.sorted()
    }

    /// The time at which the next request is late.
    package var nextDeadline: Timestamp? {
        requests.values.lazy.filter { $0.state != .givenUp }.compactMap(\.deadline).min()
    }

    /// The requests that are late: each is to be given up.
    package func late(now: Timestamp) -> [UInt64] {
        requests.filter { $1.state != .givenUp && $1.deadline.map { $0 <= now } ?? false }.keys.sorted()
    }

    /// The other side has gone: no answer comes any more.
    package mutating func close() {
        requests = [:]
        waiting = []
        outstanding = 0
    }
}

/// The requests that one participant makes to this side: which run, and which are too many.
package struct IncomingRequests: Sendable {
    private struct Request: Sendable {
        let count: Int
        let deadline: Timestamp?
        var isWanted = true
    }

    package enum Arrival: Sendable, Equatable {
        case run
        /// Refuse it: too many run.
        case busy
        /// Ignore it: one with this id runs.
        case duplicate
    }

    private var requests: [UInt64: Request] = [:]
    private var bodyBytes = 0
    /// The highest id that has come.
    package private(set) var newestID: UInt64

    /// `after`: the ids that have come before, in the same sessions.
    package init(after last: UInt64 = 0) { newestID = last }

    /// A request has come. Its body counts until `finished`.
    package mutating func received(_ id: UInt64, count: Int, deadline: Timestamp?) -> Arrival {
        guard requests[id] == nil else { return .duplicate }
        newestID = max(newestID, id)
        guard requests.count < RequestLimits.outstanding,
            bodyBytes == 0 || bodyBytes + count <= RequestLimits.bodyBytes
        else { return .busy }
        requests[id] = Request(count: count, deadline: deadline)
        bodyBytes += count
        return .run
    }

    /// The other side does not wait any more. True: cancel the handler.
    package mutating func cancelled(_ id: UInt64) -> Bool {
        guard requests[id]?.isWanted == true else { return false }
        requests[id]?.isWanted = false
        return true
    }

    /// The other side had given this one up, and waits for no request before `first`: each of those returned is
    /// cancelled.
    package func restartReceived(first: UInt64) -> [UInt64] {
        requests.filter { $0.key < first && $0.value.isWanted }.keys.sorted()
    }

    /// Whether an answer is waited for.
    package func isWanted(_ id: UInt64) -> Bool { requests[id]?.isWanted ?? false }

    /// Whether its handler has not ended yet.
    package func isKnown(_ id: UInt64) -> Bool { requests[id] != nil }

    /// The handler has ended, and its answer was sent if it is wanted.
    package mutating func finished(_ id: UInt64) {
        guard let request = requests.removeValue(forKey: id) else { return }
        bodyBytes -= request.count
    }

    /// The time at which the next request is late.
    package var nextDeadline: Timestamp? {
        requests.values.lazy.filter(\.isWanted).compactMap(\.deadline).min()
    }

    /// The requests that are late: cancel their handlers. They are not named again.
    package mutating func late(now: Timestamp) -> [UInt64] {
        let late = requests.filter { $1.isWanted && $1.deadline.map { $0 <= now } ?? false }.keys.sorted()
        for id in late { requests[id]?.isWanted = false }
        return late
    }
}
