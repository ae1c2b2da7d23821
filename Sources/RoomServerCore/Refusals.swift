import RoomProtocol

// The refusals of the server, in one place, so that the documentation can be compared with them.
extension ProtocolError {
    static let kicked = ProtocolError(
        code: .kicked, message: "The host removed this participant from the room.", isRetryable: false, isFatal: true)

    static let replaced = ProtocolError(
        code: .replaced, message: "The session continues over a newer connection.", isRetryable: false, isFatal: true,
        replacedBy: .session)

    static let nameGone = ProtocolError(
        code: .replaced, message: "Another participant has joined the room under this name.", isRetryable: false,
        isFatal: true, replacedBy: .participant)

    static let staleEpoch = ProtocolError(
        code: .staleEpoch, message: "The session has ended, or continues over a newer connection.",
        isRetryable: false, isFatal: true)

    static func roomFull(isRejoin: Bool) -> ProtocolError {
        ProtocolError(
            code: .roomFull, message: "The room is full.", isRetryable: isRejoin,
            isFatal: true)
    }

    static func nameTaken(isRejoin: Bool) -> ProtocolError {
        ProtocolError(
            code: .nameTaken, message: "Another participant of the room has this name.", isRetryable: isRejoin,
            isFatal: true)
    }

    static let roomNotFound = ProtocolError(
        code: .roomNotFound, message: "There is no room with this name; a host creates it.", isRetryable: false,
        isFatal: true)

    static let roomExists = ProtocolError(
        code: .roomExists, message: "A room with this name exists already; join it as a guest.", isRetryable: false,
        isFatal: true)

    static func roomClosed(_ reason: String) -> ProtocolError {
        ProtocolError(
            code: .roomClosed, message: "The host closed the room." + (reason.isEmpty ? "" : " Reason: \(reason)"),
            isRetryable: false, isFatal: true)
    }

    static func notHost(_ sequence: SequenceNumber?) -> ProtocolError {
        ProtocolError(
            code: .notHost, message: "Only the room's host may do this.", isRetryable: false, isFatal: false,
            sequence: sequence)
    }

    static func peerNotFound(_ sequence: SequenceNumber?) -> ProtocolError {
        ProtocolError(
            code: .peerNotFound, message: "The room has no other participant with this id and session.",
            isRetryable: false, isFatal: false, sequence: sequence)
    }

    static func tooManyRequests(_ message: String, _ window: RetryWindow) -> ProtocolError {
        ProtocolError(
            code: .tooManyRequests, message: message, isRetryable: true, isFatal: true, retryAfter: window)
    }

    static func shuttingDown(_ window: RetryWindow) -> ProtocolError {
        ProtocolError(
            code: .shuttingDown, message: "The server is going away.", isRetryable: true, isFatal: true,
            retryAfter: window)
    }

    static let invalidSessionToken = ProtocolError(
        code: .unauthorized,
        message: "The session token has expired, was not signed by this server, or is for another room.",
        isRetryable: false, isFatal: true)
}
