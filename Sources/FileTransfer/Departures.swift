internal import RoomConnection

/// Judges by a room's events whether a participant that has left may come back.
struct Departures: Sendable {
    private enum State: Sendable {
        /// Never let in, as far as is known. `hasFailed`: since the server is not reached, whether there was a failure.
        /// Can transition to: present, away.
        case outside(hasFailed: Bool?)
        /// In the room: a departure is told with its reason. Can transition to: away, comparing.
        case present
        /// The server is not reached: only a participant that leaves in order says so, over its peer connection.
        /// `hasFailed`: there was a failure, so an incident ends the return. Can transition to: comparing, present.
        case away(hasFailed: Bool)
        /// Back: the events name those that are not where they were, all with the reason `left`; one that was given up
        /// meanwhile is told in the same way, and so is everybody when this side comes back as somebody new.
        /// Can transition to: present, away.
        case comparing(hasFailed: Bool)
    }

    private var state = State.outside(hasFailed: nil)

    mutating func note(_ event: RoomEvent) {
        switch event {
        case .signaling(.connected): connected()
        case .signaling(.disconnected(let cause)), .signaling(.connecting(_, _, let cause)): lost(cause != nil)
        case .joined: joined()
        // Of signaling: the return is over.
        case .incident(let incident) where incident.participant == nil: returned()
        default: break
        }
    }

    /// Whether a participant that leaves now may come back.
    func mayReturn(_ reason: LeaveReason) -> Bool {
        switch state {
        case .outside, .present, .away: reason == .timedOut
        case .comparing: reason == .timedOut || reason == .left
        }
    }

    private mutating func lost(_ hasFailed: Bool) {
        switch state {
        case .outside: state = .outside(hasFailed: hasFailed)
        case .present, .comparing: state = .away(hasFailed: hasFailed)
        case .away(let hadFailed): state = .away(hasFailed: hadFailed || hasFailed)
        }
    }

    private mutating func connected() {
        switch state {
        case .outside: state = .outside(hasFailed: nil)
        case .comparing: break
        // The loss was replaced by newer news.
        case .present: state = .comparing(hasFailed: true)
        case .away(let hasFailed): state = .comparing(hasFailed: hasFailed)
        }
    }

    private mutating func joined() {
        switch state {
        // The events of a consumer that comes late begin with the present state.
        case .outside(let hasFailed): state = hasFailed.map { .away(hasFailed: $0) } ?? .present
        case .present, .away: state = .comparing(hasFailed: true)
        // A return that nothing had made necessary ends here: the server has known everything all the time.
        case .comparing(let hasFailed): if !hasFailed { state = .present }
        }
    }

    private mutating func returned() {
        switch state {
        case .outside, .away: break
        case .present, .comparing: state = .present
        }
    }
}
