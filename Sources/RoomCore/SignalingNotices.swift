package import RoomValues

/// Decides when a person is to hear about the connection to the room server: once for each outage, when an attempt has
/// failed, and when the outage is over. A connection that is lost and back with the first attempt is no news.
///
/// Can transition: quiet → trying (an attempt runs) → told (it has failed) → quiet (connected, or ended).
package struct SignalingNotices: Sendable, Equatable {
    /// The news.
    package enum Notice: Sendable, Equatable {
        /// An attempt has failed; the next one follows by itself.
        case unreachable(SignalingFailure?)
        /// The outage is over.
        case back
    }

    private enum State: Sendable {
        case quiet
        case trying
        case told
    }

    private var state = State.quiet

    package init() {}

    /// Takes a status. Returns the news in it.
    package mutating func take(_ status: SignalingStatus) -> Notice? {
        switch (state, status) {
        case (.quiet, .connecting(_, nil, _)):
            state = .trying
            return nil
        case (.trying, .disconnected(let cause)):
            state = .told
            return .unreachable(cause)
        case (.told, .connected):
            state = .quiet
            return .back
        case (.quiet, .connected), (.trying, .connected), (_, .closed):
            state = .quiet
            return nil
        case (.quiet, .connecting), (.quiet, .disconnected), (.trying, .connecting), (.told, .connecting),
            (.told, .disconnected):
            return nil
        }
    }
}
