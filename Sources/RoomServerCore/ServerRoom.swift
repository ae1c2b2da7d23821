import RoomProtocol
import TransportValues

/// One room: who is in it, who hosts it, and what is still to be delivered to whom.
///
/// Can transition: empty → occupied (join, rejoin) → empty (last leave or time-out) → removed by the machine after the TTL, or
/// closed by its host.
struct ServerRoom: Sendable {
    let name: RoomName
    var members: [ParticipantID: Member] = [:]
    var arrivals: UInt64 = 0
    /// The host with its term. The term may be below `knownTerm`: then a newer host is known of, but has not come back.
    var host: (id: ParticipantID, term: HostTerm)?
    /// The highest host term that was ever heard of.
    var knownTerm: HostTerm = 0
    /// When the room stops waiting for its host.
    var hostDeadline: Timestamp?
    var emptySince: Timestamp?
    /// Sessions that the others were told have ended; who comes back with one gets a new session.
    var endedSessions = BoundedMemory<SessionID>(limit: 1024)
    /// What those who are gone have used up, by their names.
    var allowances = BoundedMap<ByteText, Allowance>(limit: 1024)
    var kickedNames = BoundedMemory<ByteText>(limit: 1024)

    init(name: RoomName) { self.name = name }

    var inOrder: [Member] { members.values.sorted { $0.order < $1.order } }

    // MARK: First join

    mutating func join(
        _ hello: Hello, _ admission: Admission, _ connection: ConnectionID, _ effects: inout Effects
    ) throws(ProtocolError) -> ParticipantID {
        // Who was kicked by a participant that only stood in for the host comes back with a host's token.
        guard admission.role == .host || !kickedNames.contains(ByteText(hello.name)) else { throw .kicked }
        let former = holder(of: hello.name)
        if let former, !givesWay(former, to: admission, effects) { throw .nameTaken(isRejoin: false) }
        guard members.count - (former == nil ? 0 : 1) < effects.limits.participantsPerRoom else {
            throw .roomFull(isRejoin: false)
        }
        let allowance = try takeReturn(of: former, under: hello.name, effects)
        if let former { giveWay(former, isSucceeded: hello.role == .host, &effects) }
        var id = ParticipantID(effects.makeIdentifier("p"))
        while members[id] != nil { id = ParticipantID(effects.makeIdentifier("p")) }
        let participant = Participant(
            id: id, session: SessionID(effects.makeIdentifier("s")), epoch: 1,
            name: hello.name, isHost: false, metadata: hello.metadata, capabilities: hello.capabilities)
        insert(participant, admission.role, allowance, &effects)
        members[id]?.formerSession = former?.participant.session
        // The machine lets a host in only where nobody is, where it was the host itself, or where its token gives it the place.
        if hello.role == .host { makeHost(participant.id, term: knownTerm + 1) }
        enter(participant.id, connection, .new, claims: nil, attempt: 0, &effects)
        if hello.role == .host { announceHost(except: id, &effects) }
        return participant.id
    }

    private func holder(of name: String) -> Member? {
        members.values.first { $0.participant.name.hasSameBytes(as: name) }
    }

    /// Whether somebody new may have the name. A host's token is proof enough that it was this host's.
    private func givesWay(_ holder: Member, to admission: Admission, _ effects: Effects) -> Bool {
        (admission.ownsName || (admission.role == .host && holder.participant.isHost))
            && (holder.connection == nil || effects.limits.duplicateNames == .replace)
    }

    /// Whether who says this hello takes the host's place: it was the host and is expected back, a program that was started anew; or
    /// its token makes it the host, and nobody is here who is the host by such a token.
    func yieldsHost(to hello: Hello, _ admission: Admission, _ effects: Effects) -> Bool {
        if let holder = holder(of: hello.name), holder.participant.isHost, givesWay(holder, to: admission, effects) {
            return true
        }
        guard admission.role == .host else { return false }
        guard let present = host.flatMap({ members[$0.id] }) else { return true }
        return present.role != .host || present.connection == nil
    }

    /// One more return of a participant. `former`: who is here under the name. Throws where it comes back too often.
    private func takeReturn(
        of former: Member?, under name: String, _ effects: Effects
    ) throws(ProtocolError) -> Allowance {
        var allowance = former?.allowance ?? allowances[ByteText(name)] ?? Allowance()
        guard allowance.takeReturn(effects) else {
            throw .tooManyRequests("This participant comes back too often.", effects.limits.retryAfter)
        }
        return allowance
    }

    /// Its session ends for somebody new, who takes its name, and the host's place where it had that.
    private mutating func giveWay(_ former: Member, isSucceeded: Bool, _ effects: inout Effects) {
        if isSucceeded, host?.id == former.participant.id { host = nil }
        replace(former.connection, with: .nameGone, &effects)
        // Until the newcomer has said something, it may be the late hello of an attempt that was given up.
        end(former, former.connection == nil ? .timedOut : .left, &effects)
    }

    /// As `remove`; but whoever it was can come back, as a new session.
    private mutating func end(_ member: Member, _ reason: LeaveReason, _ effects: inout Effects) {
        remove(member.participant.id, reason, &effects)
        effects.leftSessions.remove(member.participant.session)
        endedSessions.insert(member.participant.session)
    }

    /// The newcomer is there: whose name it has taken cannot come back.
    mutating func confirm(_ id: ParticipantID, _ effects: inout Effects) {
        members[id]?.isConfirmed = true
        guard let session = members[id]?.formerSession else { return }
        members[id]?.formerSession = nil
        effects.replacedSessions.insert(session)
    }

    private mutating func insert(
        _ participant: Participant, _ role: Hello.Role?, _ allowance: Allowance, _ effects: inout Effects
    ) {
        var member = Member(participant, order: arrivals, limits: effects.limits)
        member.role = role
        member.allowance = allowance
        members[participant.id] = member
        arrivals += 1
        emptySince = nil
    }

    // MARK: Resume and rejoin

    mutating func comeBack(
        _ hello: Hello, _ resume: Resume, _ claims: SessionClaims, _ connection: ConnectionID, _ effects: inout Effects
    ) throws(ProtocolError) -> ParticipantID {
        guard !effects.kickedSessions.contains(claims.session) else { throw .kicked }
        guard !effects.leftSessions.contains(claims.session) else { throw .staleEpoch }
        guard !effects.replacedSessions.contains(claims.session) else { throw .nameGone }
        if let holder = holder(of: claims.name), holder.formerSession == claims.session {
            // Which of the two hellos is the late one shows soon: the newcomer says something, or its connection ends.
            guard holder.connection == nil else { throw .nameTaken(isRejoin: true) }
            end(holder, .timedOut, &effects)
        }
        let allowance = try takeReturn(of: members[claims.participant], under: claims.name, effects)
        knownTerm = max(knownTerm, claims.hostTerm)
        if let member = members[claims.participant] {
            members[claims.participant]?.allowance = allowance
            if member.participant.session == claims.session || !member.isConfirmed {
                try takeOver(member, hello, resume, claims, connection, &effects)
                return claims.participant
            }
            guard claims.epoch > member.participant.epoch else { throw .staleEpoch }
            replace(member.connection, with: .replaced, &effects)
            remove(claims.participant, .left, &effects)
        }
        guard members.count < effects.limits.participantsPerRoom else { throw .roomFull(isRejoin: true) }
        guard holder(of: claims.name) == nil else { throw .nameTaken(isRejoin: true) }
        // The others have forgotten a session that has ended; one that this server has never heard of, they may remember.
        let session =
            endedSessions.contains(claims.session) ? SessionID(effects.makeIdentifier("s")) : claims.session
        insert(
            Participant(
                id: claims.participant, session: session, epoch: claims.epoch + 1, name: claims.name, isHost: false,
                metadata: hello.metadata, capabilities: hello.capabilities), claims.role, allowance, &effects)
        enter(claims.participant, connection, .new, claims: claims, attempt: resume.attempt, &effects)
        return claims.participant
    }

    /// The session is known: resumes it where nothing was lost, else begins a new epoch.
    private mutating func takeOver(
        _ member: Member, _ hello: Hello, _ resume: Resume, _ claims: SessionClaims, _ connection: ConnectionID,
        _ effects: inout Effects
    ) throws(ProtocolError) {
        let id = claims.participant
        // The late success of an attempt that the client has given up.
        guard resume.attempt == 0 || resume.attempt >= member.lastAttempt else { throw .staleEpoch }
        // A client that has shown the newer epoch to be its own has no reason to come with the older one. Where it has not, the
        // answer with the newer token may have been lost.
        guard claims.epoch >= member.participant.epoch || !member.isConfirmed else { throw .staleEpoch }
        replace(member.connection, with: .replaced, &effects)
        if claims.epoch == member.participant.epoch, claims.session == member.participant.session,
            claims.server == effects.serverID, !resume.mustRejoin,
            let missed = members[id]?.outbound.replay(after: resume.received, &effects.streamBytes),
            members[id]?.takeReplay(effects) == true
        {
            enter(id, connection, .resumed, claims: claims, attempt: resume.attempt, &effects)
            for (sequence, message) in missed { transmit(message, sequence, to: id, &effects) }
            return
        }
        let epoch = max(member.participant.epoch, claims.epoch) + 1
        members[id]?.restart(epoch: epoch, &effects)
        members[id]?.participant.metadata = hello.metadata
        members[id]?.participant.capabilities = hello.capabilities
        members[id]?.hasUntoldUpdate = false
        enter(id, connection, .newEpoch, claims: claims, attempt: resume.attempt, &effects)
    }

    private func replace(_ connection: ConnectionID?, with error: ProtocolError, _ effects: inout Effects) {
        guard let connection else { return }
        effects.send(.error(error), to: connection)
        effects.actions.append(.close(connection, .refused))
        effects.replaced.append(connection)
    }

    private enum Entry {
        case new
        case newEpoch
        case resumed
    }

    /// Connects the member and answers its hello; the others hear of it where there is news for them.
    private mutating func enter(
        _ id: ParticipantID, _ connection: ConnectionID, _ entry: Entry, claims: SessionClaims?, attempt: UInt64,
        _ effects: inout Effects
    ) {
        members[id]?.connection = connection
        members[id]?.disconnectedAt = nil
        members[id]?.unacknowledged = 0
        if let last = members[id]?.lastAttempt, last < attempt { members[id]?.lastAttempt = attempt }
        let hasNewHost = (claims.map { reclaimHost($0, &effects) } ?? false) || electHostIfDue(&effects)
        let ice = effects.authority.iceServers(for: id)
        noteICERefresh(id, ice, effects)
        guard let member = members[id] else { return }
        let joined = Joined(
            participant: id, session: member.participant.session, epoch: member.participant.epoch,
            isHost: member.participant.isHost, hostTerm: host?.term ?? 0, isResumed: entry == .resumed,
            received: member.received, sent: entry == .resumed ? member.outbound.last : nil,
            sessionToken: makeToken(of: member, effects),
            roster: inOrder.map(\.participant).filter { $0.id != id }, iceServers: ice,
            pingInterval: effects.limits.pingInterval, pingDeadline: effects.limits.pingDeadline,
            grace: effects.limits.grace)
        effects.send(.joined(joined), to: connection)
        switch entry {
        case .new: tellOthers(.peerJoined(member.participant), than: id, &effects)
        case .newEpoch: tellOthers(.peerChanged(member.participant), than: id, &effects)
        case .resumed: break
        }
        if hasNewHost { announceHost(except: id, &effects) }
    }

    /// Half-way through their life, credentials are renewed.
    mutating func noteICERefresh(_ id: ParticipantID, _ ice: ICEServerList, _ effects: Effects) {
        members[id]?.iceRefreshAt = ice.ttl.map { effects.now + $0 / 2 }
    }

    /// A session token as of now; half-way through its life it is renewed.
    mutating func makeToken(of member: Member, _ effects: Effects) -> String {
        let participant = member.participant
        let lifetime = max(effects.limits.sessionLifetime, effects.limits.grace * 2)
        members[participant.id]?.tokenRenewalAt = effects.now + lifetime / 2
        return effects.authority.sessionToken(
            for: SessionClaims(
                participant: participant.id, room: name, name: participant.name, session: participant.session,
                epoch: participant.epoch,
                hostTerm: participant.isHost ? host?.term ?? knownTerm : knownTerm, isHost: participant.isHost,
                role: member.role,
                server: effects.serverID), lifetime: lifetime)
    }

    // MARK: Going

    /// The connection has ended; the session waits for the grace period.
    mutating func disconnected(_ id: ParticipantID, _ connection: ConnectionID, _ effects: inout Effects) {
        guard members[id]?.connection == connection else { return }
        members[id]?.connection = nil
        members[id]?.disconnectedAt = effects.now
        members[id]?.ackDue = nil
        effects.deadlines.schedule(.grace(name, id), at: effects.now + effects.limits.grace)
    }

    /// Ends a session for good.
    mutating func remove(_ id: ParticipantID, _ reason: LeaveReason, _ effects: inout Effects) {
        guard var member = members.removeValue(forKey: id) else { return }
        member.outbound.removeAll(&effects.streamBytes)
        allowances.insert(member.allowance, for: ByteText(member.participant.name))
        let session = member.participant.session
        switch reason {
        case .left: effects.leftSessions.insert(session)
        case .timedOut, .roomClosed: endedSessions.insert(session)
        case .kicked:
            effects.kickedSessions.insert(session)
            kickedNames.insert(ByteText(member.participant.name))
        }
        tellOthers(.peerLeft(id, session, reason: reason), than: id, &effects)
        if host?.id == id {
            host = nil
            hostDeadline = effects.now
            if electHostIfDue(&effects) { announceHost(&effects) }
        }
        if members.isEmpty {
            emptySince = effects.now
            effects.deadlines.schedule(.room(name), at: effects.now + effects.limits.emptyRoomTTL)
        }
    }

    /// Ends every session; the machine removes the room.
    mutating func close(reason: String, _ effects: inout Effects) -> [ConnectionID] {
        let connections = inOrder.compactMap(\.connection)
        for connection in connections {
            effects.send(.error(.roomClosed(reason)), to: connection)
            effects.actions.append(.close(connection, .refused))
        }
        for id in members.keys { members[id]?.outbound.removeAll(&effects.streamBytes) }
        members = [:]
        host = nil
        emptySince = effects.now
        return connections
    }
}
