internal import PeerWebRTC
internal import Testing
internal import TransportPluginAPI

/// Paths that are silent, replaced, or hostile.
@Suite(.timeLimit(.minutes(1)))
struct PathTests {
    @Test(arguments: [true, false]) func wrongFingerprintIsRefusedBeforeAnyData(atOfferer: Bool) async throws {
        let pair = try TestPair()
        try await pair.start { pair in
            (atOfferer ? pair.b : pair.a).alterDescription = { description in
                var description = description
                guard let range = description.text.firstRange(of: "a=fingerprint:sha-256 ") else { return description }
                let digits = range.upperBound..<description.text.index(range.upperBound, offsetBy: 2)
                description.text.replaceSubrange(digits, with: description.text[digits] == "00" ? "01" : "00")
                return description
            }
            for peer in [pair.a, pair.b] { _ = try peer.call { try $0.openChannel(ChannelParameters(label: "x")) } }
        }
        #expect(await pair.a.wait { $0.isClosed })
        #expect(await pair.b.wait { $0.isClosed })
        try await pair.on { pair in
            let (deceived, other) = atOfferer ? (pair.a, pair.b) : (pair.b, pair.a)
            #expect(deceived.closing??.code == .fingerprintMismatch)
            #expect(other.closing??.code == .handshakeFailed)
            for peer in [pair.a, pair.b] {
                #expect(peer.opened.isEmpty && peer.messages.isEmpty && !peer.states.contains(.connected))
            }
        }
        await pair.end()
    }

    /// The other side's first flight often comes a moment before this side's own check is answered.
    @Test func anAnswerToAHandshakeWaitsForThePath() async throws {
        let pair = try TestPair()
        try await pair.start { pair in
            pair.network.isLate = { $0.isControlling }
            _ = try pair.a.call { try $0.openChannel(ChannelParameters(label: "data")) }
        }
        #expect(await pair.a.wait { _ in pair.network.agents.first { $0.isControlling }?.receivedCount ?? 0 > 0 })
        try await pair.on { pair in
            let agent = try #require(pair.network.agents.first { $0.isControlling })
            let before = agent.sentCount
            agent.becomeConnected()
            #expect(agent.sentCount > before, "the answer is lost until DTLS repeats it")
        }
        #expect(await pair.b.wait { $0.channel("data") != nil })
        await pair.end()
    }

    @Test func dataResumesPromptlyAndCompletelyAfterSilence() async throws {
        try await withConnectedPair { pair, ids in
            let source = try await pair.on { pair in
                // A message each 20 ms, each way.
                let source = Source(pair.a, ids.a, pair.b, ids.b, every: .milliseconds(20), count: 200)
                pair.network.isDown = true
                source.start(on: pair.loop)
                return source
            }
            #expect(await pair.a.wait { $0.liveness.count == 1 })
            #expect(await pair.b.wait { $0.liveness.count == 1 })
            // 3 s of silence, then how long until the first message comes.
            let resumed = Resumption()
            try await pair.on { pair in
                _ = pair.loop.schedule(after: .seconds(3)) {
                    pair.network.isDown = false
                    resumed.begin = .now()
                    pair.b.onMessage = { bytes, _, _ in
                        if resumed.end == nil { resumed.end = .now() }
                        resumed.count += 1
                    }
                }
            }
            #expect(await pair.a.wait { $0.messages.count == 200 })
            #expect(await pair.b.wait { _ in resumed.count == 200 })
            #expect(await pair.a.wait { $0.liveness.last == .alive })
            #expect(await pair.b.wait { $0.liveness.last == .alive })
            try await pair.on { pair in
                let delay = try #require(resumed.end) - resumed.begin
                #expect(delay < .milliseconds(600), "resumed after \(delay)")
                #expect(pair.a.messages.map { $0.bytes } == source.expected)
                #expect(!pair.a.isClosed && !pair.b.isClosed)
                guard case .suspect = pair.a.liveness.first else {
                    Issue.record("silence was not reported")
                    return
                }
            }
        }
    }

    @Test func staleDescriptionsAreRefusedAndChangeNothing() async throws {
        let pair = try TestPair()
        try await pair.start(offer: false)
        try await pair.on { pair in
            let bogus = SessionDescription(kind: .answer, text: "v=1\r\n")
            expect(.invalidState) { try pair.a.connection.setRemoteDescription(bogus) }
            expect(.invalidState) { try pair.a.connection.restart(iceServers: []) }
            try pair.a.call { try $0.offer() }
            expect(.invalidState) { try pair.a.connection.offer() }
            expect(.invalidState) { try pair.a.connection.restart(iceServers: []) }
            expect(.protocolViolation) { try pair.a.connection.setRemoteDescription(bogus) }
        }
        #expect(await pair.a.wait { $0.isConnected })
        #expect(await pair.b.wait { $0.isConnected })
        try await pair.on { pair in
            let answer = try #require(pair.b.lastDescription)
            expect(.invalidState) { try pair.a.connection.setRemoteDescription(answer) }
            try pair.a.call { try $0.restart(iceServers: []) }
            // The answer to the first offer does not fit the second.
            expect(.invalidState) { try pair.a.connection.setRemoteDescription(answer) }
            // Neither side changes its part.
            expect(.invalidState) { try pair.b.connection.restart(iceServers: []) }
            expect(.invalidState) {
                try pair.a.connection.setRemoteDescription(try #require(pair.a.lastDescription))
            }
        }
        #expect(await pair.a.wait { $0.paths.count == 2 })
        await pair.end()
    }

    @Test func repeatedOfferIsAnsweredAgainWithTheSameAnswer() async throws {
        try await withConnectedPair { pair, _ in
            try await pair.on { pair in
                pair.b.passesSignaling = false
                let offer = try #require(pair.a.lastDescription)
                try pair.b.call { try $0.setRemoteDescription(offer) }
            }
            #expect(await pair.b.wait { $0.descriptions.count == 2 })
            try await pair.on { pair in
                #expect(pair.b.descriptions[0] == pair.b.descriptions[1])
                #expect(pair.network.agents.count == 2)
            }
        }
    }

    @Test func candidatesAheadOfTheirDescriptionAreKept() async throws {
        let pair = try TestPair()
        try await pair.start { pair in
            pair.a.passesSignaling = false
            pair.a.onEvent = { event in
                switch event {
                case .localCandidate, .endOfLocalCandidates: pair.a.pass(event)
                default: break
                }
            }
        }
        #expect(
            await pair.a.wait { peer in
                peer.events.contains { if case .endOfLocalCandidates = $0 { true } else { false } }
            })
        try await pair.on { pair in
            for event in pair.a.events { if case .localDescription = event { pair.a.pass(event) } }
            pair.a.onEvent = nil
            pair.a.passesSignaling = true
        }
        #expect(await pair.a.wait { $0.isConnected })
        #expect(await pair.b.wait { $0.isConnected })
        try await pair.on { pair in #expect(pair.network.agents.allSatisfy { $0.sawEndOfCandidates }) }
        await pair.end()
    }

    @Test func handshakeThatBeginsBeforeTheAnswerIsKeptForIt() async throws {
        let pair = try TestPair()
        try await pair.start { pair in
            pair.network.isHasty = true
            pair.b.passesSignaling = false
        }
        // The client hello is out, and the offerer does not know the other side yet.
        #expect(await pair.b.wait { _ in pair.network.agents.last.map { $0.sentCount > 0 } ?? false })
        try await pair.on { pair in
            let clients = pair.network.agents
            #expect(clients.count == 2)
            for event in pair.b.events { pair.b.pass(event) }
            pair.b.passesSignaling = true
        }
        #expect(await pair.a.wait { $0.isConnected })
        #expect(await pair.b.wait { $0.isConnected })
        await pair.end()
    }

    @Test func handshakeOverALossyPathIsNotHeldUpForSeconds() async throws {
        let pair = try TestPair()
        let begin = Timestamp.now()
        try await pair.start { pair in
            pair.network.loss = 4
            _ = try pair.a.call { try $0.openChannel(ChannelParameters(label: "x")) }
        }
        #expect(await pair.b.wait { $0.channel("x") != nil })
        // OpenSSL's own first retransmission would come after a second, usrsctp's after three.
        #expect(Timestamp.now() - begin < .seconds(5))
        await pair.end()
    }

    @Test func garbageDatagramsDisturbNothing() async throws {
        try await withConnectedPair { pair, ids in
            try await pair.on { pair in
                var generator = SystemRandomNumberGenerator()
                for agent in pair.network.agents {
                    var datagrams: [[UInt8]] = [[], [20], [22, 254, 253], [UInt8](repeating: 63, count: 2000)]
                    for _ in 0..<40 {
                        var bytes = (0..<Int.random(in: 1...1500)).map { _ in
                            UInt8.random(in: 0...255, using: &generator)
                        }
                        bytes[0] = UInt8.random(in: 20...63)
                        datagrams.append(bytes)
                        // A record header that looks right in every way.
                        datagrams.append(
                            [
                                [20, 21, 22, 23].randomElement() ?? 23, 254, 253, 0, UInt8.random(in: 0...2), 0, 0, 0,
                                0, 0,
                                9, 0, 40,
                            ]
                                + bytes.prefix(40))
                    }
                    agent.inject(Array(datagrams.prefix(60)))
                    agent.inject(Array(datagrams.suffix(60)))
                }
                try pair.a.connection.send([1], on: ids.a)
                try pair.b.connection.send([2], on: ids.b)
            }
            #expect(await pair.a.wait { $0.messages.map(\.bytes) == [[2]] })
            #expect(await pair.b.wait { $0.messages.map(\.bytes) == [[1]] })
        }
    }

    @Test func probeOfALivingPeerRaisesNoSuspicion() async throws {
        try await withConnectedPair { pair, _ in
            let before = try await pair.on { pair in
                let before = pair.b.connection.statistics.lastEvidence
                try pair.a.call { $0.probe() }
                return before
            }
            #expect(await pair.b.wait { $0.connection.statistics.lastEvidence != before })
            // The one who asked gets the answer; nobody is suspected.
            #expect(await pair.a.wait { $0.liveness == [.alive] })
            try await pair.on { pair in #expect(pair.b.liveness.isEmpty) }
        }
    }
}
