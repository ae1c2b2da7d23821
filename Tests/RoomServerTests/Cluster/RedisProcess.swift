import Foundation
import Logging
import NIOCore
import NIOPosix
import Testing

@testable import RoomServer

/// A process of `redis-server` with a folder of its own. Killed at the end.
final class RedisProcess {
    static let path = ["/usr/bin/redis-server", "/usr/bin/valkey-server", "/usr/local/bin/redis-server"]
        .first { FileManager.default.isExecutableFile(atPath: $0) }
    static let isInstalled: Bool = {
        if path == nil { print("SKIPPED: tests with Redis: redis-server is missing (apt-get install redis-server)") }
        return path != nil
    }()

    let folder: String
    var socket: String { folder + "/redis.sock" }
    var url: String { "redis+unix://" + socket }
    private var process: Process?

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "room-redis-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    static func started(_ options: [String] = []) throws -> RedisProcess {
        let redis = try RedisProcess()
        try redis.start(options)
        return redis
    }

    /// Starts a server that listens at an address of `ownAddress`.
    static func started(at host: RedisURL.Host, _ options: [String] = []) throws -> RedisProcess {
        try started(["--bind", host.name, "--port", "\(host.port)"] + options)
    }

    deinit {
        stop()
        try? FileManager.default.removeItem(atPath: folder)
    }

    func start(_ options: [String] = []) throws {
        let port = options.contains("--port") ? [] : ["--port", "0"]
        try run(port + ["--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", folder] + options)
    }

    /// Runs as a Sentinel of a master. It takes no master for dead, and gives up no failover, on a machine that is
    /// busy.
    func startSentinel(at host: RedisURL.Host, master: RedisURL.Host) throws {
        let file = folder + "/sentinel.conf"
        try """
        bind \(host.name)
        port \(host.port)
        dir \(folder)
        sentinel monitor main \(master.name) \(master.port) 1
        sentinel down-after-milliseconds main 60000
        sentinel failover-timeout main 60000

        """.write(toFile: file, atomically: true, encoding: .utf8)
        try run([file, "--sentinel"])
    }

    private func run(_ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(filePath: try #require(Self.path))
        process.arguments = arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        self.process = process
    }

    func send(_ signal: Int32) { if let process, process.isRunning { kill(process.processIdentifier, signal) } }

    func stop() {
        send(SIGKILL)
        process?.waitUntilExit()
        process = nil
    }

    /// An address that nobody else has: a host of this machine's own network, and a port that no socket gets by chance.
    static func ownAddress() -> RedisURL.Host {
        let parts = (0..<3).map { _ in "\(UInt8.random(in: 1...254))" }
        return RedisURL.Host(name: "127." + parts.joined(separator: "."), port: .random(in: 10_000..<30_000))
    }

    /// A port that nobody listened on just now.
    static func freePort() async throws -> Int {
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(channel.localAddress?.port)
        try await channel.close()
        return port
    }
}

/// A client of Redis on a loop, for a test.
struct RedisProbe: Sendable {
    let client: NIOLoopBound<RedisClient>
    /// Every change of `isReady`.
    let changes: AsyncStream<Bool>
    /// The reason of every loss, also before the first connection.
    let losses: AsyncStream<String>

    static func with<Value>(
        _ url: String, times: RedisClient.Times = .init(), trusting file: String? = nil,
        isolation: isolated (any Actor)? = #isolation, _ body: (RedisProbe) async throws -> Value
    ) async throws -> Value {
        let url = try RedisURL(url)
        let tls = url.isSecure ? try TLSClientContext(authoritiesFile: file) : nil
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let (changes, feed) = AsyncStream<Bool>.makeStream()
        let (losses, lossFeed) = AsyncStream<String>.makeStream()
        let client = try await loop.submit {
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            let client = RedisClient(url, times: times, tls: tls, on: loop, logger: logger)
            client.onChange = { feed.yield($0) }
            client.onLoss = { lossFeed.yield($0) }
            client.start()
            return NIOLoopBound(client, eventLoop: loop)
        }.get()
        do {
            let value = try await body(RedisProbe(client: client, changes: changes, losses: losses))
            try await loop.submit { client.value.stop() }.get()
            return value
        } catch {
            try await loop.submit { client.value.stop() }.get()
            throw error
        }
    }

    func wait(until isReady: Bool) async throws {
        for await change in changes where change == isReady { return }
        throw TestFailure(message: "the client has ended")
    }

    func nextLoss() async -> String? { await losses.first { _ in true } }

    func send(_ words: String..., within limit: Duration = .seconds(5)) async throws -> Result<RESPValue, RedisFailure>
    {
        try await client.eventLoop.flatSubmit { [client] in
            let promise = client.eventLoop.makePromise(of: Result<RESPValue, RedisFailure>.self)
            client.value.send(words.map { Array($0.utf8) }, within: limit) { promise.succeed($0) }
            return promise.futureResult
        }.get()
    }

    func run(
        _ script: RedisScript, keys: [String], _ arguments: [String]
    ) async throws -> Result<RESPValue, RedisFailure> {
        try await client.eventLoop.flatSubmit { [client] in
            let promise = client.eventLoop.makePromise(of: Result<RESPValue, RedisFailure>.self)
            client.value.run(script, keys: keys, arguments, within: .seconds(5)) { promise.succeed($0) }
            return promise.futureResult
        }.get()
    }
}
