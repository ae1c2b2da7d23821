internal import RoomCore
internal import TransportValues

// The application's provider of ICE servers has a cache, may fail, answer late, or never. Its credentials expire.
extension Simulation {
    func provideICEServers(_ node: Node) {
        if node.iceServerProvider.question != nil {
            report("\(node.name) asks its provider of ICE servers again before it has answered")
        }
        let question = node.iceServerProvider.ask(now: now)
        if node.iceServerProvider.recentQuestions.count > 4 {
            report("\(node.name) asked its provider of ICE servers more than 4 times in ten seconds")
        }
        // In the end the provider works.
        let call = call(&node.iceServerProvider, mayFail: now < faultsEnd)
        if case .answering = call {} else { node.lastICEServerTrouble = now }
        switch call {
        case .refused: return answer(Occurrence.iceServers, node, question, .failure, after: .zero)
        case .hanging: break
        case .failing: answer(Occurrence.iceServers, node, question, .failure, after: .milliseconds(5))
        case .answering(let delay):
            answer(Occurrence.iceServers, node, question, .value(isFresh: chance(0.7)), after: delay)
        }
        answer(Occurrence.iceServers, node, question, .timeout, after: SimulatedProvider.patience)
    }

    func iceServersAnswered(_ node: Node, _ question: UInt64, _ answer: SimulatedProvider.Answer) {
        guard node.iceServerProvider.end(question) else { return }
        switch answer {
        case .value(let isFresh):
            let life = scenario.relayLife ?? .seconds(3600)
            // A cache that hands out what is about to expire would be the provider's fault.
            let cached = isFresh ? nil : node.cachedRelays.flatMap { $0 - now > life * 3 / 4 ? $0 : nil }
            let expiry = cached ?? now + life
            node.cachedRelays = expiry
            note("\(node.name)'s provider has relays until \(expiry.seconds)")
            feed(node, .iceServersProvided([SimulatedAuthority.relay(until: expiry)], ttl: expiry - now))
        case .failure, .timeout:
            node.lastICEServerTrouble = now
            feed(node, .iceServersFailed(SignalingFailure("the provider of ICE servers is down")))
        }
    }

    /// The provider works again: what hung answers, too late or not.
    func iceServersRecovered(for node: Node) {
        guard let question = node.iceServerProvider.recover() else { return }
        answer(
            Occurrence.iceServers, node, question, chance(0.5) ? .value(isFresh: true) : .failure,
            after: .milliseconds(5))
    }

    /// Whether its provider has let this participant down lately, so that its relays may expire.
    func lacksICEServers(_ node: Node) -> Bool {
        guard scenario.hasICEServerProvider else { return false }
        // The longest pause between two questions, and the time for an answer.
        return node.lastICEServerTrouble.map { now - $0 < .seconds(75) } ?? false
    }
}
