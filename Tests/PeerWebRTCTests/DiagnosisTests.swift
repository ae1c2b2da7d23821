internal import Testing
internal import TransportPluginAPI

@testable internal import PeerWebRTC

/// The reasons that a connection reports for not being up.
@Suite(.timeLimit(.minutes(1)))
struct DiagnosisTests {
    private static let host = "candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host"
    private static let host6 = "candidate:2 1 UDP 2130706431 2001:db8::1 5000 typ host"
    private static let reflexive = "candidate:3 1 udp 1694498815 198.51.100.1 5000 typ srflx raddr 192.0.2.1 rport 5000"
    private static let relay = "candidate:4 1 UDP 16777215 198.51.100.9 5000 typ relay raddr 192.0.2.1 rport 5000"
    private static let name = "candidate:5 1 udp 2113937151 0b2e6b7c-3f1e-4a0f-9d52-4a5a2a3c0b11.local 5000 typ host"
    private static let tcp = "candidate:6 1 TCP 1518280447 192.0.2.1 9 typ host tcptype active"

    private func tally(_ lines: [String], isComplete: Bool = true) -> CandidateTally {
        var tally = CandidateTally()
        for line in lines { tally.add(line) }
        tally.isComplete = isComplete
        return tally
    }

    private func makeDiagnosis(_ local: [String], _ remote: [String], isComplete: Bool = true) -> ConnectionDiagnosis {
        var diagnosis = ConnectionDiagnosis()
        diagnosis.local = tally(local, isComplete: isComplete)
        diagnosis.remote = tally(remote)
        diagnosis.isAnswered = true
        return diagnosis
    }

    @Test(arguments: [
        ([], [host], PeerStall.Code.noLocalCandidates), ([host], [], .noRemoteCandidates),
        ([host], [name, name], .noUsableCandidates), ([host], [tcp], .noUsableCandidates),
        ([host], [host6], .noUsableCandidates), ([host6], [reflexive], .noUsableCandidates),
        ([host6, relay], [reflexive], .checksUnanswered), ([host], [host], .checksUnanswered),
        ([host, host6, reflexive, relay], [name, reflexive], .checksUnanswered),
    ]) func candidatesTellWhyThereIsNoPath(local: [String], remote: [String], code: PeerStall.Code) {
        #expect(makeDiagnosis(local, remote).stall?.code == code)
    }

    @Test func theObstacleOfGatheringIsReported() {
        #expect(makeDiagnosis([], [Self.host], isComplete: false).stall?.code == .gathering)
        var relayed = makeDiagnosis([], [Self.host])
        relayed.isRelayOnly = true
        #expect(relayed.stall?.code == .noRelay)
        relayed.relays = ["turns:192.0.2.7:5349"]
        #expect(relayed.stall?.message.contains("turns:192.0.2.7:5349") == true)
        #expect(relayed.stall?.cure.contains("turn:") == true)
    }

    @Test func layersAboveThePathTellInTheirOrder() {
        var diagnosis = makeDiagnosis([Self.host], [Self.host])
        diagnosis.hasPath = true
        diagnosis.encryption = .unanswered
        #expect(diagnosis.stall?.code == .handshakeUnanswered)
        diagnosis.encryption = .up
        diagnosis.association = .unanswered
        #expect(diagnosis.stall?.code == .channelsUnanswered)
        diagnosis.association = .up
        #expect(diagnosis.stall == nil)
        diagnosis.isSilent = true
        #expect(diagnosis.stall?.code == .pathSilent)
    }

    @Test func aLineThatIsNoCandidateIsPassedOver() {
        #expect(tally(["", "candidate:1", "candidate:1 1 UDP 1 1.2.3.4 5 typ"]).isEmpty)
        let all = tally([Self.host, Self.host6, Self.reflexive, Self.relay, Self.name, Self.tcp])
        #expect(all.description == "2 host, 1 srflx, 1 relay, 1 named, 1 tcp")
    }

    @Test func aConnectionWithoutChecksThatAreAnsweredSaysSo() async throws {
        let pair = try TestPair()
        try await pair.start { $0.network.holdsConnectivity = true }
        #expect(await pair.a.wait { $0.connection.stall?.code == .checksUnanswered })
        #expect(await pair.b.wait { $0.connection.stall?.code == .checksUnanswered })
        try await pair.on { $0.network.holdsConnectivity = false }
        #expect(await pair.a.wait { $0.isConnected && $0.connection.stall == nil })
        await pair.end()
    }

    @Test func aHandshakeThatIsNotAnsweredIsTold() async throws {
        let pair = try TestPair()
        try await pair.start {
            $0.network.isDown = true; $0.network.isHasty = true
        }
        #expect(await pair.b.wait { $0.connection.stall?.code == .handshakeUnanswered })
        await pair.end()
    }

    @Test func anOfferWithoutAnAnswerIsNotTheTransportsAffair() async throws {
        let pair = try TestPair()
        try await pair.start { $0.a.passesSignaling = false }
        #expect(await pair.a.wait { !$0.descriptions.isEmpty })
        #expect(try await pair.on { $0.a.connection.stall } == nil)
        await pair.end()
    }
}
