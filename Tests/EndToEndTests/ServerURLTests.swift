import CommandLineIO
import Foundation
import TURNTestSupport
import Testing
import TransportPluginAPI

/// How the command reaches the server that it is given: secrets, answers that are not a room server's, proxies.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct ServerURLTests {
    private static let backends = ["libwebsockets", "foundation", "nio"]

    private func guest(
        _ url: String, _ backend: String, more: [String] = [], environment: [String: String] = [:]
    ) throws -> RoomProcess {
        try RoomProcess(
            "alice",
            ["connect", "lobby", "--name", "alice", "--as-host", "--json", "--server", url, "--signaling", backend]
                + more, environment: environment)
    }

    @Test(arguments: backends)
    func aRedirectionEndsAFirstJoinAndNamesWhereItLeads(_ backend: String) async throws {
        let server = try CannedListener(
            answer:
                "HTTP/1.1 301 Moved Permanently\r\nLocation: https://example.org/?SECRET\r\nContent-Length: 0\r\n\r\n")
        defer { server.stop() }
        try await withProcesses { processes in
            let alice = processes.add(try guest("ws://127.0.0.1:\(server.port)/?token=SECRET", backend))
            #expect(await alice.exitStatus() == 3)
            let error = try #require(alice.lines.first { $0["event"] as? String == "error" })
            #expect((error["message"] as? String)?.contains("answered 301: it wants wss://example.org/") == true)
            #expect(!"\(alice.lines)".contains("SECRET"))
            #expect(server.requests.count == 1)
            #expect(server.requests[0].hasPrefix("GET /?token=SECRET HTTP/1.1\r\n"), "it is sent all the same")
        }
    }

    @Test(arguments: backends)
    func theQueryIsToldByNothing(_ backend: String) async throws {
        try await withProcesses { processes in
            let url = "ws://127.0.0.1:\(try freePort())/?access_token=SECRET"
            let alice = processes.add(try guest(url, backend))
            try await alice.wait("three attempts") { lines in
                lines.count { $0["status"] as? String == "disconnected" } >= 3
            }
            let doctor = processes.add(
                try RoomProcess("doctor", ["doctor", "--json", "--server", url, "--signaling", backend]))
            try await doctor.wait(event: "doctor")
            #expect(!"\(alice.lines) \(doctor.lines)".contains("SECRET"))
        }
    }

    /// No backend uses a proxy by itself, and no host of this machine is reached through one.
    @Test(arguments: backends)
    func theEnvironmentsProxyIsNotForThisMachine(_ backend: String) async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let dead = "http://127.0.0.1:\(try freePort())"
            let alice = processes.add(
                try guest(
                    url, backend,
                    environment: [
                        "http_proxy": dead, "HTTP_PROXY": dead, "https_proxy": dead, "all_proxy": dead,
                        "socks_proxy": dead,
                    ]))
            try await alice.wait(event: "joined")
        }
    }

    @Test(arguments: backends)
    func aServerIsReachedThroughTheProxyThatIsNamed(_ backend: String) async throws {
        try await withProcesses { processes in
            let (_, _, port) = try await processes.server()
            let proxy = try CannedListener(proxyTo: try #require(UInt16(exactly: port)))
            defer { proxy.stop() }
            let url = "http://us%40er:SECRET@127.0.0.1:\(proxy.port)"
            // The proxy resolves the name: nobody else could.
            let server = "ws://room.example.invalid:\(port)/"
            let alice = processes.add(
                try guest(server, backend, environment: ["http_proxy": url, "no_proxy": "other"]))
            try await alice.wait(event: "joined")
            let doctor = processes.add(
                try RoomProcess(
                    "doctor", ["doctor", "--json", "--server", server, "--signaling", backend, "--proxy", url]))
            try await doctor.wait(event: "doctor")
            let findings = doctor.lines.filter { ["proxy", "handshake"].contains($0["check"] as? String) }
            #expect(findings.compactMap { $0["status"] as? String } == ["ok", "ok"], "\(findings)")
            #expect(!"\(alice.lines) \(doctor.lines)".contains("SECRET"))
            let credentials = Data("us@er:SECRET".utf8).base64EncodedString()
            for request in proxy.requests {
                #expect(
                    request
                        == "CONNECT room.example.invalid:\(port) HTTP/1.1\r\nHost: room.example.invalid:\(port)\r\n"
                        + "Proxy-Authorization: Basic \(credentials)\r\n\r\n")
            }
        }
    }

    @Test(arguments: backends)
    func aProxyThatAsksForAPasswordEndsAFirstJoin(_ backend: String) async throws {
        let proxy = try CannedListener(
            answer: "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        defer { proxy.stop() }
        try await withProcesses { processes in
            let alice = processes.add(
                try guest(
                    "ws://room.example.invalid/", backend, environment: ["all_proxy": "127.0.0.1:\(proxy.port)"]))
            #expect(await alice.exitStatus() == 3)
            let error = try #require(alice.lines.first { $0["event"] as? String == "error" })
            let message = error["message"] as? String ?? ""
            #expect(message.contains("the proxy 127.0.0.1:\(proxy.port) answered 407"), "\(message)")
            #expect(message.contains("user"), "\(message)")
        }
    }

    @Test(arguments: [["--proxy", "socks5://127.0.0.1:1080"], ["--proxy", "https://127.0.0.1"], ["--proxy", "a b"]])
    func aProxyThatCannotBeUsedIsAWrongArgument(_ arguments: [String]) async throws {
        try await withProcesses { processes in
            let alice = processes.add(try guest("wss://room.example.invalid/", "foundation", more: arguments))
            #expect(await alice.exitStatus() == 2)
        }
    }

    @Test func theDoctorNamesTheProxy() async throws {
        try await withProcesses { processes in
            let dead = try freePort()
            let variable = ["http_proxy": "http://user:SECRET@127.0.0.1:\(dead)"]
            let asked = processes.add(
                try RoomProcess(
                    "doctor", ["doctor", "--json", "--server", "ws://room.example.invalid/"], environment: variable))
            try await asked.wait(event: "doctor")
            let finding = try #require(asked.lines.first { $0["check"] as? String == "proxy" })
            #expect(finding["status"] as? String == "problem" && finding["cure"] != nil)
            #expect((finding["message"] as? String)?.contains("the proxy 127.0.0.1:\(dead)") == true)
            // A proxy that is not used is named beside the port that cannot be reached.
            let direct = processes.add(
                try RoomProcess(
                    "doctor", ["doctor", "--json", "--server", "ws://127.0.0.1:\(dead)/"], environment: variable))
            try await direct.wait(event: "doctor")
            let port = try #require(direct.lines.first { $0["check"] as? String == "port" })
            #expect((port["message"] as? String)?.contains("http_proxy") == true)
            #expect(!"\(asked.lines) \(direct.lines)".contains("SECRET"))
        }
    }
}
