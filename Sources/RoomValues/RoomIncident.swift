public import RoomProtocol
public import TransportValues

/// The record of one recovery of a peer connection or of signaling, step by step.
public struct RoomIncident: Sendable, Hashable {
    /// How the recovery ended.
    public enum Outcome: String, Sendable {
        /// The path, or signaling, is up again.
        case recovered
        /// The participant, or this one, left before that.
        case participantLeft
    }

    /// Why something was recovered. New cases may be added: always have a `default`. Programs see the raw values.
    public enum Cause: String, Sendable, CustomStringConvertible {
        /// There was no sign of life in time.
        case silence
        /// The transport reports that the path does not work any more.
        case pathLost
        /// The network of this machine has changed.
        case networkChanged
        /// This participant has rejoined the room, or the other one.
        case rejoined, peerRejoined
        /// The other side, or the application, has asked for a new path.
        case requestedByPeer, requested
        /// The transport has ended the connection with an error, or the other side has closed it.
        case connectionFailed, connectionClosed
        /// A new connection was not up in time.
        case connectTimeout
        /// The channel of `.reliable` was closed.
        case channelClosed
        /// One side has not taken the description of the other.
        case descriptionRefused
        /// The credentials of the relays that the path uses are old.
        case relayCredentials
        /// The application has called `reconnectNow()`.
        case reconnectRequested
        /// This machine has slept.
        case suspended
        /// Of signaling: the connection has ended, the server goes away, or it refuses this participant.
        case connectionLost, serverGoingAway, refused
        /// Of signaling: the room does not exist yet, and this participant waits for it.
        case waitingForRoom

        public var description: String { rawValue }
    }

    /// One step of a recovery.
    public struct Step: Sendable, Hashable {
        /// The kinds of steps. New cases may be added: always have a `default`. Programs see the raw values.
        public enum Kind: String, Sendable, CustomStringConvertible {
            /// The evidence came.
            case detected
            /// Signaling is down: the step waits for it.
            case held
            /// A sign of life was asked for.
            case probed
            /// A new path, or a new connection, was asked for.
            case restartRequested, rebuildRequested
            /// A local description went out.
            case described
            /// The other side's description came.
            case answered
            /// Local candidates are complete.
            case gathered
            /// A connectivity check of the new candidates has succeeded.
            case checked
            /// A pair was selected.
            case nominated
            /// The path, or the new connection, is up. Of signaling: `hello` goes out.
            case connected
            /// The recovery has ended.
            case recovered
            /// The first message since the path was broken. It may come up to a second after `recovered`: the record
            /// waits for it.
            case firstData
            /// Of signaling: the connection is lost; an attempt begins; the server has let this participant in.
            case lost, attempt, resumed, rejoined

            public var description: String { rawValue }
        }

        /// The kind of the step.
        public let kind: Kind
        /// When it happened.
        public let at: Timestamp
        /// The reason, where the step has one of its own.
        public let cause: Cause?
        /// Of an `attempt`: which one it is, from 1.
        public let number: Int?
        /// The reason in words, where it is known better than `cause` says.
        public let text: String?

        package init(_ kind: Kind, at: Timestamp, cause: Cause? = nil, number: Int? = nil, text: String? = nil) {
            self.kind = kind
            self.at = at
            self.cause = cause
            self.number = number
            self.text = text
        }

        /// The reason in words, or else its name.
        public var reason: String? { text ?? cause?.rawValue }

        /// The step as logs show it: `2.51 s restartRequested (silence)`.
        package func description(since start: Timestamp) -> String {
            var description = "\((at - start).inSeconds) s \(kind.rawValue)"
            if let number { description += " \(number)" }
            if let reason { description += " (\(reason))" }
            return description
        }
    }

    /// Nil: the connection to the room server.
    public let participant: ParticipantID?
    /// The reason for which the recovery began.
    public let cause: Cause
    /// When the trouble was noticed.
    public let startedAt: Timestamp
    /// When the path was up again or the server had let this participant in, or when the participant was gone.
    public package(set) var endedAt: Timestamp
    /// The highest rung that was needed; nil for signaling.
    public package(set) var rung: RecoveryRung?
    /// How it ended.
    public package(set) var outcome: Outcome
    /// The steps in the order of time; at most 65. Of a peer the first ones; of signaling the first and the latest.
    public package(set) var steps: [Step]

    /// Whether it was healed before the participant, or this one, left.
    public var hasRecovered: Bool { outcome == .recovered }
    /// From being noticed to being healed.
    public var duration: Duration { endedAt - startedAt }

    /// The most steps that a record keeps, `firstData` excepted.
    package static let stepLimit = 64

    package init(
        participant: ParticipantID?, cause: Cause, startedAt: Timestamp, endedAt: Timestamp, rung: RecoveryRung?,
        outcome: Outcome, steps: [Step]
    ) {
        self.participant = participant
        self.cause = cause
        self.startedAt = startedAt
        self.endedAt = endedAt
        self.rung = rung
        self.outcome = outcome
        self.steps = steps
    }
}
