import RoomProtocol
package import TransportValues

extension RoomServerMachine {
    /// The time within which connected participants get a session token of a new key, together with the interval of
    /// pings.
    private static let renewalWindow: Duration = .seconds(30)

    /// Verifies and signs by another authority from now on. `renewsTokens`: connected participants get new session
    /// tokens soon, spread over half a minute, because the authority signs with another key.
    package mutating func replaceAuthority(_ authority: any RoomAuthority, renewsTokens: Bool, at now: Timestamp) {
        effects.now = now
        effects.authority = authority
        guard renewsTokens else { return }
        let milliseconds = UInt64(Self.renewalWindow.components.seconds * 1000)
        for room in Array(rooms.keys) {
            for id in rooms[room]?.roster.inOrder.map(\.participant.id) ?? [] {
                let time = now + .milliseconds(Int64(effects.random.next(upperBound: milliseconds)))
                guard let due = rooms[room]?.roster.members[id]?.tokenRenewalAt, time < due else { continue }
                rooms[room]?.roster.members[id]?.tokenRenewalAt = time
            }
        }
    }
}
