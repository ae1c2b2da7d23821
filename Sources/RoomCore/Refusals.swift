package import RoomProtocol
package import RoomValues
package import TransportValues

/// Decides about the errors that the server answers with.
package struct Refusals: Sendable {
    /// The consequence of a refusal.
    package enum Verdict: Sendable, Hashable {
        case tryAgain
        /// Try again, as a rejoin.
        case rejoin
        /// A new credential first.
        case refreshCredential
        case end(EndReason)
        /// Nothing ends by it.
        case report
    }

    private var lastReplaced: Timestamp?
    private var wasStale = false

    package init() {}

    /// The server has let this participant in.
    package mutating func joined() { wasStale = false }

    /// `isGreeting`: the error answers a `hello`. `isFirstJoin`: this participant has never been in the room.
    /// `waitsForRoom`: it waits for a room that does not exist yet.
    package mutating func judge(
        _ error: ProtocolError, isGreeting: Bool, isFirstJoin: Bool, waitsForRoom: Bool = false, now: Timestamp
    ) -> Verdict {
        guard error.isFatal || isGreeting else { return .report }
        let failure = SignalingFailure(error)
        switch error.code {
        case .kicked: return .end(.kicked(message: error.message))
        case .roomClosed: return .end(.roomClosed(message: error.message))
        case .versionMismatch: return .end(.refused(failure))
        case .unauthorized, .tokenExpired: return .refreshCredential
        // A server that does not let clients wait.
        case .roomNotFound where waitsForRoom: return .tryAgain
        case .roomNotFound, .nameTaken, .roomExists, .roomFull:
            return isFirstJoin ? .end(.refused(failure)) : .tryAgain
        // It has the name now; this participant does not come back to fight for it.
        case .replaced where error.replacedBy == .participant: return .end(.refused(failure))
        case .replaced:
            // An attempt that was given up may reach the server late and win: this participant comes back once, and
            // does not compete with another program that has its session.
            if let lastReplaced, now - lastReplaced < .seconds(30) { return .end(.replaced) }
            lastReplaced = now
            return .tryAgain
        case .staleEpoch:
            if wasStale { return .end(.staleEpoch(message: error.message)) }
            wasStale = true
            return .rejoin
        default:
            if error.isRetryable { return .tryAgain }
            // In the room, the server could not take a message; that is no reason to stay outside.
            return isGreeting ? .end(.refused(failure)) : .rejoin
        }
    }
}
