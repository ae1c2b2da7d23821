import RoomConnection
import Testing
import TransportPluginAPI

@testable import RoomDoctor

@Suite struct TrialJudgementTests {
    private func record(isRelayOnly: Bool = false, joined: Bool = true, connected: Bool = false) -> TrialRecord {
        var record = TrialRecord(room: "check-abc", isRelayOnly: isRelayOnly)
        if joined { record.joinTime = .milliseconds(12) }
        if connected {
            record.connectTime = .milliseconds(34)
            record.path = PeerPath(local: .relay, remote: .host, summary: "udp 192.0.2.1:5000 → 192.0.2.2:6000")
        }
        return record
    }

    private func statuses(_ findings: [Finding]) -> [String] { findings.map { "\($0.check) \($0.status.rawValue)" } }

    @Test func aRoomInWhichEverythingComesThroughIsFoundWell() {
        var record = record(isRelayOnly: true, connected: true)
        record.exchanges = RoomTrial.messageSizes.map { TrialRecord.Exchange(size: $0, time: .milliseconds(5)) }
        let findings = Judgement.trial(record)
        #expect(statuses(findings) == ["join ok", "ice ok", "dtls ok", "messages ok"])
        #expect(findings.allSatisfy { $0.message.hasPrefix("by relay only: ") && $0.cure == nil })
        #expect(findings[1].message.contains("relay to host") && findings[2].message.contains("34 ms"))
        #expect(findings[3].message.contains("100 bytes in 5 ms, 64 KiB in 5 ms, 1 MiB in 5 ms"))
    }

    @Test(arguments: [
        (ProtocolError.Code.tokenExpired, "--token"), (.roomExists, "an empty room"),
        (ProtocolError.Code(rawValue: "server_full"), "limits"),
    ])
    func aRefusedJoinIsAProblemWithItsCure(_ code: ProtocolError.Code, _ cure: String) {
        var record = record(joined: false)
        record.failure = RoomError(.refused, "no", protocolCode: code)
        let findings = Judgement.trial(record)
        #expect(statuses(findings) == ["join problem"] && findings[0].cure?.contains(cure) == true)
    }

    /// The room's own reason is passed on: `room connect` says the same.
    @Test func aPairThatDoesNotConnectIsAProblemOfTheStepThatItWaitsFor() {
        var record = record()
        record.stall = PeerStall(.noRelay, "no relay answers.", cure: "start it")
        #expect(statuses(Judgement.trial(record)) == ["join ok", "ice problem"])
        #expect(
            Judgement.trial(record)[1].message.contains("no relay answers.")
                && Judgement.trial(record)[1].cure == "start it")
        record.stall = PeerStall(.handshakeUnanswered, "silence.", cure: "look")
        #expect(statuses(Judgement.trial(record)) == ["join ok", "ice ok", "dtls problem"])
        record.stall = nil
        #expect(statuses(Judgement.trial(record)) == ["join ok", "ice problem"])
        record.failure = RoomError(.refused, "kicked", protocolCode: .kicked)
        #expect(statuses(Judgement.trial(record)) == ["join ok", "ice problem"])
    }

    @Test func aMessageThatIsLostIsAProblemAndALargeOneNamesItsCure() {
        var record = record(connected: true)
        record.exchanges = [.init(size: 100, time: .milliseconds(5)), .init(size: 65_536, time: nil)]
        let large = Judgement.trial(record)
        #expect(statuses(large) == ["join ok", "ice ok", "dtls ok", "messages problem"])
        #expect(large[3].message.contains("64 KiB") && large[3].cure?.contains("max-datagram-size") == true)
        record.exchanges = [.init(size: 100, time: nil)]
        #expect(Judgement.trial(record)[3].status == .problem)
    }

    @Test func aMissingRelayIsAWarning() {
        var record = record(connected: true)
        record.iceServers = [ICEServer(urls: ["stun:192.0.2.1"])]
        #expect(Judgement.relays(record)?.status == .warning)
        record.iceServers += [ICEServer(urls: ["turns:192.0.2.1"], username: "a", credential: "b")]
        #expect(Judgement.relays(record) == nil)
    }
}
