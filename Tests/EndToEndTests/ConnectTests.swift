import CommandLineIO
import Foundation
import Testing
import TransportPluginAPI

/// `room connect` in a shell, as people use it: standard input, standard output, and the ways to end.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct ConnectTests {
    // MARK: What goes in

    @Test func whatIsTypedBeforeTheRoomIsJoinedArrives() async throws {
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let bob = stage.add(try .peer("bob", url, host: true))
            try await bob.wait(event: "joined")
            let plain = try await Shell.run(
                "echo hello | $ROOM connect stage --name alice --leave-at-eof --server \(url)")
            #expect(plain.status == 0, "\(plain.errors)")
            try await bob.wait("hello") { Actor.texts($0) == ["hello"] }

            let commands = ["reliable", "unordered", "lossy"].map {
                "{\"do\":\"send\",\"text\":\"\($0)\",\"channel\":\"\($0)\"}"
            }
            let json = try await Shell.run(
                "$ROOM connect stage --name carol --json --leave-at-eof --server \(url)",
                input: commands.joined(separator: "\n"))
            #expect(json.status == 0, "\(json.errors)")
            #expect(json.events("sent").map { $0["to"] as? Double } == [1, 1, 1])
            for channel in ["unordered", "lossy"] {
                try await bob.wait(channel) { Actor.texts($0, channel: channel) == [channel] }
            }
            try await bob.wait("reliable") { Actor.texts($0) == ["hello", "reliable"] }
        }
    }

    @Test func inAnEmptyRoomNothingIsSentAndTheStatusSaysSo() async throws {
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
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
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let bob = stage.add(try .peer("bob", url, host: true))
            try await bob.wait(event: "joined")
            let long = String(repeating: "x", count: 30 << 20)
            let commands = [
                #"{"do":"send","text":"private","to":5}"#, #"{"do":"send","text":"private","too":"bob"}"#,
                #"{"do":"send","text":"private","to":"nobody-of-this-id"}"#, #"{"do":"send","text":5}"#,
                #"{"do":"send","text":"x","data":"eA=="}"#, #"{"do":"send","data":"no base64"}"#, #"{"do":"dance"}"#,
                "not JSON", "[1]", long, #"{"do":"send","text":"public"}"#,
            ]
            let run = try await Shell.run(
                "$ROOM connect stage --name alice --json --leave-at-eof --server \(url)",
                input: commands.joined(separator: "\n"))
            let codes = run.events("error").map { $0["code"] as? String }
            #expect(
                codes == ["usage", "usage", "peer_not_found", "usage", "usage", "usage", "usage", "usage", "usage"]
                    + ["message_too_large"])
            #expect(run.events("sent").count == 1 && run.status == 1)
            try await bob.wait("the good one") { Actor.texts($0) == ["public"] }
        }
    }

    @Test func linesAreSentAsTheBytesThatTheyAre() async throws {
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let bob = stage.add(try .peer("bob", url, host: true))
            try await bob.wait(event: "joined")
            let run = try await Shell.run(
                #"(printf 'crlf\r\n\nnul\0\n\377\200\n'; head -c 5000000 /dev/zero; printf '\nlast') | "#
                    + "$ROOM connect stage --name alice --leave-at-eof --server \(url)")
            try await bob.wait("the lines") { Actor.texts($0) == ["crlf", "", "nul\0", "/4A=", "last"] }
            #expect(run.status == 1 && run.output.contains("a line of 5000000 bytes was not sent"))
        }
    }

    // MARK: What comes out

    @Test func textFromOthersIsShownAsText() async throws {
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let file = try stage.file("bob.txt", "")
            let bob = try Shell.start("exec $ROOM connect stage --as-host --name bob --server \(url) >\(file)")
            defer { bob.stop() }
            try await Shell.waitForFile(file) { $0.contains("joined stage as host") }
            let alice = stage.add(try .peer("alice", url))
            try await alice.waitUntilConnected(to: 1)
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

    @Test func jsonHasNoControlCharacters() async throws {
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let file = try stage.file("bob.json", "")
            let bob = try Shell.start("exec $ROOM connect stage --as-host --name bob --json --server \(url) >\(file)")
            defer { bob.stop() }
            try await Shell.waitForFile(file) { $0.contains("joined") }
            let alice = stage.add(try .peer("alice", url))
            try await alice.waitUntilConnected(to: 1)
            alice.send(["do": "send", "text": "\u{1B}\u{7F}\u{9B}\u{2028}"])
            try await Shell.waitForFile(file) { $0.contains(#""text":"\u001b\u007f\u009b\u2028""#) }
        }
    }

    @Test func bothSidesShowTheSameVerificationCode() async throws {
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let alice = stage.add(try .peer("alice", url, host: true))
            try await alice.wait(event: "joined")
            let bob = stage.add(try .peer("bob", url))
            try await alice.waitUntilConnected(to: 1)
            try await bob.waitUntilConnected(to: 1)
            let codes = [alice, bob].map { actor in
                actor.lines.first { $0["state"] as? String == "connected" }?["verification"] as? String
            }
            #expect(codes[0] != nil && codes[0] == codes[1])
        }
    }

    /// The reader of bob's output pauses: a third member can still connect to bob, and afterwards all messages come
    /// out.
    @Test func aReaderThatPausesStopsNeitherLoopNorRoom() async throws {
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let bob = try Shell.start("exec $ROOM connect stage --as-host --name bob --json --server \(url)")
            defer { bob.stop() }
            var output = bob.readLines()
            while let line = output.next(), !line.contains("\"joined\"") {}
            let alice = stage.add(try .peer("alice", url))
            try await alice.waitUntilConnected(to: 1)
            let chunk = String(repeating: "x", count: 100_000)
            let count = 250
            let sending = Task.detached {
                for number in 1...count { alice.send(["do": "send", "text": "\(number) \(chunk)"]) }
            }
            // More than alice's buffer holds: bob has received more than a pipe takes.
            try await alice.wait("the pipe to be full") { Actor.count($0, "sent") >= 100 }
            let carol = stage.add(try .peer("carol", url))
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
    func aReaderThatIsGoneEndsTheCommandInOrder(_ signaling: String) async throws {
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let host = stage.add(try .peer("host", url, host: true))
            try await host.wait(event: "joined")
            let run = try await Shell.run(
                "{ $ROOM connect stage --name a --json --signaling \(signaling) --server \(url); echo status $? >&2; } "
                    + "| grep -m1 joined", input: nil)
            #expect(run.errors.contains("status 141"))
            try await host.wait("the leave") {
                $0.contains { $0["state"] as? String == "left" && $0["reason"] as? String == "left" }
            }
        }
    }

    @Test(arguments: [(SIGHUP, 0), (SIGTERM, 0), (SIGINT, 130)] as [(Int32, Int32)])
    func aSignalLeavesTheRoom(_ signal: Int32, _ status: Int32) async throws {
        // The test's parent may ignore the signal, and its children would too.
        Foundation.signal(SIGHUP, SIG_DFL)
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let alice = stage.add(try .peer("alice", url, host: true))
            try await alice.wait(event: "joined")
            let bob = stage.add(try .peer("bob", url))
            try await bob.waitUntilConnected(to: 1)
            bob.child.signal(signal)
            try await alice.wait("bob's leave") {
                $0.contains { $0["state"] as? String == "left" && $0["reason"] as? String == "left" }
            }
            #expect(await bob.exitStatus() == status)
        }
    }

    @Test(arguments: [(SIGHUP, 0), (SIGTERM, 0), (SIGINT, 130)] as [(Int32, Int32)])
    func aSignalEndsTheServer(_ signal: Int32, _ status: Int32) async throws {
        // The test's parent may ignore the signal, and its children would too.
        Foundation.signal(SIGHUP, SIG_DFL)
        try await Stage.play { stage in
            let (server, _, _) = try await stage.server()
            server.child.signal(signal)
            #expect(await server.exitStatus() == status)
        }
    }

    @Test func closedStandardDescriptorsAreGivenToNoSocket() async throws {
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let alice = stage.add(try .peer("alice", url, host: true))
            try await alice.wait(event: "joined")
            let bob = try Shell.start("exec $ROOM connect stage --name bob --server \(url) <&- >&- 2>&-")
            defer { bob.stop() }
            try await alice.waitUntilConnected(to: 1)
            bob.signal(SIGTERM)
            #expect(await bob.status() == 0)
            try await alice.wait("bob's leave") { $0.contains { $0["state"] as? String == "left" } }
        }
    }

    @Test(arguments: ["--token SECRET", "--token=SECRET"])
    func aTokenIsNotInTheListOfProcesses(_ argument: String) async throws {
        try await Stage.play { stage in
            let (_, url, _) = try await stage.server()
            let alice = stage.add(
                try .peer("alice", url, host: true, more: argument.split(separator: " ").map(String.init)))
            try await alice.wait(event: "joined")
            let arguments = try String(contentsOfFile: "/proc/\(alice.child.identifier)/cmdline", encoding: .utf8)
            #expect(arguments.contains("--token") && arguments.contains("******") && !arguments.contains("SECRET"))
        }
    }

    @Test func aTokenComesFromAFile() async throws {
        try await Stage.play { stage in
            let secret = try stage.file("secret", "an unguessable secret of enough bytes")
            let (_, url, _) = try await stage.server(more: ["--token-secret-file", secret])
            let token = try stage.file("token", "eyJhbGciOiJIUzI1NiJ9.e30.c2VjcmV0\n")
            let command = "$ROOM connect stage --as-host --name a --json --server \(url)"
            let wrong = try await Shell.run("\(command) --token-file \(token)")
            #expect(wrong.status == 3 && wrong.events("error").map { $0["code"] as? String } == ["unauthorized"])
            #expect(!wrong.output.contains("c2VjcmV0"))
            #expect(try await Shell.run("\(command) --token-file /nonexistent").status == 2)
            #expect(try await Shell.run("\(command) --token x --token-file \(token)").status == 2)
            #expect(try await Shell.run("ROOM_TOKEN_FILE=/nonexistent \(command)").status == 2)
        }
    }
}
