internal import CommandLineIO
internal import Foundation
internal import TransportPluginAPI

/// A demo of recovery: a room server and two participants, each in a process of its own, that lose the server and the
/// path between them, and recover.
package final class Demo: Sendable {
    /// A step of the demo, for the one who watches it.
    package struct Step: Sendable {
        package enum Kind: Sendable { case title, plain, detail, outage, recovery }

        package var kind: Kind
        package var message: String
        /// The time that the step took, where it is of interest.
        package var took: Duration?
    }

    /// The demo has failed, with the reason.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private typealias Tasks = ThrowingTaskGroup<Void, any Error>

    private struct State {
        var record = DemoRecord()
        var waits: [(isDone: @Sendable (DemoRecord) -> Bool, pending: PendingOutcome<Void>)] = []
        var children: [ChildProcess] = []
        var isTalking = true
    }

    private let state = Locked(State())
    private let directory: URL
    private let report: @Sendable (Step) -> Void

    /// The longest wait for a step.
    private static let timeout = Duration.seconds(20)
    /// The time between two messages of a participant.
    private static let messageInterval = Duration.milliseconds(50)

    /// Creates a demo that calls `report` at each step.
    package init(report: @escaping @Sendable (Step) -> Void) throws {
        self.report = report
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("room-demo-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        // The key that signs sessions outlives the server, so that a restarted server recognises its participants.
        let key = (0..<32).map { _ in String(format: "%02x", UInt8.random(in: 0...255)) }.joined()
        _ = FileManager.default.createFile(
            atPath: keyFile, contents: Data(key.utf8), attributes: [.posixPermissions: 0o600])
    }

    deinit { try? FileManager.default.removeItem(at: directory) }

    private var keyFile: String { directory.appendingPathComponent("session.key").path }

    /// Runs the demo, which takes about ten seconds. Throws `Failure`, `ChildProcess.NotStarted`, or
    /// `CancellationError`.
    package func run() async throws -> DemoResult {
        try await withThrowingTaskGroup(of: Void.self) { group in
            // The tasks that read from the processes end with them.
            defer { stopAll() }
            return try await run(&group)
        }
    }

    /// Ends the processes.
    package func stopAll() {
        for child in state.withLock({ $0.children }) { child.stop() }
    }

    private func run(_ tasks: inout Tasks) async throws -> DemoResult {
        say(.title, "A room server and two peers, each a process of its own.")
        let server = try await startServer(port: 0, &tasks)
        guard let url = record.serverURL, let port = URL(string: url)?.port else {
            throw Failure(description: "the room server did not say where it listens")
        }
        try await meet(url, &tasks)

        tasks.addTask { try await self.talk() }
        say(.plain, "they talk: 20 messages a second each way")
        try await receive(30)
        let serverRecovery = try await restart(server, port: port, &tasks)
        try await receive(30)
        let pathRecovery = try await cutPath()
        try await receive(30)

        state.withLock { $0.isTalking = false }
        try await wait("the last messages to arrive") { $0.isEverythingReceived }
        send("leave")
        return record.result(serverRecovery: serverRecovery, pathRecovery: pathRecovery)
    }

    // MARK: The acts

    private func meet(_ url: String, _ tasks: inout Tasks) async throws {
        let start = Timestamp.now()
        try startParticipant("alice", url, isHost: true, &tasks)
        try await wait("alice to be in the room") { $0.hasJoined("alice") }
        try startParticipant("bob", url, isHost: false, &tasks)
        try await wait("alice and bob to be connected") { $0.areBothConnected }
        say(.recovery, "alice and bob are in the room, connected peer to peer, encrypted", took: .now() - start)
    }

    /// Kills the server and starts another. Returns the time from then until both participants are back.
    private func restart(_ server: ChildProcess, port: Int, _ tasks: inout Tasks) async throws -> Duration {
        say(.outage, "the room server is killed (SIGKILL), its state is lost")
        let before = record
        server.stop()
        try await wait("the loss of the server to be noticed") { $0.hasLostServer }
        let count = try await receive(40)
        say(.detail, "they go on talking without it: \(count) messages came meanwhile")
        _ = try await startServer(port: port, &tasks)
        let start = Timestamp.now()
        try await wait("both to be back in the room") { $0.haveBothRejoined(since: before) }
        let recovery = Timestamp.now() - start
        say(.recovery, "the server is back, and so are both in the room", took: recovery)
        return recovery
    }

    /// Cuts the path and restores it. Returns the time from then until messages have arrived in both directions.
    private func cutPath() async throws -> Duration {
        say(.outage, "the path between them is cut: every datagram is dropped")
        send("fault", ("path", "cut"))
        try await wait("the cut to be noticed") { $0.hasLostConnection }
        say(.detail, "both noticed; messages are kept, new paths are tried")
        let before = record
        try await wait("messages to be sent") { $0.haveBothSent(40, since: before) }
        send("fault", ("path", "restore"))
        let start = Timestamp.now()
        try await wait("messages in both directions") { $0.haveBothReceived(after: start) }
        let recovery = Timestamp.now() - start
        say(.recovery, "the path is back: first messages in both directions", took: recovery)
        return recovery
    }

    private func say(_ kind: Step.Kind, _ message: String, took: Duration? = nil) {
        report(Step(kind: kind, message: message, took: took))
    }

    // MARK: The processes

    private func startServer(port: Int, _ tasks: inout Tasks) async throws -> ChildProcess {
        let child = try ChildProcess(
            name: "server", arguments: ["serve", "--port", "\(port)", "--session-key-file", keyFile])
        update { $0.serverStarts() }
        follow(child, &tasks) { $0.serverPrinted($1) }
        try await wait("the room server to listen") { $0.serverURL != nil }
        return child
    }

    private func startParticipant(_ name: String, _ url: String, isHost: Bool, _ tasks: inout Tasks) throws {
        var arguments = ["connect", "demo", "--name", name, "--server", url, "--json", "--fault-injection"]
        if isHost { arguments.append("--as-host") }
        follow(try ChildProcess(name: name, arguments: arguments), &tasks) {
            $0.participantPrinted($1, name, at: .now())
        }
    }

    /// Adds the lines of a child to the record until the child has ended.
    private func follow(
        _ child: ChildProcess, _ tasks: inout Tasks,
        _ add: @escaping @Sendable (inout DemoRecord, [String: any Sendable]) -> Void
    ) {
        state.withLock { $0.children.append(child) }
        tasks.addTask {
            for await line in child.lines { self.update { add(&$0, line) } }
        }
    }

    private var participants: [ChildProcess] {
        state.withLock { $0.children.filter { DemoRecord.names.contains($0.name) } }
    }

    /// Sends a command to both participants.
    private func send(_ command: String, _ field: (name: String, value: String)? = nil) {
        for child in participants { child.send(Self.line(command, field)) }
    }

    private static func line(_ command: String, _ field: (name: String, value: String)?) -> JSONLine {
        var line = JSONLine()
        line.add("do", command)
        if let field { line.add(field.name, field.value) }
        return line
    }

    /// Sends numbered messages in both directions until the end of the talk.
    private func talk() async throws {
        var next = ContinuousClock.now
        while state.withLock({ $0.isTalking }) {
            for child in participants {
                let number = update { $0.nextNumber(of: child.name) }
                child.send(Self.line("send", ("text", String(number))))
            }
            next = next.advanced(by: Self.messageInterval)
            try await Task.sleep(until: next)
        }
        update { $0.talkEnded() }
    }

    // MARK: The record

    private var record: DemoRecord { state.withLock { $0.record } }

    /// Changes the record, and wakes the tasks that have waited for the change.
    @discardableResult
    private func update<Result>(_ change: (inout DemoRecord) -> Result) -> Result {
        let (result, done) = state.withLock { state in
            let result = change(&state.record)
            return (result, state.waits.filter { [record = state.record] in $0.isDone(record) })
        }
        for wait in done { wait.pending.settle(.success(())) }
        return result
    }

    /// Returns when each participant has received `count` more messages, with the number that both have received since.
    @discardableResult
    private func receive(_ count: Int) async throws -> Int {
        let before = record
        try await wait("messages to arrive") { $0.haveBothReceived(count, since: before) }
        return record.messages - before.messages
    }

    /// Waits until the record satisfies `isDone`. Throws when that takes too long, or a participant has failed.
    private func wait(_ what: String, until isDone: @escaping @Sendable (DemoRecord) -> Bool) async throws {
        let pending = PendingOutcome<Void>()
        let isOver = { @Sendable (record: DemoRecord) in record.failure != nil || isDone(record) }
        state.withLock { $0.waits.append((isOver, pending)) }
        defer { state.withLock { $0.waits.removeAll { $0.pending === pending } } }
        update { _ in }
        let timer = Task {
            try? await Task.sleep(for: Self.timeout)
            pending.settle(.failure(TransportError(.timedOut, "waited \(Self.timeout) for \(what), in vain")))
        }
        defer { timer.cancel() }
        do throws(TransportError) {
            try await pending.value { pending.settle(.failure(TransportError(.cancelled, "the demo was cancelled"))) }
        } catch {
            throw Failure(description: error.message)
        }
        if let failure = record.failure { throw Failure(description: failure) }
    }
}
