public import RoomProtocol

/// The outcome of sending one message: the participants for which it was accepted, and those for which it was not.
public struct SendReport: Sendable, Hashable {
    /// A participant for which the message was not accepted.
    public struct Missed: Sendable, Hashable {
        /// The participant.
        public let participant: ParticipantID
        /// Why it was not accepted.
        public let reason: Reason

        package init(_ participant: ParticipantID, _ reason: Reason) {
            self.participant = participant
            self.reason = reason
        }
    }

    /// Why a message was not accepted for a participant. New cases may be added: always have a `default`.
    public enum Reason: Sendable, Hashable, CustomStringConvertible {
        /// The participant has left the room meanwhile.
        case left
        /// The participant's connection is broken, or not made yet, and the buffer for it is full.
        case unreachable
        /// The channel is lossy, and the participant is not connected or its buffer is full.
        case dropped
        /// The message is longer than the participant takes: at most `limit` bytes.
        case tooLarge(limit: Int)
        /// The participant's program knows no topics.
        case notSupported
        /// There are as many topics with the participant as are possible.
        case tooManyTopics
        /// The sending task was cancelled while the participant's buffer was full.
        case cancelled

        /// A few words for people: `it has left`.
        public var description: String {
            switch self {
            case .left: "it has left"
            case .unreachable: "it is not connected, and the buffer for it is full"
            case .dropped: "it is not connected, or the buffer for it is full"
            case .tooLarge(let limit): "it takes at most \(limit) bytes"
            case .notSupported: "its program knows no topics"
            case .tooManyTopics: "there are too many topics with it"
            case .cancelled: "sending was cancelled while the buffer for it was full"
            }
        }
    }

    private enum Receivers: Sendable, Hashable {
        case one(ParticipantID)
        case many([ParticipantID])
    }

    private let receivers: Receivers
    /// The participants for which the message was not accepted, in no particular order.
    public let missed: [Missed]

    package init(to participant: ParticipantID, missed reason: Reason? = nil) {
        receivers = .one(participant)
        missed = reason.map { [Missed(participant, $0)] } ?? []
    }

    package init(to participants: [ParticipantID], missed: [Missed]) {
        receivers = .many(participants)
        self.missed = missed
    }

    /// The participants for which the message was accepted.
    public var accepted: [ParticipantID] {
        let receivers =
            switch receivers {
            case .one(let participant): [participant]
            case .many(let participants): participants
            }
        guard !missed.isEmpty else { return receivers }
        let missed = Set(missed.map(\.participant))
        return receivers.filter { !missed.contains($0) }
    }

    /// The number of participants for which the message was accepted.
    public var acceptedCount: Int {
        switch receivers {
        case .one: 1 - missed.count
        case .many(let participants): participants.count - missed.count
        }
    }

    /// Whether the message was accepted for every participant that it was meant for.
    public var isComplete: Bool { missed.isEmpty }
}

extension SendReport: CustomStringConvertible {
    /// The ids for which the message was accepted, and those for which it was not, with the reasons, in one line:
    /// `accepted for a, b; not for c (it has left)`.
    public var description: String {
        let names = accepted.map(\.rawValue).joined(separator: ", ")
        let others = missed.map { "\($0.participant) (\($0.reason))" }.joined(separator: ", ")
        return switch (names.isEmpty, others.isEmpty) {
        case (true, true): "nobody else is in the room"
        case (true, false): "not accepted for \(others)"
        case (false, true): "accepted for \(names)"
        case (false, false): "accepted for \(names); not for \(others)"
        }
    }
}
