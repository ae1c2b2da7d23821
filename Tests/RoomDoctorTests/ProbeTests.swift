import Glibc
import RoomDoctor
import TLSTestSupport
import TURNTestSupport
import Testing
import TransportPluginAPI

/// The probes against running servers on this machine.
@Suite(.timeLimit(.minutes(1))) struct ServerProbeTests {
    private static let well =
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\n{}"

    private func ask(
        _ port: UInt16, host: String = "localhost", addresses: [String] = ["127.0.0.1"], tls: TLSTrust? = nil,
        within limit: Duration = .seconds(20)
    ) async -> ServerAnswer {
        await offPool { Probes.health(host: host, addresses: addresses, port: port, tls: tls, within: limit) }
    }

    @Test func aServersStatusAndTimeAreRead() async throws {
        let server = try CannedServer(.bytes(Self.well))
        defer { server.stop() }
        let before = Probes.realTime()
        let answer = await ask(server.port)
        let offset = try #require(answer.clockOffset)
        #expect(answer.address == "127.0.0.1" && answer.status == 200 && answer.certificate == nil)
        let ahead = before - 784_111_777
        #expect(abs(offset.ahead - ahead) <= offset.precision + (Probes.realTime() - before))
        #expect(offset.precision >= 0.5)
    }

    @Test func anAddressThatRefusesIsNotTheLast() async throws {
        let server = try CannedServer(.bytes(Self.well))
        defer { server.stop() }
        let answer = await ask(server.port, addresses: ["127.0.0.2", "127.0.0.1"])
        #expect(answer.address == "127.0.0.1" && answer.status == 200 && answer.failure == nil)
    }

    @Test func aClosedPortIsToldFromASilentOne() async throws {
        let closed = await ask(try freePort())
        #expect(closed.address == nil && closed.failure == .refused)
        let server = try CannedServer(.silence)
        defer { server.stop() }
        let silent = await ask(server.port, within: .milliseconds(200))
        #expect(silent.address != nil && silent.status == nil && silent.failure == .timedOut)
        let overTLS = await ask(server.port, tls: TLSTrust(), within: .milliseconds(200))
        #expect(overTLS.address != nil && overTLS.certificate == nil && overTLS.failure == .timedOut)
    }

    @Test func aServerThatTricklesIsLeftAtTheDeadline() async throws {
        let server = try CannedServer(.trickle)
        defer { server.stop() }
        let start = Timestamp.now()
        let answer = await ask(server.port, within: .milliseconds(300))
        #expect(answer.failure == .timedOut && Timestamp.now() - start < .seconds(5))
    }

    @Test func aServerWithoutHTTPHasNoStatus() async throws {
        let server = try CannedServer(.bytes("SSH-2.0-x\r\n\r\n"))
        defer { server.stop() }
        let answer = await ask(server.port)
        #expect(answer.status == nil && answer.clockOffset == nil && answer.failure == nil)
    }

    @Test(arguments: [
        ("good", "localhost", CertificateReport.Verdict.trusted), ("good", "127.0.0.1", .trusted),
        ("other", "localhost", .wrongName), ("good", "127.0.0.2", .wrongName), ("expired", "localhost", .expired),
    ])
    func certificatesAreJudged(_ name: String, _ host: String, _ verdict: CertificateReport.Verdict) async throws {
        guard let authority = TestAuthority.shared else { return }
        let server = try CannedServer(.bytes(Self.well))
        defer { server.stop() }
        let front = try authority.front(name, backend: server.port)
        defer { front.stop() }
        let answer = await ask(front.port, host: host, tls: TLSTrust(authoritiesFile: authority.file))
        let certificate = try #require(answer.certificate)
        #expect(certificate.verdict == verdict)
        #expect(certificate.issuer.contains("TestAuthority"))
        #expect(certificate.names.contains(name == "other" ? "DNS:other.example" : "DNS:localhost"))
        // The answer is read all the same, since its time may explain the verdict.
        #expect(answer.status == 200 && answer.date == 784_111_777)
        let now = Probes.realTime()
        #expect((certificate.from...max(certificate.from, certificate.until)).contains(now) == (name != "expired"))
    }

    @Test func aCertificateOfAnUnknownAuthorityIsUntrusted() async throws {
        guard let authority = TestAuthority.shared else { return }
        let server = try CannedServer(.bytes(Self.well))
        defer { server.stop() }
        let front = try authority.front("self", backend: server.port)
        defer { front.stop() }
        for trust in [TLSTrust(), TLSTrust(authoritiesFile: authority.file)] {
            guard case .untrusted = await ask(front.port, tls: trust).certificate?.verdict else {
                Issue.record("trusted")
                continue
            }
        }
    }

    @Test func tlsAndNoTLSAreToldApart() async throws {
        let server = try CannedServer(.bytes(Self.well))
        defer { server.stop() }
        guard case .failed = await ask(server.port, tls: TLSTrust()).failure else {
            Issue.record("TLS with a server that speaks none")
            return
        }
        guard let authority = TestAuthority.shared else { return }
        let front = try authority.front("good", backend: server.port)
        defer { front.stop() }
        #expect(await ask(front.port).status == nil)
    }

    @Test func aFileOfAuthoritiesThatIsNoneIsNamed() async throws {
        let server = try CannedServer(.bytes(Self.well))
        defer { server.stop() }
        let answer = await ask(server.port, tls: TLSTrust(authoritiesFile: "/nonexistent/ca.pem"))
        #expect(answer.failure == .failed("no authorities could be read from '/nonexistent/ca.pem'"))
    }
}

@Suite(.timeLimit(.minutes(1))) struct ICEProbeTests {
    @Test func udpWorks() async { #expect(await offPool { Probes.udpFailure() } == nil) }

    @Test(arguments: [CannedSTUN.Answer.address, .forgedFirst])
    func aStunServerTellsTheAddress(_ answer: CannedSTUN.Answer) async throws {
        let server = try CannedSTUN(answer)
        defer { server.stop() }
        let result = await offPool { Probes.binding(["127.0.0.1"], port: server.port) }
        #expect(try result.get().hasPrefix("127.0.0.1:"))
    }

    @Test func anAddressThatRefusesIsNotTheLast() async throws {
        let server = try CannedSTUN(.address)
        defer { server.stop() }
        let result = await offPool { Probes.binding(["127.0.0.2", "127.0.0.1"], port: server.port) }
        #expect(try result.get().hasPrefix("127.0.0.1:"))
    }

    @Test func aStunServerThatTellsNothingIsWaitedForInVain() async throws {
        let silent = try CannedSTUN(.silence)
        defer { silent.stop() }
        let start = Timestamp.now()
        let result = await offPool { Probes.binding(["127.0.0.1"], port: silent.port, within: .milliseconds(200)) }
        #expect(result == .failure(.timedOut) && Timestamp.now() - start < .seconds(5))
        let refusing = try CannedSTUN(.error)
        defer { refusing.stop() }
        let error = await offPool { Probes.binding(["127.0.0.1"], port: refusing.port) }
        #expect(error == .failure(.failed("it answers, but without an address")))
    }

    @Test func aClosedPortIsKnownAtOnce() async throws {
        let port = try freePort()
        #expect(await offPool { Probes.binding(["127.0.0.1"], port: port, within: .seconds(30)) } == .failure(.refused))
    }

    private static let reason: Comment =
        "SKIPPED: TURN credentials are not tested, since /usr/bin/turnserver is missing (apt-get install coturn)"

    private func allocate(
        _ port: UInt16, _ transport: String, _ user: String?, _ password: String?, within limit: Duration = .seconds(20)
    ) async throws -> TURNOutcome {
        let url = try ICEServerURL("turn:127.0.0.1:\(port)?transport=\(transport)")
        return await offPool {
            Probes.allocation(
                url, addresses: ["127.0.0.1"], username: user, password: password, trust: TLSTrust(), within: limit)
        }
    }

    @Test(.enabled(if: TurnServer.isInstalled, reason), arguments: ["udp", "tcp"])
    func aTurnServerSaysWhatItThinksOfCredentials(_ transport: String) async throws {
        let turn = try TurnServer()
        defer { turn.stop() }
        let server = turn.server(transport)
        let (user, password) = (try #require(server.username), try #require(server.credential))
        #expect(try await allocate(turn.port, transport, user, password) == .allocated)
        #expect(try await allocate(turn.port, transport, user, "wrong") == .unauthorized)
        #expect(try await allocate(turn.port, transport, "nobody", password) == .unauthorized)
        #expect(try await allocate(turn.port, transport, nil, nil) == .needsCredentials)
    }

    @Test(arguments: ["udp", "tcp"])
    func aTurnServerThatIsNotThereIsRefused(_ transport: String) async throws {
        #expect(try await allocate(try freePort(), transport, "u", "p") == .failed(.refused))
    }

    @Test func aSilentTurnServerIsLeftAtTheDeadline() async throws {
        let silent = try CannedSTUN(.silence)
        defer { silent.stop() }
        #expect(try await allocate(silent.port, "udp", "u", "p", within: .milliseconds(200)) == .failed(.timedOut))
        let server = try CannedServer(.silence)
        defer { server.stop() }
        #expect(try await allocate(server.port, "tcp", "u", "p", within: .milliseconds(200)) == .failed(.timedOut))
        let garbage = try CannedServer(.bytes(String(repeating: "\u{0}", count: 64)))
        defer { garbage.stop() }
        #expect(try await allocate(garbage.port, "tcp", "u", "p") == .failed(.failed("it does not speak STUN")))
    }
}

/// Probes block, so they run outside the cooperative pool.
private func offPool<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        _ = DetachedThread.start { continuation.resume(returning: body()) }
    }
}
