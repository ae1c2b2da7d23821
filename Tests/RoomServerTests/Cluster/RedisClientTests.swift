import Foundation
import Logging
import Testing

@testable import RoomServer

@Suite("Redis", .enabled(if: RedisProcess.isInstalled), .timeLimit(.minutes(1)))
struct RedisClientTests {
    private func string(_ text: String) -> RESPValue { .string(Array(text.utf8)) }

    @Test func commandsAndScriptsHaveTheirReplies() async throws {
        let redis = try RedisProcess.started()
        try await RedisProbe.with(redis.url) { probe in
            try await probe.wait(until: true)
            #expect(try await probe.send("SET", "k", "va\r\nlue") == .success(string("OK")))
            #expect(try await probe.send("GET", "k") == .success(string("va\r\nlue")))
            guard case .failure(.refused(let text)) = try await probe.send("NONSENSE") else {
                throw TestFailure(message: "not refused")
            }
            #expect(text.hasPrefix("ERR"))
            let script = RedisScript("return {KEYS[1], ARGV[1], 7, false}")
            // Unknown at first, then known by its hash, then forgotten.
            for _ in 0..<2 {
                for _ in 0..<2 {
                    #expect(
                        try await probe.run(script, keys: ["a"], ["b"])
                            == .success(.array([string("a"), string("b"), .integer(7), .null])))
                }
                #expect(try await probe.send("SCRIPT", "FLUSH") == .success(string("OK")))
            }
        }
    }

    @Test func clientComesBackAfterARestartAndFailsAtOnceMeanwhile() async throws {
        let redis = try RedisProcess.started()
        try await RedisProbe.with(redis.url) { probe in
            try await probe.wait(until: true)
            redis.stop()
            try await probe.wait(until: false)
            #expect(try await probe.send("PING") == .failure(.notConnected))
            try redis.start()
            try await probe.wait(until: true)
            #expect(try await probe.send("PING") == .success(string("PONG")))
        }
    }

    @Test func serverThatHangsIsLeft() async throws {
        let redis = try RedisProcess.started()
        try await RedisProbe.with(redis.url) { probe in
            try await probe.wait(until: true)
            redis.send(SIGSTOP)
            #expect(try await probe.send("PING", within: .milliseconds(200)) == .failure(.timedOut))
            try await probe.wait(until: false)
            redis.send(SIGCONT)
            try await probe.wait(until: true)
        }
    }

    @Test func userPasswordAndDatabaseOfTheURLAreUsed() async throws {
        let redis = try RedisProcess.started(["--user", "me", "on", ">p%s", "~*", "+@all"])
        try await RedisProbe.with("redis+unix://me:p%25s@" + redis.socket) { probe in
            try await probe.wait(until: true)
            #expect(try await probe.send("ACL", "WHOAMI") == .success(string("me")))
        }
        let host = RedisProcess.ownAddress()
        let other = try RedisProcess.started(at: host, ["--requirepass", "pw"])
        try await RedisProbe.with("redis://:pw@\(host)/3") { probe in
            try await probe.wait(until: true)
            guard case .success(let info) = try await probe.send("CLIENT", "INFO") else {
                throw TestFailure(message: "no information")
            }
            #expect(info.text?.contains(" db=3 ") == true)
        }
        withExtendedLifetime(other) {}
    }

    @Test func demotedMasterIsLeftUntilItIsOneAgain() async throws {
        let redis = try RedisProcess.started()
        let port = try await RedisProcess.freePort()
        try await RedisProbe.with(redis.url) { probe in
            try await probe.wait(until: true)
            #expect(try await probe.send("REPLICAOF", "127.0.0.1", "\(port)") == .success(string("OK")))
            guard case .failure(.lost(let text)) = try await probe.send("SET", "k", "v") else {
                throw TestFailure(message: "a replica has taken a write")
            }
            #expect(text.hasPrefix("READONLY"))
            try await probe.wait(until: false)
            // Somebody else promotes it.
            let promotion = Process()
            promotion.executableURL = URL(filePath: "/usr/bin/redis-cli")
            promotion.arguments = ["-s", redis.socket, "REPLICAOF", "NO", "ONE"]
            promotion.standardOutput = FileHandle.nullDevice
            try promotion.run()
            promotion.waitUntilExit()
            try await probe.wait(until: true)
            #expect(try await probe.send("SET", "k", "v") == .success(string("OK")))
        }
    }

    @Test func sentinelsLeadToTheMasterAndToItsSuccessor() async throws {
        let (first, second) = (RedisProcess.ownAddress(), RedisProcess.ownAddress())
        let (watch, nobody) = (RedisProcess.ownAddress(), RedisProcess.ownAddress())
        let master = try RedisProcess.started(at: first)
        let replica = try RedisProcess.started(
            at: second,
            [
                "--replicaof", first.name, "\(first.port)", "--replica-announce-ip", second.name,
                "--repl-diskless-sync-delay", "0",
            ])
        // A Sentinel asks a master for its replicas at once, and then every ten seconds.
        try await RedisProbe.with("redis://\(first)") { probe in
            try await probe.wait(until: true)
            #expect(try await probe.send("WAIT", "1", "0", within: .seconds(40)) == .success(.integer(1)))
        }
        let sentinel = try RedisProcess()
        try sentinel.startSentinel(at: watch, master: first)
        var times = RedisClient.Times()
        times.sentinelPoll = .milliseconds(200)
        let url = "redis+sentinel://\(nobody),\(watch)/main"
        try await RedisProbe.with(url, times: times) { probe in
            try await probe.wait(until: true)
            func port() async throws -> Result<RESPValue, RedisFailure> {
                try await probe.send("CONFIG", "GET", "port")
            }
            func isAt(_ host: RedisURL.Host) -> Result<RESPValue, RedisFailure> {
                .success(.map([string("port"), string("\(host.port)")]))
            }
            #expect(try await port() == isAt(first))
            // Until the Sentinel has found the replica. The old master keeps its connections.
            while try Self.redisCLI(["-h", watch.name, "-p", "\(watch.port)", "SENTINEL", "FAILOVER", "main"]) != "OK" {
            }
            try await probe.wait(until: false)
            repeat { try await probe.wait(until: true) } while try await port() != isAt(second)
        }
        withExtendedLifetime((master, replica, sentinel)) {}
    }

    private static func redisCLI(_ arguments: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/redis-cli")
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    @Test func certificateOfTheServerIsVerified() async throws {
        let folder = try RedisProcess()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        _ = try SelfSignedCertificate.persistent(
            for: ["localhost"], in: ["XDG_STATE_HOME": folder.folder], logger)
        let file = folder.folder + "/room/tls.pem"
        let port = try await RedisProcess.freePort()
        let redis = try RedisProcess.started([
            "--tls-port", "\(port)", "--tls-cert-file", file, "--tls-key-file", file, "--tls-ca-cert-file", file,
            "--tls-auth-clients", "no",
        ])
        try await RedisProbe.with("rediss://localhost:\(port)", trusting: file) { probe in
            try await probe.wait(until: true)
            #expect(try await probe.send("PING") == .success(string("PONG")))
            // The same server under a name that its certificate is not for.
            try await RedisProbe.with("rediss://127.0.0.1:\(port)", trusting: file) { stranger in
                #expect(await stranger.nextLoss()?.contains("certificate is not valid") == true)
                let reply = try await stranger.send("PING")
                #expect(reply == .failure(.notConnected))
            }
        }
        withExtendedLifetime((folder, redis)) {}
    }
}
