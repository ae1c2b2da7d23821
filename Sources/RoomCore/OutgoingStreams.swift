/// Limits of streams between two participants.
package enum StreamLimits {
    /// Streams of one direction that are open at the same time.
    package static let open = 64
    /// Streams that wait until the application takes them, of all participants together.
    package static let untaken = 256
    /// The head of a chunk in front of its bytes: kind and stream.
    package static let headLength = 9
}

/// The way a stream has ended before its time.
package enum StreamFailure: Sendable, Equatable {
    /// The other side has given it up, with a reason.
    case cancelledByPeer(code: String, message: String)
    /// This side has given it up.
    case cancelledHere(code: String, message: String)
    /// The session of either side has ended.
    case peerGone
}

/// Codes of a reset or a stop that this package gives.
package enum StreamCode {
    package static let cancelled = "cancelled"
    package static let busy = "busy"
    package static let incomplete = "incomplete"
    package static let lengthExceeded = "length_exceeded"
    package static let windowExceeded = "window_exceeded"
}

/// The streams that this side sends to one participant: their ids, windows, and how each ends.
///
/// Pure. Chunks and messages are sent by the shell. The machine of a stream is forgotten when its end is known; what
/// comes for it later is ignored.
package struct OutgoingStreams: Sendable {
    /// Whether bytes may be sent on a stream.
    package enum Start: Sendable, Equatable {
        case begun
        /// The receiver has not consumed enough: wait for its window.
        case wait
        /// It would be more than was announced.
        case tooLong
        /// The stream has ended.
        case closed
    }

    private struct Stream: Sendable {
        var window: SendWindow
        let length: UInt64?
        /// Bytes that the receiver has consumed.
        var consumed: UInt64 = 0
        /// All was sent, the end included.
        var isEnded = false
    }

    private var streams = OpenStreams<Stream>()
    package private(set) var newestID: UInt64
    /// Of a stream that begins.
    private let firstWindow: SendWindow

    /// `lastID`: of the streams before, in the same sessions. `window`: the first limit of a stream.
    package init(lastID: UInt64 = 0, window: UInt64 = ReceiveWindow.initialSize) {
        newestID = lastID
        firstWindow = SendWindow(limit: window)
    }

    /// The ids of the streams that have not ended.
    package var ids: [UInt64] { streams.ids }

    /// A stream begins: send `open` with its id. Nil: there are too many.
    package mutating func open(length: UInt64?) -> UInt64? {
        guard streams.count < StreamLimits.open else { return nil }
        newestID += 1
        streams.append(Stream(window: firstWindow, length: length), id: newestID)
        return newestID
    }

    /// A chunk of so many bytes is to be sent.
    package mutating func begin(_ id: UInt64, count: Int) -> Start {
        guard let index = streams.index(of: id), !streams[index].isEnded else { return .closed }
        if let length = streams[index].length, streams[index].window.sent + UInt64(count) > length { return .tooLong }
        let isBegun = streams[index].window.begin(count)
        return isBegun ? .begun : .wait
    }

    /// The chunk that has begun was not taken.
    package mutating func undo(_ id: UInt64, count: Int) {
        if let index = streams.index(of: id) { streams[index].window.undo(count) }
    }

    /// Whether a chunk may begin, or waiting for one makes no sense.
    package func isOpen(_ id: UInt64) -> Bool { streams[id: id]?.window.isOpen ?? true }

    /// Bytes that were sent.
    package func sent(_ id: UInt64) -> UInt64? { streams[id: id]?.window.sent }

    /// All bytes were given: send `end`. False: fewer than were announced, or the stream has ended.
    package mutating func end(_ id: UInt64) -> Bool {
        guard let index = streams.index(of: id), !streams[index].isEnded,
            streams[index].length == nil || streams[index].window.sent == streams[index].length
        else { return false }
        streams[index].isEnded = true
        return true
    }

    /// Whether fewer bytes were given than were announced.
    package func isIncomplete(_ id: UInt64) -> Bool {
        guard let stream = streams[id: id], !stream.isEnded, let length = stream.length else { return false }
        return stream.window.sent < length
    }

    /// This side gives a stream up: send `reset`. False: it has ended already.
    package mutating func cancel(_ id: UInt64) -> Bool { streams.remove(id) != nil }

    // MARK: What the receiver says

    /// Returns the bytes that the receiver has consumed so far. Nil: the stream has ended, or the numbers cannot be.
    package mutating func windowReceived(_ id: UInt64, consumed: UInt64, limit: UInt64) -> UInt64? {
        guard let index = streams.index(of: id), consumed >= streams[index].consumed,
            consumed <= streams[index].window.sent
        else { return nil }
        streams[index].consumed = consumed
        _ = streams[index].window.grant(limit)
        return consumed
    }

    /// The receiver has consumed everything. Returns the number of bytes; nil: no such stream, or it cannot be.
    package mutating func finishedReceived(_ id: UInt64) -> UInt64? {
        guard streams[id: id]?.isEnded == true else { return nil }
        return streams.remove(id)?.window.sent
    }

    /// The receiver wants no more. False: there is no such stream.
    package mutating func stopReceived(_ id: UInt64) -> Bool { streams.remove(id) != nil }

    /// The receiver has given this side up and is back: it has forgotten the streams up to `last`. Returns those.
    package mutating func restartReceived(last: UInt64) -> [UInt64] {
        let ended = ids.filter { $0 <= last }
        for id in ended { _ = streams.remove(id) }
        return ended
    }

    /// The session of either side has ended. Returns the streams that end with it.
    package mutating func removeAll() -> [UInt64] {
        defer { streams.removeAll() }
        return ids
    }
}
