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
