package import RoomProtocol
package import TransportValues

/// Why a signaling connection, or an attempt, ended.
package struct SignalingFailure: Sendable, Hashable {
    /// One sentence; never a secret.
    package var description: String
    /// Whether the same attempt may succeed later.
    package var isRetryable: Bool
    /// The status of an HTTP answer or a WebSocket close code.
    package var status: Int?
    package var retryAfter: RetryWindow?
    /// What the room server said, when it was the server.
    package var code: ProtocolError.Code?
    /// The kind of it, for the record of an incident.
    package var cause: Incident.Cause

    package init(
        _ description: String, isRetryable: Bool = true, status: Int? = nil, retryAfter: RetryWindow? = nil,
        code: ProtocolError.Code? = nil, cause: Incident.Cause = .connectionLost
    ) {
        self.cause = cause
        self.description = description
        self.isRetryable = isRetryable
        self.status = status
        self.retryAfter = retryAfter
        self.code = code
    }

    package init(_ error: ProtocolError) {
        self.init(
            error.message, isRetryable: error.isRetryable, retryAfter: error.retryAfter, code: error.code,
            cause: .refused)
    }
}

/// Why a peer connection ended or refused something.
package struct PeerFailure: Sendable, Hashable {
    /// One sentence; never a secret.
    package var description: String
    /// What the transport says that it is.
    package var code: TransportError.Code?
    /// It is the other side's description that was refused.
    package var isRefusal: Bool

    package init(_ description: String, code: TransportError.Code? = nil, isRefusal: Bool = false) {
        self.description = description
        self.code = code
        self.isRefusal = isRefusal
    }
}

/// What is known of the signaling connection.
package enum SignalingStatus: Sendable, Hashable {
    /// The `attempt`th attempt of this outage runs (`nextAttemptAt` nil) or waits until `nextAttemptAt`.
    case connecting(attempt: Int, nextAttemptAt: Timestamp?, cause: SignalingFailure?)
    /// The server has let us in, and has shown signs of life within the liveness window.
    case connected(SessionID)
    /// Not connected, and no attempt is under way yet.
    case disconnected(cause: SignalingFailure?)
    /// For good.
    case closed(EndReason)
}

/// Why a room has ended for us.
package enum EndReason: Sendable, Hashable {
    /// `leave` was called.
    case left
    case kicked(message: String)
    case roomClosed(message: String)
    /// Another connection has taken over the session.
    case replaced
    /// The server knows a newer stay of ours.
    case staleEpoch(message: String)
    /// The server, or a proxy before it, refuses us, and asking again makes no sense: unauthorized, version mismatch, and at a
    /// first join also room not found, name taken, room full.
    case refused(SignalingFailure)
    /// No credential was to be had.
    case credentialFailed(SignalingFailure)
    /// `attemptLimit` attempts have failed.
    case gaveUp(SignalingFailure)
}

/// How a connection came back into the room.
package enum JoinKind: Sendable, Hashable {
    case first
    /// The others never noticed.
    case resumed
    case rejoined
}

/// Us in the room.
package struct Membership: Sendable, Hashable {
    package var participant: ParticipantID
    /// When it differs from the session before, the stay is a new one, and delivery starts afresh with everybody.
    package var session: SessionID
    package var epoch: Epoch
    package var isHost: Bool
    package var hostTerm: HostTerm
    package var kind: JoinKind

    package init(
        participant: ParticipantID, session: SessionID, epoch: Epoch, isHost: Bool, hostTerm: HostTerm, kind: JoinKind
    ) {
        self.participant = participant
        self.session = session
        self.epoch = epoch
        self.isHost = isHost
        self.hostTerm = hostTerm
        self.kind = kind
    }
}

/// What is known of the connection to a participant.
package enum PeerStatus: Sendable, Hashable {
    /// Its turn has not come: others are connecting.
    case waiting
    case connecting
    case connected(PeerPath?)
    /// It was connected; channels are kept, and the ladder works on it.
    case recovering(RecoveryRung, attempt: Int, since: Timestamp)

    package var isRecovering: Bool { if case .recovering = self { true } else { false } }
}

/// The rungs of the recovery ladder of one peer. Rejoining the room, the last rung, belongs to signaling.
package enum RecoveryRung: Int, Sendable, CaseIterable, Comparable {
    /// Evidence of life is merely late.
    case wait
    /// A new path under the living connection.
    case restart
    /// A new peer connection.
    case rebuild

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// How a recovery of a peer connection or of signaling went, step by step.
package struct Incident: Sendable, Hashable {
    package enum Outcome: String, Sendable {
        case recovered
        /// The participant left the room, or we did, before the path was up again.
        case participantLeft
    }
    package enum Cause: String, Sendable {
        case silence, pathLost, networkChanged, rejoined, peerRejoined, requestedByPeer, requested, connectionFailed,
            connectionClosed
        case connectTimeout, channelClosed, descriptionRefused, relayCredentials, reconnectRequested, suspended
        /// Of signaling, besides `silence` and `networkChanged`.
        case connectionLost, serverGoingAway, refused
    }
    package struct Step: Sendable, Hashable {
        package enum Kind: String, Sendable {
            /// The evidence came.
            case detected
            /// Signaling is down: the step waits for it.
            case held
            /// A sign of life was asked for.
            case probed
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
            case recovered
            /// The first message since the path was broken. It may come a moment after `recovered`.
            case firstData
            /// Signaling's: the connection is gone; an attempt begins; the server has let us in.
            case lost, attempt, resumed, rejoined
        }
        package var kind: Kind
        package var at: Timestamp
        package var cause: Cause?
        /// Of an attempt, from 1.
        package var number: Int?
        /// What was said about the cause.
        package var text: String?

        package init(_ kind: Kind, at: Timestamp, cause: Cause? = nil, number: Int? = nil, text: String? = nil) {
            self.kind = kind
            self.at = at
            self.cause = cause
            self.number = number
            self.text = text
        }

        /// For logs: `2.51 s restartRequested (silence)`.
        package func description(since start: Timestamp) -> String {
            var description = "\((at - start).inSeconds) s \(kind.rawValue)"
            if let number { description += " \(number)" }
            if let reason = text ?? cause?.rawValue { description += " (\(reason))" }
            return description
        }
    }
    /// Nil: signaling.
    package var participant: ParticipantID?
    package var cause: Cause
    package var startedAt: Timestamp
    package var endedAt: Timestamp
    /// The highest rung that was needed; nil for signaling.
    package var rung: RecoveryRung?
    package var outcome: Outcome
    /// In the order of time; the first `stepLimit`.
    package var steps: [Step]

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

/// What the application gets to know.
package enum RoomEvent: Sendable, Hashable {
    case signalingStatus(SignalingStatus)
    case joined(Membership)
    /// Never twice for one session without a `peerLeft` between.
    case peerJoined(Participant)
    case peerLeft(Participant, reason: LeaveReason)
    /// Metadata, epoch, or host role changed; the session is the same.
    case peerChanged(Participant)
    case hostChanged(ParticipantID, term: HostTerm)
    case peerStatus(ParticipantID, PeerStatus)
    /// The pair has not been connected, or has carried no data, for a while: the reason. Repeated when the reason changes, and rarely when
    /// it does not.
    case stalled(ParticipantID, PeerStall)
    /// What was told by `stalled` is over.
    case resolved(ParticipantID, PeerStall)
    case incident(Incident)
    /// Something was refused; the room goes on.
    case error(RoomError)
    /// The last event.
    case left(EndReason)
}

/// What went wrong without ending the room.
package enum RoomError: Error, Sendable, Hashable {
    /// The server refused a message of ours.
    case refused(ProtocolError)
    /// More was to be said than the queue holds while signaling was down; the room is rejoined and everything renegotiated.
    case queueOverflow(dropped: Int)
    /// The server sent something that cannot be read.
    case malformed(ProtocolError)
    /// ICE servers are left out, or none is left.
    case iceServers(ICEServerFault)
    /// No path to the participant, or no new one, can be made, since this machine is out of something.
    case outOfResources(ParticipantID, PeerFailure)
}
