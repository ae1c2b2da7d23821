import RoomProtocol
import TransportValues

/// One room on the server: which participants are admitted, replaced and removed, and which one is the host.
///
/// Can transition: empty → occupied (join, rejoin) → empty (last leave or time-out) → removed by the machine after the
/// TTL, or closed by its host.
struct ServerRoom: Sendable {
    var roster: Roster
    private var seat = HostSeat()
    private(set) var attributes = RoomAttributes()
    /// Whether there are attributes that the members have not been sent yet.
    private var hasUnsentAttributes = false
    /// The id in place of a host if there is none.
    private static let nobody = ParticipantID("-")
    private var emptySince: Timestamp?
    /// The time at which the first participant came in.
    var openedAt: Timestamp?

    init(name: RoomName) { roster = Roster(room: name) }

    private var name: RoomName { roster.room }
    var host: ParticipantID? { seat.holder?.id }

    // MARK: First join

    mutating func join(
        _ hello: Hello, _ admission: Admission, _ connection: ConnectionID, _ effects: inout Effects
    ) throws(ProtocolError) -> ParticipantID {
        // A host's join token overrides a kick by a participant that only stood in for the host.
        if admission.role != .host { try effects.departures.checkName(hello.name, in: name, at: effects.now) }
        let former = roster.member(named: hello.name)
        if let former, !yieldsName(former, to: admission, effects) { throw .nameTaken(isRejoin: false) }
        guard roster.members.count - (former == nil ? 0 : 1) < effects.limits.participantsPerRoom else {
            throw .roomFull(isRejoin: false)
        }
        let allowance = try takeReturn(of: former, named: hello.name, effects)
        if let former { displace(former, isSucceeded: hello.role == .host, &effects) }
        var id = ParticipantID(effects.makeIdentifier("p"))
        while roster.members[id] != nil { id = ParticipantID(effects.makeIdentifier("p")) }
        let participant = Participant(
            id: id, session: SessionID(effects.makeIdentifier("s")), epoch: 1,
            name: hello.name, isHost: false, metadata: hello.metadata, capabilities: hello.capabilities)
        insert(participant, admission.role, allowance, &effects)
        roster.members[id]?.formerSession = former?.participant.session
        roster.members[id]?.admittedUntil = admission.validity.map { effects.now + $0 }
        // The machine admits a host only if the room is empty, if it was the host itself, or if its token makes it the
        // host.
        if hello.role == .host { makeHost(id, term: seat.nextTerm) }
        enter(id, connection, .new, claims: nil, attempt: 0, &effects)
        if hello.role == .host { announceHost(except: id, &effects) }
        return id
    }

    /// Returns whether a newcomer gets the member's name. A host's token is sufficient proof that the host's name is
    /// its own.
    private func yieldsName(_ member: Member, to admission: Admission, _ effects: Effects) -> Bool {
        (admission.ownsName || (admission.role == .host && member.participant.isHost))
            && (member.connection == nil || effects.limits.duplicateNames == .replace)
    }

    /// Returns whether the sender of this hello would be the host.
    func isFree(for hello: Hello, _ admission: Admission, _ effects: Effects) -> Bool {
        roster.members.isEmpty || yieldsHost(to: hello, admission, effects)
    }

    /// Returns whether the sender of this hello becomes the host: because it was the host, and is a restarted program;
    /// or because its token makes it the host, and the current host has no such token or is not connected.
    private func yieldsHost(to hello: Hello, _ admission: Admission, _ effects: Effects) -> Bool {
        if let member = roster.member(named: hello.name), member.participant.isHost,
            yieldsName(member, to: admission, effects)
        {
            return true
        }
        guard admission.role == .host else { return false }
        guard let present = host.flatMap({ roster.members[$0] }) else { return true }
        return present.role != .host || present.connection == nil
    }

    /// Counts one more return of a participant. Throws if it returns too often.
    private func takeReturn(
        of former: Member?, named name: String, _ effects: Effects
    ) throws(ProtocolError) -> Allowance {
        var allowance = former?.allowance ?? effects.departures.allowance(of: name, in: self.name)
        guard allowance.takeReturn(effects) else {
            throw .tooManyRequests("This participant returns too often.", effects.limits.retryAfter)
        }
        return allowance
    }

    /// Ends the session of a member whose name a newcomer takes, and its role of host if it has that.
    private mutating func displace(_ former: Member, isSucceeded: Bool, _ effects: inout Effects) {
        if isSucceeded, host == former.participant.id { seat.clear() }
        replace(former.connection, with: .nameGone, &effects)
        // Until the newcomer has sent another message, its hello may be a late one of an abandoned attempt. So the
        // member can return.
        remove(former.participant.id, former.connection == nil ? .timedOut : .left, as: .lapsed, &effects)
    }

    private mutating func insert(
        _ participant: Participant, _ role: Hello.Role?, _ allowance: Allowance, _ effects: inout Effects
    ) {
        roster.insert(participant, role: role, allowance: allowance, &effects)
        roster.members[participant.id]?.joinedAt = effects.now
        emptySince = nil
    }

    // MARK: Resume and rejoin

    mutating func resumeOrRejoin(
        _ hello: Hello, _ resume: Resume, _ claims: SessionClaims, _ connection: ConnectionID, _ effects: inout Effects
    ) throws(ProtocolError) -> ParticipantID {
        try effects.departures.checkSession(claims.session)
        if let successor = roster.member(named: claims.name), successor.formerSession == claims.session {
            // It will soon be clear which of the two hellos is late: the newcomer sends a message, or its connection
            // ends.
            guard successor.connection == nil else { throw .nameTaken(isRejoin: true) }
            remove(successor.participant.id, .timedOut, as: .lapsed, &effects)
        }
        let id = claims.participant
        let allowance = try takeReturn(of: roster.members[id], named: claims.name, effects)
        seat.noteTerm(claims.hostTerm)
        if let member = roster.members[id] {
            roster.members[id]?.allowance = allowance
            if member.participant.session == claims.session || !member.isConfirmed {
                try reconnect(member, hello, resume, claims, connection, &effects)
                return id
            }
            guard claims.epoch > member.participant.epoch else { throw .staleEpoch }
            replace(member.connection, with: .replaced, &effects)
            remove(id, .left, as: .left, &effects)
        }
        guard roster.members.count < effects.limits.participantsPerRoom else { throw .roomFull(isRejoin: true) }
        guard roster.member(named: claims.name) == nil else { throw .nameTaken(isRejoin: true) }
        // The others have forgotten a session that has ended. But they may remember one that this server does not know.
        let hasLapsed = effects.departures.hasLapsed(claims.session, in: name)
        let session = hasLapsed ? SessionID(effects.makeIdentifier("s")) : claims.session
        let participant = Participant(
            id: id, session: session, epoch: claims.epoch + 1, name: claims.name, isHost: false,
            metadata: hello.metadata, capabilities: hello.capabilities)
        insert(participant, claims.role, allowance, &effects)
        enter(id, connection, .new, claims: claims, attempt: resume.attempt, &effects)
        return id
    }

    /// Resumes a known session if no message was dropped; otherwise begins a new epoch.
    private mutating func reconnect(
        _ member: Member, _ hello: Hello, _ resume: Resume, _ claims: SessionClaims, _ connection: ConnectionID,
        _ effects: inout Effects
    ) throws(ProtocolError) {
        let id = claims.participant
        // The late success of an attempt that the client has abandoned.
        guard resume.attempt == 0 || resume.attempt >= member.lastAttempt else { throw .staleEpoch }
        // A client that has used the newer epoch does not return with the older one. If it has not, the answer with the
        // newer token may have been lost.
        guard claims.epoch >= member.participant.epoch || !member.isConfirmed else { throw .staleEpoch }
        replace(member.connection, with: .replaced, &effects)
        if claims.epoch == member.participant.epoch, claims.session == member.participant.session,
            claims.server == effects.serverID, !resume.mustRejoin,
            let missed = roster.members[id]?.replay(after: resume.received, &effects)
        {
            enter(id, connection, .resumed, claims: claims, attempt: resume.attempt, &effects)
            for (sequence, message) in missed { roster.transmit(message, sequence, to: id, &effects) }
            return
        }
        let epoch = max(member.participant.epoch, claims.epoch) + 1
        roster.members[id]?.restart(epoch: epoch, &effects)
        roster.members[id]?.participant.metadata = hello.metadata
        roster.members[id]?.participant.capabilities = hello.capabilities
        roster.members[id]?.hasUnsentUpdate = false
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

    /// Connects the member, answers its hello, and notifies the others.
    private mutating func enter(
        _ id: ParticipantID, _ connection: ConnectionID, _ entry: Entry, claims: SessionClaims?, attempt: UInt64,
        _ effects: inout Effects
    ) {
        roster.members[id]?.connected(connection, attempt: attempt)
        let hasNewHost = (claims.map { reclaimHost($0, &effects) } ?? false) || electHostIfDue(effects)
        let iceServers = roster.makeICEServers(for: id, effects)
        guard let member = roster.members[id] else { return }
        let joined = Joined(
            participant: id, session: member.participant.session, epoch: member.participant.epoch,
            isHost: member.participant.isHost, hostTerm: seat.holder?.term ?? 0, isResumed: entry == .resumed,
            received: member.inbound.received, sent: entry == .resumed ? member.outbound.last : nil,
            sessionToken: makeToken(of: member, effects),
            roster: roster.inOrder.map(\.participant).filter { $0.id != id }, attributes: attributes,
            iceServers: iceServers,
            pingInterval: effects.limits.pingInterval, pingDeadline: effects.limits.pingDeadline,
            grace: effects.limits.grace)
        effects.send(.joined(joined), to: connection)
        if entry == .new { recordEntry(of: member.participant, isReturn: claims != nil, &effects) }
        switch entry {
        case .new: roster.deliver(.peerJoined(member.participant), toAllBut: id, &effects)
        case .newEpoch: roster.deliver(.peerChanged(member.participant), toAllBut: id, &effects)
        case .resumed: break
        }
        if hasNewHost { announceHost(except: id, &effects) }
    }

    // MARK: The host

    /// Makes the returning participant the host again if it can claim that. Returns whether it does.
    private mutating func reclaimHost(_ claims: SessionClaims, _ effects: inout Effects) -> Bool {
        let role = host.flatMap { roster.members[$0] }?.role
        if let term = seat.term(claimedBy: claims, whereHolderIs: role) {
            makeHost(claims.participant, term: term)
            return true
        }
        let end = effects.now + effects.limits.grace
        if seat.wait(until: end) { effects.schedule(.room(name), at: end) }
        return false
    }

    /// Elects a host if one is due. Returns whether there is a new host.
    private mutating func electHostIfDue(_ effects: Effects) -> Bool {
        guard let successor = seat.successor(in: roster, at: effects.now) else { return false }
        makeHost(successor, term: seat.nextTerm)
        return true
    }

    private mutating func makeHost(_ id: ParticipantID, term: HostTerm) {
        if let host { roster.members[host]?.participant.isHost = false }
        roster.members[id]?.participant.isHost = true
        seat.take(id, term: term)
    }

    private mutating func announceHost(except newcomer: ParticipantID? = nil, _ effects: inout Effects) {
        guard let holder = seat.holder else { return }
        if let participant = roster.members[holder.id]?.participant {
            effects.record(.hostChanged(RoomLifeEvent.Subject(participant), term: holder.term), in: name)
        }
        for member in roster.inOrder where member.participant.id != newcomer {
            let token = makeToken(of: member, effects)
            roster.deliver(
                .hostChanged(holder.id, term: holder.term, sessionToken: token), to: member.participant.id, &effects)
        }
    }

    /// Sends a connected participant a new session token when half of the old one's life has passed, with the current
    /// host.
    mutating func renewToken(of id: ParticipantID, _ effects: inout Effects) {
        guard let member = roster.members[id], let time = member.tokenRenewalAt, time <= effects.now else { return }
        let token = makeToken(of: member, effects)
        roster.deliver(
            .hostChanged(host ?? Self.nobody, term: seat.holder?.term ?? 0, sessionToken: token), to: id, &effects)
    }

    /// Returns a new session token, and schedules its renewal for half of its life.
    private mutating func makeToken(of member: Member, _ effects: Effects) -> String {
        let participant = member.participant
        let lifetime = effects.limits.tokenLifetime
        roster.members[participant.id]?.tokenRenewalAt = effects.now + lifetime / 2
        let term = participant.isHost ? seat.holder?.term ?? seat.knownTerm : seat.knownTerm
        return effects.authority.sessionToken(
            for: SessionClaims(
                participant: participant.id, room: name, name: participant.name, session: participant.session,
                epoch: participant.epoch, hostTerm: term, isHost: participant.isHost, role: member.role,
                server: effects.serverID, fence: effects.fences[name]), lifetime: lifetime)
    }

    // MARK: Attributes

    mutating func update(
        _ new: RoomAttributes, by id: ParticipantID, sequence: SequenceNumber?, _ effects: inout Effects
    ) throws(ProtocolError) {
        guard host == id else { throw .notHost(sequence) }
        guard new.version > attributes.version || !new.values.hasSameBytes(as: attributes.values) else { return }
        // A server that has lost its state continues from the host's version, otherwise members would consider its
        // attributes old.
        attributes = RoomAttributes(version: max(new.version, attributes.version + 1), values: new.values)
        hasUnsentAttributes = true
        sendAttributes(&effects)
    }

    /// Sends the newest attributes to the members as soon as the host's allowance permits.
    mutating func sendAttributes(_ effects: inout Effects) {
        guard hasUnsentAttributes else { return }
        let size = attributes.values.reduce(256) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        let cost = size * roster.members.count
        if let host, let time = roster.members[host]?.allowance.takeUpdate(cost, effects) {
            effects.schedule(.attributes(name), at: time)
            return
        }
        hasUnsentAttributes = false
        for member in roster.inOrder where member.participant.capabilities.contains(RoomAttributes.capability) {
            roster.deliver(.roomChanged(attributes), to: member.participant.id, &effects)
        }
    }

    // MARK: Going

    /// The connection has ended. The session waits for the grace period.
    mutating func disconnected(_ id: ParticipantID, _ connection: ConnectionID, _ effects: inout Effects) {
        guard roster.members[id]?.connection == connection else { return }
        roster.members[id]?.disconnected(at: effects.now)
        effects.schedule(.grace(name, id), at: effects.now + effects.limits.grace)
    }

    mutating func graceDeadline(_ id: ParticipantID, _ effects: inout Effects) {
        guard let disconnectedAt = roster.members[id]?.disconnectedAt else { return }
        let end = disconnectedAt + effects.limits.grace
        if end <= effects.now {
            remove(id, .timedOut, as: .lapsed, &effects)
        } else {
            effects.schedule(.grace(name, id), at: end)
        }
    }

    mutating func leave(_ id: ParticipantID, _ effects: inout Effects) { remove(id, .left, as: .left, &effects) }

    /// Removes a participant for the host `id`, or for an operator. Returns the connection that the machine must
    /// remove.
    mutating func kick(
        _ kicked: ParticipantID, reason: String, ban: Duration, by id: ParticipantID?, sequence: SequenceNumber?,
        _ effects: inout Effects
    ) throws(ProtocolError) -> ConnectionID? {
        guard id == nil || host == id else { throw .notHost(sequence) }
        guard kicked != id, let target = roster.members[kicked] else {
            throw .peerNotFound(sequence)
        }
        if let connection = target.connection {
            var error = ProtocolError.kicked
            if !reason.isEmpty { error.message += " Reason: \(reason)" }
            effects.send(.error(error), to: connection)
            effects.actions.append(.close(connection, .refused))
        }
        // The join token that it has shown must not bring it back.
        let ban = max(ban, target.admittedUntil.map { $0 - effects.now } ?? .zero)
        remove(kicked, .kicked, as: .kicked, by: id == nil ? .operator : .host, note: reason, ban: ban, &effects)
        return target.connection
    }

    /// Ends a session. `reason` is for the others; `ending` decides whether the participant may return.
    private mutating func remove(
        _ id: ParticipantID, _ reason: LeaveReason, as ending: Departures.Ending,
        by author: RoomLifeEvent.Author? = nil, note: String = "", ban: Duration = .zero, _ effects: inout Effects
    ) {
        guard let member = roster.remove(id, &effects) else { return }
        let subject = RoomLifeEvent.Subject(member.participant)
        effects.record(.participantLeft(subject, reason, by: author, reason: note), in: name)
        effects.departures.sessionEnded(
            ending, of: member.participant, allowance: member.allowance, in: name, ban: ban, at: effects.now)
        roster.deliver(.peerLeft(id, member.participant.session, reason: reason), toAllBut: id, &effects)
        if host == id {
            seat.vacate(at: effects.now)
            if electHostIfDue(effects) { announceHost(&effects) }
        }
        if roster.members.isEmpty {
            emptySince = effects.now
            effects.schedule(.room(name), at: effects.now + effects.limits.emptyRoomTTL)
        }
    }

    /// Ends every session. Returns the connections that the machine must remove, together with the room.
    mutating func close(
        reason: String, by author: RoomLifeEvent.Author, _ effects: inout Effects
    ) -> [ConnectionID] {
        let connections = roster.inOrder.compactMap(\.connection)
        for connection in connections {
            effects.send(.error(.roomClosed(reason)), to: connection)
            effects.actions.append(.close(connection, .refused))
        }
        for member in roster.inOrder {
            _ = roster.remove(member.participant.id, &effects)
            let subject = RoomLifeEvent.Subject(member.participant)
            effects.record(.participantLeft(subject, .roomClosed, by: author, reason: reason), in: name)
        }
        effects.record(.roomClosed(by: author, reason: reason), in: name)
        return connections
    }

    /// Elects a host if one is due. Returns whether the room has been empty for long enough to be removed.
    mutating func roomDeadline(_ effects: inout Effects) -> Bool {
        if electHostIfDue(effects) { announceHost(&effects) }
        if let emptySince {
            let end = emptySince + effects.limits.emptyRoomTTL
            if end <= effects.now { return true }
            effects.schedule(.room(name), at: end)
        }
        if let deadline = seat.deadline, deadline > effects.now {
            effects.schedule(.room(name), at: deadline)
        }
        return false
    }
}
