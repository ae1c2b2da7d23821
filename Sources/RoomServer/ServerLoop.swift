internal import Logging
internal import NIOCore
internal import RoomProtocol
internal import RoomServerCore
internal import TransportPluginAPI

/// The machine and its connections. Lives on one event loop, as do all connections.
final class ServerLoop {
    let eventLoop: any EventLoop
    let limits: RoomServerConfiguration.Limits
    private let origins: AllowedOrigins
    private let servesPage: Bool
    let logger: Logger
    let metrics = ServerMetrics()
    /// Returns the seconds since 1970.
    let now: @Sendable () -> Int

    private var machine: RoomServerMachine
    private var connections: [ConnectionID: ConnectionHandler] = [:]
    private var lastConnection: UInt64 = 0
    /// Every open socket, including those that are not WebSocket connections yet.
    private var sockets: [ObjectIdentifier: ConnectionHandler] = [:]
    /// The memory of all sockets: unsent output and incomplete messages.
    private(set) var memory = 0
    private var whenEmpty: EventLoopPromise<Void>?

    private var actions: [ServerAction] = []
    private var isPerforming = false
    private var timer: (task: Scheduled<Void>, time: Timestamp)?
    /// The last message that was encoded for more than one receiver.
    private var shared: (message: ServerMessage, body: EncodedBody)?

    init(
        eventLoop: any EventLoop, configuration: RoomServerConfiguration, origins: AllowedOrigins = .every,
        authority: ServerAuthority, logger: Logger
    ) {
        self.eventLoop = eventLoop
        var limits = configuration.limits
        limits.duplicateNames = configuration.duplicateNames
        self.limits = limits
        self.origins = origins
        servesPage = configuration.servesPage
        self.logger = logger
        now = authority.now
        machine = RoomServerMachine(
            limits: limits, authority: authority,
            random: SystemRandomNumberGenerator())
    }

    var status: ServerStatus {
        ServerStatus(
            rooms: machine.roomCount, participants: machine.participantCount, connections: machine.connectionCount,
            retryAfter: machine.refusal, origins: origins, servesPage: servesPage)
    }

    // MARK: Sockets

    /// Sockets that are not WebSocket connections yet: each may make TLS keep some 200 KiB before its handshake.
    private var newcomerLimit: Int { limits.handshakes * 2 }

    /// Registers a socket. Returns false when there are too many.
    func opened(_ socket: ConnectionHandler) -> Bool {
        guard whenEmpty == nil, sockets.count < limits.connections + limits.handshakes,
            sockets.count - connections.count < newcomerLimit
        else { return false }
        sockets[ObjectIdentifier(socket)] = socket
        return true
    }

    func closed(_ socket: ConnectionHandler) {
        sockets[ObjectIdentifier(socket)] = nil
        if sockets.isEmpty { whenEmpty?.succeed() }
    }

    /// Records that a socket uses more or less memory. Over the total limit, the socket that uses most is closed.
    func memoryChanged(by change: Int) {
        memory += change
        guard change > 0, memory > limits.totalBuffer else { return }
        sockets.values.max { $0.memory < $1.memory }?.abortOverflow(
            "the output that waits for all clients is over its limit")
    }

    // MARK: Connections

    /// Registers a socket that has become a WebSocket connection; `connected` follows.
    func register(_ handler: ConnectionHandler) -> ConnectionID {
        lastConnection += 1
        let id = ConnectionID(lastConnection)
        connections[id] = handler
        return id
    }

    func connected(_ id: ConnectionID) {
        logger.trace("connected", metadata: ["connection": "\(id)"])
        step { $0.connected(id, at: $1) }
        metrics.record(status)
    }

    func disconnected(_ id: ConnectionID) {
        guard connections.removeValue(forKey: id) != nil else { return }
        logger.trace("disconnected", metadata: ["connection": "\(id)"])
        step { $0.disconnected(id, at: $1) }
        metrics.record(status)
    }

    /// Records a frame that is not a message.
    func receivedFrame(from id: ConnectionID) { step { $0.receivedFrame(from: id, at: $1) } }

    func received(_ text: [UInt8], from id: ConnectionID) {
        metrics.received()
        do throws(ProtocolError) {
            let envelope = try RoomProtocolCodec.decodeClientMessage(text)
            if case .hello(let hello) = envelope.message {
                logger.debug("hello", metadata: ["connection": "\(id)", "room": "\(hello.room)"])
            }
            step { $0.received(envelope, bytes: text.count, from: id, at: $1) }
        } catch {
            step { $0.receivedInvalid(error, bytes: text.count, from: id, at: $1) }
        }
    }

    // MARK: The machine

    private func step(_ transition: (inout RoomServerMachine, Timestamp) -> [ServerAction]) {
        actions += transition(&machine, .now())
        guard !isPerforming else { return }
        isPerforming = true
        var next = 0
        var written: [ObjectIdentifier: ConnectionHandler] = [:]
        while next < actions.count {
            let action = actions[next]
            next += 1
            switch action {
            case .send(let envelope, let id):
                guard let handler = connections[id] else { continue }
                note(envelope.message, id)
                written[ObjectIdentifier(handler)] = handler
                handler.write(encode(envelope))
            case .close(let id, let code): connections.removeValue(forKey: id)?.close(code)
            case .abort(let id): connections.removeValue(forKey: id)?.abort()
            }
        }
        actions.removeAll(keepingCapacity: true)
        shared = nil
        isPerforming = false
        for handler in written.values { handler.flush() }
        schedule()
    }

    private func note(_ message: ServerMessage, _ id: ConnectionID) {
        metrics.sent()
        guard case .error(let error) = message else { return }
        metrics.refused(error.code)
        logger.debug("refused", metadata: ["connection": "\(id)", "code": "\(error.code.rawValue)"])
    }

    private func encode(_ envelope: Envelope<ServerMessage>) -> [UInt8] {
        let body: EncodedBody
        switch envelope.message {
        case .peerJoined, .peerLeft, .peerChanged, .roomChanged, .goingAway:
            if let shared, shared.message == envelope.message {
                body = shared.body
            } else {
                body = EncodedBody(envelope.message)
                shared = (envelope.message, body)
            }
        default: body = EncodedBody(envelope.message)
        }
        return body.finished(sequence: envelope.sequence, ack: envelope.ack)
    }

    private func schedule() {
        guard let next = machine.nextDeadline else { return }
        if let timer, timer.time <= next { return }
        timer?.task.cancel()
        let delay = max(next - .now(), .zero).saturatedNanoseconds
        let task = eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(delay)) {
            self.timer = nil
            self.step { $0.timePassed(to: $1) }
        }
        timer = (task, next)
    }

    // MARK: The end

    /// Tells all clients to return later, and closes. The future succeeds when all sockets are gone.
    func drain() -> EventLoopFuture<Void> {
        let window: RetryWindow = .zero...max(limits.drainWindow, .zero)
        let promise = whenEmpty ?? eventLoop.makePromise()
        whenEmpty = promise
        step { $0.drain(retryAfter: window, at: $1) }
        for socket in Array(sockets.values) { socket.closeIfIdle() }
        if sockets.isEmpty { promise.succeed() }
        return promise.futureResult
    }

    func stop() {
        timer?.task.cancel()
        timer = nil
        for socket in Array(sockets.values) { socket.abort() }
        whenEmpty?.succeed()
    }
}
