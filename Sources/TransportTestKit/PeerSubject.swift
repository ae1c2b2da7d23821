public import TransportPluginAPI

/// A peer transport under test.
public struct PeerSubject<Transport: PeerTransport>: Sendable {
    /// Makes the transports of the two sides. Called for each clause. They may be one and the same, and may share a
    /// loop.
    public var makeTransports: @Sendable () async throws -> (Transport, Transport)
    /// The capabilities that the plugin's descriptor declares. Clauses of undeclared capabilities are left out.
    public var capabilities: Capabilities
    /// The configuration of both connections.
    public var configuration: PeerConnectionConfiguration
    /// Cuts (false) or restores (true) every path between connections of the two transports, which do not learn of it:
    /// datagrams vanish. Returns when this is in effect. Nil when the subject cannot do it; clauses about broken paths
    /// are then left out.
    public var setPath: (@Sendable (_ isUp: Bool, Transport, Transport) async -> Void)?
    /// Called at the end of each clause, after `shutdown()` of the transports: ends loops that were handed in.
    public var tearDown: @Sendable (Transport, Transport) async -> Void

    /// Creates a subject; see its properties.
    public init(
        capabilities: Capabilities, configuration: PeerConnectionConfiguration = PeerConnectionConfiguration(),
        makeTransports: @escaping @Sendable () async throws -> (Transport, Transport),
        setPath: (@Sendable (_ isUp: Bool, Transport, Transport) async -> Void)? = nil,
        tearDown: @escaping @Sendable (Transport, Transport) async -> Void = { _, _ in }
    ) {
        self.makeTransports = makeTransports
        self.capabilities = capabilities
        self.configuration = configuration
        self.setPath = setPath
        self.tearDown = tearDown
    }
}

/// The events and messages of one connection, for tasks to wait on.
final class PeerLog: PeerConnectionHandler, Sendable {
    struct Message: Sendable, Equatable {
        var payload: Payload
        var isText: Bool
        var channel: ChannelID
    }
    struct State: Sendable {
        var states: [PeerConnectionState] = []
        var opened: [(id: ChannelID, parameters: ChannelParameters, isRemote: Bool)] = []
        var closedChannels: [ChannelID] = []
        var writable: [ChannelID] = []
        var messages: [Message] = []
        var received = 0
        var paths = 0
        var hasClosed = false
        var closeError: TransportError?
        var eventsAfterClose = 0
        var fragments: Set<String> = []
        var events = 0
        /// Messages on channels that were not reported as open before.
        var earlyMessages = 0
        var suspectCount = 0
        /// Evidence of life after a suspicion.
        var aliveCount = 0
    }
    /// Called on the loop when a channel has opened, before the next event.
    let whenOpened = Locked<(@Sendable (ChannelID) -> Void)?>(nil)
    let state = Locked(State())
    /// Passes descriptions and candidates to the other side. Called on the connection's loop.
    let forward: @Sendable (PeerConnectionEvent) -> Void
    let keepsMessages: Bool

    init(keepsMessages: Bool = true, forward: @escaping @Sendable (PeerConnectionEvent) -> Void) {
        self.keepsMessages = keepsMessages
        self.forward = forward
    }

    var now: State { state.withLock { $0 } }

    func peerConnection(didEmit event: PeerConnectionEvent) {
        state.withLock { state in
            if state.hasClosed { state.eventsAfterClose += 1 }
            state.events += 1
            switch event {
            case .state(let new): state.states.append(new)
            case .pathChanged: state.paths += 1
            case .channelOpened(let id, let parameters, let isRemote): state.opened.append((id, parameters, isRemote))
            case .channelWritable(let id): state.writable.append(id)
            case .channelClosed(let id): state.closedChannels.append(id)
            case .closed(let error):
                state.hasClosed = true
                state.closeError = error
            case .endOfLocalCandidates(let fragment): state.fragments.insert(fragment)
            case .liveness(.suspect): state.suspectCount += 1
            case .liveness(.alive): state.aliveCount += 1
            case .pathChecked, .gatheringFailed, .localDescription, .localCandidate: break
            }
        }
        if case .channelOpened(let id, _, _) = event { whenOpened.withLock { $0 }?(id) }
        forward(event)
    }

    func peerConnection(didReceive bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) {
        let payload = keepsMessages ? Payload(copying: bytes) : Payload([])
        state.withLock { state in
            if state.hasClosed { state.eventsAfterClose += 1 }
            state.received += 1
            if !state.opened.contains(where: { $0.id == channel }) { state.earlyMessages += 1 }
            if keepsMessages { state.messages.append(Message(payload: payload, isText: isText, channel: channel)) }
        }
    }
}

/// One side of a pair: a connection on its loop, with a log of its events.
struct PeerSide<Connection: PeerConnection>: Sendable {
    let connection: Connection
    let loop: TransportLoop
    let log: PeerLog

    /// Runs `body` with the connection, on its loop.
    func on<Result: Sendable>(
        _ body: @escaping @Sendable (Connection) throws(TransportError) -> Result
    ) async throws(TransportError) -> Result {
        let connection = connection
        return try await loop.runThrowing { () throws(TransportError) in try body(connection) }
    }

    func send(_ payload: Payload, isText: Bool = false, on channel: ChannelID) async throws(TransportError) {
        try await on { connection throws(TransportError) in
            try payload.withUnsafeBytes { bytes throws(TransportError) in
                try connection.send(bytes, isText: isText, on: channel)
            }
        }
    }

    /// Sends like `send`. Returns false when there is no room.
    func trySend(_ payload: Payload, on channel: ChannelID) async throws -> Bool {
        do throws(TransportError) {
            try await send(payload, on: channel)
            return true
        } catch {
            guard error.code == .wouldBlock else { throw error }
            return false
        }
    }

    /// Sends like `send`, waiting for room.
    func sendWhenWritable(_ payload: Payload, on channel: ChannelID) async throws {
        var seen = log.now.writable.count
        while try await !trySend(payload, on: channel) {
            let last = seen
            try await eventually("channelWritable after wouldBlock") { log.now.writable.count > last }
            seen = log.now.writable.count
        }
    }

    func openChannel(_ label: String, _ change: @Sendable (inout ChannelParameters) -> Void = { _ in }) async throws
        -> ChannelID
    {
        var parameters = ChannelParameters(label: label)
        change(&parameters)
        let id = try await on { [parameters] connection throws(TransportError) in try connection.openChannel(parameters)
        }
        try await eventually("channel '\(label)' opening") { log.now.opened.contains { $0.id == id } }
        return id
    }

    /// Returns the channel with this label that the other side opened.
    func remoteChannel(_ label: String) async throws -> ChannelID {
        try await eventually("the other side's channel '\(label)'") { channel(label) != nil }
        return channel(label) ?? ChannelID(rawValue: -1)
    }

    private func channel(_ label: String) -> ChannelID? { log.now.opened.first { $0.parameters.label == label }?.id }

    func waitForConnected() async throws {
        try await eventually(within: .seconds(20), "the state connected") { log.now.states.last == .connected }
    }

    func close() async { await loop.run { [connection] in connection.close() } }
}

/// Two connections whose descriptions and candidates are passed to each other.
struct PeerPair<Transport: PeerTransport>: Sendable {
    let offerer: PeerSide<Transport.Connection>
    let answerer: PeerSide<Transport.Connection>
    let errors: Locked<[TransportError]>
    /// Everything that one side signals to the other passes through one of these.
    let fromOfferer: Valve
    let fromAnswerer: Valve
    /// The subject's `setPath` for this pair; nil when it has none.
    let setPath: (@Sendable (_ isUp: Bool) async -> Void)?
    /// Breaks the reference cycle of the two sides' logs.
    let unlink: @Sendable () -> Void
}

/// Passes descriptions and candidates on, or keeps them until it is opened again.
final class Valve: Sendable {
    private struct State {
        var isShut = false
        var kept: [@Sendable () -> Void] = []
    }
    private let state = Locked(State())

    /// The number of descriptions and candidates that wait.
    var count: Int { state.withLock { $0.kept.count } }

    func shut() { state.withLock { $0.isShut = true } }

    func open() {
        let kept = state.withLock { state in
            state.isShut = false
            defer { state.kept = [] }
            return state.kept
        }
        for action in kept { action() }
    }

    func pass(_ action: @escaping @Sendable () -> Void) {
        let isShut = state.withLock { state in
            if state.isShut { state.kept.append(action) }
            return state.isShut
        }
        if !isShut { action() }
    }
}

extension PeerSubject {
    /// Runs `body` with two connections, not yet negotiated.
    func withPair(
        keepsMessages: Bool = true,
        _ configure: @Sendable (inout PeerConnectionConfiguration) -> Void = { _ in },
        _ body: @Sendable (PeerPair<Transport>) async throws -> Void
    ) async throws {
        let (left, right) = try await makeTransports()
        do {
            try await withPair(left, right, keepsMessages: keepsMessages, configure, body)
        } catch {
            await end(left, right)
            throw error
        }
        await end(left, right)
    }

    /// Runs `body` with two connections of transports that stay open afterwards.
    func withPair(
        _ left: Transport, _ right: Transport, keepsMessages: Bool = true,
        _ configure: @Sendable (inout PeerConnectionConfiguration) -> Void = { _ in },
        _ body: @Sendable (PeerPair<Transport>) async throws -> Void
    ) async throws {
        var configuration = configuration
        configure(&configuration)
        let pair = try await makePair(left, right, configuration, keepsMessages)
        defer { pair.unlink() }
        try await body(pair)
        let errors = pair.errors.withLock { $0 }
        try expect(errors.isEmpty, "passing descriptions and candidates to the other side threw \(errors)")
        await pair.offerer.close()
        await pair.answerer.close()
        for side in [pair.offerer, pair.answerer] {
            try await eventually("the event closed") { side.log.now.hasClosed }
            await side.loop.run {}
            try expect(side.log.now.eventsAfterClose == 0, "closed must be the last event")
        }
    }

    func end(_ left: Transport, _ right: Transport) async {
        await left.shutdown()
        await right.shutdown()
        await tearDown(left, right)
    }

    /// Runs `body` with two connections that are connected.
    func withConnected(
        keepsMessages: Bool = true,
        _ configure: @Sendable (inout PeerConnectionConfiguration) -> Void = { _ in },
        _ body: @Sendable (PeerPair<Transport>) async throws -> Void
    ) async throws {
        try await withPair(keepsMessages: keepsMessages, configure) { pair in
            try await pair.offerer.on { connection throws(TransportError) in try connection.offer() }
            try await pair.offerer.waitForConnected()
            try await pair.answerer.waitForConnected()
            try await body(pair)
        }
    }

    private func makePair(
        _ left: Transport, _ right: Transport, _ configuration: PeerConnectionConfiguration, _ keepsMessages: Bool
    ) async throws -> PeerPair<Transport> {
        let errors = Locked<[TransportError]>([])
        let offererBox = Locked<PeerSide<Transport.Connection>?>(nil)
        let answererBox = Locked<PeerSide<Transport.Connection>?>(nil)
        let fromOfferer = Valve()
        let fromAnswerer = Valve()
        @Sendable func pass(_ event: PeerConnectionEvent, to connection: Transport.Connection) {
            do throws(TransportError) {
                switch event {
                case .localDescription(let description): try connection.setRemoteDescription(description)
                case .localCandidate(let candidate): try connection.addRemoteCandidate(candidate)
                case .endOfLocalCandidates(let fragment):
                    try connection.addRemoteCandidate(PeerCandidate(text: "", usernameFragment: fragment))
                default: break
                }
            } catch {
                // A description or candidate may arrive after the other side has closed.
                if error.code != .closed { errors.withLock { $0.append(error) } }
            }
        }
        func makeSide(
            _ transport: Transport, _ valve: Valve, to other: Locked<PeerSide<Transport.Connection>?>
        ) async throws -> PeerSide<Transport.Connection> {
            let log = PeerLog(keepsMessages: keepsMessages) { event in
                guard event.isForTheOtherSide else { return }
                valve.pass {
                    guard let other = other.withLock({ $0 }) else { return }
                    other.loop.execute { [connection = other.connection] in pass(event, to: connection) }
                }
            }
            let loop = transport.loop
            let connection = try await loop.runThrowing { () throws(TransportError) in
                try transport.makeConnection(configuration, handler: log)
            }
            return PeerSide(connection: connection, loop: loop, log: log)
        }
        let offerer = try await makeSide(left, fromOfferer, to: answererBox)
        let answerer = try await makeSide(right, fromAnswerer, to: offererBox)
        offererBox.withLock { $0 = offerer }
        answererBox.withLock { $0 = answerer }
        let setPath = setPath.map { setPath in { @Sendable isUp in await setPath(isUp, left, right) } }
        return PeerPair(
            offerer: offerer, answerer: answerer, errors: errors, fromOfferer: fromOfferer, fromAnswerer: fromAnswerer,
            setPath: setPath
        ) {
            offererBox.withLock { $0 = nil }
            answererBox.withLock { $0 = nil }
        }
    }
}

extension PeerConnectionEvent {
    fileprivate var isForTheOtherSide: Bool {
        switch self {
        case .localDescription, .localCandidate, .endOfLocalCandidates: true
        default: false
        }
    }
}
