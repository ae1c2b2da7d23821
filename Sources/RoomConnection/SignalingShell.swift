internal import RoomCore
internal import RoomProtocol
internal import RoomValues
internal import TransportPluginAPI

/// Opens, feeds and ends signaling connections as the room's machine says, and tells it what comes of them.
///
/// It holds no retry logic and knows nothing of rooms. Everything runs on the peer loop; each attempt is a child task
/// of `run()`.
///
/// SAFETY of `@unchecked Sendable`: all state is touched only on the loop.
final class SignalingShell<Transport: SignalingTransport>: @unchecked Sendable {
    typealias Report = (RoomMachine.Event) -> Void

    /// One attempt, and the connection that came of it.
    private final class Attempt: @unchecked Sendable {
        // SAFETY: touched only on the loop, `outbox` excepted, which is its own.
        var connection: Transport.Connection?
        var isAbandoned = false
        var closeTimer: LoopTimer?
        let outbox: Mailbox<Outgoing>
        /// Raised when the attempt is given up before it has come to a connection.
        let abandonment = Flag()

        init(limit: Int) { outbox = Mailbox(limit: limit) }

        func abandon() {
            isAbandoned = true
            abandonment.raise()
        }
    }

    private enum Outgoing: Sendable {
        case message(Payload)
        case close(SignalingClose)
    }

    /// When a connection is given up that does not take what is to be sent.
    struct Limits: Sendable {
        /// Bytes that wait for the transport. Far above what the machine keeps until it is acknowledged (1 MiB), which
        /// may be sent at once: what is over that are answers to a server that goes on asking and does not read.
        var outbox = 4 << 20
        /// From `close` until `abort`.
        var closePatience: Duration = .seconds(3)
    }

    private let limits: Limits
    private let transport: Transport
    private let loop: TransportLoop
    private var attempts: [ConnectionGeneration: Attempt] = [:]
    /// Attempts that are to be made.
    private let openings = Mailbox<(ConnectionGeneration, SignalingEndpoint)>(limit: .max)
    var report: Report = { _ in }

    init(transport: Transport, loop: TransportLoop, limits: Limits) {
        self.transport = transport
        self.loop = loop
        self.limits = limits
    }

    /// The address that the open connection leaves from, where its transport knows.
    var localAddress: String? { attempts.values.lazy.compactMap { $0.connection?.localAddress }.first }

    // MARK: The machine's actions, on the loop

    func open(_ generation: ConnectionGeneration, _ endpoint: SignalingEndpoint) {
        attempts[generation] = Attempt(limit: limits.outbox)
        openings.append((generation, endpoint), weight: 0)
    }

    func send(_ envelope: Envelope<ClientMessage>, _ generation: ConnectionGeneration) {
        guard let attempt = attempts[generation] else { return }
        let payload = Payload(RoomProtocolCodec.encode(envelope))
        // The fixed part covers what a short message costs.
        guard !attempt.outbox.append(.message(payload), weight: payload.count + 64) else { return }
        abort(generation)
        report(
            .transportClosed(
                generation,
                SignalingFailure(
                    "the connection takes no messages: over \(limits.outbox) bytes wait to be sent")))
    }

    /// Ends an attempt or a connection at once. Nothing of it is told any more.
    func abort(_ generation: ConnectionGeneration) {
        guard let attempt = attempts.removeValue(forKey: generation) else { return }
        attempt.abandon()
        attempt.outbox.finish()
        attempt.connection?.abort()
    }

    /// Sends what was accepted and closes in order. Nothing of it is told any more.
    func close(_ generation: ConnectionGeneration, _ reason: SignalingClose) {
        guard let attempt = attempts.removeValue(forKey: generation) else { return }
        if attempt.connection == nil { attempt.abandon() }
        attempt.isAbandoned = true
        attempt.outbox.append(.close(reason), weight: 0)
        attempt.outbox.finish()
        // What was sent before may never go out, over a connection that is half-open.
        attempt.closeTimer = loop.schedule(after: limits.closePatience) { attempt.connection?.abort() }
    }

    /// Lets `run()` end when what is under way has ended.
    func finish() {
        for generation in attempts.keys.sorted() { abort(generation) }
        openings.finish()
    }

    // MARK: The tasks

    /// Runs until `finish()`; all tasks of the signaling side are its children.
    func run() async {
        await withDiscardingTaskGroup { group in
            while let batch = await openings.takeAll() {
                for (generation, endpoint) in batch {
                    guard let attempt = attempts[generation] else { continue }
                    group.addTask { await self.run(attempt, generation, endpoint) }
                }
            }
        }
    }

    private func run(_ attempt: Attempt, _ generation: ConnectionGeneration, _ endpoint: SignalingEndpoint) async {
        let connection: Transport.Connection
        do throws(TransportError) {
            connection = try await connect(attempt, endpoint)
        } catch {
            guard !attempt.isAbandoned else { return }
            attempts[generation] = nil
            report(.transportFailed(generation, SignalingFailure(error)))
            return
        }
        guard !attempt.isAbandoned else {
            // A late success of an attempt that was given up.
            connection.abort()
            return
        }
        attempt.connection = connection
        report(.transportConnected(generation))
        await withDiscardingTaskGroup { group in
            group.addTask { await self.write(attempt, connection) }
            await self.read(attempt, generation, connection)
            attempt.outbox.finish()
        }
        attempt.closeTimer?.cancel()
        attempt.closeTimer = nil
    }

    /// Opens a connection; an attempt that is given up is cancelled at once.
    private func connect(
        _ attempt: Attempt, _ endpoint: SignalingEndpoint
    ) async throws(TransportError) -> Transport.Connection {
        let outcome = await withTaskGroup(of: Result<Transport.Connection, TransportError>?.self) { group in
            group.addTask { [transport] in
                do throws(TransportError) {
                    return .success(try await transport.connect(to: endpoint))
                } catch {
                    return .failure(error)
                }
            }
            group.addTask {
                await attempt.abandonment.wait()
                return nil
            }
            var outcome: Result<Transport.Connection, TransportError>?
            for await result in group {
                if let result { outcome = result }
                group.cancelAll()
            }
            return outcome
        }
        guard let outcome else { throw TransportError(.cancelled, "the attempt was given up") }
        return try outcome.get()
    }

    private func read(
        _ attempt: Attempt, _ generation: ConnectionGeneration, _ connection: Transport.Connection
    ) async {
        var failure: SignalingFailure?
        do throws(TransportError) {
            while let message = try await connection.receive() {
                guard !attempt.isAbandoned else { continue }
                let payload = message.payload
                do throws(ProtocolError) {
                    report(.received(try payload.decodeServerMessage(), generation))
                } catch {
                    report(.receivedMalformed(error, generation))
                }
            }
            failure = connection.closeReason.flatMap(SignalingFailure.init)
        } catch {
            failure = SignalingFailure(error)
        }
        guard !attempt.isAbandoned else { return }
        attempts[generation] = nil
        attempt.isAbandoned = true
        connection.abort()
        report(.transportClosed(generation, failure))
    }

    private func write(_ attempt: Attempt, _ connection: Transport.Connection) async {
        while let batch = await attempt.outbox.takeAll() {
            for outgoing in batch {
                switch outgoing {
                case .message(let payload):
                    // A failure shows in `receive()`, which ends the connection.
                    guard (try? await connection.send(.text(payload))) != nil else { return }
                case .close(let reason):
                    await connection.close(reason, within: .seconds(1))
                    return
                }
            }
        }
    }
}

extension SignalingFailure {
    init(_ error: TransportError) {
        let isRetryable =
            switch error.code {
            // The same attempt will fail the same way: a wrong URL, an untrusted certificate, a backend that cannot do
            // it.
            case .invalidArgument, .notSupported, .unavailable, .tlsFailed: false
            // An HTTP answer, if there was one, says whether to come again; a host without a server may have one later.
            case .refused: error.status.map(HTTPRefusal.isRetryable) ?? true
            // Either the other side hung up, or it is no WebSocket server.
            case .handshakeFailed: error.isRetryable
            default: true
            }
        self.init(
            error.description, isRetryable: isRetryable, status: error.status,
            retryAfter: error.retryAfter.map { max($0, .zero) }.map { $0...($0 + $0 / 4) })
    }

    /// Nil for a close that says nothing: 1000, 1001, 1005.
    init?(_ close: SignalingClose) {
        guard ![1000, 1001, 1005].contains(close.code) else { return nil }
        self.init("the server closed with \(close.code) \(close.reason)", status: Int(close.code))
    }
}

extension Payload {
    fileprivate func decodeServerMessage() throws(ProtocolError) -> Envelope<ServerMessage> {
        try withUnsafeBytes { bytes throws(ProtocolError) in try RoomProtocolCodec.decodeServerMessage(bytes) }
    }
}
