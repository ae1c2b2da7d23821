import RoomProtocol
import TransportValues

extension ServerRoom {
    /// Whether the room has a host and knows of no newer one.
    private var hasCurrentHost: Bool { host.map { $0.term >= knownTerm } ?? false }

    /// Who comes back takes the host's place again if its term is the highest, or if its join token made it the host and nobody has the
    /// place by such a token; otherwise it is a guest. True: there is a new host.
    mutating func reclaimHost(_ claims: SessionClaims, _ effects: inout Effects) -> Bool {
        if claims.isHost, claims.hostTerm >= knownTerm, claims.hostTerm > (host?.term ?? 0) {
            makeHost(claims.participant, term: claims.hostTerm)
            return true
        }
        if claims.role == .host, host.flatMap({ members[$0.id] })?.role != .host {
            makeHost(claims.participant, term: knownTerm + 1)
            return true
        }
        if !hasCurrentHost, hostDeadline == nil {
            hostDeadline = effects.now + effects.limits.grace
            effects.deadlines.schedule(.room(name), at: effects.now + effects.limits.grace)
        }
        return false
    }

    /// The room has waited for its host for long enough: whoever is connected and has been present for longest takes the next
    /// term; nobody whose join token says guest, and first of all those whose token says host. True: there is a new host.
    mutating func electHostIfDue(_ effects: inout Effects) -> Bool {
        guard !hasCurrentHost, let hostDeadline, hostDeadline <= effects.now,
            let next = nextHost
        else { return false }
        makeHost(next, term: knownTerm + 1)
        return true
    }

    private var nextHost: ParticipantID? {
        let present = inOrder.filter { $0.connection != nil && $0.role != .guest }
        return (present.first { $0.role == .host } ?? present.first)?.participant.id
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
            let token = makeToken(of: member, effects)
            deliver(
                .hostChanged(host.id, term: host.term, sessionToken: token), to: member.participant.id, &effects)
        }
    }

    /// Half-way through the life of its session token, a participant that is here gets a new one, with the host that it knows.
    mutating func renewToken(of id: ParticipantID, _ effects: inout Effects) {
        guard let member = members[id], let time = member.tokenRenewalAt, time <= effects.now else { return }
        let token = makeToken(of: member, effects)
        deliver(.hostChanged(host?.id ?? .nobody, term: host?.term ?? 0, sessionToken: token), to: id, &effects)
    }
}

extension ParticipantID {
    /// In place of a host where there is none.
    fileprivate static let nobody = ParticipantID("-")
}
