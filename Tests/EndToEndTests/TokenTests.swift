import CommandLineIO
import Foundation
import Testing
import TransportTestKit

/// `room token`: keys and tokens as an operator makes them, and a server that takes them.
@Suite(.serialized, .timeLimit(.minutes(2)), .needsPeers) struct TokenTests {
    private func run(_ arguments: String, in processes: TestProcesses, input: String = "") async throws -> Shell.Result
    {
        try await Shell.run("cd '\(processes.directory.path)' && exec \"$ROOM\" token \(arguments)", input: input)
    }

    @Test func aTokenOfANewKeyIsValidForItsServer() async throws {
        try await withProcesses { processes in
            let made = try await run("keygen ed25519 --out app.key --kid 2026 --json", in: processes)
            #expect(made.status == 0 && made.output.contains("\"public\":\"app.key.pub\""), "\(made)")
            let folder = processes.directory.path
            let attributes = try FileManager.default.attributesOfItem(atPath: folder + "/app.key")
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            // Nothing is overwritten.
            #expect(try await run("keygen ed25519 --out app.key", in: processes).status == 9)

            let make = "make --room lobby --name alice --role host --expires 10m"
            let token = try await run("\(make) --key-file app.key", in: processes)
            #expect(token.status == 0 && token.output.split(separator: "\n").count == 1, "\(token)")
            let good = try await run("check - --key-file app.key.pub --json", in: processes, input: token.output)
            #expect(
                good.status == 0 && good.output.contains("\"valid\":true") && good.output.contains("\"kid\":\"2026\""))

            let other = try await run("keygen hs256 --out other.secret", in: processes)
            #expect(other.status == 0)
            let forged = try await run("\(make) --secret-file other.secret", in: processes)
            let bad = try await run("check - --key-file app.key.pub", in: processes, input: forged.output)
            #expect(bad.status == 5 && bad.output.hasPrefix("not valid: ") && bad.output.contains("(alg)"), "\(bad)")

            // A server with the public key.
            let (server, url, _) = try await processes.server(more: ["--token-key-file", folder + "/app.key.pub"])
            try forged.output.write(toFile: folder + "/forged", atomically: true, encoding: .utf8)
            try token.output.write(toFile: folder + "/token", atomically: true, encoding: .utf8)
            /// Returns nil when the holder of the token joins, or else the code with which it is refused.
            func refusal(of token: String) async throws -> String? {
                let more = ["--token-file", "\(folder)/\(token)"]
                let peer = processes.add(try .peer("alice", url, host: true, more: more))
                try await peer.wait("the answer") { lines in
                    lines.contains { ["joined", "error"].contains($0["event"] as? String) }
                }
                peer.send(["do": "leave"])
                _ = await peer.exitStatus()
                return peer.lines.first { $0["event"] as? String == "error" }?["code"] as? String
            }
            #expect(try await refusal(of: "forged") == "unauthorized")
            #expect(try await refusal(of: "token") == nil)

            // Its key is replaced, and a reload finds the new one.
            _ = try await run("keygen ed25519 --out new.key", in: processes)
            try FileManager.default.removeItem(atPath: folder + "/app.key.pub")
            try FileManager.default.copyItem(atPath: folder + "/new.key.pub", toPath: folder + "/app.key.pub")
            let new = try await run("\(make) --key-file new.key", in: processes)
            try new.output.write(toFile: folder + "/new", atomically: true, encoding: .utf8)
            server.child.signal(SIGHUP)
            while try await refusal(of: "new") != nil {}
            #expect(try await refusal(of: "token") == "unauthorized")
        }
    }

    @Test(arguments: [
        "make --room lobby", "make --room lobby --secret-file s --key-file s",
        "make --room lobby --secret-file nowhere",
        "make --room lobby --secret-file s --expires soon", "make --room lobby --secret-file s --expires 2020-01-31",
        "make --room lobby --secret-file s --role guests", "make --room '' --secret-file s", "check x",
        "check x --key-file s", "keygen rsa --out k", "keygen hs256 --out k --kid a",
    ])
    func aMistakeIsOneSentenceAndStatusTwo(_ arguments: String) async throws {
        try await withProcesses { processes in
            _ = try processes.file("s", "a secret of the application's\n")
            let result = try await run(arguments, in: processes)
            #expect(result.status == 2 && result.output.isEmpty, "\(result)")
            #expect(result.errors.hasPrefix("room: ") && result.errors.split(separator: "\n").count <= 2, "\(result)")
        }
    }

    @Test(.needsPeers) func whoHasLeftIsRememberedByTheNextServer() async throws {
        try await withProcesses { processes in
            let (first, url, port) = try await processes.server()
            let (host, guest) = try await processes.pair(at: url)
            guest.send(["do": "leave"])
            #expect(await guest.exitStatus() == 0)
            try await host.waitForLeave()
            first.child.signal(SIGTERM)
            #expect(await first.exitStatus() == 0)
            _ = try await processes.server(port: port)
            let file = try String(contentsOfFile: processes.keyFile + ".departures", encoding: .utf8)
            #expect(file.contains("\"kind\":\"left\""))
        }
    }
}
