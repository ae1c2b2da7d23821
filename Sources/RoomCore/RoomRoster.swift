internal import RoomProtocol
internal import RoomValues
internal import TransportValues

/// The others in the room as far as this participant knows: those who are there, and those who are missed after a
/// rejoin.
struct RoomRoster: Sendable {
    enum Change: Sendable, Hashable {
        case joined(Participant)
        /// A missed participant is there again; its session is the same.
        case returned(Participant)
        /// The server does not know the participant. It may just not be back yet: it is waited for.
        case missed(ParticipantID)
        case left(Participant, LeaveReason)
        /// `hasRejoined`: its epoch is higher.
        case changed(Participant, ParticipantChanges, hasRejoined: Bool)
        /// A missed participant's time is up: nothing is decided before the server has told its last news.
        case mustAskServer
    }

    private struct Member: Sendable {
        var participant: Participant
        /// When it is given up, if it does not come back.
        var missedUntil: Timestamp?
        /// The time has once come far too late.
        var hadGrace = false
        /// When its time was up, and the server was asked for the last news.
        var askedAt: Timestamp?
    }

    private static let maximumEndedSessions = 64
    private var us: ParticipantID
    /// How long missed participants are waited for.
    private var patience: Duration
    private var members: [ParticipantID: Member] = [:]
    /// The latest sessions that said over their peer connections that they end. The server may not know it yet.
    private var endedSessions: [SessionID] = []

    init(of us: ParticipantID, patience: Duration) {
        self.us = us
        self.patience = patience
    }

    private var sortedMembers: [Member] { members.values.sorted { $0.participant.id < $1.participant.id } }

    /// In the order of their ids.
    var participants: [Participant] { members.values.map(\.participant).sorted { $0.id < $1.id } }

    /// When something is to be decided about a missed participant.
    var nextDeadline: Timestamp? { members.values.compactMap(\.missedUntil).min() }

    subscript(id: ParticipantID) -> Participant? { members[id]?.participant }

    func isMissed(_ id: ParticipantID) -> Bool { members[id]?.missedUntil != nil }

    /// Whether these participants show `host` as the host, where it is one of them, and nobody else.
    func agrees(thatHostIs host: ParticipantID) -> Bool {
        members.values.allSatisfy { $0.participant.isHost == ($0.participant.id == host) }
    }

    mutating func hostChanged(to host: ParticipantID) {
        for id in members.keys { members[id]?.participant.isHost = id == host }
    }

    // MARK: Joining

    /// The room is joined, or joined again. `isSomebodyNew`: as another participant, to everybody else too.
    mutating func joined(
        as us: ParticipantID, patience: Duration, isSomebodyNew: Bool, _ changes: inout [Change]
    ) {
        self.us = us
        self.patience = patience
        guard isSomebodyNew else { return }
        for member in sortedMembers { changes.append(.left(member.participant, .left)) }
        members = [:]
    }

    /// Compares with the server's roster. `isRejoin`: the server may have lost its state.
    mutating func reconcile(
        with roster: [Participant], isRejoin: Bool, now: Timestamp, _ changes: inout [Change]
    ) {
        var present: [ParticipantID: Participant] = [:]
        for participant in roster where participant.id != us { present[participant.id] = participant }
        for member in sortedMembers where present[member.participant.id] == nil {
            let isMissed = member.missedUntil != nil
            if !isRejoin, !isMissed {
                members[member.participant.id] = nil
                changes.append(.left(member.participant, .left))
                continue
            }
            // A server that lost its state knows only those who are back already. Who was missed before could perhaps
            // not come back while we could not.
            members[member.participant.id]?.missedUntil = now + patience
            if !isMissed { changes.append(.missed(member.participant.id)) }
        }
        for participant in present.values.sorted(by: { $0.id < $1.id }) { admit(participant, &changes) }
    }

    /// The participant is in the room.
    mutating func admit(_ participant: Participant, _ changes: inout [Change]) {
        guard participant.id != us, !endedSessions.contains(participant.session) else { return }
        guard let member = members[participant.id], member.participant.session == participant.session else {
            if let former = members.removeValue(forKey: participant.id)?.participant {
                changes.append(.left(former, .left))
            }
            // Names are unique in a room: a missed participant cannot come back under one that is taken.
            for ghost in sortedMembers
            where ghost.missedUntil != nil && ghost.participant.name.hasSameBytes(as: participant.name) {
                members[ghost.participant.id] = nil
                changes.append(.left(ghost.participant, .left))
            }
            members[participant.id] = Member(participant: participant)
            changes.append(.joined(participant))
            return
        }
        members[participant.id] = Member(participant: participant)
        let hasRejoined = participant.epoch > member.participant.epoch
        if member.participant != participant {
            changes.append(
                .changed(
                    participant, ParticipantChanges(from: member.participant, to: participant),
                    hasRejoined: hasRejoined && member.missedUntil == nil))
        }
        if member.missedUntil != nil { changes.append(.returned(participant)) }
    }

    // MARK: Leaving

    /// The server says that the participant has left. False: it is not there.
    mutating func left(
        _ id: ParticipantID, _ session: SessionID, _ reason: LeaveReason, _ changes: inout [Change]
    ) -> Bool {
        guard let member = members[id], member.participant.session == session else { return false }
        members[id] = nil
        changes.append(.left(member.participant, reason))
        return true
    }

    /// A participant says over its peer connection that it leaves permanently. That outweighs the server's roster.
    /// False: it is not there.
    mutating func leaving(_ id: ParticipantID, _ changes: inout [Change]) -> Bool {
        guard let member = members.removeValue(forKey: id) else { return false }
        endedSessions.append(member.participant.session)
        if endedSessions.count > Self.maximumEndedSessions { endedSessions.removeFirst() }
        changes.append(.left(member.participant, .left))
        return true
    }

    // MARK: Time

    /// This machine has slept: nobody is given up before there was time for news.
    mutating func woke(now: Timestamp) {
        for member in sortedMembers where member.missedUntil != nil {
            members[member.participant.id]?.missedUntil = now + patience
        }
    }

    /// Gives up the missed participants whose time is up. `tolerance`: how late a timer may be. The others: as of
    /// `RoomSessionMachine.timerFired`.
    mutating func timerFired(
        isCatchingUp: Bool, isAlive: (ParticipantID) -> Bool, tolerance: Duration, now: Timestamp,
        _ changes: inout [Change]
    ) {
        var isAsking = false
        for member in sortedMembers {
            guard let until = member.missedUntil, until <= now else { continue }
            if now - until > tolerance, !member.hadGrace {
                // This process slept, or its clock jumped: news may be waiting behind the timer.
                members[member.participant.id]?.hadGrace = true
                members[member.participant.id]?.missedUntil = now + patience
                continue
            }
            if isCatchingUp || isAlive(member.participant.id) {
                members[member.participant.id]?.missedUntil = now + .seconds(1)
                continue
            }
            guard let askedAt = member.askedAt, now - askedAt < .seconds(5) else {
                // Its return may be news that has not come, over a connection that hears nothing any more.
                members[member.participant.id]?.askedAt = now
                members[member.participant.id]?.missedUntil = now + .seconds(1)
                if !isAsking { changes.append(.mustAskServer) }
                isAsking = true
                continue
            }
            members[member.participant.id] = nil
            changes.append(.left(member.participant, .timedOut))
        }
    }
}
