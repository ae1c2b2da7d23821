package import RoomProtocol
package import RoomValues
package import TransportValues

/// The machines of all other participants: whose turn it is to connect, and when the offer of which one is answered.
package struct PeersMachine: Sendable {
    package enum Action: Sendable, Hashable {
        case peer(ParticipantID, PeerMachine.Action)
        /// `offersTimerFired` has something to do.
        case scheduleOffersTimer(at: Timestamp)
        /// This machine is out of something that a connection needs.
        case reportShortage(ParticipantID, PeerFailure)
    }

    private let configuration: RecoveryConfiguration
    private var peers: [ParticipantID: PeerMachine] = [:]
    /// The turn of a participant to connect may have come.
    private var mayHaveIdlePeers = false
    /// Participants that the last rejoin did not find; they may come back.
    private var missed: Set<ParticipantID> = []
    private var pace: OfferPace
    /// Participants of which a shortage was reported.
    private var shortages: Set<ParticipantID> = []
    /// Empty between two calls; kept for its storage.
    private var peerActions: [PeerMachine.Action] = []

    package init(_ configuration: RecoveryConfiguration) {
        self.configuration = configuration
        pace = OfferPace(configuration)
    }

    package var participants: Set<ParticipantID> { Set(peers.keys) }

    package func status(of participant: ParticipantID) -> PeerStatus? { peers[participant]?.status }

    package func isConnected(_ participant: ParticipantID) -> Bool { peers[participant]?.isConnected ?? false }

    package func isRecovering(_ participant: ParticipantID) -> Bool { peers[participant]?.isRecovering ?? false }

    /// Whether the connection to the participant is this one.
    package func isCurrent(_ connection: PeerConnectionID, of participant: ParticipantID) -> Bool {
        peers[participant]?.connection == connection
    }

    // MARK: Who is there

    /// The participant has come. `peer`: a new machine for it.
    package mutating func joined(
        _ peer: PeerMachine, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        mayHaveIdlePeers = true
        peers[peer.participant.id] = peer
        withPeer(peer.participant.id, &actions) { $0.appeared(now: now, using: &generator, &$1) }
    }

    package mutating func returned(
        _ participant: ParticipantID, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        missed.remove(participant)
        withPeer(participant, &actions) { $0.rejoined(.peerRejoined, now: now, using: &generator, &$1) }
    }

    /// A rejoin did not find the participant.
    package mutating func missed(
        _ participant: ParticipantID, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        missed.insert(participant)
        withPeer(participant, &actions) { $0.setReachable(false, now: now, using: &generator, &$1) }
    }

    package mutating func left(
        _ participant: ParticipantID, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        withPeer(participant, &actions) { $0.end(now: now, using: &generator, &$1) }
        pace.forget(participant)
        shortages.remove(participant)
        peers[participant] = nil
        missed.remove(participant)
    }

    package mutating func changed(
        _ participant: Participant, hasRejoined: Bool, now: Timestamp, using generator: inout SeededGenerator,
        _ actions: inout [Action]
    ) {
        withPeer(participant.id, &actions) {
            $0.changed(participant)
            if hasRejoined { $0.rejoined(.peerRejoined, now: now, using: &generator, &$1) }
        }
    }

    /// This participant has come into the room, for the first time or again. `known`: those that were there before.
    package mutating func roomJoined(
        known: Set<ParticipantID>, isResumed: Bool, now: Timestamp, using generator: inout SeededGenerator,
        _ actions: inout [Action]
    ) {
        let present = known.subtracting(missed)
        each(&actions) { peer, participant, actions in
            // Above all those that the server does not know: they have not come back yet.
            peer.sendHint(.serverIsBack, &actions)
            guard present.contains(participant) else { return }
            if isResumed {
                peer.setReachable(true, now: now, using: &generator, &actions)
            } else {
                peer.rejoined(.rejoined, now: now, using: &generator, &actions)
            }
        }
    }

    /// This participant's stay in the room has ended. `isLeaving`: by its own wish.
    package mutating func ended(
        isLeaving: Bool, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        each(&actions) { peer, _, actions in
            // The server may not be there to say so, or the message to it may be lost.
            if isLeaving { peer.sendHint(.leaving, &actions) }
            peer.end(now: now, using: &generator, &actions)
        }
    }

    /// Answerers wait for their offers at once; offerers take turns.
    package mutating func begin(now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]) {
        guard mayHaveIdlePeers else { return }
        mayHaveIdlePeers = false
        var connecting = peers.values.count(where: \.isConnectingFirst)
        for participant in peers.keys.sorted() {
            guard let peer = peers[participant], peer.isIdle else { continue }
            if peer.isOfferer {
                guard connecting < configuration.maximumConnecting else {
                    mayHaveIdlePeers = true
                    continue
                }
                connecting += 1
            }
            withPeer(participant, &actions) { $0.begin(now: now, using: &generator, &$1) }
        }
    }

    package mutating func removeAll() { peers = [:] }

    // MARK: Signals

    /// Takes a signal. An offer may have to wait for its turn; its candidates, which come behind it, wait in the
    /// machine of its peer.
    package mutating func received(
        _ signal: Signal, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        if case .description(let description) = signal.body, description.kind == .offer,
            peers[signal.peer]?.willAnswer(signal) == true, !pace.admits(signal, now: now)
        {
            if let deadline = pace.nextDeadline { actions.append(.scheduleOffersTimer(at: deadline)) }
            return
        }
        withPeer(signal.peer, &actions) { $0.received(signal, now: now, using: &generator, &$1) }
    }

    package mutating func offersTimerFired(
        now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        while let offer = pace.next(now: now) {
            withPeer(offer.peer, &actions) { $0.received(offer, now: now, using: &generator, &$1) }
        }
        if let deadline = pace.nextDeadline { actions.append(.scheduleOffersTimer(at: deadline)) }
    }

    // MARK: Connections

    package mutating func handle(
        _ fact: PeerFact, _ participant: ParticipantID, of connection: PeerConnectionID, now: Timestamp,
        using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        guard isCurrent(connection, of: participant) else { return }
        withPeer(participant, &actions) { $0.handle(fact, of: connection, now: now, using: &generator, &$1) }
        switch fact {
        case .notPrepared(let failure), .gatheringFailed(let failure):
            // Once, until a path was found after all.
            if shortages.insert(participant).inserted { actions.append(.reportShortage(participant, failure)) }
        case .pathChanged: shortages.remove(participant)
        default: break
        }
    }

    /// The application asks for a new path, to one participant or to all.
    package mutating func restart(
        _ participant: ParticipantID?, now: Timestamp, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        shortages = []
        if let participant {
            withPeer(participant, &actions) { $0.restart(now: now, using: &generator, &$1) }
        } else {
            each(&actions) { peer, _, actions in peer.restart(now: now, using: &generator, &actions) }
        }
    }

    /// Lets the machine of one participant decide.
    package mutating func withPeer(
        _ participant: ParticipantID, _ actions: inout [Action],
        _ body: (inout PeerMachine, inout [PeerMachine.Action]) -> Void
    ) {
        guard let index = peers.index(forKey: participant) else { return }
        body(&peers.values[index], &peerActions)
        for action in peerActions { actions.append(.peer(participant, action)) }
        peerActions.removeAll(keepingCapacity: true)
    }

    /// Lets the machines of all participants decide, in the order of their ids.
    package mutating func each(
        _ actions: inout [Action], _ body: (inout PeerMachine, ParticipantID, inout [PeerMachine.Action]) -> Void
    ) {
        for participant in peers.keys.sorted() { withPeer(participant, &actions) { body(&$0, participant, &$1) } }
    }
}
