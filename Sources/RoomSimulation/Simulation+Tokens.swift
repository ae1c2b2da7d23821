internal import RoomCore
internal import TransportValues

/// The result of a call of the token provider.
enum TokenAnswer {
    case token(isForced: Bool)
    case failure
    /// The shell does not wait any longer.
    case timeout
}

// The application's token provider has a cache, may fail, answer late, or never; the shell (`RoomConnectionService`)
// hears only of the call that it waits for.
extension Simulation {
    /// As the shell's.
    private static var tokenPatience: Duration { .seconds(30) }
    private static var maximumProviders: Int { 4 }

    func provideToken(_ node: Node, forced: Bool) {
        node.tokenRequests.append(now)
        node.tokenRequests.removeAll { now - $0 > .seconds(10) }
        if node.tokenRequests.count > 40 { report("\(node.name) asked for a token 40 times in ten seconds") }
        node.lastTokenRequest += 1
        let request = node.lastTokenRequest
        node.tokenRequest = request
        guard node.hangingProviders < Self.maximumProviders else {
            return answer(node, request, .failure, after: .zero)
        }
        answer(node, request, .timeout, after: Self.tokenPatience)
        if node.tokenHangs > 0 {
            node.hangingProviders += 1
        } else if node.tokenFailures > 0 || chance(0.1) {
            answer(node, request, .failure, after: .milliseconds(5))
        } else {
            let delay = chance(0.05) ? random.duration(upTo: .seconds(3)) : .milliseconds(5)
            answer(node, request, .token(isForced: forced), after: delay)
        }
    }

    private func answer(_ node: Node, _ request: UInt64, _ answer: TokenAnswer, after delay: Duration) {
        queue.push(.token(node: node.index, life: node.life, request: request, answer), at: now + delay)
    }

    func tokenAnswered(_ node: Node, _ request: UInt64, _ answer: TokenAnswer) {
        guard node.tokenRequest == request else { return }
        node.tokenRequest = nil
        switch answer {
        case .token(let isForced):
            if isForced || node.cachedToken == nil { node.cachedToken = now + (scenario.tokenLife ?? .seconds(3600)) }
            let expiry = node.cachedToken ?? now
            // The provider may not know when it expires.
            feed(
                node,
                .credentialReady(
                    token: "\(expiry.nanoseconds)", expiresAt: scenario.seed % 2 == 0 ? expiry + node.clockOffset : nil)
            )
        case .failure: feed(node, .credentialFailed(SignalingFailure("the token service is down")))
        case .timeout: feed(node, .credentialFailed(SignalingFailure("the token provider has not answered")))
        }
    }

    /// The token service is back: what hung answers, too late or not.
    func releaseProviders(of node: Node) {
        if node.hangingProviders > 0, let request = node.tokenRequest {
            answer(node, request, chance(0.5) ? .token(isForced: true) : .failure, after: .milliseconds(5))
        }
        node.hangingProviders = 0
    }
}
