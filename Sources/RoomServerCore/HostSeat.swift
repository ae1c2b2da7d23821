import RoomProtocol
import TransportValues

/// The role of host in a room: which participant has it, by which term, and how long the room waits for its host to
/// return.
///
/// Can transition: vacant → taken (a first join, a claim, an election) → taken by a newer term, or vacant (the host
/// left).
struct HostSeat: Sendable {
    /// The host. If its term is below `knownTerm`, there was a newer host, which has not returned.
    private(set) var holder: (id: ParticipantID, term: HostTerm)?
    /// The highest term known.
    private(set) var knownTerm: HostTerm = 0
    /// The time at which the room stops waiting for its host.
    private(set) var deadline: Timestamp?

    var nextTerm: HostTerm { knownTerm + 1 }

    /// Whether there is a host, and no newer one is known.
    private var isCurrent: Bool { holder.map { $0.term >= knownTerm } ?? false }

    mutating func noteTerm(_ term: HostTerm) { knownTerm = max(knownTerm, term) }

    mutating func take(_ id: ParticipantID, term: HostTerm) {
        holder = (id, term)
        noteTerm(term)
        deadline = nil
    }

    /// The host's session has ended. The next host is elected as soon as there is a candidate.
    mutating func vacate(at now: Timestamp) {
        holder = nil
        deadline = now
    }

    /// Removes the host, when another participant takes the role at once.
    mutating func clear() { holder = nil }

    /// Returns the term by which a returning participant becomes host, or nil if it is a guest.
    ///
    /// Its former term counts if that is the highest. A join token that made it the host counts unless the current host
    /// has one, too.
    func term(claimedBy claims: SessionClaims, whereHolderIs role: Hello.Role?) -> HostTerm? {
        if claims.isHost, claims.hostTerm >= knownTerm, claims.hostTerm > (holder?.term ?? 0) { return claims.hostTerm }
        if claims.role == .host, role != .host { return nextTerm }
        return nil
    }

    /// Begins to wait for the host, if there is none and the room is not waiting yet. Returns whether it has begun.
    mutating func wait(until time: Timestamp) -> Bool {
        guard !isCurrent, deadline == nil else { return false }
        deadline = time
        return true
    }

    /// Returns the participant that becomes host now, once the room has waited long enough: the connected one that has
    /// been present for longest. Participants whose join token says host come first; those whose token says guest never
    /// become host.
    func successor(in roster: Roster, at now: Timestamp) -> ParticipantID? {
        guard !isCurrent, let deadline, deadline <= now else { return nil }
        let candidates = roster.inOrder.filter { $0.connection != nil && $0.role != .guest }
        return (candidates.first { $0.role == .host } ?? candidates.first)?.participant.id
    }
}
