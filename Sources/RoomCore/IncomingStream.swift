package import RoomProtocol

/// The server's numbered messages: each is taken once, in order.
package struct IncomingStream: Sendable {
    package enum Verdict: Sendable, Hashable {
        case next
        case duplicate
        /// Something before it is missing.
        case gap
    }
    /// The last one that came in order.
    package private(set) var received: SequenceNumber = 0
    /// How many were taken since the last acknowledgement.
    package private(set) var unacknowledged = 0

    package init() {}

    package mutating func take(_ sequence: SequenceNumber) -> Verdict {
        guard sequence > received else {
            // The server does not know that we have it.
            unacknowledged += 1
            return .duplicate
        }
        guard sequence - received == 1 else { return .gap }
        received = sequence
        unacknowledged += 1
        return .next
    }

    /// An acknowledgement of everything so far goes out.
    package mutating func acknowledge() { unacknowledged = 0 }

    package mutating func restart() { self = IncomingStream() }
}
