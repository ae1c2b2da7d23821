import CommandLineIO
import Foundation
import Testing
import TransportPluginAPI

/// `room connect` in a shell, as people use it: standard input, standard output, and the ways to end.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct ConnectTests {
    // MARK: What goes in

    @Test func inputBeforeTheRoomIsJoinedIsSent() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let bob = try await processes.host("bob", at: url)
            let plain = try await Shell.run(
                "echo hello | $ROOM connect lobby --name alice --leave-at-eof --server \(url)")
            #expect(plain.status == 0, "\(plain.errors)")
            try await bob.wait("hello") { RoomProcess.texts($0) == ["hello"] }

            let commands = ["reliable", "unordered", "lossy"].map {
                "{\"do\":\"send\",\"text\":\"\($0)\",\"channel\":\"\($0)\"}"
            }
            let json = try await Shell.run(
                "$ROOM connect lobby --name carol --json --leave-at-eof --server \(url)",
                input: commands.joined(separator: "\n"))
            #expect(json.status == 0, "\(json.errors)")
            #expect(json.events("sent").map { $0["to"] as? Double } == [1, 1, 1])
            for channel in ["unordered", "lossy"] {
                try await bob.wait(channel) { RoomProcess.texts($0, channel: channel) == [channel] }
            }
            try await bob.wait("reliable") { RoomProcess.texts($0) == ["hello", "reliable"] }
        }
    }

    @Test func inAnEmptyRoomNothingIsSentAndTheStatusSaysSo() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let plain = try await Shell.run(
                "echo hello | $ROOM connect empty --as-host --name alice --leave-at-eof --server \(url)")
            #expect(plain.status == 1)
            #expect(plain.errors.contains("1 of 1 lines were not sent"))
            let json = try await Shell.run(
                "echo '{\"do\":\"send\",\"text\":\"x\"}' | $ROOM connect bare --as-host --name alice --json "
                    + "--leave-at-eof --server \(url)")
            #expect(json.status == 1)
            #expect(json.events("sent").isEmpty)
            #expect(json.events("error").map { $0["code"] as? String } == ["no_receiver"])
        }
    }

    @Test func aCommandThatIsWrongIsAnErrorAndTheNextOneIsTaken() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let bob = try await processes.host("bob", at: url)
            let long = String(repeating: "x", count: 30 << 20)
            let commands = [
                #"{"do":"send","text":"private","to":5}"#, #"{"do":"send","text":"private","too":"bob"}"#,
                #"{"do":"send","text":"private","to":"nobody-of-this-id"}"#, #"{"do":"send","text":5}"#,
                #"{"do":"send","text":"x","data":"eA=="}"#, #"{"do":"send","data":"no base64"}"#, #"{"do":"dance"}"#,
                "not JSON", "[1]", long, #"{"do":"send","text":"public"}"#,
            ]
            let run = try await Shell.run(
                "$ROOM connect lobby --name alice --json --leave-at-eof --server \(url)",
                input: commands.joined(separator: "\n"))
            let codes = run.events("error").map { $0["code"] as? String }
            #expect(
                codes == ["usage", "usage", "peer_not_found", "usage", "usage", "usage", "usage", "usage", "usage"]
                    + ["message_too_large"])
            #expect(run.events("sent").count == 1 && run.status == 1)
            try await bob.wait("the good one") { RoomProcess.texts($0) == ["public"] }
        }
    }

    @Test func linesAreSentAsTheBytesThatTheyAre() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let bob = try await processes.host("bob", at: url)
            let run = try await Shell.run(
                #"(printf 'crlf\r\n\nnul\0\n\377\200\n'; head -c 5000000 /dev/zero; printf '\nlast') | "#
                    + "$ROOM connect lobby --name alice --leave-at-eof --server \(url)")
            try await bob.wait("the lines") { RoomProcess.texts($0) == ["crlf", "", "nul\0", "/4A=", "last"] }
            #expect(run.status == 1 && run.output.contains("a line of 5000000 bytes was not sent"))
        }
    }

    // MARK: What comes out

    /// Runs `body` with alice, who is connected to bob, and the file with bob's standard output.
    private func withOutputOfBob(
        _ options: String = "", _ body: (_ alice: RoomProcess, _ bob: Shell, _ file: String) async throws -> Void
    ) async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let file = try processes.file("bob", "")
            let bob = try Shell.start(
                "exec $ROOM connect lobby --as-host --name bob \(options) --server \(url) >\(file)")
            defer { bob.stop() }
            try await Shell.waitForFile(file) { $0.contains("joined") }
            let alice = processes.add(try .peer("alice", url))
            try await alice.waitUntilConnected(to: 1)
            try await body(alice, bob, file)
        }
    }

    @Test func textFromOthersIsShownAsText() async throws {
        try await withOutputOfBob { alice, bob, file in
            try await Shell.waitForFile(file) { $0.contains("joined lobby as host") }
            alice.send(["do": "send", "text": "\u{1B}[2J\u{1B}]0;pwned\u{7}hi\u{9B}31m\u{202E}\n   9.999  alice left"])
            alice.send(["do": "leave"])
            await alice.waitForEnd()
            try await Shell.waitForFile(file) { $0.contains("alice left (left)") }
            bob.signal(SIGTERM)
            #expect(await bob.status() == 0)
            let output = try String(contentsOfFile: file, encoding: .utf8)
            #expect(output.unicodeScalars.allSatisfy { $0 == "\n" || $0.properties.generalCategory != .control })
            #expect(
                output.contains("alice: \\u{1B}[2J\\u{1B}]0;pwned\\u{7}hi\\u{9B}31m\\u{202E}\n          |    9.999"))
            #expect(!output.split(separator: "\n").contains { $0.hasPrefix("   9.999") })
            #expect(!output.contains("recovering"), "who leaves in order is no outage")
        }
    }

    @Test func anIncidentThatEndsWithTheRoomIsNoRecovery() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let file = try processes.file("carol", "")
            let (alice, bob) = try await processes.pair(at: url)
            let carol = try Shell.start("exec $ROOM connect lobby --name carol --server \(url) >\(file)")
            defer { carol.stop() }
            try await Shell.waitForFile(file) { $0.contains("bob connected") }
            bob.child.signal(SIGKILL)
            try await alice.wait("the loss of bob") { lines in lines.contains { $0["state"] as? String == "recovering" }
            }
            try await Shell.waitForFile(file) { $0.contains("bob recovering") }
            alice.send(["do": "leave"])
            carol.signal(SIGTERM)
            await alice.waitForEnd()
            #expect(await carol.status() == 0)
            let incident = try #require(alice.lines.last { $0["event"] as? String == "incident" })
            #expect(incident["outcome"] as? String == "participantLeft" && incident["recoveredIn"] == nil)
            let output = try String(contentsOfFile: file, encoding: .utf8)
            #expect(output.contains("bob was not recovered in ") && !output.contains("bob recovered in "))
        }
    }

    @Test func jsonHasNoControlCharacters() async throws {
        try await withOutputOfBob("--json") { alice, _, file in
            alice.send(["do": "send", "text": "\u{1B}\u{7F}\u{9B}\u{2028}"])
            try await Shell.waitForFile(file) { $0.contains(#""text":"\u001b\u007f\u009b\u2028""#) }
        }
    }

    @Test func bothSidesShowTheSameVerificationCode() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let (alice, bob) = try await processes.pair(at: url)
            let codes = [alice, bob].map { process in
                process.lines.first { $0["state"] as? String == "connected" }?["verification"] as? String
            }
            #expect(codes[0] != nil && codes[0] == codes[1])
        }
    }

    /// The reader of bob's output pauses: a third member can still connect to bob, and afterwards all messages come
    /// out.
    @Test func aReaderThatPausesStopsNeitherLoopNorRoom() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let bob = try Shell.start("exec $ROOM connect lobby --as-host --name bob --json --server \(url)")
            defer { bob.stop() }
            var output = bob.readLines()
            while let line = output.next(), !line.contains("\"joined\"") {}
            let alice = processes.add(try .peer("alice", url))
            try await alice.waitUntilConnected(to: 1)
            let chunk = String(repeating: "x", count: 100_000)
            let count = 250
            // To bob: a message to everybody would not wait for a path that is silent for seconds, on a busy machine.
            let receiver = try #require(RoomProcess.connected(alice.lines).first)
            let sending = Task.detached {
                for number in 1...count {
                    alice.send(["do": "send", "to": "\(receiver)", "text": "\(number) \(chunk)"])
                }
            }
            // More than alice's buffer holds: bob has received more than a pipe takes.
            try await alice.wait("the pipe to be full") { RoomProcess.count($0, "sent") >= 100 }
            let carol = processes.add(try .peer("carol", url))
            try await carol.waitUntilConnected(to: 2)
            var numbers: [Int] = []
            while numbers.count < count, let line = output.next() {
                guard line.contains("\"message\""), let text = line.range(of: "\"text\":\"") else { continue }
                numbers += [Int(line[text.upperBound...].prefix { $0.isNumber }) ?? 0]
            }
            #expect(numbers == Array(1...count))
            await sending.value
        }
    }

    // MARK: The ways to end

    @Test(arguments: ["libwebsockets", "foundation", "nio"])
    func aClosedStandardOutputEndsTheCommandInOrder(_ signaling: String) async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let host = try await processes.host("host", at: url)
            let run = try await Shell.run(
                "{ $ROOM connect lobby --name a --json --signaling \(signaling) --server \(url); echo status $? >&2; } "
                    + "| grep -m1 joined", input: nil)
            #expect(run.errors.contains("status 141"))
            try await host.waitForLeave(reason: "left")
        }
    }

    @Test(arguments: [(SIGHUP, 0), (SIGTERM, 0), (SIGINT, 130)] as [(Int32, Int32)])
    func aSignalLeavesTheRoom(_ signal: Int32, _ status: Int32) async throws {
        // The test's parent may ignore the signal, and its children would too.
        Foundation.signal(SIGHUP, SIG_DFL)
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let (alice, bob) = try await processes.pair(at: url)
            bob.child.signal(signal)
            try await alice.waitForLeave(reason: "left")
            #expect(await bob.exitStatus() == status)
        }
    }

    @Test(arguments: [(SIGTERM, 0), (SIGINT, 130)] as [(Int32, Int32)])
    func aSignalEndsTheServer(_ signal: Int32, _ status: Int32) async throws {
        try await withProcesses { processes in
            let (server, _, _) = try await processes.server()
            server.child.signal(signal)
            #expect(await server.exitStatus() == status)
        }
    }

    @Test func closedStandardDescriptorsAreGivenToNoSocket() async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let alice = try await processes.host(at: url)
            let bob = try Shell.start("exec $ROOM connect lobby --name bob --server \(url) <&- >&- 2>&-")
            defer { bob.stop() }
            try await alice.waitUntilConnected(to: 1)
            bob.signal(SIGTERM)
            #expect(await bob.status() == 0)
            try await alice.waitForLeave()
        }
    }

    @Test(arguments: ["--token SECRET", "--token=SECRET"])
    func aTokenIsNotInTheListOfProcesses(_ argument: String) async throws {
        try await withProcesses { processes in
            let (_, url, _) = try await processes.server()
            let alice = processes.add(
                try .peer("alice", url, host: true, more: argument.split(separator: " ").map(String.init)))
            try await alice.wait(event: "joined")
            let arguments = try String(contentsOfFile: "/proc/\(alice.child.identifier)/cmdline", encoding: .utf8)
            #expect(arguments.contains("--token") && arguments.contains("******") && !arguments.contains("SECRET"))
        }
    }

    @Test func aTokenComesFromAFile() async throws {
        try await withProcesses { processes in
            let secret = try processes.file("secret", "an unguessable secret of enough bytes")
            let (_, url, _) = try await processes.server(more: ["--token-secret-file", secret])
            let token = try processes.file("token", "eyJhbGciOiJIUzI1NiJ9.e30.c2VjcmV0\n")
            let command = "$ROOM connect lobby --as-host --name a --json --server \(url)"
            let wrong = try await Shell.run("\(command) --token-file \(token)")
            #expect(wrong.status == 3 && wrong.events("error").map { $0["code"] as? String } == ["unauthorized"])
            #expect(!wrong.output.contains("c2VjcmV0"))
            #expect(try await Shell.run("\(command) --token-file /nonexistent").status == 2)
            #expect(try await Shell.run("\(command) --token x --token-file \(token)").status == 2)
            #expect(try await Shell.run("ROOM_TOKEN_FILE=/nonexistent \(command)").status == 2)
        }
    }
}
