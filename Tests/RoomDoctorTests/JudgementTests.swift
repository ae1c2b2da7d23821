import Testing
import TransportPluginAPI

@testable import RoomDoctor

@Suite struct JudgementTests {
    private func address(_ interface: String, _ address: String) throws -> LocalAddress {
        try #require(LocalAddress(address, interface: interface))
    }

    private func interfaces(_ addresses: [LocalAddress], netlinkRefusal: String? = nil) -> Finding {
        Judgement.interfaces(addresses, preferring: [], netlinkRefusal: netlinkRefusal)
    }

    @Test func aBackendThatCannotRunStopsThisMachineOnlyWhereItIsChosen() {
        #expect(Judgement.library(of: "nio", unavailability: nil, isChosen: true).status == .ok)
        let chosen = Judgement.library(of: "nio", unavailability: "libx is missing", isChosen: true)
        let other = Judgement.library(of: "nio", unavailability: "libx is missing", isChosen: false)
        #expect(chosen.status == .problem && chosen.cure != nil && chosen.message.contains("libx is missing"))
        #expect(other.status == .warning && other.cure == nil)
    }

    @Test func anAddressOfARealInterfaceIsEnough() throws {
        let finding = interfaces([
            try address("lo", "127.0.0.1"), try address("docker0", "172.17.0.1"), try address("eth0", "192.0.2.7"),
        ])
        #expect(finding.status == .ok && finding.message.contains("192.0.2.7 (eth0), 172.17.0.1 (docker0)"))
    }

    /// These addresses are offered too, and may be the ones that lead to the peers.
    @Test(arguments: ["docker0", "veth12ab", "virbr0", "vnet3"])
    func addressesOfContainersAloneAreNoProblem(_ name: String) throws {
        let finding = interfaces([try address("lo", "127.0.0.1"), try address(name, "172.17.0.1")])
        #expect(finding.status == .warning && finding.message.contains(name) && finding.cure != nil)
    }

    @Test func linkLocalAddressesAloneReachOneCable() throws {
        let finding = interfaces([try address("eth0", "fe80::1%eth0"), try address("eth0", "169.254.3.4")])
        #expect(finding.status == .warning && finding.message.contains("169.254.3.4 (eth0)"))
        #expect(!finding.message.contains("fe80") && finding.message.contains("same cable"))
    }

    @Test func aMachineWithoutAddressesIsAProblem() throws {
        let finding = interfaces([try address("lo", "127.0.0.1")])
        #expect(finding.status == .problem && finding.cure?.contains("bring a network interface up") == true)
    }

    @Test func aSandboxWithoutNetlinkIsNamed() throws {
        let refusal = "Address family not supported by protocol"
        let blind = interfaces([], netlinkRefusal: refusal)
        #expect(blind.status == .problem && blind.cure?.contains("RestrictAddressFamilies=AF_NETLINK") == true)
        let found = interfaces([try address("eth0", "192.0.2.7")], netlinkRefusal: refusal)
        #expect(found.status == .warning && found.message.contains("192.0.2.7") && found.message.contains(refusal))
    }

    @Test func smallBuffersAreAWarningWithTheCommandThatHelps() {
        #expect(Judgement.receiveBuffers(maximum: 4 << 20).status == .ok)
        let small = Judgement.receiveBuffers(maximum: 212_992)
        #expect(
            small.status == .warning && small.cure == "sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304")
        #expect(Judgement.receiveBuffers(maximum: nil).status == .warning)
    }

    @Test func descriptorLimits() {
        #expect(Judgement.descriptors(limit: 32).status == .problem)
        #expect(Judgement.descriptors(limit: 256).status == .warning)
        #expect(Judgement.descriptors(limit: 1024).status == .ok)
    }

    private static let day = 86_400.0
    /// Valid from day 10 to day 100.
    private static func certificate(_ verdict: CertificateReport.Verdict = .trusted) -> CertificateReport {
        CertificateReport(
            verdict: verdict, names: "DNS:room.example", issuer: "CN = Example", from: 10 * day, until: 100 * day)
    }

    /// This machine's time is on the day `here`, and ahead of the server's by this many seconds.
    @Test(arguments: [
        // A clock that changes the verdict about a certificate is a problem, however small the difference is.
        (50.0, 0.2, Finding.Status.ok, "agree, to 2 s"),
        (50, -29, .ok, "agree"),
        (50, 45, .warning, "45 s ahead of the server's: join tokens"),
        (50, -600, .warning, "10 min behind the server's: join tokens"),
        (50, 1700, .warning, "28 min ahead"),
        (50, 1900, .problem, "32 min ahead of the server's: TURN credentials"),
        (50, -40 * day, .problem, "40 days behind the server's: TURN credentials"),
        (100.001, 120, .problem, "2 min ahead of the server's: by it, the server's certificate has expired"),
        (9.999, -120, .problem, "2 min behind the server's: by it, the server's certificate is not yet valid"),
        (9.99999, -1.4, .problem, "by it, the server's certificate is not yet valid"),
        // Both clocks say that it has expired: that is not the clock's fault.
        (120, 2, .ok, "agree"),
        // A certificate that is valid only by this clock stops others, not this machine.
        (99.999, -600, .warning, "10 min behind"),
    ])
    func aClockIsJudgedByWhatItBreaks(
        _ here: Double, _ ahead: Double, _ status: Finding.Status, _ text: String
    ) {
        let finding = Judgement.clock(
            ahead: ahead, precision: 1, here: here * Self.day, certificate: Self.certificate())
        #expect(finding.status == status && finding.message.contains(text), "\(finding.message)")
        #expect((finding.cure == nil) == (status == .ok))
    }

    @Test func withoutACertificateTheClockIsJudgedByItsDistance() {
        #expect(Judgement.clock(ahead: 31.5, precision: 1.6, here: 0).status == .ok)
        #expect(Judgement.clock(ahead: 32, precision: 1.5, here: 0).status == .warning)
        #expect(Judgement.clock(ahead: -1801, precision: 0.5, here: 0).status == .problem)
    }

    @Test func theClockIsKnownAsWellAsTheAnswerAllows() {
        var answer = ServerAnswer()
        #expect(answer.clockOffset == nil)
        answer.date = 1000
        answer.times = (1002, 1006)
        // The answer was made at 1000 to 1001 by the server's clock, and at 1002 to 1006 by this machine's.
        #expect(answer.clockOffset?.ahead == 3.5 && answer.clockOffset?.precision == 2.5)
    }

    @Test func aClockThatIsMovedIsAWarning() {
        #expect(Judgement.clockStability(drift: 0.001, elapsed: 0.3).status == .ok)
        #expect(Judgement.clockStability(drift: 0.0001, elapsed: 0).status == .ok)
        #expect(Judgement.clockStability(drift: -1.5, elapsed: 0.3).status == .warning)
        #expect(Judgement.clockStability(drift: 1.5, elapsed: 20).status == .warning)
    }

    @Test(arguments: [
        (CertificateReport.Verdict.trusted, 50.0, Optional<Double>.none, Finding.Status.ok, "for 50 days more", ""),
        (.trusted, 95, nil, .warning, "expires in 5 days", "renew"),
        (.expired, 101, nil, .problem, "has expired, 24 h ago by this machine's clock", "renew it on the server"),
        (.expired, 101, 2, .problem, "has expired", "renew it on the server"),
        (.expired, 101, 20 * day, .problem, "has expired", "set this machine's clock"),
        (.expired, 50, nil, .problem, "a certificate in the chain of", "renew the chain"),
        (.notYetValid, 5, nil, .problem, "not yet valid, for 5 days by this machine's clock", "check the clocks"),
        (.notYetValid, 5, -20 * day, .problem, "not yet valid", "set this machine's clock"),
        (.wrongName, 50, nil, .problem, "not for a.example, but for DNS:room.example", "a.example"),
        (.untrusted("self-signed"), 50, nil, .problem, "self-signed (its issuer: CN = Example)", "--tls-authorities"),
    ])
    func aCertificateIsJudgedWithItsCure(
        _ verdict: CertificateReport.Verdict, _ here: Double, _ ahead: Double?, _ status: Finding.Status,
        _ text: String, _ cure: String
    ) {
        let finding = Judgement.certificate(
            Self.certificate(verdict), host: "a.example", here: here * Self.day, ahead: ahead)
        #expect(finding.status == status && finding.message.contains(text), "\(finding.message)")
        #expect(finding.cure?.contains(cure) ?? cure.isEmpty, "\(finding.cure ?? "")")
    }

    private func findings(
        _ isSecure: Bool = false, _ set: (inout ServerAnswer) -> Void
    ) -> [String: Finding] {
        var answer = ServerAnswer()
        set(&answer)
        let findings = Judgement.server(
            answer, host: "a.example", port: 81, isSecure: isSecure, here: 50 * Self.day)
        return Dictionary(findings.map { ($0.check, $0) }) { first, _ in first }
    }

    @Test(arguments: [
        (ProbeFailure.refused, "the connection was refused"), (.timedOut, "did not answer in time"),
        (.failed("no route"), "no route"),
    ])
    func aPortThatTakesNoConnectionIsTheOnlyFinding(_ failure: ProbeFailure, _ text: String) {
        let findings = findings { $0.failure = failure }
        #expect(findings.keys.sorted() == ["port"])
        #expect(findings["port"]?.status == .problem && findings["port"]?.message.contains(text) == true)
    }

    @Test(arguments: [
        (Optional(200), Finding.Status.ok), (503, .problem), (404, .warning), (nil, .warning),
    ])
    func healthIsJudgedByItsStatus(_ status: Int?, _ expected: Finding.Status) {
        let findings = findings {
            $0.address = "192.0.2.1"
            $0.status = status
        }
        #expect(findings["port"]?.status == .ok && findings["health"]?.status == expected)
        #expect(findings["clock"]?.status == (status == nil ? nil : .warning), "no Date header")
    }

    @Test func aServerThatIsSilentIsAProblem() {
        let plain = findings {
            $0.address = "192.0.2.1"
            $0.failure = .timedOut
        }
        #expect(plain["health"]?.status == .problem)
        let secure = findings(true) {
            $0.address = "192.0.2.1"
            $0.failure = .timedOut
        }
        #expect(secure["tls"]?.status == .problem && secure["health"] == nil)
    }

    @Test(arguments: [
        ("turn:x", TURNOutcome.allocated, Finding.Status.problem, "none to backend"),
        ("turns:x", .allocated, .warning, "none to backend"),
        ("turn:x", .needsCredentials, .problem, "requires a username"),
        ("turn:x", .unauthorized, .problem, "it expired 100 s ago"),
        ("turn:x", .refused(code: 486, reason: "Quota"), .problem, "486 Quota"),
        ("turn:x", .failed(.refused), .problem, "port is closed"),
        ("turn:x", .failed(.timedOut), .problem, "did not answer in time"),
        ("turn:x", .failed(.failed("why")), .problem, "why"),
    ])
    func aTurnServerIsJudgedByWhatItSays(
        _ url: String, _ outcome: TURNOutcome, _ status: Finding.Status, _ text: String
    ) {
        let finding = Judgement.turn(
            hasRelay: false, url: url, backend: "backend", outcome: outcome, username: "1700000000:alice",
            now: 1_700_000_100)
        #expect(finding.status == status && finding.message.contains(text) && finding.cure != nil)
        #expect(
            Judgement.turn(hasRelay: true, url: url, backend: "backend", outcome: outcome, now: 0).status == .ok)
    }

    @Test func aCredentialThatHasNotExpiredIsWrongForAnotherReason() {
        for (user, now) in [("1700000000:alice", 1_699_999_999.0), ("alice", 1e10), ("", 1e10)] {
            let finding = Judgement.turn(
                hasRelay: false, url: "turn:x", backend: "b", outcome: .unauthorized, username: user, now: now)
            #expect(finding.message.contains("(401)"))
        }
    }

    @Test(arguments: [
        ("1700000000:alice", Optional(1_700_000_000.0)), ("1700000000", 1_700_000_000), ("alice", nil),
        ("170000000:alice", nil), ("17000000000:alice", nil), ("17000000x0:alice", nil), (":1700000000", nil),
    ])
    func aUsernameMayTellItsEnd(_ username: String, _ end: Double?) {
        #expect(Judgement.expiry(ofUsername: username) == end)
    }

    @Test func aStunServerIsJudgedByItsAnswer() {
        #expect(
            Judgement.stun(.success("192.0.2.1:1"), url: "stun:x").message == "stun:x sees this machine as 192.0.2.1:1")
        for failure in [ProbeFailure.refused, .timedOut, .failed("why")] {
            let finding = Judgement.stun(.failure(failure), url: "stun:x")
            #expect(finding.status == .warning && finding.cure != nil)
        }
    }
}
