internal import ArgumentParser
@preconcurrency internal import Dispatch
internal import Foundation
internal import InProcessTransport
internal import RoomConnection
internal import RoomProtocol
internal import TransportBenchmark
internal import TransportPluginAPI

struct ConnectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connect", abstract: "Join a room: lines from standard input are sent, what happens is printed.")

    @OptionGroup var common: CommonOptions
    @OptionGroup var transport: TransportOptions

    @Argument(help: "The room's name.")
    var room: String

    @Option(help: "The name that the others see; unique in the room.")
    var name: String?

    @Flag(help: "Create the room and be its host.")
    var asHost = false

    @Flag(help: "One JSON object a line, on standard input and output.")
    var json = false

    @Flag(help: "Leave the room when standard input ends.")
    var leaveAtEof = false

    @Flag(help: .hidden)
    var faultInjection = false

    func run() async throws {
        let settings = try Settings(path: common.configFile)
        guard let name = try name ?? settings.string("name") else {
            throw CommandError(.usage, "who are you? Give --name, ROOM_NAME or 'name' in the configuration file")
        }
        let configuration = try transport.configuration(settings, common)
        let faults = faultInjection ? ICEFaultControl() : nil
        let reporter = EventReporter(json: json)
        let status = try await TransportRuntime.withRunning(
            configuration,
            registry: try Backends.registry(faults: faults, plugins: settings.strings("plugins"))
        ) { runtime in
            reporter.ready()
            let room = try await runtime.open(room: room, as: name, host: asHost)
            return await Session(room: room, reporter: reporter, faults: faults, json: json, leaveAtEOF: leaveAtEof)
                .run()
        }
        if status != .done { throw status }
    }
}

/// How to reach the server and the peers: shared by `connect` and `bench`.
struct TransportOptions: ParsableArguments {
    @Option(help: "The room server, ws://… or wss://….")
    var server: String?

    @Option(help: "The signaling backend; `room plugins` lists them.")
    var signaling: String?

    @Option(help: "The peer backend; `room plugins` lists them.")
    var peer: String?

    @Option(help: "all, or relay: only TURN, no address of this machine is told to anybody.")
    var icePolicy: String?

    @Option(help: "A join token, where the server asks for one.")
    var token: String?

    @Option(help: "stun:host:port or turn:host:port, added to the server's. Repeatable.")
    var iceServer: [String] = []

    @Option(help: "A PEM file with the authorities to trust for wss. Default: the system's.")
    var tlsAuthorities: String?

    func configuration(_ settings: Settings, _ common: CommonOptions) throws -> RoomConfiguration {
        let url = try server ?? settings.string("server") ?? "ws://127.0.0.1:8080/"
        var configuration = try RoomConfiguration(server: url)
        configuration.server.tls.authoritiesFile = tlsAuthorities
        if let name = try signaling ?? settings.string("signaling") { configuration.signaling.name = name }
        if let name = try peer ?? settings.string("peer") { configuration.peer.name = name }
        configuration.signaling.options = try settings.options(
            "signalingOptions", ofBackend: "signaling", configuration.signaling.name)
        configuration.peer.options = try settings.options("peerOptions", ofBackend: "peer", configuration.peer.name)
        if let policy = try icePolicy ?? settings.string("icePolicy") {
            guard let policy = ICEPolicy(rawValue: policy) else {
                throw CommandError(.usage, "'\(policy)' is no ICE policy: write all or relay")
            }
            configuration.icePolicy = policy
        }
        configuration.iceServers = try settings.iceServers() + iceServer.map { ICEServer(urls: [$0]) }
        if let token = try token ?? settings.string("token") { configuration.token = { _ in token } }
        configuration.logger = try LogLevels.logger(common.logLevel ?? settings.string("logLevel"))
        return configuration
    }
}

/// One room on standard input and output.
private struct Session: Sendable {
    let room: Room
    let reporter: EventReporter
    let faults: ICEFaultControl?
    let json: Bool
    let leaveAtEOF: Bool

    private enum Input: Sendable {
        case line(String, DispatchSemaphore)
        case end
        case signal(Int32)
    }

    func run() async -> ExitStatus {
        let (inputs, feed) = AsyncStream.makeStream(of: Input.self)
        let signals = [SIGINT, SIGTERM].map { SignalWatch($0) { feed.yield(.signal($0)) } }
        defer { for signal in signals { signal.cancel() } }
        readLines(into: feed)

        await room.onMessage { [reporter] message in reporter.message(message) }
        return await withTaskGroup(of: (ExitStatus?, isEnd: Bool).self) { group in
            group.addTask {
                var status = ExitStatus.done
                for await event in room.events {
                    reporter.event(event, in: room)
                    if case .left(.some) = event { status = .refused }
                }
                return (status, isEnd: true)
            }
            group.addTask { (await take(inputs), isEnd: false) }
            // The events end when the room ends; the inputs may go on for ever.
            var status = ExitStatus.done
            var hasEnded = false
            while let (result, isEnd) = await group.next() {
                if let result, status == .done { status = result }
                if isEnd { hasEnded = true }
                if hasEnded { feed.finish() }
            }
            return status
        }
    }

    /// Performs what comes in. Nil at the end of input; `.interrupted` when a signal made it leave.
    private func take(_ inputs: AsyncStream<Input>) async -> ExitStatus? {
        var count = 0
        for await input in inputs {
            switch input {
            case .line(let line, let done):
                if json {
                    if await !perform(line, &count) { return nil }
                } else if !line.isEmpty {
                    await send(Payload(line), isText: true, to: nil, channel: .reliable)
                }
                done.signal()
            case .end:
                if leaveAtEOF {
                    await room.leave()
                    return nil
                }
            case .signal(let number):
                await room.leave(within: .seconds(2))
                return number == SIGINT ? .interrupted : nil
            }
        }
        return nil
    }

    /// False: the room was left.
    private func perform(_ line: String, _ count: inout Int) async -> Bool {
        guard let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
            let verb = object["do"] as? String
        else {
            reporter.problem("usage", "not a command: write one JSON object with \"do\" per line", isRetryable: false)
            return true
        }
        let participant = (object["to"] as? String).map { ParticipantID($0) }
        switch verb {
        case "send":
            let channel = RoomChannel(rawValue: object["channel"] as? String ?? "reliable")
            let text = object["text"] as? String
            let data = (object["data"] as? String).flatMap { Data(base64Encoded: $0) }
            guard let channel, text != nil || data != nil else {
                reporter.problem(
                    "usage", "send takes \"text\" or \"data\" (base64), and \"channel\" reliable, unordered or lossy",
                    isRetryable: false)
                return true
            }
            let payload = text.map { Payload($0) } ?? Payload(data ?? Data())
            if await send(payload, isText: text != nil, to: participant, channel: channel) {
                count += 1
                reporter.sent(count)
            }
        case "leave":
            await room.leave()
            return false
        case "reconnect": room.reconnectNow()
        case "restart": room.restartPaths(to: (object["peer"] as? String).map { ParticipantID($0) })
        case "stats": reporter.statistics(await room.statistics())
        case "fault" where faults != nil:
            if object["path"] as? String == "cut" { faults?.cut() } else { faults?.restore() }
        default:
            reporter.problem(
                "usage", "there is no command '\(verb.prefix(32))': send, leave, reconnect, restart, stats",
                isRetryable: false)
        }
        return true
    }

    @discardableResult
    private func send(_ payload: Payload, isText: Bool, to participant: ParticipantID?, channel: RoomChannel) async
        -> Bool
    {
        do throws(RoomError) {
            try await room.send(payload, isText: isText, to: participant, channel: channel)
            return true
        } catch {
            reporter.problem(error)
            return false
        }
    }

    /// A thread of its own reads: `readLine` blocks. It waits until a line was taken before it reads the next.
    private func readLines(into feed: AsyncStream<Input>.Continuation) {
        let thread = Thread {
            let done = DispatchSemaphore(value: 0)
            while let line = readLine() {
                guard case .enqueued = feed.yield(.line(line, done)) else { return }
                done.wait()
            }
            feed.yield(.end)
        }
        thread.name = "stdin"
        thread.start()
    }
}

/// Calls back for a signal that would end the process otherwise.
final class SignalWatch: Sendable {
    private let source: any DispatchSourceSignal

    init(_ number: Int32, _ handler: @escaping @Sendable (Int32) -> Void) {
        signal(number, SIG_IGN)
        source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler { handler(number) }
        source.activate()
    }

    func cancel() { source.cancel() }
}
