package import TransportPluginAPI

/// One reliable channel of a peer transport without a room: the difference to a room is the room's cost.
///
/// SAFETY of `@unchecked Sendable`: `shared` is behind its lock; all other state is touched only on the loop.
package final class BareSubject<Transport: PeerTransport>: BenchmarkSubject, PeerConnectionHandler, @unchecked Sendable
{
    /// A signal to pass to the other end, in order.
    package enum Signal: Sendable {
        case description(SessionDescription)
        case candidate(PeerCandidate)
    }

    private struct Shared {
        var isOpen = false
        var isBlocked = false
        var waiting: [CheckedContinuation<Void, Never>] = []
        var messages: [Payload] = []
        var failure: TransportError?
    }

    private let transport: Transport
    private let shared = Locked(Shared())
    private let onSignal: @Sendable (Signal) -> Void
    private var connection: Transport.Connection?
    private var channel: ChannelID?
    /// The signals that arrived before `start`.
    private var early: [Signal] = []
    private var handler: Handler = { _ in }
    private var consumer: (@Sendable (Payload) async throws -> Void)?
    private let consumerTask = Locked<Task<Void, any Error>?>(nil)

    package init(_ transport: Transport, onSignal: @escaping @Sendable (Signal) -> Void) {
        self.transport = transport
        self.onSignal = onSignal
    }

    package func start(isOfferer: Bool) async throws {
        try await transport.loop.runThrowing { [self] () throws(TransportError) in
            let connection = try transport.makeConnection(PeerConnectionConfiguration(), handler: self)
            self.connection = connection
            for signal in early { take(signal) }
            early = []
            guard isOfferer else { return }
            channel = try connection.openChannel(ChannelParameters(label: "bench"))
            try connection.offer()
        }
    }

    package func receive(_ signal: Signal) {
        transport.loop.execute { [self] in
            if connection == nil { early.append(signal) } else { take(signal) }
        }
    }

    private func take(_ signal: Signal) {
        switch signal {
        case .description(let description): try? connection?.setRemoteDescription(description)
        case .candidate(let candidate): try? connection?.addRemoteCandidate(candidate)
        }
    }

    package func waitUntilOpen() async throws {
        await wait { $0.isOpen || $0.failure != nil }
        if let failure = shared.withLock({ $0.failure }) { throw failure }
    }

    /// Fails the connection with this error, unless it has failed already, and wakes tasks that wait for it.
    package func giveUp(_ error: TransportError) { change { $0.failure = $0.failure ?? error } }

    package func close() async { await transport.loop.run { [self] in connection?.close() } }

    // MARK: BenchmarkSubject

    package func setHandler(_ handler: @escaping Handler) async {
        consumerTask.withLock { $0 }?.cancel()
        await transport.loop.run { [self] in
            self.handler = handler
            consumer = nil
        }
    }

    package func reply(_ bytes: UnsafeRawBufferPointer) {
        guard let connection, let channel else { return }
        try? connection.send(bytes, isText: false, on: channel)
    }

    package func send(_ bytes: UnsafeRawBufferPointer) async throws {
        let payload = Payload(copying: bytes)
        while true {
            let isTaken = try await transport.loop.runThrowing { [self] () throws(TransportError) in
                try trySend(payload)
            }
            if isTaken { return }
            await wait { !$0.isBlocked || $0.failure != nil }
        }
    }

    /// On the loop, like a program that uses only the transport: no hop per message.
    package func flood(
        _ bytes: UnsafeRawBufferPointer, as form: BenchmarkForm, until end: Timestamp
    ) async throws -> Int {
        let payload = Payload(copying: bytes)
        var sent = 0
        while Timestamp.now() < end {
            let count = try await transport.loop.runThrowing { [self] () throws(TransportError) in
                var count = 0
                while count < 256, try trySend(payload) { count += 1 }
                return count
            }
            sent += count
            if count < 256 { await wait { !$0.isBlocked || $0.failure != nil } }
        }
        return sent
    }

    private func trySend(_ payload: Payload) throws(TransportError) -> Bool {
        guard let connection, let channel else { throw TransportError(.closed, "the connection is closed") }
        do throws(TransportError) {
            try payload.withUnsafeBytes { bytes throws(TransportError) in
                try connection.send(bytes, isText: false, on: channel)
            }
            return true
        } catch {
            guard error.code == .wouldBlock else { throw error }
            shared.withLock { $0.isBlocked = true }
            return false
        }
    }

    package func flush() async throws {
        while await transport.loop.run({ [self] in channel.flatMap { connection?.bufferedAmount(of: $0) } ?? 0 }) > 0 {
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    package func consume(onLoop: Bool, _ body: @escaping @Sendable (Payload) async throws -> Void) async throws {
        consumerTask.withLock { $0 }?.cancel()
        await transport.loop.run { [self] in consumer = body }
        let task = Task(executorPreference: onLoop ? transport.loop.taskExecutor : nil) { [self] in
            while !Task.isCancelled {
                await wait { !$0.messages.isEmpty || $0.failure != nil }
                // Another consumer has taken over, and gets the messages.
                if Task.isCancelled { return }
                let batch = shared.withLock { shared in
                    defer { shared.messages = [] }
                    return shared.messages
                }
                if batch.isEmpty { return }
                for payload in batch { try await body(payload) }
            }
        }
        consumerTask.withLock { $0 = task }
    }

    // MARK: PeerConnectionHandler

    package func peerConnection(didEmit event: PeerConnectionEvent) {
        switch event {
        case .localDescription(let description): onSignal(.description(description))
        case .localCandidate(let candidate): onSignal(.candidate(candidate))
        case .channelOpened(let id, _, _):
            channel = id
            change { $0.isOpen = true }
        case .channelWritable: change { $0.isBlocked = false }
        case .closed(let error):
            change { $0.failure = error ?? TransportError(.closed, "the connection is closed") }
        default: break
        }
    }

    package func peerConnection(didReceive bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) {
        if consumer == nil {
            handler(bytes)
        } else {
            let payload = Payload(copying: bytes)
            change { $0.messages.append(payload) }
        }
    }

    private func change(_ body: (inout Shared) -> Void) {
        let waiting = shared.withLock { shared -> [CheckedContinuation<Void, Never>] in
            body(&shared)
            defer { shared.waiting = [] }
            return shared.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    private func wait(until isDone: @escaping @Sendable (borrowing Shared) -> Bool) async {
        while true {
            let mustWait = shared.withLock { !isDone($0) }
            guard mustWait else { return }
            await withCheckedContinuation { continuation in
                let isReady = shared.withLock { shared -> Bool in
                    if isDone(shared) { return true }
                    shared.waiting.append(continuation)
                    return false
                }
                if isReady { continuation.resume() }
            }
        }
    }
}
