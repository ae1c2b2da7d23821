import Logging
import NIOCore
import RoomProtocol
import Testing
import TransportValues
import WebSocketWire

@testable import RoomServer

@Suite("Logs", .timeLimit(.minutes(1)))
struct LogTests {
    /// A session with every secret that a server sees, and refusals of wrong ones.
    @Test func noSecretIsLoggedEvenAtTrace() async throws {
        let log = CapturedLog()
        let secret = "a secret of the application"
        let turnSecret = "a secret of the relay"
        let key = Array("0123456789 the key of the sessions".utf8)
        var secrets = [secret, turnSecret, String(decoding: key, as: UTF8.self), Base64.encodeURL(key)]
        var forged = JoinToken(room: "lobby", name: "ann", role: .host, expiry: 4_000_000_000)
        let good = forged.signed(with: Array(secret.utf8))
        secrets.append(good)
        try await withServer(
            {
                $0.joinTokenSecret = Array(secret.utf8)
                $0.sessionKey = .bytes(key)
                $0.ice.servers = [
                    .init(urls: ["turn:turn.example.org"], username: "carl", credential: "not for the log")
                ]
                $0.ice.turn = .init(urls: ["turn:turn.example.org"], secret: Array(turnSecret.utf8))
                $0.limits.messageBurst = 50
            }, logger: log.logger
        ) { server in
            let ann = try await TestClient.join(server, "ann", .host, token: good)
            let joined = try #require(ann.joined)
            secrets.append(joined.sessionToken)
            secrets += joined.iceServers.servers.compactMap(\.credential)
            forged.expiry = 1_000_000_000
            for token in [forged.signed(with: Array(secret.utf8)), forged.signed(with: [1]), "wrong.token.here"] {
                secrets.append(token)
                let client = try await TestClient.open(server)
                try await client.say(.hello(Hello(room: RoomName("lobby"), role: .host, name: "ann", token: token)))
                guard case .error = try await client.next() else { throw TestFailure(message: "not refused") }
            }
            for text in [
                #"{"type":"hello","token":"unterminated"#, #"{"type":"hello","token":{"a":"structured secret"}}"#,
                #"{"type":"hello","version":1,"token":""# + String(repeating: "too long ", count: 9000) + "\"}",
            ] {
                let client = try await TestClient.open(server)
                try await client.send(text: text)
                guard case .error = try await client.next() else { throw TestFailure(message: "not refused") }
            }
            secrets += ["unterminated", "structured secret", "too long ", "in the address"]
            _ = try await TestClient.get(server, "/?access_token=in%20the%20address")
            _ = try await TestClient.get(server, "/lobby#in the address")
            let resumed = try await TestClient.comeBack(server, "ann", from: ann)
            secrets.append(try #require(resumed.joined).sessionToken)
            // Over its limit, and with a session description.
            for number in 1...60 {
                secrets.append("v=0 session description \(number)")
                try await resumed.say(
                    .signal(
                        Signal(
                            peer: ParticipantID("p"), session: SessionID("s"), connection: PeerConnectionID("c"),
                            negotiation: 1, body: .description(.init(kind: .offer, text: try #require(secrets.last))))))
            }
            #expect(await resumed.isClosedByServer())
        }
        let lines = log.lines
        #expect(lines.contains { $0.contains("hello") } && lines.contains { $0.contains("code=unauthorized") })
        for secret in secrets {
            let found = lines.filter { $0.contains(secret) }
            #expect(found.isEmpty, "\(secret) in \(found)")
        }
        // Signatures and the parts of tokens, too: the longest part of each secret that has parts.
        for part in secrets.flatMap({ $0.split(separator: ".") }) where part.count > 20 {
            #expect(!lines.contains { $0.contains(part) })
        }
    }

    /// Addresses and names are for those who look for a fault, at a lower level.
    @Test func atInfoLevelNoAddressesAreLogged() async throws {
        let log = CapturedLog(.info)
        try await withServer({ $0.joinTokenSecret = Array("a secret of the application".utf8) }, logger: log.logger) {
            server in
            let client = try await TestClient.open(server)
            let port = try #require(client.channel.localAddress?.port)
            try await client.say(.hello(Hello(room: RoomName("lobby"), role: .host, name: "ann")))
            guard case .error = try await client.next() else { throw TestFailure(message: "not refused") }
            #expect(!log.lines.contains { $0.contains("\(port)") || $0.contains("ann") || $0.contains("lobby") })
        }
    }

    @Test func aFloodOfRefusalsIsOneLineInTenSecondsWithACount() {
        var events = RepeatedEvents()
        let event = RepeatedEvents.Event(text: "refused", key: "code", value: "unauthorized")
        let other = RepeatedEvents.Event(text: "refused", key: "code", value: "room_full")
        func due(_ total: Int, _ otherTotal: Int = 0, at seconds: Double) -> [Int] {
            events.due([(event, total), (other, otherTotal)], at: .zero + .seconds(100 + seconds)).map(\.1)
        }
        #expect(due(0, at: 0) == [])
        #expect(due(3, at: 0) == [3])
        #expect(due(500, at: 5) == [])
        #expect(due(900, 1, at: 9.9) == [1])
        #expect(due(1003, 1, at: 10) == [1000])
        #expect(due(1003, 1, at: 60) == [])
        #expect(due(1004, 2, at: 60) == [1, 1])
    }

    @Test func refusalsAreLoggedWithTheirCount() throws {
        let log = CapturedLog(.info)
        let report = ServerReport(loops: 2, RoomServerConfiguration.Limits())
        let reporter = ServerReporter(report, log.logger)
        for loop in report.loops { loop.sent(.error(.tokenExpired)) }
        report.loops[0].responded("403 Forbidden")
        report.loops[0].responded("200 OK")
        let start = Timestamp.zero + .seconds(1)
        reporter.tick(start)
        reporter.tick(start + .seconds(1))
        #expect(log.lines == ["info refused code=token_expired count=2", "info request refused count=1 status=403"])
    }
}
