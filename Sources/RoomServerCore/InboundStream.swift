import RoomProtocol
import TransportValues

/// The numbered messages that come from one participant: which was the last, and when that is acknowledged.
struct InboundStream: Sendable {
    /// The number of the last message that has come; 0 before the first.
    private(set) var received: SequenceNumber = 0
    private var unacknowledged = 0
    private var due: Timestamp?

    enum Verdict {
        /// It is to be acted upon.
        case next
        /// It has come before.
        case duplicate
    }

    enum Acknowledgement: Equatable {
        case now
        case at(Timestamp)
        /// It is scheduled already, or there is none to send.
        case none
    }

    /// Takes a message's number. Throws where one before it is missing.
    mutating func take(_ sequence: SequenceNumber) throws(ProtocolError) -> Verdict {
        guard sequence > received else { return .duplicate }
        guard sequence - received == 1 else {
            throw .malformed("Number \(sequence) arrived after \(received).", sequence: sequence)
        }
        received = sequence
        return .next
    }

    /// Decides when the message that was taken is acknowledged: at once after many, else after a delay.
    mutating func scheduleAcknowledgement(_ limits: RoomServerLimits, at now: Timestamp) -> Acknowledgement {
        unacknowledged += 1
        if unacknowledged >= limits.ackEvery { return .now }
        guard due == nil else { return .none }
        let time = now + limits.ackDelay
        due = time
        return .at(time)
    }

    /// Whether an acknowledgement is due now, or later.
    func acknowledgement(at now: Timestamp) -> Acknowledgement {
        guard let due else { return .none }
        return due <= now ? .now : .at(due)
    }

    mutating func acknowledged() {
        unacknowledged = 0
        due = nil
    }

    /// Another connection has begun, whose first message acknowledges everything.
    mutating func connected() { unacknowledged = 0 }

    mutating func disconnected() { due = nil }
}
