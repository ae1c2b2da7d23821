package import RoomProtocol

/// The streams to participants that were given up. One of them may come back with the session that it had: it could not
/// be reached for longer than it was waited for, and has itself given up nobody. The stream then continues behind the
/// messages that were given up.
package struct DeliveryMemory: Sendable {
    /// As many as a room has participants; the oldest are forgotten.
    package static var limit: Int { Limits.participants }

    /// The oldest first.
    private var entries: [(machine: DeliveryMachine, parts: [UInt8])] = []

    package init() {}

    /// The stream is given up, with everything that it has not sent. `parts`: of a message that has come in part.
    package mutating func store(_ machine: DeliveryMachine, _ parts: [UInt8]) {
        var machine = machine
        machine.abandon()
        entries.append((machine, parts))
        if entries.count > Self.limit { entries.removeFirst() }
    }

    /// The machine of the stream between two sessions: a new one where there was none.
    package mutating func take(
        session: SessionID, peerSession: SessionID
    ) -> (machine: DeliveryMachine, parts: [UInt8]) {
        let index = entries.firstIndex { $0.machine.session == session && $0.machine.peerSession == peerSession }
        guard let index else { return (DeliveryMachine(session: session, peerSession: peerSession), []) }
        return entries.remove(at: index)
    }
}
