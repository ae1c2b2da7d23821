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
        var others: [ParticipantID: Timestamp] = [:]
        var joinedAt = Timestamp.zero
        for await event in room.events {
            switch event {
            case .joined: joinedAt = .now()
            case .peerJoined(let participant): others[participant.id] = .now()
            case .peer(let id, .connected):
                let since = max(joinedAt, others[id] ?? joinedAt)
                var line = JSONLine(event: "open")
                line.add("joinedAt", since.seconds, digits: 9)
                Output.line(line)
                try await BenchmarkEnd(RoomSubject(room: room, peer: id)).serve(requests)
                return
            case .error(let error): throw error
            case .left(let error): throw error ?? RoomError(.left, "the room was left")
            default: break
            }
        }
    }

    private func runBare<Transport: PeerTransport>(_ transport: Transport, _ requests: Requests) async throws {
        let subject = BareSubject(transport) { signal in
            var line = JSONLine(event: "signal")
            switch signal {
            case .description(let description):
                line.add("kind", description.kind.rawValue)
                line.add("text", description.text)
            case .candidate(let candidate):
                line.add("kind", "candidate")
                line.add("text", candidate.text)
                line.add("mid", candidate.mediaID ?? "")
                line.add("ufrag", candidate.usernameFragment ?? "")
            }
            Output.line(line)
        }
        // Signals that came before are kept until here.
        try await subject.start(isOfferer: asHost)
        requests.onSignal { kind, text, mediaID, fragment in
            if let kind = SessionDescription.Kind(rawValue: kind) {
                subject.receive(.description(SessionDescription(kind: kind, text: text)))
            } else {
                subject.receive(
                    .candidate(
                        PeerCandidate(
                            text: text, mediaID: mediaID, mediaLineIndex: 0,
                            usernameFragment: fragment.isEmpty ? nil : fragment)))
            }
        }
        try await subject.waitUntilOpen()
        var line = JSONLine(event: "open")
        line.add("joinedAt", 0.0)
        Output.line(line)
        try await BenchmarkEnd(subject).serve(requests)
        await subject.close()
    }
}

extension BenchmarkEnd {
    /// Performs requests until there are no more.
    fileprivate func serve(_ requests: Requests) async throws {
        for await request in requests.stream {
            switch request["do"] as? String {
            case "echo":
                try await echo(fromHandler: request["handler"] as? Bool ?? true)
                Output.line(JSONLine(event: "ok"))
            case "count":
                await startCounting()
                Output.line(JSONLine(event: "ok"))
            case "counted": Output.line(counted())
            case "flood":
                Output.line(
                    try await flood(size: request["size"] as? Int ?? 64, seconds: request["seconds"] as? Double ?? 1))
            case "roundTrips":
                Output.line(
                    try await roundTrips(
                        request["count"] as? Int ?? 1000, fromHandler: request["handler"] as? Bool ?? true))
            default: return
            }
        }
    }
}

/// Requests from standard input, and signals for the bare transport among them.
private final class Requests: Sendable {
    private struct State {
        var early: [(String, String, String, String)] = []
        var onSignal: (@Sendable (String, String, String, String) -> Void)?
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
                    func text(_ key: String) -> String { object[key] as? String ?? "" }
                    let signal = (text("kind"), text("text"), text("mid"), text("ufrag"))
                    let handler = state.withLock { state in
                        if state.onSignal == nil { state.early.append(signal) }
                        return state.onSignal
                    }
                    handler?(signal.0, signal.1, signal.2, signal.3)
                } else {
                    var request: [String: any Sendable] = [:]
                    for (key, value) in object {
                        switch value {
                        case let text as String: request[key] = text
                        case let number as NSNumber:
                            switch key {
                            case "seconds": request[key] = number.doubleValue
                            case "handler": request[key] = number.boolValue
                            default: request[key] = number.intValue
                            }
                        default: break
                        }
                    }
                    feed.yield(request)
                }
            }
            feed.finish()
        }
        thread.start()
    }

    func onSignal(_ handler: @escaping @Sendable (String, String, String, String) -> Void) {
        let early = state.withLock { state in
            state.onSignal = handler
            defer { state.early = [] }
            return state.early
        }
        for signal in early { handler(signal.0, signal.1, signal.2, signal.3) }
    }
}
