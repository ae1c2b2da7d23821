package import CommandLineIO
internal import Glibc
package import RoomConnection
internal import RoomProtocol
package import TransportPluginAPI

/// One end of a measured pair, in a process of its own: performs the runner's requests, which come over standard input.
package struct BenchmarkPeer: Sendable {
    /// Where answers and complaints go.
    package struct Output: Sendable {
        package var line: @Sendable (JSONLine) -> Void
        package var printError: @Sendable (String) -> Void

        package init(line: @escaping @Sendable (JSONLine) -> Void, printError: @escaping @Sendable (String) -> Void) {
            self.line = line
            self.printError = printError
        }
    }

    private let requests = BenchmarkRequests()
    private let output: Output

    package init(output: Output) {
        self.output = output
        raiseDescriptorLimit()
    }

    /// Measures the other participant of the room, once it is connected. Throws when the room has ended.
    package func serve(_ room: Room, setPath: @escaping @Sendable (_ isUp: Bool) -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            var others: [ParticipantID: Timestamp] = [:]
            var joinedAt = Timestamp.zero
            var isServing = false
            for await event in room.events {
                switch event {
                case .joined:
                    joinedAt = .now()
                    output.line(JSONLine(event: "joined"))
                case .peerJoined(let participant): others[participant.id] = .now()
                case .peer(let id, .connected) where !isServing:
                    isServing = true
                    let since = max(joinedAt, others[id] ?? joinedAt)
                    var line = JSONLine(event: "open")
                    line.add("joinedAt", since.seconds, digits: 9)
                    output.line(line)
                    group.addTask {
                        try await BenchmarkEnd(RoomSubject(room: room, peer: id))
                            .serve(requests, output, setPath: setPath)
                    }
                case .peer(_, .recovering): output.line(JSONLine(event: "recovering"))
                case .left(let reason): throw reason.error ?? RoomError(.left, "the room was left")
                default: break
                }
            }
        }
    }

    /// Measures the peer transport alone; signals travel over standard input and output. Returns when there are no more
    /// requests.
    package func serve<Transport: PeerTransport>(_ transport: Transport, isOfferer: Bool) async throws {
        let connections = BareConnections(transport, isOfferer: isOfferer, output: output)
        requests.onSignal { connections.receive($0) }
        let first = try await connections.open(0)
        var line = JSONLine(event: "open")
        line.add("joinedAt", 0.0)
        output.line(line)
        try await BenchmarkEnd(first).serve(requests, output, open: { await connections.open(upTo: $0) })
        await connections.close()
    }
}

/// Raises the limit of descriptors as far as the system lets this process: each connection has sockets of its own.
private func raiseDescriptorLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}

extension BenchmarkEnd {
    /// Performs requests until there are no more.
    fileprivate func serve(
        _ requests: BenchmarkRequests, _ output: BenchmarkPeer.Output, setPath: (_ isUp: Bool) -> Void = { _ in },
        open: (_ count: Int) async -> JSONLine = { _ in JSONLine(event: "opened") }
    ) async throws {
        var stream: BenchmarkStream?
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
            case "flood":
                let form = BenchmarkForm(rawValue: request["as"] as? String ?? "") ?? .array
                answer = try await flood(size: request["size"] as? Int ?? 64, as: form, seconds: seconds)
            case "roundTrips": answer = try await roundTrips(count, at: receiver)
            case "answer": try answerRequests(onLoop: receiver == .loopSequence)
            case "requests": answer = try await self.requests(count, onLoop: receiver == .loopSequence)
            case "open": answer = await open(count)
            case "receiveStream":
                stream = try BenchmarkStream(subject)
                await stream?.receive()
            case "begun": await stream?.waitUntilBegun()
            case "received": if let stream { answer = try await stream.received() }
            case "stream":
                answer = try await BenchmarkStream(subject).send(seconds: seconds, pings: count > 0)
            case "cut": setPath(false)
            case "restore": setPath(true)
            case "talk": await talk.start()
            case "arm": talk.resetFirstArrival()
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
            case "losses":
                let losses = talk.losses(of: count)
                answer = JSONLine(event: "losses")
                answer.add("lost", losses.lost)
                answer.add("duplicated", losses.duplicated)
            default: return
            }
            output.line(answer)
        }
    }
}
