internal import ArgumentParser
internal import Foundation
internal import RoomConnection
internal import RoomProtocol
internal import TransportBenchmark
internal import TransportPluginAPI

/// One end of a measured pair, in a process of its own; speaks JSON Lines with `bench`. Not for people.
struct BenchPeerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "bench-peer", shouldDisplay: false)

    @OptionGroup var common: CommonOptions
    @OptionGroup var transport: TransportOptions
    @Option var name: String
    @Flag var asHost = false
    /// The peer transport alone, without a room; signals travel over standard input and output.
    @Flag var bare = false
    /// How many connections, bare only; the first is the one that is measured.
    @Option var connections = 1

    func run() async throws {
        let configuration = try transport.configuration(Settings(path: common.configFile), common)
        let requests = Requests()
        if bare {
            let plugin = try Backends.registry().peerPlugin(named: configuration.peer.name)
            let transport = try plugin.make(
                PluginContext(options: configuration.peer.options, logger: configuration.logger))
            try await runBare(transport, requests)
            await transport.shutdown()
        } else {
            try await TransportRuntime.withRunning(configuration, registry: try Backends.registry()) { runtime in
                let room = try await runtime.open(room: "bench", as: name, host: asHost)
                try await runRoom(room, requests)
            }
        }
    }

    private func runRoom(_ room: Room, _ requests: Requests) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            var others: [ParticipantID: Timestamp] = [:]
            var joinedAt = Timestamp.zero
            var isServing = false
            for await event in room.events {
                switch event {
                case .joined:
                    joinedAt = .now()
                    Output.line(JSONLine(event: "joined"))
                case .peerJoined(let participant): others[participant.id] = .now()
                case .peer(let id, .connected) where !isServing:
                    isServing = true
                    let since = max(joinedAt, others[id] ?? joinedAt)
                    var line = JSONLine(event: "open")
                    line.add("joinedAt", since.seconds, digits: 9)
                    Output.line(line)
                    group.addTask { try await BenchmarkEnd(RoomSubject(room: room, peer: id)).serve(requests) }
                case .left(let error): throw error ?? RoomError(.left, "the room was left")
                default: break
                }
            }
        }
    }

    private func runBare<Transport: PeerTransport>(_ transport: Transport, _ requests: Requests) async throws {
        let subjects = (0..<max(1, connections)).map { index in
            BareSubject(transport) { signal in Output.line(signal.line(index)) }
        }
        var memoryOfOne = 0
        for (index, subject) in subjects.enumerated() {
            try await subject.start(isOfferer: asHost)
            if index == 0 {
                // Signals that came before are kept until here.
                requests.onSignal { signal in
                    if signal.index < subjects.count { subjects[signal.index].receive(signal.value()) }
                }
            }
            try await subject.waitUntilOpen()
            if index == 0 { memoryOfOne = BenchmarkEnd.proportionalMemory() }
        }
        var line = JSONLine(event: "open")
        line.add("joinedAt", 0.0)
        line.add("memoryOfOne", memoryOfOne)
        line.add("memory", BenchmarkEnd.proportionalMemory())
        Output.line(line)
        try await BenchmarkEnd(subjects[0]).serve(requests)
        for subject in subjects { await subject.close() }
    }
}

/// A signal of the bare transport as it travels between the two processes.
private struct WireSignal: Sendable {
    var index: Int
    var kind: String
    var text: String
    var mediaID: String
    var fragment: String

    init(_ object: [String: Any]) {
        func text(_ key: String) -> String { object[key] as? String ?? "" }
        index = Int(text("index")) ?? 0
        kind = text("kind")
        self.text = text("text")
        mediaID = text("mid")
        fragment = text("ufrag")
    }

    func value<Transport>() -> BareSubject<Transport>.Signal {
        if let kind = SessionDescription.Kind(rawValue: kind) {
            return .description(SessionDescription(kind: kind, text: text))
        }
        return .candidate(
            PeerCandidate(
                text: text, mediaID: mediaID, mediaLineIndex: 0, usernameFragment: fragment.isEmpty ? nil : fragment))
    }
}

extension BareSubject.Signal {
    fileprivate func line(_ index: Int) -> JSONLine {
        var line = JSONLine(event: "signal")
        line.add("index", String(index))
        switch self {
        case .description(let description):
            line.add("kind", description.kind.rawValue)
            line.add("text", description.text)
        case .candidate(let candidate):
            line.add("kind", "candidate")
            line.add("text", candidate.text)
            line.add("mid", candidate.mediaID ?? "")
            line.add("ufrag", candidate.usernameFragment ?? "")
        }
        return line
    }
}

extension BenchmarkEnd {
    /// Performs requests until there are no more.
    fileprivate func serve(_ requests: Requests) async throws {
        for await request in requests.stream {
            switch request["do"] as? String {
            case "echo":
                try await echo(from: BenchmarkReceiver(rawValue: request["receiver"] as? String ?? "") ?? .handler)
                Output.line(JSONLine(event: "ok"))
            case "count":
                await startCounting()
                Output.line(JSONLine(event: "ok"))
            case "counted": Output.line(counted())
            case "idle": Output.line(try await idle(seconds: request["seconds"] as? Double ?? 5))
            case "flood":
                Output.line(
                    try await flood(size: request["size"] as? Int ?? 64, seconds: request["seconds"] as? Double ?? 1))
            case "roundTrips":
                Output.line(
                    try await roundTrips(
                        request["count"] as? Int ?? 1000,
                        at: BenchmarkReceiver(rawValue: request["receiver"] as? String ?? "") ?? .handler))
            default: return
            }
        }
    }
}

/// Requests from standard input, and signals for the bare transport among them.
private final class Requests: Sendable {
    private struct State {
        var early: [WireSignal] = []
        var onSignal: (@Sendable (WireSignal) -> Void)?
    }

    let stream: AsyncStream<[String: any Sendable]>
    private let state = Locked(State())

    init() {
        let (stream, feed) = AsyncStream.makeStream(of: [String: any Sendable].self)
        self.stream = stream
        let state = state
        let thread = Thread {
            while let line = readLine() {
                guard let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] else {
                    continue
                }
                if object["do"] as? String == "signal" {
                    let signal = WireSignal(object)
                    let handler = state.withLock { state in
                        if state.onSignal == nil { state.early.append(signal) }
                        return state.onSignal
                    }
                    handler?(signal)
                } else {
                    feed.yield(Self.request(object))
                }
            }
            feed.finish()
        }
        thread.start()
    }

    private static func request(_ object: [String: Any]) -> [String: any Sendable] {
        var request: [String: any Sendable] = [:]
        for (key, value) in object {
            switch (key, value) {
            case (_, let text as String): request[key] = text
            case ("seconds", let number as NSNumber): request[key] = number.doubleValue
            case ("handler", let number as NSNumber): request[key] = number.boolValue
            case (_, let number as NSNumber): request[key] = number.intValue
            default: break
            }
        }
        return request
    }

    func onSignal(_ handler: @escaping @Sendable (WireSignal) -> Void) {
        let early = state.withLock { state in
            state.onSignal = handler
            defer { state.early = [] }
            return state.early
        }
        for signal in early { handler(signal) }
    }
}
