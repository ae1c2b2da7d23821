package import TransportValues

/// The room's own reason why a pair is not connected; the transport has the others.
struct StallObstacle: Sendable {
    /// Where the pair stands when the reason is looked for.
    struct Situation {
        /// The room server is reached.
        var isSignalingUp: Bool
        /// The participant is reached over it.
        var isReachable: Bool
        /// Its turn to connect has not come.
        var isIdle: Bool
        /// The next step waits for signaling.
        var isHeld: Bool
        var progress: NegotiationMachine.Progress
    }

    /// A connection, or an offer, that is younger has not had the time to show what it waits for: what was before it
    /// counts.
    private static let youth: Duration = .seconds(3)

    /// Why the last connection ended, or a description was refused.
    private var failure: PeerFailure?
    /// The other side has refused a description of ours.
    var isRefusedByPeer = false
    /// When the connection was made.
    private var madeAt: Timestamp?
    private var describedAt: Timestamp?

    mutating func failed(_ failure: PeerFailure) { self.failure = failure }
    mutating func made(at now: Timestamp) { madeAt = now }
    mutating func described(at now: Timestamp) { describedAt = now }

    /// Nil: the transport is to be asked.
    func reason(in situation: Situation, now: Timestamp) -> PeerStall? {
        let unreached = unreached(in: situation)
        if situation.isHeld, let unreached { return unreached }
        if situation.isIdle { return unreached ?? .waitingForTurn }
        switch situation.progress {
        case .none, .ended: return unreached ?? failure.map(PeerStall.init) ?? .noOffer
        case .describing, .agreed: return recentFailure(now: now)
        case .offered:
            return unreached ?? (isRefusedByPeer ? .refusedByPeer : recentFailure(now: now) ?? .noAnswer)
        case .reoffered:
            if let unreached { return unreached }
            guard let describedAt, now - describedAt >= Self.youth else { return nil }
            return isRefusedByPeer ? .refusedByPeer : .noAnswer
        }
    }

    private func unreached(in situation: Situation) -> PeerStall? {
        if !situation.isSignalingUp { return .signalingDown }
        return situation.isReachable ? nil : .participantAbsent
    }

    private func recentFailure(now: Timestamp) -> PeerStall? {
        guard let failure, let madeAt, now - madeAt < Self.youth else { return nil }
        return PeerStall(failure)
    }
}

extension PeerStall {
    static let signalingDown = PeerStall(
        .signalingDown, "the room server is not reached, so the two sides cannot agree on a connection",
        cure: "see the signaling events for why; everything goes on when the server is back")
    static let participantAbsent = PeerStall(
        .participantAbsent, "the other side has not come back to the room server since this side did",
        cure: "check that its program runs and reaches the server; it is removed when its grace period is over")
    static let waitingForTurn = PeerStall(
        .waitingForTurn, "other participants are being connected first, a few at a time",
        cure: "wait; if it stays so, see why those others do not connect")
    static let noOffer = PeerStall(
        .noOffer, "the other side, which opens the connection, has not offered one",
        cure: "check that its program runs, is not suspended, and can make peer connections")
    static let noAnswer = PeerStall(
        .noAnswer, "the other side has not answered the offer of a connection",
        cure: "check that its program runs, is not suspended, and can make peer connections")
    static let refusedByPeer = PeerStall(
        .descriptionRefused, "the other side refuses this side's description",
        cure: "see the other side's events for what it refuses; use versions that fit each other")
    static let notConnected = PeerStall(
        .notConnected, "the connection is being made, and its transport does not say what it waits for",
        cure: "run room doctor on both machines")
    static let notAcknowledged = PeerStall(
        .notAcknowledged, "data was sent, and the other side acknowledges none of it although its transport answers",
        cure: "check that its program still reads its messages, and that it speaks the delivery protocol as it declares"
    )

    /// Why a connection ended, or did not begin.
    package init(_ failure: PeerFailure) {
        switch failure.code {
        case _ where failure.isRefusal:
            self.init(
                .descriptionRefused, "the other side's description is refused: \(failure.description)",
                cure: "use a version or a library at the other side whose descriptions this side takes")
        case .unreachable:
            self.init(.noNetwork, failure.description, cure: "connect this machine to a network")
        case .resourceExhausted:
            self.init(
                .resourceExhausted, failure.description,
                cure: "raise the limit that the message names (descriptors: ulimit -n; ports: the configured range)")
        case .invalidArgument:
            self.init(
                .invalidConfiguration, failure.description,
                cure: "correct the option or the server that the message names")
        case .fingerprintMismatch:
            self.init(
                .fingerprintMismatch, failure.description,
                cure: "somebody may be in the way: compare the verification codes, and check the room server")
        default:
            self.init(
                .connectionFailed, "the connection ends each time: \(failure.description)",
                cure: "see the message; run room doctor on both machines")
        }
    }
}
