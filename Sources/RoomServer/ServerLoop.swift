internal import Logging
internal import NIOCore
internal import RoomProtocol
internal import RoomServerCore
internal import TransportPluginAPI
internal import WebSocketWire

/// A machine with its rooms and connections. Lives on one event loop, as do the connections. A server has one for each
/// of its threads.
final class ServerLoop {
    let eventLoop: any EventLoop
    let limits: RoomServerConfiguration.Limits
    var origins: AllowedOrigins
    private let servesPage: Bool
    let servesMetrics: Bool
    let gate: AddressGate?
    private let meters: AddressMeters
    let logger: Logger
    let metrics: ServerMetrics
    let report: ServerReport
    private var ticker: LoopTicker?
    private var reporter: ServerReporter?
    /// Returns the seconds since 1970.
    let now: @Sendable () -> Int

    var machine: RoomServerMachine
    /// Where the events of the rooms go, if somebody wants them.
    var events: EventOutbox?
    /// The loops of the server, once all have been made.
    private var loops: ServerLoops?
    private let shared: SharedLoad
    /// The load of this loop as `shared` contains it.
    private var published = ServerLoad()
    /// The node of the cluster that this server is.
    var cluster: NIOLoopBound<ClusterNode>?
    var connections: [ConnectionID: any ServerConnection] = [:]
    private var lastConnection: UInt64 = 0
    /// Every open socket, including those that are not WebSocket connections yet.
    private var sockets: [ObjectIdentifier: ConnectionHandler] = [:]
    private var newcomers: Set<ObjectIdentifier> = []
    /// The memory of all sockets of this loop: unsent output and incomplete messages.
    private(set) var memory = 0
    private var whenEmpty: EventLoopPromise<Void>?

    /// The place for marks, if there is one.
    private(set) var journal: MarkJournal?
    var marks: [Mark] = []
    /// Whether the last kick or end of a room is kept where a restart does not lose it.
    var lastDecision: EventLoopFuture<Bool>?
    private(set) var actions: [ServerAction] = []
    /// The connections that a step closes, at its end: what they were sent may wait for its decision.
    private var closing: [(connection: any ServerConnection, code: CloseCode)] = []
    private var isPerforming = false
    /// The connections that were written to in this turn of the loop.
    var unflushed: [any ServerConnection] = []
    private var timer: (task: Scheduled<Void>, time: Timestamp)?
    /// The last message that was encoded for more than one receiver.
    private var broadcast: (message: ServerMessage, body: EncodedBody)?

    init(
        eventLoop: any EventLoop, configuration: RoomServerConfiguration, origins: AllowedOrigins = .every,
        authority: ServerAuthority, gate: AddressGate? = nil, report: ServerReport? = nil, index: Int = 0,
        logger: Logger
    ) {
        self.eventLoop = eventLoop
        let report = report ?? ServerReport(loops: 1, configuration.limits)
        self.report = report
        metrics = report.loops[index]
        shared = report.shared
        self.gate = gate
        var limits = configuration.limits
        limits.duplicateNames = configuration.duplicateNames
        limits.totalBuffer /= configuration.threads
        limits.divideStreams(by: configuration.threads)
        self.limits = limits
        newcomerLimit = min(limits.handshakes * 2, configuration.tls == nil ? 4096 : 1024)
        self.origins = origins
        meters = AddressMeters(limits.perAddress)
        servesPage = configuration.servesPage
        servesMetrics = configuration.servesMetrics
        self.logger = logger
        now = authority.now
        machine = RoomServerMachine(
            limits: limits, authority: authority,
            random: SystemRandomNumberGenerator(), addresses: gate)
    }

    var status: ServerStatus {
        lookAround()
        let load = shared.value
        return ServerStatus(
            rooms: load.rooms, participants: load.participants, connections: load.connections,
            retryAfter: machine.refusal, origins: origins, servesPage: servesPage, report: report)
    }

    /// Begins: knows the others from now on.
    func join(_ loops: ServerLoops) {
        self.loops = loops
        let reporter = metrics === report.loops.first ? ServerReporter(report, logger) : nil
        self.reporter = reporter
        ticker = LoopTicker(eventLoop, metrics.pulse) { reporter?.tick($0) }
    }

    /// Continues with the marks of an earlier run, and writes new ones to the journal.
    func remember(_ marks: [Mark], _ journal: MarkJournal) {
        self.journal = journal
        machine.makesMarks = true
        machine.restore(marks, at: .now())
        schedule(machine.nextDeadline)
    }

    /// Tells the machine how much of the limits the other loops use.
    private func lookAround() { machine.elsewhere = shared.value - published }

    // MARK: Sockets

    /// Each connection keeps a buffer for what it reads next: small, as most connections are idle.
    static let inputAllocator = AdaptiveRecvByteBufferAllocator(minimum: 256, initial: 256, maximum: 65_536)

    /// Sockets without a request yet: each may make TLS keep some 200 KiB before its handshake.
    private let newcomerLimit: Int

    /// A request has come over the socket.
    func settled(_ socket: ConnectionHandler) { newcomers.remove(ObjectIdentifier(socket)) }

    /// Registers a socket. Returns false when there are too many.
    func opened(_ socket: ConnectionHandler) -> Bool {
        guard whenEmpty == nil, sockets.count < limits.connections + limits.handshakes,
            newcomers.count < newcomerLimit
        else {
            metrics.failed(.limit)
            return false
        }
        sockets[ObjectIdentifier(socket)] = socket
        newcomers.insert(ObjectIdentifier(socket))
        metrics.sockets.set(sockets.count)
        return true
    }

    func closed(_ socket: ConnectionHandler) {
        sockets[ObjectIdentifier(socket)] = nil
        settled(socket)
        metrics.sockets.set(sockets.count)
        if sockets.isEmpty { whenEmpty?.succeed() }
    }

    /// Records that a socket uses more or less memory. Over the total limit, the socket that uses most is closed.
    func memoryChanged(by change: Int) {
        memory += change
        metrics.buffered.set(memory)
        guard change > 0, memory > limits.totalBuffer else { return }
        sockets.values.max { $0.memory < $1.memory }?.abortOverflow(
            "the output that waits for all clients is over its limit")
    }

    /// Returns the meter of what comes from an address over this loop.
    func meter(for address: NetworkAddress) -> AddressMeter? { meters.meter(for: address) }

    // MARK: Connections

    /// Registers a socket that has become a WebSocket connection; `connected` follows.
    func register(_ handler: any ServerConnection) -> ConnectionID {
        lastConnection += 1
        let id = ConnectionID(lastConnection)
        connections[id] = handler
        return id
    }

    /// - Parameter address: The client's, if what it does is charged to it.
    func connected(_ id: ConnectionID, from address: NetworkAddress? = nil) {
        logger.trace("connected", metadata: ["connection": "\(id)"])
        lookAround()
        step { $0.connected(id, from: address, at: $1) }
    }

    func disconnected(_ id: ConnectionID) {
        guard connections.removeValue(forKey: id) != nil else { return }
        logger.trace("disconnected", metadata: ["connection": "\(id)"])
        step { $0.disconnected(id, at: $1) }
    }

    /// Records a frame that is not a message.
    func receivedFrame(from id: ConnectionID) { step { $0.receivedFrame(from: id, at: $1) } }

    func received(_ text: [UInt8], from id: ConnectionID) {
        metrics.received()
        do throws(ProtocolError) {
            let envelope = try RoomProtocolCodec.decodeClientMessage(text)
            received(envelope, bytes: text.count, from: id)
        } catch {
            step { $0.receivedInvalid(error, bytes: text.count, from: id, at: $1) }
        }
    }

    /// A message has come. The first one of a connection decides which loop it belongs to.
    func received(_ envelope: Envelope<ClientMessage>, bytes: Int, from id: ConnectionID) {
        if case .hello(let hello) = envelope.message {
            connections[id]?.noteHello()
            logger.debug("hello", metadata: ["connection": "\(id)", "room": "\(hello.room)"])
            if let home = loops?.home(of: hello.room), home.eventLoop !== eventLoop, machine.isNew(id),
                let handler = connections[id] as? ConnectionHandler
            {
                connections[id] = nil
                step { machine, _ in
                    machine.moved(id)
                    return []
                }
                return handler.move(to: home, envelope, bytes: bytes)
            }
            lookAround()
            if isRouted(id, envelope, hello, bytes: bytes) { return }
        }
        step { $0.received(envelope, bytes: bytes, from: id, at: $1) }
    }

    // MARK: The machine

    func step(_ transition: (inout RoomServerMachine, Timestamp) -> [ServerAction]) {
        let more = transition(&machine, .now())
        if actions.isEmpty { actions = more } else { actions += more }
        guard !isPerforming else { return }
        isPerforming = true
        var next = 0
        while next < actions.count {
            let action = actions[next]
            next += 1
            switch action {
            case .send(let envelope, let id):
                guard let handler = connections[id] else { continue }
                note(envelope.message, id, handler)
                flushLater(handler)
                handler.write(encode(envelope))
            case .close(let id, let code):
                if let connection = connections.removeValue(forKey: id) { closing.append((connection, code)) }
            case .abort(let id):
                metrics.silentClients.add()
                connections.removeValue(forKey: id)?.abort()
            case .mark(let mark): marks.append(mark)
            }
        }
        let decision = marks.isEmpty ? nil : keepMarks(closing: closing.map(\.connection))
        let ended = closing
        closing = []
        // Without its capacity: the next step's own array takes its place.
        actions = []
        broadcast = nil
        isPerforming = false
        let standing = machine.standing()
        publish(standing)
        events?.record(machine.takeLifeEvents(), after: decision)
        reportToCluster(decision)
        schedule(standing.nextDeadline)
        for (connection, code) in ended { connection.close(code) }
    }

    /// Flushes at the end of this turn: messages of several senders to one receiver are one write.
    func flushLater(_ connection: any ServerConnection) {
        guard !connection.needsFlush else { return }
        connection.needsFlush = true
        unflushed.append(connection)
        guard unflushed.count == 1 else { return }
        eventLoop.assumeIsolated().execute {
            let written = self.unflushed
            self.unflushed.removeAll(keepingCapacity: true)
            for connection in written {
                connection.needsFlush = false
                connection.flush()
            }
        }
    }

    /// Verifies and signs with other keys from now on.
    func replaceAuthority(_ authority: ServerAuthority, renewsTokens: Bool) {
        step {
            $0.replaceAuthority(authority, renewsTokens: renewsTokens, at: $1)
            return []
        }
    }

    private func note(_ message: ServerMessage, _ id: ConnectionID, _ connection: any ServerConnection) {
        metrics.sent(message)
        switch message {
        case .joined, .waiting:
            (connection as? ConnectionHandler)?.client.pass?.handshakeEnded()
            // How long one waits for its room says nothing about the server.
            if let time = connection.takeHelloTime(), case .joined = message { metrics.joinTimes.add(.now() - time) }
        case .error(let error):
            logger.debug("refused", metadata: ["connection": "\(id)", "code": "\(error.code.rawValue)"])
        default: break
        }
    }

    private func encode(_ envelope: Envelope<ServerMessage>) -> [UInt8] {
        let body: EncodedBody
        switch envelope.message {
        case .peerJoined, .peerLeft, .peerChanged, .roomChanged, .goingAway:
            if let broadcast, broadcast.message == envelope.message {
                body = broadcast.body
            } else {
                body = EncodedBody(envelope.message)
                broadcast = (envelope.message, body)
            }
        default: body = EncodedBody(envelope.message)
        }
        return body.finished(sequence: envelope.sequence, ack: envelope.ack)
    }

    /// Adds what has changed here to the load of all loops.
    private func publish(_ standing: RoomServerMachine.Standing) {
        metrics.streamBytes.set(standing.streamBytes)
        metrics.waiting.set(standing.waiting)
        guard standing.load != published else { return }
        shared.add(standing.load - published)
        published = standing.load
    }

    /// Nanoseconds to whose multiples deadlines are put off: one turn serves all connections that are due about now.
    private static let timerGrid: Int64 = 10_000_000

    private func schedule(_ next: Timestamp?) {
        guard var next else { return }
        let now = Timestamp.now()
        if next > now {
            next = Timestamp(nanoseconds: (next.nanoseconds + Self.timerGrid - 1) / Self.timerGrid * Self.timerGrid)
        }
        if let timer, timer.time <= next { return }
        timer?.task.cancel()
        let delay = max(next - now, .zero).saturatedNanoseconds
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
        metrics.draining.set(1)
        step { $0.drain(retryAfter: window, at: $1) }
        for socket in Array(sockets.values) { socket.closeIfIdle() }
        if sockets.isEmpty { promise.succeed() }
        return promise.futureResult
    }

    func stop() {
        ticker?.stop()
        reporter?.publish()
        timer?.task.cancel()
        timer = nil
        events = nil
        for socket in Array(sockets.values) { socket.abort() }
        for case let remote as RemoteConnection in connections.values { remote.ended() }
        whenEmpty?.succeed()
        // The loops know each other and the node, which knows them: none of them would ever be freed.
        loops = nil
        cluster = nil
    }
}
