internal import ArgumentParser
internal import Foundation
internal import InProcessTransport
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
    /// Obey `cut` and `restore`.
    @Flag var faultInjection = false

    func run() async throws {
        do { try await serve() } catch {
            var line = JSONLine(event: "failed")
            line.add("reason", (error as? CommandError)?.message ?? "\(error)")
            Output.line(line)
            throw error
        }
    }

    private func serve() async throws {
        raiseDescriptorLimit()
        let settings = try Settings(path: common.configFile)
        let configuration = try transport.configuration(settings, common)
        let faults = faultInjection ? ICEFaultControl() : nil
        let registry = try Backends.registry(faults: faults, plugins: settings.strings("plugins"))
        let requests = BenchRequests()
        if bare {
            let plugin = try registry.peerPlugin(named: configuration.peer.name)
            let transport = try plugin.make(
                PluginContext(options: configuration.peer.options, logger: configuration.logger))
            try await runBare(transport, requests)
            await transport.shutdown()
        } else {
            try await TransportRuntime.withRunning(configuration, registry: registry) { runtime in
                let room = try await runtime.open(room: "bench", as: name, host: asHost)
                try await runRoom(room, requests, faults)
            }
        }
    }

    /// Each connection has sockets of its own: as many descriptors as the system lets us have.
    private func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    private func runRoom(_ room: Room, _ requests: BenchRequests, _ faults: ICEFaultControl?) async throws {
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
                    group.addTask {
                        try await BenchmarkEnd(RoomSubject(room: room, peer: id)).serve(requests, faults: faults)
                    }
                case .left(let reason): throw reason.error ?? RoomError(.left, "the room was left")
                default: break
                }
            }
        }
    }

    private func runBare<Transport: PeerTransport>(_ transport: Transport, _ requests: BenchRequests) async throws {
        let connections = BareConnections(transport, isOfferer: asHost)
        requests.onSignal { connections.receive($0) }
        let first = try await connections.open(0)
        var line = JSONLine(event: "open")
        line.add("joinedAt", 0.0)
        Output.line(line)
        try await BenchmarkEnd(first).serve(requests) { await connections.open(upTo: $0) }
        await connections.close()
    }
}

extension BenchmarkEnd {
    /// Performs requests until there are no more.
    fileprivate func serve(
        _ requests: BenchRequests, faults: ICEFaultControl? = nil,
        open: (_ count: Int) async -> JSONLine = { _ in JSONLine(event: "opened") }
    ) async throws {
        for await request in requests.stream {
            let count = request["count"] as? Int ?? 1000
            let seconds = request["seconds"] as? Double ?? 1
            let receiver = BenchmarkReceiver(rawValue: request["receiver"] as? String ?? "") ?? .handler
            var answer = JSONLine(event: "ok")
            switch request["do"] as? String {
            case "echo": try await echo(from: receiver)
            case "count": await startCounting()
            case "counted": answer = counted()
            case "usage": answer = usage()
            case "idle": answer = try await idle(seconds: seconds)
            case "flood": answer = try await flood(size: request["size"] as? Int ?? 64, seconds: seconds)
            case "roundTrips": answer = try await roundTrips(count, at: receiver)
            case "open": answer = await open(count)
            case "cut": faults?.cut()
            case "restore": faults?.restore()
            case "talk": await talk.start()
            case "arm": talk.arm()
            case "first":
                answer = JSONLine(event: "first")
                answer.add("at", await talk.firstArrival().seconds, digits: 9)
            case "silence":
                answer = JSONLine(event: "silence")
                answer.add("seconds", talk.longestSilence.inSeconds)
            case "stopTalking":
                let sent = try await talk.stop()
                answer = JSONLine(event: "talked")
                answer.add("sent", sent)
            case "books":
                let books = talk.books(of: count)
                answer = JSONLine(event: "books")
                answer.add("lost", books.lost)
                answer.add("duplicated", books.duplicated)
            default: return
            }
            Output.line(answer)
        }
    }
}
