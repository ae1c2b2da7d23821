import RoomProtocol
import TransportValues

/// The numbered messages from one participant: which was the last, and when to acknowledge it.
struct InboundStream: Sendable {
    /// The number of the last message received; 0 before the first.
    private(set) var received: SequenceNumber = 0
    private var unacknowledged = 0
    private var due: Timestamp?
    /// The time at which `acknowledgement` is called: not later than what is due.
    private var checkedAt: Timestamp?

    enum Verdict {
        /// The next message: it must be processed.
        case next
        /// A repetition.
        case duplicate
    }

    enum Acknowledgement: Equatable {
        case now
        case at(Timestamp)
        /// It is scheduled already, or there is nothing to acknowledge.
        case none
    }

    /// Records a message's number. Throws if a message before it is missing.
    mutating func take(_ sequence: SequenceNumber) throws(ProtocolError) -> Verdict {
        guard sequence > received else { return .duplicate }
        guard sequence - received == 1 else {
            throw .malformed("Number \(sequence) arrived after \(received).", sequence: sequence)
        }
        received = sequence
        return .next
    }

    /// Decides when the recorded message is acknowledged: at once after many, otherwise after a delay.
    mutating func scheduleAcknowledgement(_ limits: RoomServerLimits, at now: Timestamp) -> Acknowledgement {
        unacknowledged += 1
        if unacknowledged >= limits.ackEvery { return .now }
        guard due == nil else { return .none }
        let time = now + limits.ackDelay
        due = time
        guard checkedAt == nil else { return .none }
        checkedAt = time
        return .at(time)
    }

    /// Returns whether an acknowledgement is due now, or later: the time of the next call. Called at that time.
    mutating func acknowledgement(at now: Timestamp) -> Acknowledgement {
        checkedAt = nil
        guard let due else { return .none }
        guard due > now else { return .now }
        checkedAt = due
        return .at(due)
    }

    /// Returns the number up to which a message to the participant acknowledges: nothing more is due then. Nil: no
    /// message has come yet.
    mutating func takeAcknowledgement() -> SequenceNumber? {
        unacknowledged = 0
        due = nil
        return received > 0 ? received : nil
    }

    /// A new connection has begun. Its first message acknowledges everything.
    mutating func connected() {
        unacknowledged = 0
        due = nil
        checkedAt = nil
    }

    mutating func disconnected() {
        due = nil
        checkedAt = nil
    }
}
