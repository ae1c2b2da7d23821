import RoomProtocol
import TransportPluginAPI

extension Room {
    /// Whether the room has a host and knows of no newer one.
    private var hasCurrentHost: Bool { host.map { $0.term >= knownTerm } ?? false }

    /// Who comes back takes the host's place again if its term is the highest; otherwise it is a guest. True: there is a new host.
    mutating func reclaimHost(_ claims: SessionClaims, _ effects: inout Effects) -> Bool {
        if claims.isHost, claims.hostTerm >= knownTerm, claims.hostTerm > (host?.term ?? 0) {
            makeHost(claims.participant, term: claims.hostTerm)
            return true
        }
        if !hasCurrentHost, hostDeadline == nil {
            hostDeadline = effects.now + effects.limits.grace
            effects.deadlines.schedule(.room(name), at: effects.now + effects.limits.grace)
        }
        return false
    }

    /// The room has waited for its host for long enough: whoever is connected and has been present for longest takes the next
    /// term. True: there is a new host.
    mutating func electHostIfDue(_ effects: inout Effects) -> Bool {
        guard !hasCurrentHost, let hostDeadline, hostDeadline <= effects.now,
            let longest = inOrder.first(where: { $0.connection != nil })
        else { return false }
        makeHost(longest.participant.id, term: knownTerm + 1)
        return true
    }

    mutating func makeHost(_ id: ParticipantID, term: HostTerm) {
        if let former = host?.id { members[former]?.participant.isHost = false }
        members[id]?.participant.isHost = true
        host = (id, term)
        knownTerm = max(knownTerm, term)
        hostDeadline = nil
    }

    /// Tells everybody who the host is, with a token that knows of it.
    mutating func announceHost(except newcomer: ParticipantID? = nil, _ effects: inout Effects) {
        guard let host else { return }
        for member in inOrder where member.participant.id != newcomer {
            let token = token(of: member, effects)
            deliver(
                .hostChanged(host.id, term: host.term, sessionToken: token), to: member.participant.id, &effects)
        }
    }
}
