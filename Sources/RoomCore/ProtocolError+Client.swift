internal import RoomProtocol
internal import RoomValues

/// Errors of this side that have the form of the server's.
extension ProtocolError {
    static let nobodyToKick = ProtocolError(
        code: .peerNotFound, message: "The room has no other participant with this id.", isRetryable: false,
        isFatal: false)

    static let onlyTheHostSetsAttributes = ProtocolError(
        code: .notHost, message: "Only the room's host sets its attributes.", isRetryable: false, isFatal: false)

    static func iceProviderFailed(_ failure: SignalingFailure) -> ProtocolError {
        ProtocolError(
            code: .iceProviderFailed,
            message: "\(failure.description); the room goes on with the ICE servers that it has.", isRetryable: true,
            isFatal: false)
    }
}
