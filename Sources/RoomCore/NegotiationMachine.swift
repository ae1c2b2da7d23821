package import RoomProtocol
package import TransportValues

/// Offers and answers with one participant. One side of a pair is the offerer for good; the other asks it for what it
/// needs.
///
/// Whatever belongs to another connection or an older round is recognised and dropped.
package struct NegotiationMachine: Sendable {
    package enum Action: Sendable, Hashable {
        case create(PeerConnectionID)
        case close(PeerConnectionID)
        case makeOffer(PeerConnectionID)
        case restartPath(PeerConnectionID)
        case setRemoteDescription(PeerConnectionID, SessionDescription)
        case addRemoteCandidate(PeerConnectionID, PeerCandidate)
        case signal(PeerConnectionID, NegotiationID, Signal.Body)
        /// The other side has offered a new connection, which takes the place of ours.
        case replaced
        /// Our description of this round has gone out.
        case described
        /// Both descriptions of this round are known.
        case agreed
        case restartRequested
        case rebuildRequested
        /// The other side has no connection at all.
        case connectionRequested
        case gathered
    }

    private enum State: Sendable {
        /// Can transition to: offering (offerer), answering (answerer).
        case none
        /// The transport was asked for an offer. Can transition to: offered, closed, offering (rebuild).
        case offering(Round)
        /// The offer is out. Can transition to: stable, offering (restart, rebuild), closed.
        case offered(Round, restartsAfterwards: Bool)
        /// The transport was asked for an answer; a newer offer waits for it.
        /// Can transition to: stable, answering (the next offer, or one for a new connection), closed.
        case answering(Round, next: Offer?)
        /// Can transition to: offering (offerer), answering (answerer), closed.
        case stable(Round)
        /// The transport has ended the connection. Can transition to: offering (offerer), answering (answerer).
        case closed(Round)
    }
    private struct Round: Sendable {
        var connection: PeerConnectionID
        var negotiation: NegotiationID = 1
        /// An earlier round was answered: the path can be restarted.
        var hasAgreed = false
        /// Of this round or the next, before their description.
        var early: EarlyCandidates
    }
    private struct Offer: Sendable {
        var negotiation: NegotiationID
        var description: SessionDescription
    }

    package let isOfferer: Bool
    private let candidateLimit: Int
    private var state = State.none
    private var retired = RetiredConnections()
    /// For a connection that is not known yet. Of several unknown connections the latest counts.
    private var early: EarlyCandidates?

    package init(isOfferer: Bool, candidateLimit: Int) {
        self.isOfferer = isOfferer
        self.candidateLimit = candidateLimit
    }

    /// The connection that lives.
    package var connection: PeerConnectionID? {
        switch state {
        case .none, .closed: nil
        case .offering(let round), .offered(let round, _), .answering(let round, _), .stable(let round):
            round.connection
        }
    }

    /// How far the present round is.
    enum Progress: Sendable {
        /// There was no connection yet.
        case none
        /// The transport writes our description.
        case describing
        /// Our offer waits for its answer, the first one, or one of a new path.
        case offered, reoffered
        /// Both sides have described the round.
        case agreed
        /// The connection has ended.
        case ended
    }

    var progress: Progress {
        switch state {
        case .none: .none
        case .offering, .answering: .describing
        case .offered(let round, _): round.hasAgreed ? .reoffered : .offered
        case .stable: .agreed
        case .closed: .ended
        }
    }

    /// A round is under way.
    package var isNegotiating: Bool {
        switch state {
        case .offering, .offered, .answering: true
        case .none, .stable, .closed: false
        }
    }

    // MARK: Our wishes

    /// A new connection: offered, or asked for.
    package mutating func rebuild(reason: String, using generator: inout SeededGenerator, _ actions: inout [Action]) {
        guard isOfferer else {
            switch state {
            case .none:
                // Round 0: there is no connection that could be named.
                actions.append(.signal(.random(using: &generator), 0, .rebuildRequest(reason: reason)))
            case .offering(let round), .offered(let round, _), .answering(let round, _), .stable(let round),
                .closed(let round):
                actions.append(.signal(round.connection, round.negotiation, .rebuildRequest(reason: reason)))
            }
            return
        }
        retire(&actions)
        let connection = PeerConnectionID.random(using: &generator)
        state = .offering(makeRound(connection))
        actions += [.create(connection), .makeOffer(connection)]
    }

    /// A new path under the connection: offered, or asked for. A round that is under way is waited for, unless it is to
    /// be superseded (nothing came of it, or its messages are lost).
    package mutating func restart(
        superseding: Bool, reason: String, using generator: inout SeededGenerator, _ actions: inout [Action]
    ) {
        switch state {
        case .none, .closed: rebuild(reason: reason, using: &generator, &actions)
        case .offering: break
        case .offered(let round, _):
            if !superseding {
                state = .offered(round, restartsAfterwards: true)
            } else if round.hasAgreed {
                restart(round, &actions)
            } else {
                rebuild(reason: reason, using: &generator, &actions)
            }
        case .answering(let round, _):
            actions.append(.signal(round.connection, round.negotiation, .restartRequest(reason: reason)))
        case .stable(let round):
            if isOfferer {
                restart(round, &actions)
            } else {
                actions.append(.signal(round.connection, round.negotiation, .restartRequest(reason: reason)))
            }
        }
    }

    private mutating func restart(_ round: Round, _ actions: inout [Action]) {
        var round = round
        round.negotiation += 1
        round.early.drop(before: round.negotiation)
        state = .offering(round)
        actions.append(.restartPath(round.connection))
    }

    /// The participant is gone.
    package mutating func close(_ actions: inout [Action]) {
        retire(&actions)
        state = .none
    }

    private mutating func retire(_ actions: inout [Action]) {
        switch state {
        case .none: return
        case .closed(let round): retired.insert(round.connection)
        case .offering(let round), .offered(let round, _), .answering(let round, _), .stable(let round):
            retired.insert(round.connection)
            actions.append(.close(round.connection))
        }
    }

    /// The first round of a connection, with the candidates that came before it.
    private func makeRound(_ connection: PeerConnectionID) -> Round {
        let known = early.flatMap { $0.connection == connection ? $0 : nil }
        return Round(connection: connection, early: known ?? EarlyCandidates(of: connection, limit: candidateLimit))
    }

    // MARK: What the transport says of the living connection

    package mutating func localDescription(_ description: SessionDescription, _ actions: inout [Action]) {
        let body = Signal.Body.description(description)
        switch (state, description.kind) {
        case (.offering(let round), .offer):
            state = .offered(round, restartsAfterwards: false)
            actions += [.signal(round.connection, round.negotiation, body), .described]
        case (.answering(var round, let next), .answer):
            round.hasAgreed = true
            state = .stable(round)
            actions += [.signal(round.connection, round.negotiation, body), .described, .agreed]
            if let next { answer(next, round, &actions) }
        default: break
        }
    }

    /// The transport has not taken the other side's description. Where it was the offer of a new path, the connection
    /// is what it was, no answer will come, and the next offer has its turn.
    package mutating func descriptionRefused(_ actions: inout [Action]) {
        guard case .answering(let round, let next) = state, round.hasAgreed else { return }
        state = .stable(round)
        if let next { answer(next, round, &actions) }
    }

    /// The transport could not begin the round, and has changed nothing. True: an earlier round was agreed on, and its
    /// path is what it was.
    package mutating func notPrepared(_ actions: inout [Action]) -> Bool {
        switch state {
        case .offering(var round) where round.hasAgreed:
            // It was never signalled.
            round.negotiation -= 1
            state = .stable(round)
            return true
        case .answering(let round, _) where round.hasAgreed:
            descriptionRefused(&actions)
            return true
        case .none, .offering, .offered, .answering, .stable, .closed: return false
        }
    }

    package mutating func localCandidate(_ candidate: PeerCandidate, _ actions: inout [Action]) {
        guard let (connection, negotiation) = current else { return }
        actions.append(.signal(connection, negotiation, .candidate(candidate)))
    }

    package mutating func endOfLocalCandidates(usernameFragment: String, _ actions: inout [Action]) {
        guard let (connection, negotiation) = current else { return }
        actions += [.signal(connection, negotiation, .endOfCandidates(usernameFragment: usernameFragment)), .gathered]
    }

    /// The transport has ended the connection.
    package mutating func connectionClosed() {
        switch state {
        case .none, .closed: break
        case .offering(let round), .offered(let round, _), .answering(let round, _), .stable(let round):
            state = .closed(round)
        }
    }

    private var current: (PeerConnectionID, NegotiationID)? {
        switch state {
        case .none, .closed: nil
        case .offering(let round), .offered(let round, _), .answering(let round, _), .stable(let round):
            (round.connection, round.negotiation)
        }
    }

    // MARK: What the other side says

    package mutating func received(_ signal: Signal, _ actions: inout [Action]) {
        guard !retired.contains(signal.connection) else { return }
        switch signal.body {
        case .description(let description):
            switch description.kind {
            case .offer: if !isOfferer { receivedOffer(signal, description.text, &actions) }
            case .answer: if isOfferer { receivedAnswer(signal, description.text, &actions) }
            }
        case .candidate(let candidate): receivedCandidate(candidate, signal, &actions)
        case .endOfCandidates(let fragment):
            receivedCandidate(PeerCandidate(text: "", usernameFragment: fragment), signal, &actions)
        case .restartRequest:
            // A round that is newer than the one that is complained of is the answer already.
            if isOfferer, case .stable(let round) = state, round.connection == signal.connection,
                round.negotiation == signal.negotiation
            {
                actions.append(.restartRequested)
            }
        case .rebuildRequest:
            guard isOfferer else { return }
            if signal.negotiation == 0 {
                actions.append(.connectionRequested)
            } else if let connection, connection == signal.connection {
                actions.append(.rebuildRequested)
            }
        }
    }

    /// Whether the offer is answered when it is received, unless a newer one comes: it is neither ours to answer, nor
    /// late.
    package func willAnswer(_ offer: Signal) -> Bool {
        guard !isOfferer, !retired.contains(offer.connection) else { return false }
        switch state {
        case .answering(let round, _) where round.connection == offer.connection,
            .stable(let round) where round.connection == offer.connection:
            return offer.negotiation > round.negotiation
        case .none, .offering, .offered, .answering, .stable, .closed:
            return offer.negotiation == 1 && current?.0 != offer.connection
        }
    }

    private mutating func receivedOffer(_ signal: Signal, _ sdp: String, _ actions: inout [Action]) {
        let offer = Offer(negotiation: signal.negotiation, description: SessionDescription(kind: .offer, text: sdp))
        switch state {
        case .answering(let round, let next) where round.connection == signal.connection:
            guard offer.negotiation > max(round.negotiation, next?.negotiation ?? 0) else { return }
            // Two answers at a time could not be told apart.
            state = .answering(round, next: offer)
        case .stable(let round) where round.connection == signal.connection:
            if offer.negotiation > round.negotiation { answer(offer, round, &actions) }
        // Said again: it would make anew what has ended.
        case .closed(let round) where round.connection == signal.connection && offer.negotiation <= round.negotiation:
            break
        case .none, .offering, .offered, .answering, .stable, .closed:
            guard offer.negotiation == 1, current?.0 != signal.connection else {
                // A restart of a connection that is not here (any more).
                actions.append(
                    .signal(signal.connection, signal.negotiation, .rebuildRequest(reason: "unknown connection")))
                return
            }
            retire(&actions)
            let round = makeRound(signal.connection)
            early = nil
            actions += [.replaced, .create(signal.connection)]
            answer(offer, round, &actions)
        }
    }

    private mutating func answer(_ offer: Offer, _ round: Round, _ actions: inout [Action]) {
        var round = round
        round.negotiation = offer.negotiation
        actions.append(.setRemoteDescription(round.connection, offer.description))
        addEarlyCandidates(&round, &actions)
        state = .answering(round, next: nil)
    }

    private mutating func receivedAnswer(_ signal: Signal, _ sdp: String, _ actions: inout [Action]) {
        guard case .offered(var round, let restartsAfterwards) = state, round.connection == signal.connection,
            round.negotiation == signal.negotiation
        else { return }
        round.hasAgreed = true
        actions.append(.setRemoteDescription(round.connection, SessionDescription(kind: .answer, text: sdp)))
        addEarlyCandidates(&round, &actions)
        state = .stable(round)
        actions.append(.agreed)
        if restartsAfterwards { restart(round, &actions) }
    }

    private func addEarlyCandidates(_ round: inout Round, _ actions: inout [Action]) {
        for candidate in round.early.take(of: round.negotiation) {
            actions.append(.addRemoteCandidate(round.connection, candidate))
        }
    }

    private mutating func receivedCandidate(_ candidate: PeerCandidate, _ signal: Signal, _ actions: inout [Action]) {
        guard let (connection, negotiation) = current, connection == signal.connection else {
            if !isOfferer {
                if early?.connection != signal.connection {
                    early = EarlyCandidates(of: signal.connection, limit: candidateLimit)
                }
                early?.add(candidate, of: signal.negotiation)
            }
            return
        }
        guard signal.negotiation >= negotiation else { return }
        switch state {
        case .offering(var round):
            round.early.add(candidate, of: signal.negotiation)
            state = .offering(round)
        case .offered(var round, let restartsAfterwards):
            round.early.add(candidate, of: signal.negotiation)
            state = .offered(round, restartsAfterwards: restartsAfterwards)
        case .answering(var round, let next) where signal.negotiation > negotiation:
            round.early.add(candidate, of: signal.negotiation)
            state = .answering(round, next: next)
        case .stable(var round) where signal.negotiation > negotiation:
            round.early.add(candidate, of: signal.negotiation)
            state = .stable(round)
        case .answering, .stable: actions.append(.addRemoteCandidate(connection, candidate))
        case .none, .closed: break
        }
    }
}
