package import RoomProtocol
package import RoomValues
package import TransportValues

/// Why a peer connection ended or refused something.
package struct PeerFailure: Sendable, Hashable {
    /// One sentence; never a secret.
    package var description: String
    /// The transport's code for it.
    package var code: TransportError.Code?
    /// It is the other side's description that was refused.
    package var isRefusal: Bool

    package init(_ description: String, code: TransportError.Code? = nil, isRefusal: Bool = false) {
        self.description = description
        self.code = code
        self.isRefusal = isRefusal
    }
}

extension RoomError {
    /// No path to the participant, or no new one, can be made, since this machine is out of something.
    package static func outOfResources(_ participant: ParticipantID, _ failure: PeerFailure) -> RoomError {
        RoomError(
            .unavailable, "no new path to \(participant): \(failure.description)", protocolCode: .resourceExhausted,
            isRetryable: true)
    }
}
