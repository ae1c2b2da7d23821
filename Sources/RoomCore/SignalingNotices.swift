package import RoomValues

/// Decides when a person is to hear about the connection to the room server: once for each outage, when an attempt has
/// failed, and when the outage is over. A connection that is lost and back with the first attempt is no news.
package struct SignalingNotices: Sendable, Equatable {
    /// The news.
    package enum Notice: Sendable, Equatable {
        /// An attempt has failed; the next one follows by itself.
        case unreachable(SignalingFailure?)
        /// The outage is over.
        case back
    }

    private enum State: Sendable {
        /// Connected, or nothing was begun. Can transition to: trying.
        case quiet
        /// The first attempt runs. Can transition to: reported, quiet.
        case trying
        /// An attempt has failed, and a notice says so. Can transition to: quiet.
        case reported
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
            state = .reported
            return .unreachable(cause)
        case (.reported, .connected):
            state = .quiet
            return .back
        case (.quiet, .connected), (.trying, .connected), (_, .closed):
            state = .quiet
            return nil
        case (.quiet, .connecting), (.quiet, .disconnected), (.trying, .connecting), (.reported, .connecting),
            (.reported, .disconnected):
            return nil
        }
    }
}
