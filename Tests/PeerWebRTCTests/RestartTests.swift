internal import PeerWebRTC
internal import Testing
internal import TransportPluginAPI

/// Paths that are replaced by restarts.
@Suite(.timeLimit(.minutes(1)))
struct RestartTests {
    enum PathInUse: CaseIterable { case works, isSilent, hasLostItsAddress }

    /// A browser gives up a path that it learns of by a check before it learns of it by a candidate.
    @Test(arguments: PathInUse.allCases)
    func anAnsweringSideBeginsNoCheckAtOnceWhileItsPathWorks(path: PathInUse) async throws {
        let works = path == .works
        try await withConnectedPair { pair, _ in
            // An address for documentation (RFC 5737), which no machine has.
            if path == .hasLostItsAddress { try await pair.on { $0.network.localAddress = "192.0.2.1" } }
            if path == .isSilent {
                try await pair.on { pair in
                    pair.network.isDown = true
                    pair.b.connection.probe()
                }
                #expect(await pair.b.wait { $0.liveness.count == 1 })
            }
            // Candidates that are not held back are taken in the call that brings them.
            let isHeld = Locked<Bool?>(nil)
            try await pair.on { [isHeld] pair in
                pair.network.onFirstCandidate = { [unowned pair] agent in
                    guard !agent.isControlling else { return }
                    isHeld.withLock { $0 = !pair.b.isInsideCall }
                    if works {
                        #expect(agent.firstCandidateAt.map { $0 - agent.madeAt } ?? .zero >= .milliseconds(100))
                    }
                    pair.b.evaluate()
                }
                try pair.a.call { try $0.restart(iceServers: []) }
            }
            #expect(await pair.b.wait { _ in isHeld.withLock { $0 } != nil })
            #expect(isHeld.withLock { $0 } == works)
        }
    }

    @Test func aRestartThatCannotBePreparedLeavesThePathAlone() async throws {
        try await withConnectedPair { pair, ids in
            try await pair.on { pair in
                pair.network.isOutOfPorts = { _ in true }
                let before = pair.a.events.count
                var code: TransportError.Code?
                do throws(TransportError) { try pair.a.connection.restart(iceServers: []) } catch { code = error.code }
                #expect(code == .resourceExhausted)
                #expect(pair.a.events.count == before)
                // The other side has none: it answers all the same, and says why it has no candidates.
                pair.network.isOutOfPorts = { isControlling in !isControlling }
                try pair.a.call { try $0.restart(iceServers: []) }
            }
            #expect(
                await pair.b.wait {
                    $0.events.contains {
                        if case .gatheringFailed(let error) = $0 { error.code == .resourceExhausted } else { false }
                    }
                })
            #expect(await pair.a.wait { $0.descriptions.count == 2 })
            #expect(await pair.b.wait { $0.descriptions.count == 2 })
            try await pair.on { pair in
                try pair.a.connection.send([1], on: ids.a)
                #expect(pair.a.isConnected && pair.b.isConnected)
            }
            #expect(await pair.b.wait { $0.messages.count == 1 })
            // When there are ports again, the next one works.
            try await pair.on { pair in
                pair.network.isOutOfPorts = { _ in false }
                try pair.a.call { try $0.restart(iceServers: []) }
            }
            #expect(await pair.a.wait { $0.paths.count == 2 })
        }
    }

    @Test func restartUnderLiveDataLosesNothingAndLeavesNoGap() async throws {
        let (pair, ids) = try await TestPair.connected()
        let source = try await pair.on { pair in
            let source = Source(pair.a, ids.a, pair.b, ids.b, every: .milliseconds(2), count: 600)
            source.start(on: pair.loop)
            return source
        }
        #expect(await pair.b.wait { $0.messages.count > 20 })
        let old = try await pair.on { pair in
            let old = pair.network.agents.map(\.localCredentials.usernameFragment)
            pair.network.holdsConnectivity = true
            try pair.a.call { try $0.restart(iceServers: [ICEServer(urls: ["stun:127.0.0.1:9"])]) }
            return old
        }
        #expect(await pair.a.wait { _ in pair.network.agents.count == 4 })
        // The new path is not up: data goes on over the old one.
        let seen = try await pair.on { pair in pair.b.messages.count }
        #expect(await pair.b.wait { $0.messages.count > seen + 50 })
        try await pair.on { pair in pair.network.holdsConnectivity = false }
        #expect(await pair.a.wait { $0.paths.count == 2 })
        #expect(await pair.b.wait { $0.paths.count == 2 })
        #expect(await pair.a.wait { $0.messages.count == 600 })
        #expect(await pair.b.wait { $0.messages.count == 600 })
        try await pair.on { pair in
            for peer in [pair.a, pair.b] {
                let steps = peer.events.compactMap { event -> String? in
                    switch event {
                    case .pathChecked: "checked"
                    case .pathChanged: "changed"
                    default: nil
                    }
                }
                #expect(steps == ["checked", "changed", "checked", "changed"])
            }
            #expect(pair.a.messages.map(\.bytes) == source.expected)
            #expect(pair.b.messages.map(\.bytes) == source.expected)
            #expect(pair.a.states.last == .connected && pair.b.states.last == .connected)
            #expect(!pair.a.states.contains(.disconnected))
            #expect((pair.a.liveness + pair.b.liveness).allSatisfy { $0 == .alive }, "data paused")
            // Same certificate, same section, new credentials.
            let (first, second) = (pair.a.descriptions[0].text, pair.a.descriptions[1].text)
            #expect(value("a=fingerprint:", in: first) == value("a=fingerprint:", in: second))
            #expect(value("a=mid:", in: first) == value("a=mid:", in: second))
            #expect(value("a=ice-ufrag:", in: first) != value("a=ice-ufrag:", in: second))
            let fresh = pair.network.agents.filter { !old.contains($0.localCredentials.usernameFragment) }
            #expect(fresh.count == 2 && fresh.allSatisfy { $0.sentCount > 0 })
            #expect(fresh.contains { $0.servers.first?.urls == ["stun:127.0.0.1:9"] })
        }
        // The replaced agents are closed after a while.
        #expect(await pair.a.wait { _ in pair.network.agents.count == 2 })
        await pair.end()
        try await pair.on { pair in #expect(pair.network.agents.isEmpty) }
    }

    @Test func secondRestartReplacesOneThatIsUnderWay() async throws {
        try await withConnectedPair { pair, ids in
            try await pair.on { pair in
                pair.network.holdsConnectivity = true
                try pair.a.call { try $0.restart(iceServers: []) }
            }
            #expect(await pair.b.wait { $0.descriptions.count == 2 })
            try await pair.on { pair in
                try pair.a.call { try $0.restart(iceServers: []) }
                pair.network.holdsConnectivity = false
            }
            #expect(await pair.a.wait { $0.paths.count == 2 })
            #expect(await pair.b.wait { $0.paths.count == 2 })
            try await pair.on { pair in try pair.a.connection.send([1], on: ids.a) }
            #expect(await pair.b.wait { $0.messages.count == 1 })
            try await pair.on { pair in
                // Two live, at most two retiring; the one in the middle is gone.
                #expect(pair.network.agents.count <= 4)
                #expect(pair.a.errors.isEmpty && pair.b.errors.isEmpty)
            }
        }
    }

    @Test func deadPathIsReplacedByARestart() async throws {
        try await withConnectedPair { pair, ids in
            try await pair.on { pair in for agent in pair.network.agents { agent.tell(.failed) } }
            #expect(await pair.a.wait { $0.states.last == .disconnected })
            #expect(await pair.b.wait { $0.states.last == .disconnected })
            try await pair.on { pair in try pair.a.call { try $0.restart(iceServers: []) } }
            #expect(await pair.a.wait { $0.states.last == .connected })
            #expect(await pair.b.wait { $0.states.last == .connected })
            try await pair.on { pair in try pair.b.connection.send([1], on: ids.b) }
            #expect(await pair.a.wait { $0.messages.count == 1 })
        }
    }

    private func value(_ key: String, in text: String) -> Substring? {
        text.split(whereSeparator: \.isNewline).first { $0.hasPrefix(key) }
    }
}
