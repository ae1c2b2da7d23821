package import RoomProtocol
package import RoomValues
package import TransportValues

/// Every decision of one participant's stay in a room: signaling, session, negotiation and recovery of all peers, put
/// together.
///
/// A value without clock, I/O or randomness of its own: facts and the time go in, actions come out.
package struct RoomMachine: Sendable {
    /// A decision of a part that is to be carried out.
    private enum Step {
        case signaling(SignalingMachine.Action)
        case session(RoomSessionMachine.Action)
        case peers(PeersMachine.Action)
        /// The room is joined, and the session has compared the rosters. `known`: the participants that were there
        /// before.
        case reviewPeers(known: Set<ParticipantID>, isResumed: Bool)
        /// Everything else has been said.
        case finish(EndReason)
        /// An action of this machine that comes behind those of its parts.
        case act(Action)
    }

    private let configuration: MachineConfiguration
    private var signaling: SignalingMachine
    private var session: RoomSessionMachine
    private var peers: PeersMachine
    private var recovery = SignalingRecovery()
    private var generator: SeededGenerator
    private var endReason: EndReason?
    /// The addresses of this machine, where they are known.
    private var addresses: Set<String>?

    private var agenda = Agenda<Step>()
    // Empty between two calls; kept for their storage.
    private var signalingActions: [SignalingMachine.Action] = []
    private var sessionActions: [RoomSessionMachine.Action] = []
    private var peersActions: [PeersMachine.Action] = []

    /// `seed` from the system's randomness in production, fixed in tests. `addresses`: of this machine, now.
    package init(_ configuration: MachineConfiguration, addresses: Set<String>? = nil, seed: UInt64) {
        self.configuration = configuration
        self.addresses = addresses
        generator = SeededGenerator(seed: seed)
        signaling = SignalingMachine(configuration)
        session = RoomSessionMachine(configuration)
        peers = PeersMachine(configuration.recovery)
    }

    /// The room has ended; nothing will come of any further event.
    package var isEnded: Bool { endReason != nil }
    package var signalingStatus: SignalingStatus { signaling.status }
    /// Nil before the first join.
    package var membership: RoomMembership? { session.membership }
    /// The others, in the order of their ids.
    package var participants: [Participant] { session.participants }
    /// The room's attributes, as far as they are known.
    package var attributes: [String: String] { session.attributes }
    package func peerStatus(of participant: ParticipantID) -> PeerStatus? { peers.status(of: participant) }
    /// Messages that wait for the server's acknowledgement or for a connection.
    package var queuedMessages: Int { signaling.queuedMessages }

    // MARK: Facts

    /// Takes in a fact and returns what is to be done, in order.
    package mutating func handle(_ event: Event, now: Timestamp) -> [Action] {
        var actions: [Action] = []
        guard !isEnded else {
            // A connection that was opened too late must not stay open.
            if case .transportConnected(let generation) = event { actions.append(.abortTransport(generation)) }
            return actions
        }
        let wasConnected = signaling.isConnected
        apply(event, now, &actions)
        drain(now, &actions)
        if wasConnected, !signaling.isConnected, !isEnded {
            eachPeer { peer, _, generator, actions in peer.setReachable(false, now: now, using: &generator, &actions) }
        }
        if signaling.isConnected { withPeers { $0.begin(now: now, using: &$1, &$2) } }
        drain(now, &actions)
        return actions
    }

    private mutating func apply(_ event: Event, _ now: Timestamp, _ actions: inout [Action]) {
        switch event {
        case .started:
            withSession { $0.attempted(now: now, &$1) }
            withSignaling { $0.start(now: now, &$2) }
        case .leaveRequested: withSignaling { $0.leave(&$2) }
        case .reconnectRequested:
            withSignaling { $0.probeOrRetry(now: now, using: &$1, &$2) }
            eachPeer { peer, _, generator, actions in
                peer.checkPath(.reconnectRequested, now: now, using: &generator, &actions)
            }
        case .networkChanged(let change): networkChanged(change, now)
        case .woke(let sleep):
            withSignaling { $0.woke(after: sleep, now: now, using: &$1, &$2) }
            drain(now, &actions)
            withSession { $0.woke(after: sleep, now: now, &$1) }
            eachPeer { peer, _, generator, actions in peer.woke(after: sleep, now: now, using: &generator, &actions) }
        case .metadataUpdated(let metadata):
            session.update(metadata: metadata)
            // Before the first join, `hello` carries it.
            if membership != nil { send(.update(metadata: metadata), now) }
        case .attributesUpdated(let values): withSession { $0.update(attributes: values, &$1) }
        case .kickRequested(let participant, let reason):
            guard participants.contains(where: { $0.id == participant }) else {
                actions.append(.emit(.error(.refused(.nobodyToKick))))
                return
            }
            send(.kick(participant, reason: reason), now)
        case .closeRequested(let reason): send(.closeRoom(reason: reason), now)
        case .restartRequested(let participant): withPeers { $0.restart(participant, now: now, using: &$1, &$2) }
        case .timerFired(let timer): timerFired(timer, now)
        case .transportConnected(let generation): withSignaling { $0.transportConnected(generation, now: now, &$2) }
        case .transportFailed(let generation, let failure):
            withSignaling { $0.transportFailed(generation, failure, now: now, using: &$1, &$2) }
        case .transportClosed(let generation, let failure):
            withSignaling { $0.transportClosed(generation, failure, now: now, using: &$1, &$2) }
        case .received(let envelope, let generation):
            withSignaling { $0.received(envelope, generation, now: now, using: &$1, &$2) }
        case .receivedMalformed(let error, let generation):
            actions.append(.emit(.error(.malformed(error))))
            withSignaling { $0.receivedMalformed(error, generation, now: now, using: &$1, &$2) }
        case .credentialReady(let token, let expiresAt):
            withSignaling { $0.credentialReady(token: token, expiresAt: expiresAt, now: now, &$2) }
        case .credentialFailed(let failure): withSignaling { $0.credentialFailed(failure, now: now, using: &$1, &$2) }
        case .iceServersProvided(let servers, let ttl):
            withSession { $0.iceServersProvided(servers, ttl: ttl, now: now, &$1) }
        case .iceServersFailed(let failure): withSession { $0.iceServersFailed(failure, now: now, &$1) }
        case .peer(let participant, let connection, let fact): apply(fact, participant, connection, now, &actions)
        }
    }

    private mutating func apply(
        _ fact: PeerFact, _ participant: ParticipantID, _ connection: PeerConnectionID, _ now: Timestamp,
        _ actions: inout [Action]
    ) {
        switch fact {
        case .serverIsBack: withSignaling { $0.serverIsBack(now: now, using: &$1, &$2) }
        // True also when the connection is closed already: it was its last message.
        case .leaving: withSession { $0.peerLeaving(participant, &$1) }
        case .localDescription, .localCandidate, .endOfLocalCandidates, .state, .channelClosed, .liveness, .checked,
            .pathChanged, .dataArrived, .closed, .descriptionRefused, .notPrepared, .gatheringFailed, .diagnosed,
            .unacknowledged, .acknowledged, .unheard:
            guard peers.isCurrent(connection, of: participant) else { return }
            let wasRecovering = peers.isRecovering(participant)
            withPeers { $0.handle(fact, participant, of: connection, now: now, using: &$1, &$2) }
            drain(now, &actions)
            react(SignalingReaction(to: fact, wasRecovering: wasRecovering), now)
        }
    }

    /// Applies to signaling what a path reveals about the network that both use.
    private mutating func react(_ reaction: SignalingReaction, _ now: Timestamp) {
        switch reaction {
        case .none: break
        case .probe: if signaling.isConnected { withSignaling { $0.probeOrRetry(now: now, using: &$1, &$2) } }
        case .retry: if !signaling.isConnected { withSignaling { $0.probeOrRetry(now: now, using: &$1, &$2) } }
        case .checkWhetherHeard: withSignaling { $0.unheard(now: now, using: &$1, &$2) }
        }
    }

    private mutating func networkChanged(_ change: NetworkChange, _ now: Timestamp) {
        withSignaling { $0.networkChanged(isLost: change.hasLost(change.signalingAddress), now: now, using: &$1, &$2) }
        let isOther = change.addresses != nil && change.addresses != addresses
        addresses = change.addresses ?? addresses
        eachPeer { peer, _, generator, actions in
            peer.networkChanged(change, isOther: isOther, now: now, using: &generator, &actions)
        }
    }

    private mutating func timerFired(_ timer: TimerID, _ now: Timestamp) {
        withSignaling { $0.checkLateness(now: now, using: &$1, &$2) }
        switch timer {
        case .signaling(let timer): withSignaling { $0.timerFired(timer, now: now, using: &$1, &$2) }
        case .session:
            let isConnected = signaling.isConnected
            let isCatchingUp = signaling.isCatchingUp
            let peers = peers
            withSession {
                $0.timerFired(
                    isConnected: isConnected, isCatchingUp: isCatchingUp, isAlive: peers.isConnected, now: now, &$1)
            }
        case .peer(let participant, let timer):
            let isSignalingUp = signaling.isConnected
            withPeers { peers, generator, actions in
                peers.withPeer(participant, &actions) {
                    $0.timerFired(timer, isSignalingUp: isSignalingUp, now: now, using: &generator, &$1)
                }
            }
        case .offers: withPeers { $0.offersTimerFired(now: now, using: &$1, &$2) }
        }
    }

    // MARK: The parts

    /// Lets signaling decide.
    private mutating func withSignaling(
        _ body: (inout SignalingMachine, inout SeededGenerator, inout [SignalingMachine.Action]) -> Void
    ) {
        body(&signaling, &generator, &signalingActions)
        agenda.add(&signalingActions, as: Step.signaling)
    }

    /// Lets the session decide.
    private mutating func withSession(_ body: (inout RoomSessionMachine, inout [RoomSessionMachine.Action]) -> Void) {
        body(&session, &sessionActions)
        agenda.add(&sessionActions, as: Step.session)
    }

    /// Lets the peers decide.
    private mutating func withPeers(
        _ body: (inout PeersMachine, inout SeededGenerator, inout [PeersMachine.Action]) -> Void
    ) {
        body(&peers, &generator, &peersActions)
        agenda.add(&peersActions, as: Step.peers)
    }

    private mutating func eachPeer(
        _ body: (inout PeerMachine, ParticipantID, inout SeededGenerator, inout [PeerMachine.Action]) -> Void
    ) {
        withPeers { peers, generator, actions in peers.each(&actions) { body(&$0, $1, &generator, &$2) } }
    }

    private mutating func send(_ message: ClientMessage, _ now: Timestamp) {
        withSignaling { $0.send(message, now: now, using: &$1, &$2) }
    }

    /// Carries out what the parts have decided, and what follows from it.
    private mutating func drain(_ now: Timestamp, _ actions: inout [Action]) {
        while !agenda.isEmpty {
            switch agenda.next() {
            case .signaling(let action): perform(action, now, &actions)
            case .session(let action): perform(action, now, &actions)
            case .peers(.peer(let participant, let action)): perform(action, of: participant, now, &actions)
            case .peers(.scheduleOffersTimer(let time)): actions.append(.scheduleTimer(.offers, at: time))
            case .peers(.reportShortage(let participant, let failure)):
                actions.append(.emit(.error(.outOfResources(participant, failure))))
            case .reviewPeers(let known, let isResumed): reviewPeers(known, isResumed: isResumed, now)
            case .finish(let reason):
                peers.removeAll()
                actions += [.cancelTimer(.session), .emit(.left(reason))]
            case .act(let action): actions.append(action)
            }
        }
    }

    // MARK: Signaling

    private mutating func perform(_ action: SignalingMachine.Action, _ now: Timestamp, _ actions: inout [Action]) {
        switch action {
        case .openTransport(let generation):
            recovery.attempted(now: now)
            withSession { $0.attempted(now: now, &$1) }
            agenda.add(.act(.openTransport(generation)))
        case .abortTransport(let generation): actions.append(.abortTransport(generation))
        case .closeTransport(let generation, let close): actions.append(.closeTransport(generation, close))
        case .send(let envelope, let generation): actions.append(.send(envelope, generation))
        case .requestCredential(let forced): actions.append(.requestCredential(forced: forced))
        case .scheduleTimer(let timer, let time): actions.append(.scheduleTimer(.signaling(timer), at: time))
        case .cancelTimer(let timer): actions.append(.cancelTimer(.signaling(timer)))
        case .changeStatus(let status):
            actions.append(.emit(.signaling(status)))
            statusChanged(status, now, &actions)
        case .requestHello(let token, let received, let mustRejoin, let attempt):
            recovery.connected(now: now)
            let hello = session.hello(token: token, received: received, mustRejoin: mustRejoin, attempt: attempt)
            withSignaling { $0.sendHello(hello, &$2) }
        case .deliver(let message, let isReplayed): receive(message, isReplayed: isReplayed, now)
        case .overflow(let dropped): actions.append(.emit(.error(.queueOverflow(dropped: dropped))))
        }
    }

    private mutating func statusChanged(_ status: SignalingStatus, _ now: Timestamp, _ actions: inout [Action]) {
        switch status {
        case .connected: break
        case .disconnected(let cause), .connecting(_, _, let cause):
            if membership != nil { recovery.lost(cause, now: now) }
        case .closed(let reason):
            if let incident = recovery.ended(now: now) { actions.append(.emit(.incident(incident))) }
            end(reason, now)
        }
    }

    private mutating func receive(_ message: ServerMessage, isReplayed: Bool, _ now: Timestamp) {
        switch message {
        case .joined(let joined):
            let known = peers.participants
            withSession { $0.joined(joined, now: now, &$1) }
            agenda.add(.reviewPeers(known: known, isResumed: joined.isResumed))
        case .error(let error): refused(error, now)
        case .peerJoined, .peerLeft, .peerChanged, .hostChanged, .roomChanged, .signal, .iceServers, .ack, .ping, .pong,
            .goingAway, .waiting:
            withSession { $0.received(message, isReplayed: isReplayed, now: now, &$1) }
        }
    }

    private mutating func reviewPeers(_ known: Set<ParticipantID>, isResumed: Bool, _ now: Timestamp) {
        withPeers { $0.roomJoined(known: known, isResumed: isResumed, now: now, using: &$1, &$2) }
        if let incident = recovery.reconnected(isResumed: isResumed, now: now) {
            agenda.add(.act(.emit(.incident(incident))))
        }
    }

    private mutating func refused(_ error: ProtocolError, _ now: Timestamp) {
        let failure = SignalingFailure(error)
        switch session.judge(error, isGreeting: !signaling.isConnected, now: now) {
        case .report:
            // A signal to a participant that has just left.
            if error.code == .peerNotFound { return }
            agenda.add(.act(.emit(.error(.refused(error)))))
        case .tryAgain: withSignaling { $0.abortAndRetry(failure, now: now, using: &$1, &$2) }
        case .rejoin:
            signaling.requireRejoin()
            withSignaling { $0.abortAndRetry(failure, now: now, using: &$1, &$2) }
        case .refreshCredential:
            var isRefreshing = false
            withSignaling { isRefreshing = $0.refreshCredential(failure, now: now, using: &$1, &$2) }
            if isRefreshing { return }
            if session.forgetSession() {
                signaling.requireRejoin()
                withSignaling { $0.abortAndRetry(failure, now: now, using: &$1, &$2) }
            } else {
                withSignaling { $0.close(.refused(failure), &$2) }
            }
        case .end(let reason): withSignaling { $0.close(reason, &$2) }
        }
    }

    private mutating func end(_ reason: EndReason, _ now: Timestamp) {
        endReason = reason
        withPeers { $0.ended(isLeaving: reason == .left, now: now, using: &$1, &$2) }
        agenda.add(.finish(reason))
    }

    // MARK: Session

    private mutating func perform(_ action: RoomSessionMachine.Action, _ now: Timestamp, _ actions: inout [Action]) {
        switch action {
        case .joined(let membership): actions.append(.emit(.joined(membership)))
        case .peerJoined(let participant): join(participant, now, &actions)
        case .peerReturned(let participant): withPeers { $0.returned(participant.id, now: now, using: &$1, &$2) }
        case .peerMissed(let participant): withPeers { $0.missed(participant, now: now, using: &$1, &$2) }
        case .peerLeft(let participant, let reason):
            withPeers { $0.left(participant.id, now: now, using: &$1, &$2) }
            signaling.removeUnsentSignals { $0.peer == participant.id }
            agenda.add(.act(.emit(.peerLeft(participant, reason: reason))))
        case .peerChanged(let participant, let changes, let hasRejoined):
            actions.append(.emit(.peerChanged(participant, changes)))
            withPeers { $0.changed(participant, hasRejoined: hasRejoined, now: now, using: &$1, &$2) }
        case .hostChanged(let participant, let term): actions.append(.emit(.hostChanged(participant, term: term)))
        case .attributesChanged(let values, let changes):
            actions.append(.emit(.attributesChanged(values, changes: changes)))
        case .updateRoom(let attributes): send(.updateRoom(attributes), now)
        case .updateRefused: actions.append(.emit(.error(.refused(.onlyTheHostSetsAttributes))))
        case .signal(let message): withPeers { $0.received(message, now: now, using: &$1, &$2) }
        case .iceServersChanged(let servers, let ttl):
            eachPeer { peer, _, generator, actions in
                peer.iceServersChanged(servers, ttl: ttl, now: now, using: &generator, &actions)
            }
        case .requestICEServers: actions.append(.requestICEServers)
        case .iceServersFailed(let failure): actions.append(.emit(.error(.refused(.iceProviderFailed(failure)))))
        case .iceServersUnusable(let fault): actions.append(.emit(.error(.iceServers(fault))))
        case .askServer: withSignaling { $0.catchUp(now: now, using: &$1, &$2) }
        case .refreshICEServers: withSignaling { $0.reconnectInOrder(now: now, &$2) }
        case .scheduleTimer(let time): actions.append(.scheduleTimer(.session, at: time))
        }
    }

    private mutating func join(_ participant: Participant, _ now: Timestamp, _ actions: inout [Action]) {
        guard let us = membership?.participant else { return }
        actions.append(.emit(.peerJoined(participant)))
        let peer = PeerMachine(
            participant, us: us, configuration: configuration.recovery, iceServers: session.iceServers,
            iceServersAt: session.iceServersAt)
        withPeers { $0.joined(peer, now: now, using: &$1, &$2) }
    }

    // MARK: Peers

    private mutating func perform(
        _ action: PeerMachine.Action, of participant: ParticipantID, _ now: Timestamp, _ actions: inout [Action]
    ) {
        switch action {
        case .command(let connection, let command): actions.append(.peer(participant, connection, command))
        case .signal(let message):
            signaling.removeUnsentSignals { message.supersedes($0) }
            send(.signal(message), now)
        case .scheduleTimer(let timer, let time): actions.append(.scheduleTimer(.peer(participant, timer), at: time))
        case .cancelTimer(let timer): actions.append(.cancelTimer(.peer(participant, timer)))
        case .changeStatus(let status): actions.append(.emit(.peer(participant, status)))
        case .report(let incident): actions.append(.emit(.incident(incident)))
        case .reportStall(let stall): actions.append(.emit(.stalled(participant, stall)))
        case .resolveStall(let stall): actions.append(.emit(.resolved(participant, stall)))
        }
    }
}
