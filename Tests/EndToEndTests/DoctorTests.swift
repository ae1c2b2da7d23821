import CommandLineIO
import Foundation
import TLSTestSupport
import TURNTestSupport
import Testing
import TransportPluginAPI
import TransportTestKit

/// `room doctor` against running servers: its findings and exit statuses.
@Suite(.serialized, .timeLimit(.minutes(1)), .needsPeers) struct DoctorTests {
    private struct Report {
        var findings: [Line]
        var exitStatus: Int32

        /// The statuses of all findings of this check.
        func statuses(_ check: String) -> [String] {
            findings.filter { $0["check"] as? String == check }.compactMap { $0["status"] as? String }
        }

        func message(_ check: String) -> String {
            findings.first { $0["check"] as? String == check }?["message"] as? String ?? ""
        }
    }

    private func examine(_ processes: TestProcesses, _ arguments: [String]) async throws -> Report {
        let doctor = processes.add(try RoomProcess("doctor", ["doctor", "--json"] + arguments))
        try await doctor.wait(event: "doctor")
        let status = await doctor.exitStatus()
        let findings = doctor.lines.filter { $0["event"] as? String == "check" }
        let problems = findings.count { $0["status"] as? String == "problem" }
        // The machine that runs this may have problems of its own, such as no network.
        #expect(status == (problems > 0 ? 5 : 0))
        #expect(doctor.lines.last?["problems"] as? Double == Double(problems))
        for finding in findings where finding["status"] as? String == "problem" {
            #expect(finding["cure"] != nil, "\(finding)")
        }
        return Report(findings: findings, exitStatus: status)
    }

    @Test func aServerThatIsWellIsFoundWell() async throws {
        try await withProcesses { processes in
            let (_, url, port) = try await processes.server()
            for server in [url, "ws://localhost:\(port)/"] {
                let report = try await examine(processes, ["--server", server])
                for check in ["name", "port", "health", "handshake"] { #expect(report.statuses(check) == ["ok"]) }
                // Two checks: against the server's clock, and whether it runs evenly.
                #expect(report.statuses("clock") == ["ok", "ok"])
                #expect(report.statuses("libraries").allSatisfy { $0 == "ok" })
                #expect(report.statuses("udp") == ["ok"])
            }
        }
    }

    @Test(arguments: ["foundation", "libwebsockets"])
    func certificatesOfAServerAreJudged(_ backend: String) async throws {
        guard let authority = TestAuthority.shared else { return }
        try await withProcesses { processes in
            let (_, _, port) = try await processes.server()
            for (name, text) in [
                ("good", "is trusted"), ("self", "is not trusted"),
                ("other", "not for localhost, but for DNS:other.example"),
                ("expired", "has expired"),
            ] {
                let front = try authority.front(name, backend: try #require(UInt16(exactly: port)))
                defer { front.stop() }
                let report = try await examine(
                    processes,
                    [
                        "--server", "wss://localhost:\(front.port)/", "--tls-authorities", authority.file,
                        "--signaling", backend,
                    ])
                let status = name == "good" ? "ok" : "problem"
                #expect(report.statuses("certificate") == [status])
                #expect(report.message("certificate").contains(text), "\(report.message("certificate"))")
                #expect(report.statuses("handshake") == [status], "\(report.message("handshake"))")
                #expect(report.statuses("health") == ["ok"])
                #expect(report.statuses("clock") == ["ok", "ok"])
            }
        }
    }

    @Test func aServerWithoutTLSIsNoServerForWSS() async throws {
        try await withProcesses { processes in
            let (_, _, port) = try await processes.server()
            let report = try await examine(processes, ["--server", "wss://127.0.0.1:\(port)/"])
            #expect(report.statuses("tls") == ["problem"] && report.statuses("handshake") == ["problem"])
            #expect(report.exitStatus == 5)
        }
    }

    @Test func aClosedPortIsOneProblem() async throws {
        try await withProcesses { processes in
            let report = try await examine(processes, ["--server", "ws://127.0.0.1:\(try freePort())/"])
            #expect(report.statuses("port") == ["problem"] && report.exitStatus == 5)
            #expect(report.statuses("health") == [] && report.statuses("handshake") == [])
        }
    }

    /// RFC 6761 §6.4: never resolves.
    @Test func aNameThatDoesNotResolveIsOneProblem() async throws {
        try await withProcesses { processes in
            let report = try await examine(
                processes,
                ["--server", "ws://nobody.invalid/", "--ice-server", "stun:nobody.invalid"])
            #expect(report.statuses("name") == ["problem"] && report.exitStatus == 5)
            #expect(report.statuses("port") == [] && report.statuses("stun") == ["warning"])
        }
    }

    @Test func aSilentServerIsLeftInTime() async throws {
        try await withProcesses { processes in
            // Its backlog takes connections, and nothing serves them.
            let listener = try LoopbackListener()
            defer { close(listener.descriptor) }
            let start = Timestamp.now()
            let report = try await examine(processes, ["--server", "ws://127.0.0.1:\(listener.port)/"])
            #expect(Timestamp.now() - start < .seconds(15))
            #expect(report.statuses("port") == ["ok"])
            #expect(report.statuses("health") == ["problem"] && report.statuses("handshake") == ["problem"])
        }
    }

    @Test func aWrongURLOfAnICEServerIsAProblem() async throws {
        try await withProcesses { processes in
            let report = try await examine(
                processes,
                ["--ice-server", "stun:127.0.0.1:\(try freePort())", "--ice-server", "http://127.0.0.1"])
            #expect(report.statuses("stun") == ["warning", "problem"])
        }
    }

    private static let reason: Comment =
        "SKIPPED: TURN is not tested, since /usr/bin/turnserver is missing (apt-get install coturn)"

    @Test(.enabled(if: TurnServer.isInstalled, reason))
    func turnServersAndCredentialsAreTried() async throws {
        try await withProcesses { processes in
            let turn = try TurnServer()
            defer { turn.stop() }
            let host = "127.0.0.1:\(turn.port)"
            let file = try processes.file(
                "room.yaml",
                """
                peerOptions: {ice-loopback: always}
                iceServers:
                  - stun:\(host)
                  - {urls: ['turn:\(host)', 'turn:\(host)?transport=tcp'], username: alice, credential: secret}
                  - {urls: ['turn:\(host)', 'turn:\(host)?transport=tcp'], username: alice, credential: wrong}
                  - {urls: 'turn:\(host)', username: '1700000000:alice', credential: wrong}
                  - turn:\(host)
                  - {urls: 'turn:127.0.0.1:\(try freePort())', username: alice, credential: secret}
                """)
            let report = try await examine(processes, ["--config", file])
            #expect(report.statuses("stun") == ["ok"])
            #expect(report.statuses("turn") == ["ok", "ok"] + Array(repeating: "problem", count: 5))
            let messages = report.findings.filter { $0["check"] as? String == "turn" }.compactMap {
                $0["message"] as? String
            }
            for (message, text) in zip(
                messages,
                [
                    "relayed address", "relayed address", "(401)", "(401)", "it expired", "requires a username",
                    "port is closed",
                ])
            {
                #expect(message.contains(text), "\(message)")
            }
        }
    }

    @Test func aRoomIsJoinedAndTriedByTwo() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let report = try await examine(processes, ["--server", url, "--room", "check"])
            for check in ["join", "ice", "dtls", "messages"] {
                #expect(report.statuses(check) == ["ok"], "\(report.message(check))")
            }
            #expect(report.statuses("turn") == ["warning"])
            #expect(report.message("join").contains("check-") && report.message("messages").contains("1 MiB"))
        }
    }

    /// The relay that the room server hands out is queried, and then used by the two participants.
    @Test(.enabled(if: TurnServer.isInstalled, reason))
    func theRoomServersRelaysAreTried() async throws {
        try await withProcesses { processes in
            let turn = try TurnServer()
            defer { turn.stop() }
            let file = try processes.file(
                "room.yaml",
                """
                peerOptions: {ice-loopback: always}
                iceServers:
                  - {urls: 'turn:127.0.0.1:\(turn.port)', username: alice, credential: secret}
                """)
            let (_, url, _) = try await processes.server()
            let report = try await examine(processes, ["--server", url, "--room", "check", "--config", file])
            for check in ["join", "ice", "dtls", "messages"] {
                #expect(report.statuses(check) == ["ok", "ok"], "\(report.findings)")
            }
            #expect(report.statuses("turn") == ["ok"])
            #expect(report.findings.contains { ($0["message"] as? String ?? "").contains("relay to relay") })
        }
    }

    @Test func aRoomThatTheServerRefusesIsAProblem() async throws {
        try await withProcesses { processes in
            let secret = try processes.file("secret", "a secret of tokens")
            let (_, url, _) = try await processes.server(more: ["--token-secret-file", secret])
            let report = try await examine(processes, ["--server", url, "--room", "check", "--token", "none"])
            #expect(report.statuses("join") == ["problem"] && report.exitStatus == 5)
        }
    }

    @Test func withoutAServerNoRoomIsTried() async throws {
        try await withProcesses { processes in
            let report = try await examine(
                processes, ["--server", "ws://127.0.0.1:\(try freePort())/", "--room", "check"])
            #expect(report.statuses("join") == ["problem"] && report.statuses("ice") == [])
        }
    }

    @Test(arguments: [["--peer", "pigeon"], ["--server", "http://example"], ["--nonsense"]])
    func aWrongArgumentIsNoFinding(_ arguments: [String]) async throws {
        try await withProcesses { processes in
            let doctor = processes.add(try RoomProcess("doctor", ["doctor", "--json"] + arguments))
            #expect(await doctor.exitStatus() == 2)
        }
    }
}
