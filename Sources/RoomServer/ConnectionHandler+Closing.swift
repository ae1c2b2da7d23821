internal import NIOCore
internal import RoomProtocol
internal import RoomServerCore
internal import WebSocketWire

/// The ways in which this side closes a connection.
extension ConnectionHandler {
    /// Closes with a close handshake, after everything that was written.
    func close(_ code: CloseCode) {
        switch state {
        case .open, .relayed: break
        case .routing(let routing): routing.cancel()
        case .request, .answering, .moving, .closing, .ending, .done: return
        }
        outgoing.append(close: CloseReason(code: code.rawValue))
        state = .closing
        flush()
        setDeadline(loop.limits.closeTimeout)
    }

    /// Closes the socket if it has no connection of the machine yet.
    func closeIfIdle() {
        switch state {
        case .request, .answering: abort()
        case .relayed: lostRoute()
        case .open, .moving, .routing, .closing, .ending, .done: break
        }
    }

    func abort() {
        guard let context else { return }
        let before = state
        state = .ending
        context.close(promise: nil)
        leave(before)
    }

    /// The connection ends for those who have it in this state.
    func leave(_ state: State) {
        switch state {
        case .open(let id): loop.disconnected(id)
        case .routing(let routing):
            routing.cancel()
            loop.disconnected(routing.connection)
        case .relayed(let waiter): loop.endInCluster(waiter)
        case .request, .answering, .moving, .closing, .ending, .done: break
        }
    }
}
