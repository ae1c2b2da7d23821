import CommandLineIO
import Foundation
import Testing
import TransportTestKit

/// `room serve` as people and machines start it: where it keeps its key, and how it treats its environment and limits.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct ServeTests {
    @Test(arguments: ["STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"])
    func aPlainServerThatIsKilledAndStartedAgainKnowsItsGuests(_ variable: String) async throws {
        try await withProcesses { processes in
            let state = processes.directory.appendingPathComponent("state").path
            var environment = ["STATE_DIRECTORY": "", "XDG_STATE_HOME": "relative/is/ignored"]
            environment[variable] = variable == "STATE_DIRECTORY" ? "\(state):/nonexistent/second" : state
            let folder =
                state + ["STATE_DIRECTORY": "", "XDG_STATE_HOME": "/room", "HOME": "/.local/state/room"][variable]!
            let first = processes.add(try RoomProcess("server", ["serve", "--port", "0"], environment: environment))
            let (url, port) = try await first.listening()
            let (host, guest) = try await processes.pair(("host", "guest"), at: url)
            let ids = [host.selfID, guest.selfID]

            first.child.stop()
            let second = processes.add(
                try RoomProcess("server", ["serve", "--port", "\(port)"], environment: environment))
            _ = try await second.listening()
            for peer in [host, guest] {
                try await peer.wait("the rejoin") { RoomProcess.count($0, "joined") == 2 }
            }
            #expect([host.selfID, guest.selfID] == ids)
            let joined = guest.lines.filter { $0["event"] as? String == "joined" }
            #expect(joined.last?["epoch"] as? Double == 2, "come back, not joined anew")

            let attributes = try FileManager.default.attributesOfItem(atPath: folder + "/session.key")
            #expect(attributes[.posixPermissions] as? Int == 0o600 && attributes[.size] as? Int == 32)
            #expect(try FileManager.default.attributesOfItem(atPath: folder)[.posixPermissions] as? Int == 0o700)
            let files = ["session.key", "session.key.departures", "session.key.departures.lock"]
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == files)
        }
    }

    @Test func withoutAStateDirectoryTheServerWarnsAndServes() async throws {
        try await withProcesses { processes in
            let state = try processes.file("state", "a file, where a folder should be")
            let server = try processes.shell("exec \"$ROOM\" serve --port 0", ["STATE_DIRECTORY": state])
            _ = try await server.listening()
            #expect(try processes.complaints().contains("after a restart of this server everybody will be new"))
            // Requested explicitly, it needs no warning, and nothing is written.
            let asked = try processes.shell(
                "exec \"$ROOM\" serve --port 0 --session-key-file none", ["STATE_DIRECTORY": state])
            _ = try await asked.listening()
            #expect(try processes.complaints().isEmpty)
        }
    }

    @Test func aServerWithACertificateOfItsOwnKeepsIt() async throws {
        try await withProcesses { processes in
            let state = processes.directory.appendingPathComponent("state").path
            var fingerprints: [String] = []
            for _ in 1...2 {
                let server = processes.add(
                    try RoomProcess(
                        "server", ["serve", "--port", "0", "--tls-self-signed"], environment: ["STATE_DIRECTORY": state]
                    ))
                let (url, port) = try await server.listening()
                #expect(url == "wss://127.0.0.1:\(port)/")
                let line = try #require(server.lines.first)
                #expect(line["pages"] as? [String] == ["https://127.0.0.1:\(port)/"])
                fingerprints.append(try #require(line["fingerprint"] as? String))
                let guest = processes.add(
                    try RoomProcess(
                        "guest",
                        ["connect", "lobby", "--name", "guest", "--as-host", "--server", url, "--json"]
                            + ["--tls-authorities", state + "/tls.pem"]))
                try await guest.wait(event: "joined")
                server.child.stop()
            }
            #expect(fingerprints[0] == fingerprints[1])
        }
    }

    @Test func aServerTellsTheLinksOfItsPage() async throws {
        try await withProcesses { processes in
            let server = processes.add(try RoomProcess("server", ["serve", "--port", "0", "--host", "0.0.0.0"]))
            let (_, port) = try await server.listening()
            let pages = try #require(server.lines.first?["pages"] as? [String])
            #expect(pages.first == "http://127.0.0.1:\(port)/")
            let bare = processes.add(try RoomProcess("server", ["serve", "--port", "0", "--no-page"]))
            _ = try await bare.listening()
            #expect(bare.lines.first?["pages"] == nil)
        }
    }

    @Test func aFullDiskLeavesNoKeyFileBehind() async throws {
        try await withProcesses { processes in
            let folder = processes.directory.appendingPathComponent("keys").path
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
            let serve = "exec \"$ROOM\" serve --port 0 --session-key-file '\(folder)/key'"
            let full = try processes.shell("trap '' XFSZ; ulimit -f 0; " + serve, standardError: "/dev/null")
            #expect(await full.exitStatus() == 1)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
            _ = try await processes.shell(serve).listening()
            let files = ["key", "key.departures", "key.departures.lock"]
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == files)
        }
    }

    @Test func theLogIsOneObjectALineWhereThatIsAskedFor() async throws {
        try await withProcesses { processes in
            let server = try processes.shell(
                "exec \"$ROOM\" serve --session-key-file none --port 0 --log-level info", ["ROOM_LOG_FORMAT": "json"])
            let (url, _) = try await server.listening()
            // The end writes what waits.
            server.child.signal(SIGTERM)
            #expect(await server.exitStatus() == 0)
            let lines = try processes.complaints().split(separator: "\n")
            let records = try lines.map { try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: String] }
            let record = try #require(records.compactMap(\.self).first { $0["msg"] == "listening" })
            #expect(record["level"] == "info" && record["url"] == url && record["ts"]?.hasSuffix("Z") == true)
        }
    }

    /// The variables that Kubernetes sets for a service named `room`, those of links between containers, and odd values
    /// from files and secrets.
    @Test func variablesOfOrchestratorsArePassedOverAndTold() async throws {
        try await withProcesses { processes in
            let server = try processes.shell(
                "exec \"$ROOM\" serve --session-key-file none --json --port 0",
                [
                    "ROOM_PORT": "tcp://10.43.0.5:8080", "ROOM_SERVICE_HOST": "10.43.0.5", "ROOM_SERVICE_PORT": "8080",
                    "ROOM_PORT_8080_TCP": "tcp://10.43.0.5:8080", "ROOM_NAME": "/app/room", "ROOM_HOST": " ",
                    "ROOM_GRACE": "30\n", "ROOM_MAXIMUM_ROOM": "7",
                ])
            _ = try await server.listening()
            let complaints = try processes.complaints().split(separator: "\n")
            #expect(complaints.count == 3, "\(complaints)")
            #expect(complaints.contains { $0.contains("ROOM_PORT=tcp://10.43.0.5:8080") })
            #expect(complaints.contains { $0.contains("ROOM_NAME=/app/room") })
            #expect(complaints.contains { $0.contains("did you mean ROOM_MAXIMUM_ROOMS") })
        }
    }

    @Test(arguments: [
        ["ROOM_GRACE": "60s"], ["ROOM_GRACE": "nan"], ["ROOM_PORT": "http"], ["ROOM_MAXIMUM_ROOMS": "0"],
        ["ROOM_LOG_FORMAT": "xml"], ["ROOM_METRICS": "yes"],
        ["ROOM_ALLOWED_ORIGINS": "https://example.org,*.example.org"],
    ])
    func aValueThatCannotBeUsedEndsTheCommandWithStatusTwo(_ environment: [String: String]) async throws {
        try await withProcesses { processes in
            let server = try processes.shell("exec \"$ROOM\" serve --session-key-file none", environment)
            #expect(await server.exitStatus() == 2)
            let (variable, value) = try #require(environment.first)
            let complaints = try processes.complaints()
            #expect(complaints.contains(variable) || complaints.contains(value.split(separator: ",").last ?? ""))
        }
    }

    /// A server out of descriptors waits instead of using a whole core, and continues when some are free.
    @Test func outOfDescriptorsTheServerWaitsAndRecovers() async throws {
        try await withProcesses { processes in
            let server = try processes.shell("ulimit -n 40; exec \"$ROOM\" serve --port 0 --session-key-file none")
            let (url, port) = try await server.listening()
            let sockets = try (0..<60).map { _ in try Self.connected(port) }
            let before = try Self.processorSeconds(server.child.identifier)
            // The interval of the measurement.
            try await Task.sleep(for: .seconds(2))
            let used = try Self.processorSeconds(server.child.identifier) - before
            #expect(used < 0.4, "\(used) s of 2 s")
            for socket in sockets { close(socket) }
            _ = try await processes.host("host", at: url)
            #expect(try processes.complaints().components(separatedBy: "connections cannot be accepted").count == 2)
        }
    }

    @Test func theSoftLimitOfDescriptorsIsRaisedToTheHardOne() async throws {
        try await withProcesses { processes in
            let server = try processes.shell("ulimit -Sn 64; exec \"$ROOM\" serve --port 0 --session-key-file none")
            let (_, port) = try await server.listening()
            let sockets = try (0..<100).map { _ in try Self.connected(port) }
            defer { for socket in sockets { close(socket) } }
            let limits = try String(contentsOfFile: "/proc/\(server.child.identifier)/limits", encoding: .utf8)
            let line = try #require(limits.split(separator: "\n").first { $0.hasPrefix("Max open files") })
            let words = line.split(separator: " ")
            #expect(words[3] == words[4] && words[3] != "64")
        }
    }

    @Test(arguments: [
        ["serve", "--port", "0", "--session-key-file", "none"], ["plugins"], ["simulate", "--seed", "1"],
        ["conform", "foundation", "--only", "signaling.connect.01"],
    ])
    func everyCommandTakesJSON(_ arguments: [String]) async throws {
        try await withProcesses { processes in
            let process = processes.add(try RoomProcess(arguments[0], arguments + ["--json"]))
            try await process.wait("a line") { !$0.isEmpty }
        }
    }

    /// Opens a connection to 127.0.0.1 and sends nothing on it.
    private static func connected(_ port: Int) throws -> Int32 {
        let descriptor = LoopbackListener.socket()
        try #require(LoopbackListener.connect(descriptor, to: UInt16(port)) == 0)
        return descriptor
    }

    /// Returns the user and system time of the process since it started.
    private static func processorSeconds(_ process: Int32) throws -> Double {
        let text = try String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
        let fields = try #require(text.split(separator: ")").last).split(separator: " ")
        return ((Double(fields[11]) ?? 0) + (Double(fields[12]) ?? 0)) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }
}

extension RoomProcess {
    /// Returns the URL and port where the server listens.
    func listening() async throws -> (url: String, port: Int) {
        try await wait(event: "listening")
        let url = try #require(lines.first { $0["event"] as? String == "listening" }?["url"] as? String)
        return (url, try #require(URL(string: url)?.port))
    }
}

extension TestProcesses {
    private var complaintsFile: String { directory.appendingPathComponent("standard-error").path }

    /// Runs a shell command in which `$ROOM` is the executable.
    fileprivate func shell(
        _ script: String, _ environment: [String: String] = [:], standardError: String? = nil
    ) throws -> RoomProcess {
        let script = "exec 2>'\(standardError ?? complaintsFile)'; \(script)"
        return add(
            try RoomProcess(
                "server", ["-c", script], executable: "/bin/sh",
                environment: environment.merging(["ROOM": RoomProcess.room]) { $1 }))
    }

    /// Returns the standard error of the last command.
    fileprivate func complaints() throws -> String { try String(contentsOfFile: complaintsFile, encoding: .utf8) }
}
