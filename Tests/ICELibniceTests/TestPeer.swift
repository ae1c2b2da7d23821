import Glibc
import TransportPluginAPI

@testable import ICELibnice

/// An agent with a record of what happened to it, and ways to wait for more.
///
/// SAFETY: everything but `loop` and `wait` is touched only on `loop`.
final class TestPeer: ICEAgentHandler, @unchecked Sendable {
    let loop: TransportLoop
    private(set) var agent: LibniceAgent!
    private(set) var candidates: [String] = []
    private(set) var states: [ICEAgentState] = []
    private(set) var paths: [PeerPath] = []
    private(set) var isGatheringDone = false
    private(set) var received: [[UInt8]] = []
    private(set) var receivedCount = 0
    private(set) var eventsAfterClose = 0
    var isClosed = false
    var keepsDatagrams = true
    /// Gets what trickles out; on `loop`.
    var onCandidate: ((String) -> Void)?
    var onGatheringDone: (() -> Void)?
    var onBatch: ((DatagramBatch) -> Void)?
    private var waiters: [(condition: (TestPeer) -> Bool, continuation: CheckedContinuation<Void, Never>)] = []
    private var isLooking = false
    /// The test's time is over.
    private var isGivenUp = false
    private let out = DatagramBatch(capacity: 1 << 20, maximumCount: 1024)

    init(loop: TransportLoop) { self.loop = loop }

    /// Only the loopback interface, so that tests work everywhere and reach nobody.
    static var options: LibniceProvider.Options {
        var options = LibniceProvider.Options()
        options.loopback = .always
        options.acceptsAddress = { _, _ in false }
        return options
    }

    /// On the loop.
    @discardableResult
    func make(
        controlling: Bool, _ options: LibniceProvider.Options = TestPeer.options, servers: [ICEServer] = [],
        policy: ICEPolicy = .all
    ) throws(TransportError) -> LibniceAgent {
        agent = try LibniceProvider(options: options).makeAgent(
            ICEAgentConfiguration(isControlling: controlling, servers: servers, policy: policy), on: loop, handler: self
        )
        return agent
    }

    static func make(
        on loop: TransportLoop, controlling: Bool, _ options: LibniceProvider.Options = TestPeer.options,
        servers: [ICEServer] = [], policy: ICEPolicy = .all
    ) async throws -> TestPeer {
        let peer = TestPeer(loop: loop)
        try await loop.runThrowing { () throws(TransportError) in
            _ = try peer.make(controlling: controlling, options, servers: servers, policy: policy)
        }
        return peer
    }

    /// Waits until `condition` holds: looks after each event and batch, and each 2 ms, since an agent does not report
    /// all that it does.
    ///
    /// Returns without it, too, when the test's time is over: the test framework tells of that.
    func wait(until condition: @escaping @Sendable (TestPeer) -> Bool) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                loop.execute { [self] in
                    if condition(self) || isGivenUp { return continuation.resume() }
                    waiters.append((condition, continuation))
                    look()
                }
            }
        } onCancel: {
            loop.execute { [self] in
                isGivenUp = true
                for waiter in waiters { waiter.continuation.resume() }
                waiters = []
            }
        }
    }

    /// On the loop.
    func hasCandidate(_ part: String) -> Bool { candidates.contains { $0.contains(part) } }

    /// Gathers, and returns when that is done.
    func gather() async throws {
        try await loop.runThrowing { () throws(TransportError) in try self.agent.gather() }
        await wait(until: \.isGatheringDone)
    }

    func credentials() async -> ICECredentials { await loop.run { self.agent.localCredentials } }

    func close() async {
        await loop.run {
            self.agent.close()
            self.isClosed = true
            // They hold the other peer.
            (self.onCandidate, self.onGatheringDone, self.onBatch) = (nil, nil, nil)
        }
    }

    /// On the loop.
    func send(_ datagrams: [[UInt8]]) {
        for datagram in datagrams { datagram.withUnsafeBytes { _ = out.append($0) } }
        agent.send(out)
    }

    /// On the loop: `count` datagrams of `size` bytes that begin with `first` and carry their number.
    func send(count: Int, size: Int, first: UInt8 = 22, from number: Int = 0) {
        for index in 0..<count {
            let bytes = out.free
            bytes[0] = first
            withUnsafeBytes(of: UInt32(truncatingIfNeeded: number + index)) { number in
                for place in 0..<4 where place + 1 < size { bytes[place + 1] = number[place] }
            }
            out.commit(size)
        }
        agent.send(out)
    }

    func iceAgent(didEmit event: ICEAgentEvent) {
        if isClosed { eventsAfterClose += 1 }
        switch event {
        case .candidate(let candidate):
            candidates.append(candidate)
            onCandidate?(candidate)
        case .gatheringDone:
            isGatheringDone = true
            onGatheringDone?()
        case .state(let state): states.append(state)
        case .selected(let path): paths.append(path)
        }
        check()
    }

    func iceAgent(didReceive batch: DatagramBatch) {
        if isClosed { eventsAfterClose += 1 }
        receivedCount += batch.count
        if let onBatch {
            onBatch(batch)
        } else if keepsDatagrams {
            for index in 0..<batch.count { received.append(Array(batch[index])) }
        }
        check()
    }

    private func look() {
        guard !isLooking else { return }
        isLooking = true
        loop.schedule(after: .milliseconds(2)) { [self] in
            isLooking = false
            check()
            if !waiters.isEmpty { look() }
        }
    }

    func check() {
        guard !waiters.isEmpty else { return }
        let ready = waiters.filter { $0.condition(self) }
        guard !ready.isEmpty else { return }
        waiters.removeAll { $0.condition(self) }
        for waiter in ready { waiter.continuation.resume() }
    }

    var isConnected: Bool { states.last == .connected && agent.selectedPath != nil }
}

/// Lets two peers trickle to each other and waits until both are connected.
func connect(_ a: TestPeer, _ b: TestPeer) async throws {
    try await startTrickle(from: a, to: b)
    try await startTrickle(from: b, to: a)
    await a.wait(until: \.isConnected)
    await b.wait(until: \.isConnected)
    // Each keeps the other until here.
    for peer in [a, b] { await peer.loop.run { (peer.onCandidate, peer.onGatheringDone) = (nil, nil) } }
}

func startTrickle(from a: TestPeer, to b: TestPeer) async throws {
    let credentials = await a.credentials()
    try await b.loop.runThrowing { () throws(TransportError) in try b.agent.setRemoteCredentials(credentials) }
    try await a.loop.runThrowing { () throws(TransportError) in
        a.onCandidate = { candidate in
            b.loop.execute { try? b.agent.addRemoteCandidate(candidate) }
        }
        a.onGatheringDone = { b.loop.execute { b.agent.endOfRemoteCandidates() } }
        try a.agent.gather()
    }
}

/// Runs `body` with loops of its own and ends them.
func withLoops(
    _ count: Int, isolation: isolated (any Actor)? = #isolation, _ body: ([TransportLoop]) async throws -> Void
) async throws {
    var loops: [TransportLoop] = []
    for index in 0..<count { loops.append(try TransportLoop(name: "ice-\(index)")) }
    do { try await body(loops) } catch {
        for loop in loops { await loop.shutdown() }
        throw error
    }
    for loop in loops { await loop.shutdown() }
}

/// Runs `body` with two agents on one or two loops, the first of them controlling, and closes them.
func withPair(
    loops count: Int = 2, _ options: LibniceProvider.Options = TestPeer.options, servers: [ICEServer] = [],
    policy: ICEPolicy = .all, isolation: isolated (any Actor)? = #isolation,
    _ body: (TestPeer, TestPeer) async throws -> Void
) async throws {
    try await withLoops(count) { loops in
        let a = try await TestPeer.make(on: loops[0], controlling: true, options, servers: servers, policy: policy)
        let b = try await TestPeer.make(
            on: loops[count - 1], controlling: false, options, servers: servers, policy: policy)
        try await body(a, b)
        await a.close()
        await b.close()
    }
}

/// Runs `body` with two connected agents on one or two loops, and closes them.
func withConnectedPair(
    loops count: Int = 2, _ options: LibniceProvider.Options = TestPeer.options, servers: [ICEServer] = [],
    policy: ICEPolicy = .all, isolation: isolated (any Actor)? = #isolation,
    _ body: (TestPeer, TestPeer) async throws -> Void
) async throws {
    try await withPair(loops: count, options, servers: servers, policy: policy) { a, b in
        try await connect(a, b)
        try await body(a, b)
    }
}
