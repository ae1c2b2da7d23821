internal import Logging
internal import PeerWebRTC
internal import Testing
internal import TransportPluginAPI

/// One end of a connection under test, with what happened to it. Touched on the loop only.
final class TestPeer: PeerConnectionHandler, @unchecked Sendable {
    // SAFETY: touched on the loop of the test only.
    struct Message: Equatable {
        var bytes: [UInt8]
        var isText: Bool
        var channel: ChannelID
    }

    let name: String
    var connection: WebRTCConnection!
    var events: [PeerConnectionEvent] = []
    var messages: [Message] = []
    var onMessage: ((UnsafeRawBufferPointer, Bool, ChannelID) -> Void)?
    var onEvent: ((PeerConnectionEvent) -> Void)?
    /// Where descriptions and candidates go.
    weak var other: TestPeer?
    var passesSignaling = true
    var alterDescription: (SessionDescription) -> SessionDescription = { $0 }
    var lastDescription: SessionDescription?
    var isInsideCall = false
    private let loop: TransportLoop
    private var waiters: [Waiter] = []
    private var isLooking = false

    init(_ name: String, loop: TransportLoop) {
        self.name = name
        self.loop = loop
    }

    func peerConnection(didEmit event: PeerConnectionEvent) {
        #expect(!isInsideCall, "the handler was called from inside a method")
        #expect(!isClosed, "an event came after closed")
        events.append(event)
        onEvent?(event)
        if passesSignaling { pass(event) }
        evaluate()
    }

    func peerConnection(didReceive bytes: UnsafeRawBufferPointer, isText: Bool, on channel: ChannelID) {
        #expect(!isInsideCall, "the handler was called from inside a method")
        #expect(!isClosed, "a message came after closed")
        if let onMessage {
            onMessage(bytes, isText, channel)
        } else {
            messages.append(Message(bytes: Array(bytes), isText: isText, channel: channel))
        }
        evaluate()
    }

    /// Hands signaling on in a later turn, as a network would.
    func pass(_ event: PeerConnectionEvent) {
        guard let other else { return }
        switch event {
        case .localDescription(let description):
            let altered = alterDescription(description)
            lastDescription = altered
            loop.execute { other.quietly { try $0.setRemoteDescription(altered) } }
        case .localCandidate(let candidate):
            loop.execute { other.quietly { try $0.addRemoteCandidate(candidate) } }
        case .endOfLocalCandidates(let fragment):
            loop.execute {
                other.quietly { try $0.addRemoteCandidate(PeerCandidate(text: "", usernameFragment: fragment)) }
            }
        default: break
        }
    }

    /// Calls the connection; errors are remembered.
    var errors: [TransportError] = []
    func quietly(_ body: (WebRTCConnection) throws -> Void) {
        do { try call(body) } catch let error as TransportError { errors.append(error) } catch { Issue.record(error) }
    }

    func call<Result>(_ body: (WebRTCConnection) throws -> Result) throws -> Result {
        isInsideCall = true
        defer { isInsideCall = false }
        return try body(connection)
    }

    /// Waits until `condition` holds: looks after each event and message, and each 2 ms. False after `limit`.
    func wait(
        _ limit: Duration = .seconds(20), until condition: @escaping @Sendable (TestPeer) -> Bool
    ) async -> Bool {
        let deadline = Timestamp.now() + limit
        return await withCheckedContinuation { continuation in
            loop.execute { [self] in
                waiters.append(Waiter(condition: { condition(self) }, deadline: deadline, continuation: continuation))
                look()
            }
        }
    }

    private func look() {
        evaluate()
        guard !waiters.isEmpty, !isLooking else { return }
        isLooking = true
        loop.schedule(after: .milliseconds(2)) { [self] in
            isLooking = false
            look()
        }
    }

    func evaluate() {
        guard !waiters.isEmpty else { return }
        let now = Timestamp.now()
        var done: [(Waiter, Bool)] = []
        waiters.removeAll { waiter in
            let holds = waiter.condition()
            if holds || waiter.deadline < now { done.append((waiter, holds)) }
            return holds || waiter.deadline < now
        }
        for (waiter, holds) in done { waiter.continuation.resume(returning: holds) }
    }

    private struct Waiter {
        var condition: () -> Bool
        var deadline: Timestamp
        var continuation: CheckedContinuation<Bool, Never>
    }

    // MARK: What has happened

    var isClosed: Bool { closing != nil }
    var closing: TransportError?? {
        for case .closed(let error) in events.suffix(1) { return .some(error) }
        return nil
    }
    var states: [PeerConnectionState] { events.compactMap { if case .state(let state) = $0 { state } else { nil } } }
    var isConnected: Bool { states.last == .connected }
    var opened: [(ChannelID, ChannelParameters, Bool)] {
        events.compactMap {
            if case .channelOpened(let id, let parameters, let isRemote) = $0 {
                (id, parameters, isRemote)
            } else {
                nil
            }
        }
    }
    func channel(_ label: String) -> ChannelID? { opened.last { $0.1.label == label }?.0 }
    var ended: [ChannelID] { events.compactMap { if case .channelClosed(let id) = $0 { id } else { nil } } }
    var writable: [ChannelID] { events.compactMap { if case .channelWritable(let id) = $0 { id } else { nil } } }
    var paths: [PeerPath] { events.compactMap { if case .pathChanged(let path) = $0 { path } else { nil } } }
    var liveness: [PeerLiveness] {
        events.compactMap { if case .liveness(let liveness) = $0 { liveness } else { nil } }
    }
    var descriptions: [SessionDescription] {
        events.compactMap { if case .localDescription(let description) = $0 { description } else { nil } }
    }
}

/// Two connections of one transport, over a network of their own.
final class TestPair: @unchecked Sendable {
    // SAFETY: `a`, `b` and `network` are touched on the loop only.
    static let loop: TransportLoop = {
        do { return try TransportLoop(name: "webrtc-tests") } catch { fatalError("\(error)") }
    }()

    let loop = TestPair.loop
    let network = TestNetwork()
    let transport: WebRTCTransport<LoopbackProvider>
    let a: TestPeer
    let b: TestPeer

    init(options: WebRTCOptions = WebRTCOptions()) throws {
        transport = try WebRTCTransport(
            provider: LoopbackProvider(network: network), loop: Self.loop, options: options,
            logger: Logger(label: "test"))
        a = TestPeer("a", loop: Self.loop)
        b = TestPeer("b", loop: Self.loop)
        a.other = b
        b.other = a
    }

    /// A pair that is connected, with the ids of its one channel.
    static func connected() async throws -> (pair: TestPair, ids: (a: ChannelID, b: ChannelID)) {
        let pair = try TestPair()
        return (pair, try await pair.connect())
    }

    /// Makes the two connections; `prepare` runs before the offer.
    func start(
        _ configuration: PeerConnectionConfiguration = PeerConnectionConfiguration(),
        other: PeerConnectionConfiguration? = nil,
        offer: Bool = true, prepare: @escaping @Sendable (TestPair) throws -> Void = { _ in }
    ) async throws {
        try await on { pair in
            pair.a.connection = try pair.transport.makeConnection(configuration, handler: pair.a)
            pair.b.connection = try pair.transport.makeConnection(other ?? configuration, handler: pair.b)
            try prepare(pair)
            if offer { try pair.a.call { try $0.offer() } }
        }
    }

    /// Connects with one channel, "data", opened by a.
    func connect(
        _ configuration: PeerConnectionConfiguration = PeerConnectionConfiguration(),
        other: PeerConnectionConfiguration? = nil,
        channel: ChannelParameters = ChannelParameters(label: "data")
    ) async throws -> (a: ChannelID, b: ChannelID) {
        try await start(configuration, other: other) { pair in
            _ = try pair.a.call { try $0.openChannel(channel) }
        }
        try #require(await b.wait { $0.channel(channel.label) != nil })
        try #require(await a.wait { $0.channel(channel.label) != nil && $0.isConnected })
        return try await on { pair in
            (try #require(pair.a.channel(channel.label)), try #require(pair.b.channel(channel.label)))
        }
    }

    /// Runs on the loop.
    func on<Result: Sendable>(_ body: @escaping @Sendable (TestPair) throws -> Result) async throws -> Result {
        try await loop.run { [self] in Swift.Result { try body(self) } }.get()
    }

    func end() async {
        await transport.shutdown()
        // Closures of the tests hold what holds them.
        await loop.run { [self] in
            for peer in [a, b] {
                peer.onMessage = nil
                peer.onEvent = nil
                peer.alterDescription = { $0 }
            }
        }
    }
}

/// Runs `body` with a connected pair and the ids of its one channel, and ends it.
func withConnectedPair(
    isolation: isolated (any Actor)? = #isolation,
    _ body: (_ pair: TestPair, _ ids: (a: ChannelID, b: ChannelID)) async throws -> Void
) async throws {
    let (pair, ids) = try await TestPair.connected()
    do { try await body(pair, ids) } catch {
        await pair.end()
        throw error
    }
    await pair.end()
}

extension WebRTCConnection {
    func send(_ bytes: [UInt8], isText: Bool = false, on channel: ChannelID) throws {
        try bytes.withUnsafeBytes { try send($0, isText: isText, on: channel) }
    }
}
