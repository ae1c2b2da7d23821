internal import RoomCore
internal import RoomProtocol

extension RoomStreamError {
    init(_ failure: StreamFailure, _ participant: ParticipantID) {
        switch failure {
        case .peerGone: self.init(.peerGone, "\(participant) is not in the room any more, or this side has left it")
        case .cancelledHere(let code, let message): self.init(.cancelled, reason: code, message)
        case .cancelledByPeer(StreamCode.busy, let message): self.init(.busy, reason: StreamCode.busy, message)
        case .cancelledByPeer(let code, let message): self.init(.cancelledByPeer, reason: code, message)
        }
    }

    static let taskWasCancelled = RoomStreamError(.taskCancelled, "the task was cancelled while it waited")
}
