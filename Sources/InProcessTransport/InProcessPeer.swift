public import TransportPluginAPI

/// The place where in-process peer connections find each other, on one loop, instead of a network between them.
///
/// Connections of any transports of one network can be paired. Fault methods may be called from any thread. They take
/// effect on the loop, in the order of the calls.
// SAFETY: `loop` is constant; everything else is touched only on it.
public final class InProcessPeerNetwork: @unchecked Sendable {
    /// The loop of all transports of this network.
    public let loop: TransportLoop
    private var connections: [UInt64: WeakConnection] = [:]
    private var nextID: UInt64 = 1
    private(set) var cutsNewPaths = false

    private struct WeakConnection {
        weak var connection: InProcessPeerConnection?
    }

    /// Creates a network on a loop that stays the caller's. The loop must outlive the network's connections.
    public init(loop: TransportLoop) { self.loop = loop }

    /// Cuts the paths between connections. Messages wait in their bounded buffers, and both sides become suspect and
    /// disconnected.
    /// - Parameters:
    ///   - newPathsToo: Whether restarts and new connections find no path either, until `restore()`.
    ///   - isAffected: Chooses connections by the `label` of either end's configuration.
    public func cut(newPathsToo: Bool = false, where isAffected: @escaping @Sendable (String) -> Bool = { _ in true }) {
        loop.execute { [self] in
            if newPathsToo { cutsNewPaths = true }
            for connection in existing where isAffected(connection.label) { connection.path?.isUp = false }
            refresh()
        }
    }

    /// Restores all paths.
    public func restore() {
        loop.execute { [self] in
            cutsNewPaths = false
            for connection in existing { connection.path?.isUp = true }
            refresh()
        }
    }

    /// Ends connections as a transport does that cannot continue: both ends get `.closed` with an error, and what
    /// waited in their buffers is lost.
    public func fail(where isAffected: @escaping @Sendable (String) -> Bool = { _ in true }) {
        loop.execute { [self] in
            let failure = TransportError(.io, "the connection failed (injected)")
            for connection in existing where isAffected(connection.label) { connection.fail(failure) }
        }
    }

    /// Closes the channels with this label at one end of each connection, as a program does that no longer needs them.
    /// The connections stay.
    public func closeChannels(
        labelled label: String, where isAffected: @escaping @Sendable (String) -> Bool = { _ in true }
    ) {
        loop.execute { [self] in
            for connection in existing where isAffected(connection.label) { connection.closeChannels(labelled: label) }
        }
    }

    private var existing: [InProcessPeerConnection] { connections.values.compactMap(\.connection) }

    private func refresh() {
        for connection in existing { connection.completeNegotiation() }
        for connection in existing { connection.pathDidChange() }
    }

    func add(_ connection: InProcessPeerConnection) -> UInt64 {
        nextID += 1
        connections[nextID] = WeakConnection(connection: connection)
        return nextID
    }

    func remove(_ id: UInt64) { connections[id] = nil }

    func connection(_ id: UInt64) -> InProcessPeerConnection? { connections[id]?.connection }
}

/// A peer transport without a network: the reference for how a peer transport behaves, and a substitute for one in
/// tests.
public final class InProcessPeerTransport: PeerTransport {
    private struct State {
        var isShutDown = false
        var connections: [ObjectIdentifier: InProcessPeerConnection] = [:]
    }
    /// The network in which its connections find others.
    public let network: InProcessPeerNetwork
    private let state = Locked(State())

    /// Creates a transport of this network.
    public init(network: InProcessPeerNetwork) { self.network = network }

    /// Returns the plugin to register: the backend called `in-process`.
    public static func plugin(network: InProcessPeerNetwork) -> PeerPlugin {
        PeerPlugin(descriptor) { _ in InProcessPeerTransport(network: network) }
    }

    /// The description of the backend called `in-process`.
    public static let descriptor = PluginDescriptor(
        name: "in-process", summary: "no network: both ends in this process", capabilities: [.pathRestart])

    public var loop: TransportLoop { network.loop }

    public func makeConnection(
        _ configuration: PeerConnectionConfiguration, handler: any PeerConnectionHandler
    ) throws(TransportError) -> InProcessPeerConnection {
        loop.preconditionIsCurrent()
        let connection = InProcessPeerConnection(network: network, configuration: configuration, handler: handler)
        let isOpen = state.withLock { state in
            if !state.isShutDown { state.connections[ObjectIdentifier(connection)] = connection }
            return !state.isShutDown
        }
        guard isOpen else { throw TransportError(.closed, "the transport was shut down") }
        connection.onClosed = { [weak self, id = ObjectIdentifier(connection)] in
            self?.state.withLock { state in state.connections[id] = nil }
        }
        return connection
    }

    public nonisolated(nonsending) func shutdown() async {
        let open = state.withLock { state in
            state.isShutDown = true
            return Array(state.connections.values)
        }
        guard !open.isEmpty else { return }
        await loop.run { for connection in open { connection.close() } }
        // A second pass: the events of the first one have been delivered by then.
        await loop.run {}
    }
}

/// The path that two paired connections share, up or cut.
final class InProcessPath {
    let generation: Int
    var isUp: Bool
    init(generation: Int, isUp: Bool) {
        self.generation = generation
        self.isUp = isUp
    }
}

/// The text of an in-process description: `in-process <connection> <generation> <fragment> <maximum message size>`.
struct InProcessDescription {
    var connection: UInt64
    var generation: Int
    var maximumMessageSize: Int

    var usernameFragment: String { "\(connection)-\(generation)" }
    var text: String { "in-process \(connection) \(generation) \(maximumMessageSize)" }

    init(connection: UInt64, generation: Int, maximumMessageSize: Int) {
        self.connection = connection
        self.generation = generation
        self.maximumMessageSize = maximumMessageSize
    }

    init(parsing text: String) throws(TransportError) {
        let parts = text.utf8.count <= 128 ? text.split(separator: " ", omittingEmptySubsequences: false) : []
        guard parts.count == 4, parts[0] == "in-process", let connection = UInt64(parts[1]),
            let generation = Int(parts[2]), generation >= 0, let size = Int(parts[3]), size > 0
        else { throw TransportError(.protocolViolation, "this is not a description of an in-process connection") }
        self.init(connection: connection, generation: generation, maximumMessageSize: size)
    }
}
