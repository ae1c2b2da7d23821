internal import Glibc
internal import Hashing
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import TransportPluginAPI

/// A running node of a cluster: its listener for other nodes, and its machine's shell.
struct ClusterServer: Sendable {
    private let channel: any Channel
    private let node: NIOLoopBound<ClusterNode>
    /// The address for other nodes.
    let address: String
    let metrics: ClusterMetrics
    /// The other nodes, for the admin API.
    let peers: AdminPeers

    /// Starts the node. Hellos are routed from now on; they wait for the store.
    static func start(
        _ configuration: RoomServerConfiguration.Cluster, authority: ServerAuthority, loops: ServerLoops,
        logger: Logger, onSuperseded: @escaping @Sendable () -> Void
    ) async throws -> ClusterServer {
        guard var address = LinkAddress(configuration.advertise) else {
            throw RoomServerError(
                message: "The advertised address \(configuration.advertise) has not the form link://host:port.")
        }
        guard RoomServerConfiguration.Cluster.isName(configuration.node),
            RoomServerConfiguration.Cluster.isName(configuration.name)
        else {
            throw RoomServerError(
                message: "The name of a node or a cluster has 1 to 64 characters of A-Z a-z 0-9 - _ and the dot.")
        }
        // Errors in the URL and the files before anything listens.
        _ = try RedisURL(configuration.redis)
        let eventLoop = loops.all[0].eventLoop
        let certificate = try SelfSignedCertificate(for: ["node"])
        let tls = try TLSContext(.init(certificate), TicketKeys(secrets: [Crypto.randomBytes(32)]))
        let made = eventLoop.makePromise(of: NIOLoopBound<ClusterNode>.self)
        let bootstrap = ServerBootstrap(group: eventLoop)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptPause(logger))
                }
            }
            .childChannelInitializer { channel in
                made.futureResult.flatMapThrowing { node in
                    let link = node.value.makeIncoming()
                    try channel.pipeline.syncOperations.addHandlers([tls.makeHandler(), link])
                }
            }
        let host = configuration.listenHost ?? (address.host.contains(":") ? "::" : "0.0.0.0")
        let channel: any Channel
        do { channel = try await bootstrap.bind(host: host, port: address.port).get() } catch {
            made.fail(error)
            throw RoomServerError.cannotListen("Cannot listen for other nodes on \(host), port \(address.port)", error)
        }
        if address.port == 0 { address.port = channel.localAddress?.port ?? 0 }
        do {
            let published = address
            let node = try await eventLoop.submit {
                let node = try ClusterNode(
                    configuration, address: published, authority: authority, loops: loops, on: eventLoop,
                    logger: logger)
                node.onSuperseded = onSuperseded
                return NIOLoopBound(node, eventLoop: eventLoop)
            }.get()
            for loop in loops.all { try await loop.eventLoop.submit { loop.value.cluster = node }.get() }
            try await eventLoop.submit { node.value.start(as: Self.microseconds()) }.get()
            made.succeed(node)
            let metrics = try await eventLoop.submit { node.value.metrics }.get()
            return ClusterServer(
                channel: channel, node: node, address: address.text, metrics: metrics,
                peers: AdminPeers(node, node: configuration.node))
        } catch {
            made.fail(error)
            try? await channel.close().get()
            throw error
        }
    }

    /// The microseconds since 1970: a later process has a higher number.
    private static func microseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(max(0, time.tv_sec)) * 1_000_000 + UInt64(max(0, time.tv_nsec)) / 1000
    }

    /// Gives up all rooms, spread over this time; their members rebuild them at other nodes.
    func drain(within window: Duration) async {
        let drained = node.eventLoop.flatSubmit { [node] in node.value.drain(within: window) }
        try? await drained.get()
    }

    func stop() async {
        try? await channel.close().get()
        try? await node.eventLoop.submit { [node] in node.value.stop() }.get()
    }
}
