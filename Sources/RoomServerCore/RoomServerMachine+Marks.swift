package import TransportValues

extension RoomServerMachine {
    /// Whether there are actions for marks. False at first.
    package var makesMarks: Bool {
        get { effects.departures.makesMarks }
        set { effects.departures.makesMarks = newValue }
    }

    /// Takes over the marks of an earlier run of the server, or of another server whose rooms move here.
    ///
    /// Names that were kicked from a room are forgotten with it. A room that nobody rebuilds in the time in which it
    /// would have been removed without the restart counts as removed. Bans hold for the rest of their time.
    package mutating func restore(_ marks: some Sequence<Mark>, at now: Timestamp) {
        let end = now + effects.limits.grace + effects.limits.emptyRoomTTL
        for mark in marks {
            effects.departures.apply(mark, at: now)
            if case .nameKicked = mark.fact { effects.schedule(.room(mark.room), at: end) }
        }
    }
}
