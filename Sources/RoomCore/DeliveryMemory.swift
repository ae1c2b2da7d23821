package import RoomProtocol

/// The streams to participants that were given up. One of them may come back with the session that it had: it could not
/// be reached for longer than it was waited for, and has itself given up nobody. The streams then continue behind the
/// messages that were given up.
package struct DeliveryMemory: Sendable {
    /// As many as a room has participants; the oldest are forgotten.
    package static var limit: Int { Limits.participants }

    /// The oldest first.
    private var entries: [NumberedStreams] = []

    package init() {}

    /// The streams are given up, with everything that they have not sent.
    package mutating func store(_ streams: NumberedStreams) {
        var streams = streams
        streams.abandon()
        entries.append(streams)
        if entries.count > Self.limit { entries.removeFirst() }
    }

    /// Returns the streams between two sessions: new ones where there were none.
    package mutating func take(session: SessionID, peerSession: SessionID) -> NumberedStreams {
        let index = entries.firstIndex { $0.session == session && $0.peerSession == peerSession }
        guard let index else { return NumberedStreams(session: session, peerSession: peerSession) }
        return entries.remove(at: index)
    }
}
