package import RoomProtocol
package import TransportValues

/// Every decision of one participant's stay in a room: signaling, session, negotiation and recovery of all peers.
///
/// A value without clock, I/O or randomness of its own: facts and the time go in, actions come out.
package struct RoomMachine: Sendable {
    private let configuration: RoomConfiguration
    private var signaling: SignalingMachine
    private var session: RoomSessionMachine
    private var peers: [ParticipantID: PeerMachine] = [:]
    /// Somebody's turn to connect may have to come.
    private var mayHaveIdlePeers = false
    /// Participants that the last rejoin did not find; they may come back.
    private var missed: Set<ParticipantID> = []
    private var generator: SeededGenerator
    private var pace: OfferPace
    /// Participants of whom was told that this machine lacks something to connect to them.
    private var shortages: Set<ParticipantID> = []
    private var endReason: EndReason?
    private var recovery = SignalingRecovery()
    /// Those of this machine, where they are known.
    private var addresses: Set<String>?

    /// `seed` from the system's randomness in production, fixed in tests. `addresses`: of this machine, now.
    package init(_ configuration: RoomConfiguration, addresses: Set<String>? = nil, seed: UInt64) {
        self.configuration = configuration
        self.addresses = addresses
        generator = SeededGenerator(seed: seed)
        signaling = SignalingMachine(configuration, generator: SeededGenerator(seed: generator.next()))
        session = RoomSessionMachine(configuration)
        pace = OfferPace(configuration.recovery)
    }

    /// The room has ended; nothing will come of any further event.
    package var isEnded: Bool { endReason != nil }
    package var signalingStatus: SignalingStatus { signaling.status }
    /// Nil before the first join.
    package var membership: Membership? { session.membership }
    /// Everybody else, in the order of their ids.
    package var participants: [Participant] { session.participants }
    package func peerStatus(of participant: ParticipantID) -> PeerStatus? { peers[participant]?.status }
    /// Messages that wait for the server's acknowledgement or for a connection.
    package var queuedMessages: Int { signaling.queuedMessages }

    /// Takes in what has happened and says what to do, in order.
    package mutating func handle(_ event: Event, now: Timestamp) -> [Action] {
        var actions: [Action] = []
        guard !isEnded else {
            // A connection that was opened too late must not stay open.
            if case .transportConnected(let generation) = event { actions.append(.abortTransport(generation)) }
            return actions
        }
        let wasConnected = signaling.isConnected
        switch event {
        case .started:
            attend(now, &actions) { $0.attempted(now: now, &$1) }
            signal(now, &actions) { $0.start(now: now, &$1) }
        case .leaveRequested: signal(now, &actions) { $0.leave(&$1) }
        case .reconnectRequested:
            signal(now, &actions) { $0.hurry(now: now, &$1) }
            eachPeer(now, &actions) { peer, _, actions in peer.hurry(.reconnectRequested, now: now, &actions) }
        case .networkChanged(let change):
            signal(now, &actions) { $0.networkChanged(isLost: change.hasLost(change.signalingAddress), now: now, &$1) }
            let isOther = change.addresses != nil && change.addresses != addresses
            addresses = change.addresses ?? addresses
            eachPeer(now, &actions) { peer, _, actions in
                peer.networkChanged(change, isOther: isOther, now: now, &actions)
            }
        case .woke(let sleep):
            signal(now, &actions) { $0.woke(after: sleep, now: now, &$1) }
            attend(now, &actions) { $0.woke(after: sleep, now: now, &$1) }
            eachPeer(now, &actions) { peer, _, actions in peer.woke(after: sleep, now: now, &actions) }
        case .metadataUpdated(let metadata):
            session.update(metadata: metadata)
            // Before the first join, `hello` says it.
            if membership != nil { say(.update(metadata: metadata), now, &actions) }
        case .kickRequested(let participant, let reason):
            guard participants.contains(where: { $0.id == participant }) else {
                actions.append(.emit(.error(.refused(.nobodyToKick))))
                break
            }
            say(.kick(Kick(participant: participant, reason: reason)), now, &actions)
        case .closeRequested(let reason): say(.closeRoom(reason: reason), now, &actions)
        case .restartRequested(let participant):
            shortages = []
            if let participant {
                withPeer(participant, now, &actions) { $0.restart(now: now, &$1) }
            } else {
                eachPeer(now, &actions) { peer, _, actions in peer.restart(now: now, &actions) }
            }
        case .timerFired(let timer): timerFired(timer, now, &actions)
        case .transportConnected(let generation):
            signal(now, &actions) { $0.transportConnected(generation, now: now, &$1) }
        case .transportFailed(let generation, let failure):
            signal(now, &actions) { $0.transportFailed(generation, failure, now: now, &$1) }
        case .transportClosed(let generation, let failure):
            signal(now, &actions) { $0.transportClosed(generation, failure, now: now, &$1) }
        case .received(let envelope, let generation):
            signal(now, &actions) { $0.received(envelope, generation, now: now, &$1) }
        case .receivedMalformed(let error, let generation):
            actions.append(.emit(.error(.malformed(error))))
            signal(now, &actions) { $0.receivedMalformed(error, generation, now: now, &$1) }
        case .credentialReady(let token, let expiresAt):
            signal(now, &actions) { $0.credentialReady(token: token, expiresAt: expiresAt, now: now, &$1) }
        case .credentialFailed(let failure):
            signal(now, &actions) { $0.credentialFailed(failure, now: now, &$1) }
        case .iceServersProvided(let servers, let ttl):
            attend(now, &actions) { $0.iceServersProvided(servers, ttl: ttl, now: now, &$1) }
        case .iceServersFailed(let failure):
            attend(now, &actions) { $0.iceServersFailed(failure, now: now, &$1) }
        case .peer(_, _, .serverIsBack): signal(now, &actions) { $0.serverIsBack(now: now, &$1) }
        // True also when the connection is closed already: it was the last word.
        case .peer(let participant, _, .leaving): attend(now, &actions) { $0.peerLeaving(participant, &$1) }
        case .peer(let participant, let connection, let fact):
            var isCurrent = false
            var wasRecovering = false
            withPeer(participant, now, &actions) {
                isCurrent = $0.connection == connection
                wasRecovering = $0.isRecovering
                $0.handle(fact, of: connection, now: now, &$1)
            }
            guard isCurrent else { break }
            tellShortage(fact, participant, &actions)
            conclude(from: fact, wasRecovering: wasRecovering, now, &actions)
        }
        if wasConnected, !signaling.isConnected, !isEnded {
            eachPeer(now, &actions) { peer, _, actions in peer.setReachable(false, now: now, &actions) }
        }
        beginPeers(now, &actions)
        return actions
    }

    /// What a path tells of the network under it is true of signaling too: it is asked for a sign of life when a peer falls silent,
    /// and tried at once when one is heard again.
    private mutating func conclude(
        from fact: RoomMachine.PeerFact, wasRecovering: Bool, _ now: Timestamp, _ actions: inout [Action]
    ) {
        switch fact {
        case .liveness(.suspect), .state(.disconnected):
            if signaling.isConnected { signal(now, &actions) { $0.hurry(now: now, &$1) } }
        case .liveness(.alive), .state(.connected):
            if wasRecovering, !signaling.isConnected { signal(now, &actions) { $0.hurry(now: now, &$1) } }
        case .unheard: signal(now, &actions) { $0.unheard(now: now, &$1) }
        case .localDescription, .localCandidate, .endOfLocalCandidates, .state, .channelClosed, .checked, .pathChanged,
            .dataArrived,
            .closed, .descriptionRefused, .notPrepared, .gatheringFailed, .diagnosed, .unacknowledged, .acknowledged,
            .serverIsBack, .leaving:
            break
        }
    }

    /// Says that this machine is out of something that a connection needs: once, until a path was found after all.
    private mutating func tellShortage(
        _ fact: RoomMachine.PeerFact, _ participant: ParticipantID, _ actions: inout [Action]
    ) {
        switch fact {
        case .notPrepared(let failure), .gatheringFailed(let failure):
            if shortages.insert(participant).inserted {
                actions.append(.emit(.error(.outOfResources(participant, failure))))
            }
        case .pathChanged: shortages.remove(participant)
        default: break
        }
    }

    private mutating func timerFired(_ timer: TimerID, _ now: Timestamp, _ actions: inout [Action]) {
        signal(now, &actions) { $0.checkLateness(now: now, &$1) }
        switch timer {
        case .attempt, .stability, .liveness, .acknowledgement:
            signal(now, &actions) { $0.timerFired(timer, now: now, &$1) }
        case .session:
            let isConnected = signaling.isConnected
            let peers = peers
            func isAlive(_ participant: ParticipantID) -> Bool {
                if case .connected = peers[participant]?.status { true } else { false }
            }
            let isCatchingUp = signaling.isCatchingUp
            attend(now, &actions) {
                $0.timerFired(
                    isConnected: isConnected, isCatchingUp: isCatchingUp, isAlive: isAlive, now: now, &$1)
            }
        case .peer(let participant): withPeer(participant, now, &actions) { $0.timerFired(now: now, &$1) }
        case .stall(let participant):
            let isSignalingUp = signaling.isConnected
            withPeer(participant, now, &actions) {
                $0.stallTimerFired(isSignalingUp: isSignalingUp, now: now, &$1)
            }
        case .offers:
            while let offer = pace.next(now: now) {
                withPeer(offer.peer, now, &actions) { $0.received(offer, now: now, &$1) }
            }
            if let deadline = pace.nextDeadline { actions.append(.scheduleTimer(.offers, at: deadline)) }
        }
    }

    // MARK: Signaling

    private mutating func say(_ message: ClientMessage, _ now: Timestamp, _ actions: inout [Action]) {
        signal(now, &actions) { $0.send(message, now: now, &$1) }
    }

    /// Lets signaling decide and does what it says.
    private mutating func signal(
        _ now: Timestamp, _ actions: inout [Action],
        _ body: (inout SignalingMachine, inout [SignalingMachine.Action]) -> Void
    ) {
        var decisions: [SignalingMachine.Action] = []
        body(&signaling, &decisions)
        for decision in decisions {
            switch decision {
            case .openTransport(let generation):
                recovery.attempted(now: now)
                attend(now, &actions) { $0.attempted(now: now, &$1) }
                actions.append(.openTransport(generation))
            case .abortTransport(let generation): actions.append(.abortTransport(generation))
            case .closeTransport(let generation, let close): actions.append(.closeTransport(generation, close))
            case .send(let envelope, let generation): actions.append(.send(envelope, generation))
            case .requestCredential(let forced): actions.append(.requestCredential(forced: forced))
            case .scheduleTimer(let timer, let time): actions.append(.scheduleTimer(timer, at: time))
            case .cancelTimer(let timer): actions.append(.cancelTimer(timer))
            case .changeStatus(let status):
                actions.append(.emit(.signalingStatus(status)))
                noteStatus(status, now, &actions)
                if case .closed(let reason) = status { end(reason, now, &actions) }
            case .requestHello(let token, let received, let mustRejoin, let attempt):
                recovery.connected(now: now)
                let hello = session.hello(
                    token: token, received: received, mustRejoin: mustRejoin, attempt: attempt)
                signal(now, &actions) { $0.greet(hello, &$1) }
            case .deliver(let message, let isReplayed): receive(message, isReplayed: isReplayed, now, &actions)
            case .overflow(let dropped): actions.append(.emit(.error(.queueOverflow(dropped: dropped))))
            }
        }
    }

    /// What is told of an outage in the end.
    private mutating func noteStatus(_ status: SignalingStatus, _ now: Timestamp, _ actions: inout [Action]) {
        switch status {
        case .connected: break
        case .disconnected(let cause), .connecting(_, _, let cause):
            if membership != nil { recovery.lost(cause, now: now) }
        case .closed: if let incident = recovery.ended(now: now) { actions.append(.emit(.incident(incident))) }
        }
    }

    private mutating func receive(
        _ message: ServerMessage, isReplayed: Bool, _ now: Timestamp, _ actions: inout [Action]
    ) {
        switch message {
        case .joined(let joined):
            enter(joined, now, &actions)
            if let incident = recovery.back(isResumed: joined.isResumed, now: now) {
                actions.append(.emit(.incident(incident)))
            }
        case .error(let error): refused(error, now, &actions)
        case .peerJoined, .peerLeft, .peerChanged, .hostChanged, .signal, .iceServers, .ack, .ping, .pong, .goingAway:
            attend(now, &actions) { $0.received(message, isReplayed: isReplayed, now: now, &$1) }
        }
    }

    private mutating func enter(_ joined: Joined, _ now: Timestamp, _ actions: inout [Action]) {
        let before = Set(peers.keys)
        attend(now, &actions) { $0.joined(joined, now: now, &$1) }
        let known = before.subtracting(missed)
        eachPeer(now, &actions) { peer, participant, actions in
            // Those first of all whom the server does not know: they have not come back yet.
            peer.tell(.tellServerIsBack, &actions)
            guard known.contains(participant) else { return }
            if joined.isResumed {
                peer.setReachable(true, now: now, &actions)
            } else {
                peer.rejoined(.rejoined, now: now, &actions)
            }
        }
    }

    private mutating func refused(_ error: ProtocolError, _ now: Timestamp, _ actions: inout [Action]) {
        let failure = SignalingFailure(error)
        switch session.judge(error, isGreeting: !signaling.isConnected, now: now) {
        case .report:
            // A signal to somebody who has just left.
            if error.code == .peerNotFound { return }
            actions.append(.emit(.error(.refused(error))))
        case .tryAgain: signal(now, &actions) { $0.abortAndRetry(failure, now: now, &$1) }
        case .rejoin:
            signaling.requireRejoin()
            signal(now, &actions) { $0.abortAndRetry(failure, now: now, &$1) }
        case .refreshCredential:
            var isRefreshing = false
            signal(now, &actions) { isRefreshing = $0.refreshCredential(failure, now: now, &$1) }
            if isRefreshing { return }
            if session.forgetSession() {
                signaling.requireRejoin()
                signal(now, &actions) { $0.abortAndRetry(failure, now: now, &$1) }
            } else {
                signal(now, &actions) { $0.close(.refused(failure), &$1) }
            }
        case .end(let reason): signal(now, &actions) { $0.close(reason, &$1) }
        }
    }

    private mutating func end(_ reason: EndReason, _ now: Timestamp, _ actions: inout [Action]) {
        endReason = reason
        eachPeer(now, &actions) { peer, _, actions in
            // The server may not be there to say so, or the word on its way to it be lost.
            if reason == .left { peer.tell(.tellLeaving, &actions) }
            peer.end(now: now, &actions)
        }
        for participant in peers.keys.sorted() {
            actions += [.cancelTimer(.peer(participant)), .cancelTimer(.stall(participant))]
        }
        peers = [:]
        actions += [.cancelTimer(.session), .emit(.left(reason))]
    }

    // MARK: Session

    /// Lets the session decide and does what it says.
    private mutating func attend(
        _ now: Timestamp, _ actions: inout [Action],
        _ body: (inout RoomSessionMachine, inout [RoomSessionMachine.Action]) -> Void
    ) {
        var decisions: [RoomSessionMachine.Action] = []
        body(&session, &decisions)
        for decision in decisions {
            switch decision {
            case .joined(let membership): actions.append(.emit(.joined(membership)))
            case .peerJoined(let participant): join(participant, now, &actions)
            case .peerReturned(let participant):
                missed.remove(participant.id)
                withPeer(participant.id, now, &actions) { $0.rejoined(.peerRejoined, now: now, &$1) }
            case .peerMissed(let participant):
                missed.insert(participant)
                withPeer(participant, now, &actions) { $0.setReachable(false, now: now, &$1) }
            case .peerLeft(let participant, let reason):
                withPeer(participant.id, now, &actions) { $0.end(now: now, &$1) }
                forget(participant.id)
                actions += [
                    .cancelTimer(.peer(participant.id)), .cancelTimer(.stall(participant.id)),
                    .emit(.peerLeft(participant, reason: reason)),
                ]
            case .peerChanged(let participant, let hasRejoined):
                actions.append(.emit(.peerChanged(participant)))
                withPeer(participant.id, now, &actions) {
                    $0.changed(participant)
                    if hasRejoined { $0.rejoined(.peerRejoined, now: now, &$1) }
                }
            case .hostChanged(let participant, let term):
                actions.append(.emit(.hostChanged(participant, term: term)))
            case .signal(let message):
                guard mayBeTaken(message, now, &actions) else { break }
                withPeer(message.peer, now, &actions) { $0.received(message, now: now, &$1) }
            case .iceServersChanged(let servers, let ttl):
                eachPeer(now, &actions) { peer, _, actions in
                    peer.iceServersChanged(servers, ttl: ttl, now: now, &actions)
                }
            case .requestICEServers: actions.append(.requestICEServers)
            case .iceServersFailed(let failure):
                actions.append(.emit(.error(.refused(.iceProviderFailed(failure)))))
            case .iceServersUnusable(let fault): actions.append(.emit(.error(.iceServers(fault))))
            case .askServer: signal(now, &actions) { $0.catchUp(now: now, &$1) }
            case .refreshICEServers: signal(now, &actions) { $0.reconnectInOrder(now: now, &$1) }
            case .scheduleTimer(let time): actions.append(.scheduleTimer(.session, at: time))
            }
        }
    }

    private mutating func join(_ participant: Participant, _ now: Timestamp, _ actions: inout [Action]) {
        guard let us = membership?.participant else { return }
        actions.append(.emit(.peerJoined(participant)))
        mayHaveIdlePeers = true
        peers[participant.id] = PeerMachine(
            participant, us: us, configuration: configuration.recovery, iceServers: session.iceServers,
            iceServersAt: session.iceServersAt, generator: SeededGenerator(seed: generator.next()))
        withPeer(participant.id, now, &actions) { $0.appeared(now: now, &$1) }
    }

    /// False: an offer that waits for its turn. Its candidates, which come behind it, wait in its peer's machine.
    private mutating func mayBeTaken(_ signal: Signal, _ now: Timestamp, _ actions: inout [Action]) -> Bool {
        guard case .description(let description) = signal.body, description.kind == .offer,
            peers[signal.peer]?.willAnswer(signal) == true, !pace.admits(signal, now: now)
        else { return true }
        if let deadline = pace.nextDeadline { actions.append(.scheduleTimer(.offers, at: deadline)) }
        return false
    }

    private mutating func forget(_ participant: ParticipantID) {
        pace.forget(participant)
        shortages.remove(participant)
        peers[participant] = nil
        missed.remove(participant)
        signaling.removeUnsentSignals { $0.peer == participant }
    }

    // MARK: Peers

    /// Answerers wait for their offers at once; offerers take their turns.
    private mutating func beginPeers(_ now: Timestamp, _ actions: inout [Action]) {
        guard signaling.isConnected, mayHaveIdlePeers else { return }
        mayHaveIdlePeers = false
        var connecting = peers.values.count(where: \.isConnectingFirst)
        for participant in peers.keys.sorted() {
            guard let peer = peers[participant], peer.isIdle else { continue }
            if peer.isOfferer {
                guard connecting < configuration.recovery.maximumConnecting else {
                    mayHaveIdlePeers = true
                    continue
                }
                connecting += 1
            }
            withPeer(participant, now, &actions) { $0.begin(now: now, &$1) }
        }
    }

    private mutating func eachPeer(
        _ now: Timestamp, _ actions: inout [Action],
        _ body: (inout PeerMachine, ParticipantID, inout [PeerMachine.Action]) -> Void
    ) {
        for participant in peers.keys.sorted() {
            withPeer(participant, now, &actions) { body(&$0, participant, &$1) }
        }
    }

    /// Lets the machine of one participant decide and does what it says.
    private mutating func withPeer(
        _ participant: ParticipantID, _ now: Timestamp, _ actions: inout [Action],
        _ body: (inout PeerMachine, inout [PeerMachine.Action]) -> Void
    ) {
        var decisions: [PeerMachine.Action] = []
        guard let index = peers.index(forKey: participant) else { return }
        body(&peers.values[index], &decisions)
        for decision in decisions {
            switch decision {
            case .command(let connection, let command): actions.append(.peer(participant, connection, command))
            case .signal(let message): send(message, now, &actions)
            case .scheduleTimer(let time): actions.append(.scheduleTimer(.peer(participant), at: time))
            case .changeStatus(let status): actions.append(.emit(.peerStatus(participant, status)))
            case .report(let incident): actions.append(.emit(.incident(incident)))
            case .scheduleStallTimer(let time): actions.append(.scheduleTimer(.stall(participant), at: time))
            case .cancelStallTimer: actions.append(.cancelTimer(.stall(participant)))
            case .reportStall(let stall): actions.append(.emit(.stalled(participant, stall)))
            case .resolveStall(let stall): actions.append(.emit(.resolved(participant, stall)))
            }
        }
    }

    /// A new description makes what waits for a connection and belongs to an older round worthless.
    private mutating func send(_ message: Signal, _ now: Timestamp, _ actions: inout [Action]) {
        if case .description = message.body {
            signaling.removeUnsentSignals {
                $0.peer == message.peer
                    && ($0.connection != message.connection || $0.negotiation < message.negotiation)
            }
        }
        say(.signal(message), now, &actions)
    }
}

extension ProtocolError {
    fileprivate static let nobodyToKick = ProtocolError(
        code: .peerNotFound, message: "The room has no other participant with this id.", isRetryable: false,
        isFatal: false)

    fileprivate static func iceProviderFailed(_ failure: SignalingFailure) -> ProtocolError {
        ProtocolError(
            code: Code(rawValue: "ice_provider_failed"),
            message: "\(failure.description); the room goes on with the ICE servers that it has.", isRetryable: true,
            isFatal: false)
    }
}
