package import TransportValues

/// The streams that one participant sends to this side: which are taken, how much of each may come, and how it ends.
///
/// Pure. The bytes are kept by the shell until the application has consumed them; there are never more of them than the
/// window and one chunk. What comes for a stream that has ended is ignored.
package struct IncomingStreams: Sendable {
    /// The use of an `open`.
    package enum Opening: Sendable, Equatable {
        case taken
        /// There are too many: send `stop` with this code.
        case refused(code: String)
        /// The id was used before.
        case malformed
    }

    /// The use of a chunk.
    package enum Chunk: Sendable, Equatable {
        case taken
        /// The stream has ended here.
        case ignored
        /// The sender has gone beyond what it may send: the stream ends; send `stop` with this code.
        case refused(code: String)
        /// There never was such a stream.
        case malformed
    }

    /// The use of an `end`.
    package enum End: Sendable, Equatable {
        case taken
        case ignored
        /// Fewer bytes have come than were announced: the stream ends; send `stop` with this code.
        case refused(code: String)
    }

    /// The consequence of consuming.
    package struct Grant: Sendable, Equatable {
        package var consumed: UInt64
        package var limit: UInt64
    }

    private struct Stream: Sendable {
        var window: ReceiveWindow
        let length: UInt64?
        var isEnded = false
    }

    private var streams = OpenStreams<Stream>()
    package private(set) var newestID: UInt64
    private let windowSize: UInt64

    /// `lastID`: the newest stream of before, in the same sessions. `window`: the first size of a window.
    package init(lastID: UInt64 = 0, window: UInt64 = ReceiveWindow.initialSize) {
        newestID = lastID
        windowSize = window
    }

    package var ids: [UInt64] { streams.ids }

    /// Whether the stream has not ended.
    package func isOpen(_ id: UInt64) -> Bool { streams.index(of: id) != nil }

    /// Bytes that have come and were not consumed.
    package func unconsumed(_ id: UInt64) -> UInt64 {
        streams[id: id].map { $0.window.received - $0.window.consumed } ?? 0
    }

    // MARK: What the sender says

    package mutating func openReceived(
        _ id: UInt64, length: UInt64?, _ budget: inout ReceiveWindow.Budget
    ) -> Opening {
        guard id > newestID else { return .malformed }
        newestID = id
        guard streams.count < StreamLimits.open else { return .refused(code: StreamCode.busy) }
        streams.append(Stream(window: ReceiveWindow(&budget, size: windowSize), length: length), id: id)
        return .taken
    }

    package mutating func dataReceived(
        _ id: UInt64, count: Int, _ budget: inout ReceiveWindow.Budget
    ) -> Chunk {
        guard let index = streams.index(of: id), !streams[index].isEnded else {
            return id > newestID ? .malformed : .ignored
        }
        if let length = streams[index].length, streams[index].window.received + UInt64(count) > length {
            remove(id, &budget)
            return .refused(code: StreamCode.lengthExceeded)
        }
        guard streams[index].window.receive(count) else {
            remove(id, &budget)
            return .refused(code: StreamCode.windowExceeded)
        }
        return .taken
    }

    package mutating func endReceived(_ id: UInt64, _ budget: inout ReceiveWindow.Budget) -> End {
        guard let index = streams.index(of: id), !streams[index].isEnded else { return .ignored }
        guard streams[index].length == nil || streams[index].window.received == streams[index].length else {
            remove(id, &budget)
            return .refused(code: StreamCode.incomplete)
        }
        streams[index].isEnded = true
        return .taken
    }

    /// The sender has given the stream up. False: there is no such stream.
    package mutating func resetReceived(_ id: UInt64, _ budget: inout ReceiveWindow.Budget) -> Bool {
        remove(id, &budget)
    }

    /// The sender has given this side up and is back: its streams before `first` have ended. Returns those that end.
    package mutating func restartReceived(first: UInt64, _ budget: inout ReceiveWindow.Budget) -> [UInt64] {
        let ended = ids.filter { $0 < first }
        for id in ended { remove(id, &budget) }
        return ended
    }

    // MARK: What the application does

    /// The application has consumed so many bytes. Not nil: send a `window` of this.
    package mutating func consume(
        _ id: UInt64, count: Int, now: Timestamp, _ budget: inout ReceiveWindow.Budget
    ) -> Grant? {
        guard let index = streams.index(of: id), streams[index].window.consume(count), !streams[index].isEnded,
            let limit = streams[index].window.grant(now: now, &budget)
        else { return nil }
        return Grant(consumed: streams[index].window.consumed, limit: limit)
    }

    /// The application has consumed all bytes and seen the end: send `finished`. False: the stream has ended before.
    package mutating func finish(_ id: UInt64, _ budget: inout ReceiveWindow.Budget) -> Bool {
        guard let stream = streams[id: id], stream.isEnded, stream.window.consumed == stream.window.received else {
            return false
        }
        return remove(id, &budget)
    }

    /// The application wants no more: send `stop`. False: the stream has ended before.
    package mutating func stop(_ id: UInt64, _ budget: inout ReceiveWindow.Budget) -> Bool { remove(id, &budget) }

    /// The session of either side has ended. Returns the streams that end with it.
    package mutating func removeAll(_ budget: inout ReceiveWindow.Budget) -> [UInt64] {
        let ended = ids
        for id in ended { remove(id, &budget) }
        return ended
    }

    @discardableResult
    private mutating func remove(_ id: UInt64, _ budget: inout ReceiveWindow.Budget) -> Bool {
        guard let stream = streams.remove(id) else { return false }
        stream.window.end(&budget)
        return true
    }
}
