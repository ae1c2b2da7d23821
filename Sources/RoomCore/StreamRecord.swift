internal import RoomProtocol

/// The rest of the streams between two sessions when one side has given up the other: their ids count on, and the
/// other side, which may never have noticed, is told that they have ended.
package struct StreamRecord: Sendable, Equatable {
    package let lastOutgoing: UInt64
    package let lastIncoming: UInt64

    package init() {
        lastOutgoing = 0
        lastIncoming = 0
    }

    package init(_ outgoing: OutgoingStreams, _ incoming: IncomingStreams) {
        lastOutgoing = outgoing.newestID
        lastIncoming = incoming.newestID
    }

    /// The first message to a participant that comes back with the session that it had, on bulk. Nil: there were no
    /// streams.
    package var restart: [UInt8]? {
        guard lastOutgoing > 0 || lastIncoming > 0 else { return nil }
        return ExchangeHead.restart(first: lastOutgoing + 1, last: lastIncoming)
    }
}
