internal import RoomCore
internal import TransportValues

// Single datagrams, which get lost on a path that works.
extension Simulation {
    private func lossChance(_ pair: PeerPair) -> Double {
        // In the end enough comes through that silence means something.
        guard now < faultsEnd else { return min(0.01, scenario.datagramLoss) }
        let isFaulty = (pair.offerer?.node.losses ?? 0) > 0 || (pair.answerer?.node.losses ?? 0) > 0
        return isFaulty ? max(0.35, scenario.datagramLoss) : scenario.datagramLoss
    }

    func isLost(_ pair: PeerPair) -> Bool {
        let probability = lossChance(pair)
        return probability > 0 && chance(probability)
    }

    /// Question or answer.
    func isRoundTripLost(_ pair: PeerPair) -> Bool { isLost(pair) || isLost(pair) }

    /// The time until a datagram that is repeated has come through.
    func repetitions(_ pair: PeerPair) -> Duration {
        var delay = Duration.zero
        while delay < .seconds(3), isLost(pair) { delay += .milliseconds(100) + delay }
        return delay
    }

    func scheduleHeartbeats(of node: Node) {
        for id in node.endpoints.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            if let pair = node.endpoints[id]?.pair { scheduleHeartbeats(pair) }
        }
    }

    func scheduleHeartbeats(_ pair: PeerPair) {
        guard !pair.hasHeartbeats, pair.selected != nil, lossChance(pair) > 0 else { return }
        pair.hasHeartbeats = true
        schedule(.checkHeartbeats(pair), after: .milliseconds(500))
    }

    /// Heartbeats over a path that works get lost one by one; three of them, or their answers, make an end suspicious.
    func checkHeartbeats(_ pair: PeerPair) {
        pair.hasHeartbeats = false
        guard pairs[pair.id] === pair else { return }
        for isOfferer in [true, false] {
            guard let endpoint = pair.end(isOfferer: isOfferer), !endpoint.isClosed, endpoint.state == .connected,
                !endpoint.isInSilence, hears(endpoint)
            else { continue }
            var missing = 0
            while missing < 30, isRoundTripLost(pair) { missing += 1 }
            guard missing >= 3 else { continue }
            endpoint.assessment += 1
            schedule(
                .becomeSuspect(endpoint, assessment: endpoint.assessment, since: now), after: .milliseconds(750))
            schedule(
                .recover(endpoint, assessment: endpoint.assessment),
                after: .milliseconds(760 + (missing - 3) * 100) + latency(endpoint.node))
        }
        scheduleHeartbeats(pair)
    }
}
