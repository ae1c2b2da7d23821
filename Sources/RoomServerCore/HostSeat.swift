import RoomProtocol
import TransportValues

/// The host's place in a room: who has it by which term, and how long the room waits for its host to come back.
///
/// Can transition: vacant → taken (a first join, a claim, an election) → taken by a newer term, or vacant (the host
/// left).
struct HostSeat: Sendable {
    /// The host. Its term may be below `knownTerm`: then a newer host is known of, but has not come back.
    private(set) var holder: (id: ParticipantID, term: HostTerm)?
    /// The highest term that was ever heard of.
    private(set) var knownTerm: HostTerm = 0
    /// When the room stops waiting for its host.
    private(set) var deadline: Timestamp?

    var nextTerm: HostTerm { knownTerm + 1 }

    /// Whether there is a host, and no newer one is known of.
    private var isCurrent: Bool { holder.map { $0.term >= knownTerm } ?? false }

    mutating func noteTerm(_ term: HostTerm) { knownTerm = max(knownTerm, term) }

    mutating func take(_ id: ParticipantID, term: HostTerm) {
        holder = (id, term)
        noteTerm(term)
        deadline = nil
    }

    /// The host's session has ended: the next one is elected as soon as there is a candidate.
    mutating func vacate(at now: Timestamp) {
        holder = nil
        deadline = now
    }

    /// The host gives way to a participant that takes the place right away.
    mutating func clear() { holder = nil }

    /// The term by which a participant that comes back takes the place; nil: it is a guest.
    ///
    /// Its former term counts if it is the highest. A join token that made it the host counts unless the present host
    /// has one too.
    func term(claimedBy claims: SessionClaims, whereHolderIs role: Hello.Role?) -> HostTerm? {
        if claims.isHost, claims.hostTerm >= knownTerm, claims.hostTerm > (holder?.term ?? 0) { return claims.hostTerm }
        if claims.role == .host, role != .host { return nextTerm }
        return nil
    }

    /// Begins to wait for the host where there is none and nobody waits yet. Returns whether it did.
    mutating func wait(until time: Timestamp) -> Bool {
        guard !isCurrent, deadline == nil else { return false }
        deadline = time
        return true
    }

    /// The participant that becomes the host now: where the room has waited long enough, the one that is connected and
    /// has been present for longest. First of all those whose join token says host; never one whose token says guest.
    func successor(in roster: Roster, at now: Timestamp) -> ParticipantID? {
        guard !isCurrent, let deadline, deadline <= now else { return nil }
        let candidates = roster.inOrder.filter { $0.connection != nil && $0.role != .guest }
        return (candidates.first { $0.role == .host } ?? candidates.first)?.participant.id
    }
}
