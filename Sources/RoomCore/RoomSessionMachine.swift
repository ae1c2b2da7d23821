package import RoomProtocol
package import RoomValues
package import TransportValues

/// The membership of this participant: its identity, the roster, the ICE servers, and the consequences of refusals.
package struct RoomSessionMachine: Sendable {
    package enum Action: Sendable, Hashable {
        case joined(RoomMembership)
        case peerJoined(Participant)
        /// After a rejoin that did not find it, the participant is there again; its session is the same.
        case peerReturned(Participant)
        /// A rejoin did not find the participant. It may just not be back yet (the server lost its state): it is waited
        /// for.
        case peerMissed(ParticipantID)
        case peerLeft(Participant, reason: LeaveReason)
        /// `hasRejoined`: its epoch is higher; what was in flight between us may be lost.
        case peerChanged(Participant, ParticipantChanges, hasRejoined: Bool)
        case attributesChanged([String: String], changes: Set<String>)
        /// Tell the server of the room's attributes: they are new, or it has lost them.
        case updateRoom(RoomAttributes)
        /// This participant is not the host, and sets no attributes.
        case updateRefused
        case hostChanged(ParticipantID, term: HostTerm)
        case signal(Signal)
        /// `ttl`: how long they can be used from now on.
        case iceServersChanged([ICEServer], ttl: Duration?)
        /// The room server's ICE servers are about to expire: come back over a new connection.
        case refreshICEServers
        /// Ask the application's provider.
        case requestICEServers
        /// The provider has failed; what there is is kept.
        case iceServersFailed(SignalingFailure)
        /// ICE servers are left out, or none is left.
        case iceServersUnusable(ICEServerFault)
        /// Nothing is decided before the server has answered, behind all the news that it has.
        case askServer
        case scheduleTimer(at: Timestamp)
    }

    private struct Stay: Sendable {
        var membership: RoomMembership
        var sessionToken: String
        /// The others.
        var roster: RoomRoster
        /// As the newest `joined` or `hostChanged` has it. What is replayed after a resume may be older.
        var host: ParticipantID?
        /// The server does not say what is older than the roster.
        var mayReplayUnsaid = false
        /// Of the latest host that was told. A server that has lost its state may for a while not know of it.
        var knownTerm: HostTerm = 0
        /// The newest that are known.
        var attributes = RoomAttributes()
        /// The highest version of the attributes that the server has sent.
        var serverVersion: UInt64 = 0
    }

    private enum State: Sendable {
        /// Never let in. Can transition to: inside.
        case outside
        /// In the room as far as we know, whether signaling is up or not. Can transition to: inside.
        case inside(Stay)
    }

    private let configuration: MachineConfiguration
    private var state = State.outside
    package private(set) var metadata: [String: String]
    private var ice: ICEServerMachine
    /// The session token was not accepted: the next join is as a new participant.
    private var presentsSession = true
    private var refusals = Refusals()

    package init(_ configuration: MachineConfiguration) {
        self.configuration = configuration
        metadata = configuration.metadata
        ice = ICEServerMachine(configuration)
    }

    package var iceServers: [ICEServer] { ice.servers }
    /// When the latest of them came.
    package var iceServersAt: Timestamp? { ice.changedAt }

    package var membership: RoomMembership? {
        if case .inside(let stay) = state { stay.membership } else { nil }
    }

    /// Everybody else, in the order of their ids.
    package var participants: [Participant] {
        if case .inside(let stay) = state { stay.roster.participants } else { [] }
    }

    package func hello(
        token: String?, received: SequenceNumber, mustRejoin: Bool, attempt: UInt64
    ) -> Hello {
        var hello = Hello(
            room: configuration.room, role: configuration.role, waitsForRoom: configuration.waitsForRoom,
            name: configuration.name, metadata: metadata, token: token, capabilities: configuration.capabilities)
        if case .inside(let stay) = state, presentsSession {
            hello.resume = Resume(
                sessionToken: stay.sessionToken, received: received, mustRejoin: mustRejoin, attempt: attempt)
        }
        return hello
    }

    package mutating func update(metadata: [String: String]) { self.metadata = metadata }

    // MARK: Joining

    package mutating func joined(_ joined: Joined, now: Timestamp, _ actions: inout [Action]) {
        presentsSession = true
        refusals.joined()
        let kind: RoomMembership.Kind
        let patience = min(max(joined.grace, .zero), configuration.recovery.budgets.absence)
        var stay: Stay
        let membership: RoomMembership
        switch state {
        case .outside:
            kind = .first
            membership = RoomMembership(joined, kind)
            stay = Stay(
                membership: membership, sessionToken: joined.sessionToken,
                roster: RoomRoster(of: joined.participant, patience: patience))
            actions.append(.joined(membership))
        case .inside(let before):
            kind = joined.isResumed ? .resumed : .rejoined
            membership = RoomMembership(joined, kind)
            stay = before
            stay.membership = membership
            stay.sessionToken = joined.sessionToken
            let isSomebodyNew =
                before.membership.session != joined.session || before.membership.participant != joined.participant
            if isSomebodyNew { stay.knownTerm = 0 }
            withRoster(of: &stay, &actions) {
                $0.joined(as: joined.participant, patience: patience, isSomebodyNew: isSomebodyNew, &$1)
            }
            actions.append(.joined(membership))
            if joined.hostTerm > stay.knownTerm, let host = joined.host {
                actions.append(.hostChanged(host, term: joined.hostTerm))
            }
        }
        stay.knownTerm = max(stay.knownTerm, joined.hostTerm)
        stay.host = joined.host
        stay.mayReplayUnsaid = joined.isResumed && joined.sent == nil
        withICE(&actions) { $0.received(joined.iceServers, now: now, &$1) }
        withRoster(of: &stay, &actions) {
            $0.reconcile(with: joined.roster, isRejoin: kind == .rejoined, now: now, &$1)
        }
        stay.serverVersion = joined.attributes.version
        // A server that has lost its state knows less than we do.
        if kind != .rejoined || joined.attributes.version >= stay.attributes.version {
            adopt(joined.attributes, by: &stay, &actions)
        }
        restoreAttributes(of: &stay, &actions)
        state = .inside(stay)
        scheduleTimer(&actions)
    }

    private func withRoster<Result>(
        of stay: inout Stay, _ actions: inout [Action],
        _ body: (inout RoomRoster, inout [RoomRoster.Change]) -> Result
    ) -> Result {
        var changes: [RoomRoster.Change] = []
        let result = body(&stay.roster, &changes)
        for change in changes {
            switch change {
            case .joined(let participant): actions.append(.peerJoined(participant))
            case .returned(let participant): actions.append(.peerReturned(participant))
            case .missed(let participant): actions.append(.peerMissed(participant))
            case .left(let participant, let reason): actions.append(.peerLeft(participant, reason: reason))
            case .changed(let participant, let changes, let hasRejoined):
                actions.append(.peerChanged(participant, changes, hasRejoined: hasRejoined))
            case .mustAskServer: actions.append(.askServer)
            }
        }
        return result
    }

    // MARK: Messages

    /// Takes a message other than `joined` and `error`. `isReplayed`: the roster knew better already.
    package mutating func received(
        _ message: ServerMessage, isReplayed: Bool = false, now: Timestamp, _ actions: inout [Action]
    ) {
        guard case .inside(var stay) = state else { return }
        switch message {
        case .peerJoined, .peerChanged, .peerLeft, .hostChanged, .roomChanged: if isReplayed { return }
        case .signal, .iceServers, .joined, .waiting, .ack, .ping, .pong, .goingAway, .error: break
        }
        switch message {
        case .peerJoined(var participant), .peerChanged(var participant):
            if stay.mayReplayUnsaid, let known = stay.roster[participant.id], !stay.roster.isMissed(participant.id),
                known.session == participant.session, known.epoch > participant.epoch
            {
                return
            }
            if let host = stay.host { participant.isHost = participant.id == host }
            if participant.isHost { stay.host = participant.id }
            withRoster(of: &stay, &actions) { $0.admit(participant, &$1) }
        case .peerLeft(let id, let session, let reason):
            guard withRoster(of: &stay, &actions, { $0.left(id, session, reason, &$1) }) else { return }
            if stay.host == id { stay.host = nil }
        case .hostChanged(let id, let term, let sessionToken):
            stay.sessionToken = sessionToken
            guard term > stay.membership.hostTerm else { break }
            let isHost = id == stay.membership.participant
            let isKnown =
                term <= stay.knownTerm && stay.membership.isHost == isHost && stay.roster.agrees(thatHostIs: id)
            stay.knownTerm = max(stay.knownTerm, term)
            stay.membership.hostTerm = term
            stay.membership.isHost = isHost
            stay.host = id
            stay.roster.hostChanged(to: id)
            if !isKnown { actions.append(.hostChanged(id, term: term)) }
            restoreAttributes(of: &stay, &actions)
        case .roomChanged(let attributes):
            stay.serverVersion = attributes.version
            if attributes.version >= stay.attributes.version { adopt(attributes, by: &stay, &actions) }
        case .signal(let signal):
            guard stay.roster[signal.peer]?.session == signal.session else { return }
            actions.append(.signal(signal))
        case .iceServers(let list): withICE(&actions) { $0.received(list, now: now, &$1) }
        case .joined, .waiting, .ack, .ping, .pong, .goingAway, .error: return
        }
        state = .inside(stay)
        scheduleTimer(&actions)
    }

    // MARK: The room's attributes

    /// The newest attributes of the room that are known.
    package var attributes: [String: String] {
        if case .inside(let stay) = state { stay.attributes.values } else { [:] }
    }

    /// The application sets the attributes.
    package mutating func update(attributes values: [String: String], _ actions: inout [Action]) {
        guard case .inside(var stay) = state, stay.membership.isHost else { return actions.append(.updateRefused) }
        guard !values.hasSameBytes(as: stay.attributes.values) else { return }
        adopt(RoomAttributes(version: stay.attributes.version + 1, values: values), by: &stay, &actions)
        restoreAttributes(of: &stay, &actions)
        state = .inside(stay)
    }

    private func adopt(_ new: RoomAttributes, by stay: inout Stay, _ actions: inout [Action]) {
        let changes = new.values.keysChanged(since: stay.attributes.values)
        stay.attributes = new
        if !changes.isEmpty { actions.append(.attributesChanged(new.values, changes: changes)) }
    }

    /// The host tells a server that does not know the newest attributes.
    private func restoreAttributes(of stay: inout Stay, _ actions: inout [Action]) {
        guard stay.membership.isHost, stay.serverVersion < stay.attributes.version else { return }
        stay.serverVersion = stay.attributes.version
        actions.append(.updateRoom(stay.attributes))
    }

    /// This machine has slept for so long: credentials have aged, and nobody is given up before there was time for
    /// news.
    package mutating func woke(after sleep: Duration, now: Timestamp, _ actions: inout [Action]) {
        ice.woke(after: sleep)
        guard case .inside(var stay) = state else { return scheduleTimer(&actions) }
        stay.roster.woke(now: now)
        state = .inside(stay)
        scheduleTimer(&actions)
    }

    /// A participant says over its peer connection that it leaves permanently. That outweighs the server's roster.
    package mutating func peerLeaving(_ id: ParticipantID, _ actions: inout [Action]) {
        guard case .inside(var stay) = state, withRoster(of: &stay, &actions, { $0.leaving(id, &$1) }) else { return }
        if stay.host == id { stay.host = nil }
        state = .inside(stay)
    }

    /// `isConnected`: signaling is. Without it, nobody is given up.
    /// `isCatchingUp`: recent messages of the server may still be unread, and a participant that would be given up may
    /// be back. `isAlive`: whether a participant's peer connection works. A participant that talks to us is not given
    /// up, whatever the server does not say.
    package mutating func timerFired(
        isConnected: Bool, isCatchingUp: Bool, isAlive: (ParticipantID) -> Bool, now: Timestamp,
        _ actions: inout [Action]
    ) {
        withICE(&actions) { $0.timePassed(isConnected: isConnected, now: now, &$1) }
        guard case .inside(var stay) = state, isConnected else {
            // Nobody is given up meanwhile.
            if let next = ice.nextDeadline(isConnected: false) { actions.append(.scheduleTimer(at: next)) }
            return
        }
        let tolerance = configuration.recovery.timerTolerance
        withRoster(of: &stay, &actions) {
            $0.timerFired(
                isCatchingUp: isCatchingUp, isAlive: isAlive, tolerance: tolerance, now: now, &$1)
        }
        state = .inside(stay)
        scheduleTimer(&actions)
    }

    /// At once for what is overdue: `timerFired` knows what can be done now.
    private func scheduleTimer(_ actions: inout [Action]) {
        var next: Timestamp?
        switch state {
        case .outside: next = ice.nextDeadline(isConnected: false)
        case .inside(let stay):
            next = ice.nextDeadline(isConnected: true)
            if let deadline = stay.roster.nextDeadline { next = min(next ?? deadline, deadline) }
        }
        if let next { actions.append(.scheduleTimer(at: next)) }
    }

    // MARK: ICE servers

    /// The room is about to be reached.
    package mutating func attempted(now: Timestamp, _ actions: inout [Action]) {
        withICE(&actions) { $0.attempted(now: now, &$1) }
    }

    /// The application's provider has answered.
    package mutating func iceServersProvided(
        _ servers: [ICEServer], ttl: Duration?, now: Timestamp, _ actions: inout [Action]
    ) {
        withICE(&actions) { $0.provided(servers, ttl: ttl, now: now, &$1) }
        scheduleTimer(&actions)
    }

    package mutating func iceServersFailed(_ failure: SignalingFailure, now: Timestamp, _ actions: inout [Action]) {
        withICE(&actions) { $0.providerFailed(failure, now: now, &$1) }
        scheduleTimer(&actions)
    }

    private mutating func withICE(
        _ actions: inout [Action], _ body: (inout ICEServerMachine, inout [ICEServerMachine.Action]) -> Void
    ) {
        var decisions: [ICEServerMachine.Action] = []
        body(&ice, &decisions)
        for decision in decisions {
            switch decision {
            case .changed(let servers, let ttl): actions.append(.iceServersChanged(servers, ttl: ttl))
            case .refreshFromServer: actions.append(.refreshICEServers)
            case .requestFromProvider: actions.append(.requestICEServers)
            case .providerFailed(let failure): actions.append(.iceServersFailed(failure))
            case .unusable(let fault): actions.append(.iceServersUnusable(fault))
            }
        }
    }

    // MARK: Refusals

    /// Decides about an error of the server. `isGreeting`: it answers the `hello`.
    package mutating func judge(_ error: ProtocolError, isGreeting: Bool, now: Timestamp) -> Refusals.Verdict {
        refusals.judge(
            error, isGreeting: isGreeting, isFirstJoin: membership == nil, waitsForRoom: configuration.waitsForRoom,
            now: now)
    }

    /// There is no other credential. A server that lost its key cannot know the session token: one more attempt is made
    /// without it. False: that was tried before.
    package mutating func forgetSession() -> Bool {
        guard membership != nil, presentsSession else { return false }
        presentsSession = false
        return true
    }
}

extension RoomMembership {
    fileprivate init(_ joined: Joined, _ kind: RoomMembership.Kind) {
        self.init(
            participant: joined.participant, session: joined.session, epoch: joined.epoch, isHost: joined.isHost,
            hostTerm: joined.hostTerm, kind: kind)
    }
}

extension Joined {
    fileprivate var host: ParticipantID? { isHost ? participant : roster.first(where: \.isHost)?.id }
}
