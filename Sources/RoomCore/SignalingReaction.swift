internal import TransportValues

/// The reaction of signaling to a fact of a peer connection: both use the same network.
enum SignalingReaction: Sendable, Hashable {
    case none
    /// A peer falls silent: an open connection to the server is probed.
    case probe
    /// A peer is heard again after an outage: where there is no connection to the server, one is tried at once.
    case retry
    /// A peer is heard that hears nothing: the server may not hear this side either.
    case checkWhetherHeard

    /// - Parameter wasRecovering: The peer's connection was broken before the fact.
    init(to fact: PeerFact, wasRecovering: Bool) {
        switch fact {
        case .liveness(.suspect), .state(.disconnected): self = .probe
        case .liveness(.alive), .state(.connected): self = wasRecovering ? .retry : .none
        case .unheard: self = .checkWhetherHeard
        case .localDescription, .localCandidate, .endOfLocalCandidates, .state, .channelClosed, .checked, .pathChanged,
            .dataArrived, .closed, .descriptionRefused, .notPrepared, .gatheringFailed, .diagnosed, .unacknowledged,
            .acknowledged, .serverIsBack, .leaving:
            self = .none
        }
    }
}
