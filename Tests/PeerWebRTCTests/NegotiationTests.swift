internal import Testing
internal import TransportPluginAPI

@testable internal import PeerWebRTC

/// Offers, answers and candidates: the decisions.
struct NegotiationTests {
    private static func negotiation(_ digit: UInt8, port: UInt16 = 5000) -> Negotiation {
        Negotiation(
            writer: DescriptionWriter(
                sessionID: 1, version: 1,
                fingerprint: Fingerprint(algorithm: .sha256, bytes: [UInt8](repeating: digit, count: 32)),
                sctpPort: port, maximumMessageSize: 65_536))
    }

    private static func credentials(_ name: String) -> ICECredentials {
        ICECredentials(usernameFragment: name, password: String(repeating: "p", count: 22))
    }

    private var offerer = negotiation(1)
    private var answerer = negotiation(2)

    /// One exchange; the sides' generations are named so.
    private mutating func exchange(_ ours: String, _ theirs: String) throws -> SessionDescription {
        let offer = offerer.offered(Self.credentials(ours))
        guard case .new(let read) = try answerer.read(offer: offer, newest: nil) else {
            throw TransportError(.invalidState, "no new offer")
        }
        let (answer, _) = answerer.accepted(offer: read, local: Self.credentials(theirs), role: .client)
        _ = offerer.accepted(answer: try offerer.read(answer: answer))
        return offer
    }

    private func candidate(_ fragment: String?, mid: String? = nil, component: Int = 1) -> PeerCandidate {
        PeerCandidate(
            text: "candidate:1 \(component) udp 1 192.0.2.1 5 typ host", mediaID: mid, usernameFragment: fragment)
    }

    @Test func oneSideOffersAlways() throws {
        var test = self
        #expect(throws: Never.self) { try test.offerer.checkFirstOffer() }
        expect(.invalidState) { try test.offerer.checkRestart() }
        let offer = try test.exchange("aaaa", "bbbb")
        expect(.invalidState) { try test.offerer.checkFirstOffer() }
        #expect(throws: Never.self) { try test.offerer.checkRestart() }
        expect(.invalidState) { try test.answerer.checkFirstOffer() }
        expect(.invalidState) { try test.answerer.checkRestart() }
        expect(.invalidState) { _ = try test.offerer.read(offer: offer, newest: nil) }
    }

    @Test func answerFitsTheOpenOfferOnly() throws {
        var test = self
        let offer = test.offerer.offered(Self.credentials("aaaa"))
        guard case .new(let read) = try test.answerer.read(offer: offer, newest: nil) else { return }
        let (answer, _) = test.answerer.accepted(offer: read, local: Self.credentials("bbbb"), role: .client)
        expect(.invalidState) { _ = try test.answerer.read(answer: answer) }
        _ = test.offerer.accepted(answer: try test.offerer.read(answer: answer))
        expect(.invalidState) { _ = try test.offerer.read(answer: answer) }
        // Of an earlier generation, while a restart waits.
        _ = test.offerer.offered(Self.credentials("cccc"))
        expect(.invalidState) { _ = try test.offerer.read(answer: answer) }
    }

    @Test func repeatedOfferGetsTheSameAnswerWhileItIsTheLatest() throws {
        var test = self
        let first = try test.exchange("aaaa", "bbbb")
        let repeated = try test.answerer.read(offer: first, newest: Self.credentials("aaaa"))
        guard case .repeated(let answer) = repeated else {
            Issue.record("\(repeated)")
            return
        }
        #expect(try DataDescription(parsing: answer).credentials == Self.credentials("bbbb"))
        _ = try test.exchange("cccc", "dddd")
        expect(.invalidState) { _ = try test.answerer.read(offer: first, newest: Self.credentials("cccc")) }
        test.answerer.generationEnded("aaaa")
        expect(.invalidState) { _ = try test.answerer.read(offer: first, newest: Self.credentials("cccc")) }
    }

    @Test func restartKeepsCertificateAndPort() throws {
        var test = self
        _ = try test.exchange("aaaa", "bbbb")
        var impostor = Self.negotiation(3)
        expect(.notSupported) {
            _ = try test.answerer.read(offer: impostor.offered(Self.credentials("cccc")), newest: nil)
        }
        var moved = Self.negotiation(1, port: 5001)
        expect(.notSupported) {
            _ = try test.answerer.read(offer: moved.offered(Self.credentials("cccc")), newest: nil)
        }
    }

    @Test func versionsRiseAndTheAnswererTakesTheClientsRole() throws {
        var test = self
        let first = try test.exchange("aaaa", "bbbb")
        let second = test.offerer.offered(Self.credentials("cccc"))
        #expect(first.text.contains("o=- 1 1 ") && second.text.contains("o=- 1 2 "))
        let offer = try DataDescription(parsing: first)
        #expect(offer.setup == .actpass && Negotiation.role(opposite: offer) == .client)
        let remote = try #require(test.offerer.remote)
        #expect(remote.setup == .active && Negotiation.role(opposite: remote) == .server)
    }

    @Test func candidatesGoToTheirGeneration() throws {
        var test = self
        #expect(try test.answerer.received(candidate("aaaa")) == nil, "ahead of its offer")
        _ = test.offerer.offered(Self.credentials("aaaa"))
        var offer = test.offerer.offered(Self.credentials("aaaa"))
        offer.text += "a=candidate:2 1 udp 1 192.0.2.2 6 typ host\r\na=candidate:2 2 udp 1 192.0.2.2 7 typ host\r\n"
        offer.text += "a=end-of-candidates\r\n"
        guard case .new(let read) = try test.answerer.read(offer: offer, newest: nil) else { return }
        let (_, candidates) = test.answerer.accepted(offer: read, local: Self.credentials("bbbb"), role: .client)
        #expect(
            candidates == [
                .candidate("candidate:1 1 udp 1 192.0.2.1 5 typ host"),
                .candidate("candidate:2 1 udp 1 192.0.2.2 6 typ host"), .end,
            ])
        #expect(try test.answerer.received(candidate("aaaa"))?.usernameFragment == "aaaa")
        #expect(try test.answerer.received(candidate(nil))?.usernameFragment == "aaaa")
        #expect(try test.answerer.received(candidate(nil, mid: "other")) == nil)
        #expect(try test.answerer.received(candidate("aaaa", component: 2)) == nil)
        #expect(
            try test.answerer.received(PeerCandidate(text: "", usernameFragment: "aaaa"))
                == Negotiation.RoutedCandidate(usernameFragment: "aaaa", item: .end))
        expect(.protocolViolation) { _ = try test.answerer.received(PeerCandidate(text: "nonsense")) }
        test.answerer.generationEnded("aaaa")
        #expect(try test.answerer.received(candidate("aaaa")) == nil)
    }
}
