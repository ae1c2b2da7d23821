public import RoomProtocol
public import TransportValues

/// The state of the connection to the room server, as far as it is known.
public enum SignalingStatus: Sendable, Hashable {
    /// The `attempt`th attempt of this outage runs (`nextAttemptAt` nil) or waits until `nextAttemptAt`.
    case connecting(attempt: Int, nextAttemptAt: Timestamp?, cause: SignalingFailure?)
    /// In the room, with signs of life from the server within the deadline.
    case connected
    /// Not connected, and no attempt is under way yet.
    case disconnected(cause: SignalingFailure?)
    /// Ended permanently.
    case closed(EndReason)
}

/// The state of the connection to a participant, as far as it is known.
public enum PeerStatus: Sendable, Hashable {
    /// Waits for its turn: others are connecting.
    case waiting
    /// The connection is being made.
    case connecting
    /// Messages flow. The path, where the transport has reported it.
    case connected(PeerPath?)
    /// It was connected and is being healed since `since`; messages on `.reliable` are kept. `attempt` counts the tries
    /// of this rung.
    case recovering(RecoveryRung, attempt: Int, since: Timestamp)

    /// Whether the connection is being healed.
    package var isRecovering: Bool { if case .recovering = self { true } else { false } }
}

/// The rungs of the recovery ladder of one peer. Rejoining the room, the last rung, belongs to signaling.
public enum RecoveryRung: Int, Sendable, CaseIterable, Comparable, CustomStringConvertible {
    /// Evidence of life is merely late.
    case wait
    /// A new path under the living connection.
    case restart
    /// A new peer connection.
    case rebuild

    /// The name, as programs see it: `wait`, `restart`, `rebuild`.
    public var description: String {
        switch self {
        case .wait: "wait"
        case .restart: "restart"
        case .rebuild: "rebuild"
        }
    }

    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Why a signaling connection, or an attempt, ended.
public struct SignalingFailure: Sendable, Hashable, CustomStringConvertible {
    /// One sentence; never a secret.
    public package(set) var description: String
    /// Whether the same attempt may succeed later.
    public package(set) var isRetryable: Bool
    /// The status of an HTTP answer or a WebSocket close code.
    public package(set) var status: Int?
    /// When to try again, where the server asks for it.
    public package(set) var retryAfter: RetryWindow?
    /// The code of the room server's refusal.
    public package(set) var code: ProtocolError.Code?
    /// The kind of the failure, for the record of an incident.
    public package(set) var cause: RoomIncident.Cause

    package init(
        _ description: String, isRetryable: Bool = true, status: Int? = nil, retryAfter: RetryWindow? = nil,
        code: ProtocolError.Code? = nil, cause: RoomIncident.Cause = .connectionLost
    ) {
        self.cause = cause
        self.description = description
        self.isRetryable = isRetryable
        self.status = status
        self.retryAfter = retryAfter
        self.code = code
    }

    /// The room does not exist yet, and this participant waits for it.
    package static let waitingForRoom = SignalingFailure(
        "the room does not exist yet: waiting for its host", cause: .waitingForRoom)

    package init(_ error: ProtocolError) {
        self.init(
            error.message, isRetryable: error.isRetryable, retryAfter: error.retryAfter, code: error.code,
            cause: .refused)
    }
}

/// Why a room has ended for this participant. New cases may be added: always have a `default`.
public enum EndReason: Sendable, Hashable, CustomStringConvertible {
    /// `leave` was called.
    case left
    /// The host has removed this participant.
    case kicked(message: String)
    /// The host has closed the room.
    case roomClosed(message: String)
    /// Another connection has taken over the session.
    case replaced
    /// The server knows a newer stay of this participant.
    case staleEpoch(message: String)
    /// The server, or a proxy before it, refuses this participant, and asking again makes no sense: unauthorized,
    /// version mismatch, and at a first join also room not found, name taken, room full.
    case refused(SignalingFailure)
    /// There was no credential.
    case credentialFailed(SignalingFailure)
    /// `attemptLimit` attempts have failed.
    case gaveUp(SignalingFailure)

    /// The reason as an error; nil when this participant has left by itself.
    public var error: RoomError? {
        switch self {
        case .left: nil
        case .kicked(let message): RoomError(.refused, message, protocolCode: .kicked)
        case .roomClosed(let message): RoomError(.refused, message, protocolCode: .roomClosed)
        case .replaced:
            RoomError(.refused, "another connection has taken over this session", protocolCode: .replaced)
        case .staleEpoch(let message): RoomError(.refused, message, protocolCode: .staleEpoch)
        case .refused(let failure), .gaveUp(let failure):
            RoomError(
                .refused, failure.description,
                protocolCode: failure.code ?? failure.status.map { ProtocolError.Code(rawValue: "status_\($0)") })
        case .credentialFailed(let failure):
            RoomError(.refused, failure.description, protocolCode: .unauthorized)
        }
    }

    public var description: String { error?.message ?? "left" }
}
