internal import RoomCore
internal import TransportValues

// The application's token provider has a cache, may fail, answer late, or never; the shell (`RoomConnectionService`)
// hears only of the call that it waits for.
extension Simulation {
    func provideToken(_ node: Node, forced: Bool) {
        let question = node.tokenProvider.ask(now: now)
        if node.tokenProvider.recentQuestions.count > 40 {
            report("\(node.name) asked for a token 40 times in ten seconds")
        }
        switch call(&node.tokenProvider, mayFail: true) {
        case .refused: return answer(Occurrence.token, node, question, .failure, after: .zero)
        case .hanging: answer(Occurrence.token, node, question, .timeout, after: SimulatedProvider.patience)
        case .failing:
            answer(Occurrence.token, node, question, .timeout, after: SimulatedProvider.patience)
            answer(Occurrence.token, node, question, .failure, after: .milliseconds(5))
        case .answering(let delay):
            answer(Occurrence.token, node, question, .timeout, after: SimulatedProvider.patience)
            answer(Occurrence.token, node, question, .value(isFresh: forced), after: delay)
        }
    }

    /// Decides what becomes of a call. `mayFail`: also without a fault.
    func call(_ provider: inout SimulatedProvider, mayFail: Bool) -> ProviderCall {
        guard !provider.isExhausted else { return .refused }
        if provider.hangs > 0 {
            provider.hang()
            return .hanging
        }
        if provider.failures > 0 || mayFail && chance(0.1) { return .failing }
        return .answering(after: chance(0.05) ? random.duration(upTo: .seconds(3)) : .milliseconds(5))
    }

    /// An answer of one of the application's providers, on its way. `kind`: the occurrence that it will be.
    func answer(
        _ kind: (Int, Int, UInt64, SimulatedProvider.Answer) -> Occurrence, _ node: Node, _ question: UInt64,
        _ answer: SimulatedProvider.Answer, after delay: Duration
    ) {
        queue.push(kind(node.index, node.life, question, answer), at: now + delay)
    }

    func tokenAnswered(_ node: Node, _ question: UInt64, _ answer: SimulatedProvider.Answer) {
        guard node.tokenProvider.end(question) else { return }
        switch answer {
        case .value(let isFresh):
            if isFresh || node.cachedToken == nil { node.cachedToken = now + (scenario.tokenLife ?? .seconds(3600)) }
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
    func tokenServiceRecovered(for node: Node) {
        guard let question = node.tokenProvider.recover() else { return }
        answer(
            Occurrence.token, node, question, chance(0.5) ? .value(isFresh: true) : .failure, after: .milliseconds(5))
    }
}
