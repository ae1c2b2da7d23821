import TransportPluginAPI

/// The same frames over TCP: `ws://host:port/`. Here `connect` waits, for a resolver and for the other side.
public final class TCPTransport: SignalingTransport {
    /// The transport of the connections, which differ only in how they are opened.
    private let sockets: UnixTransport

    /// Throws `.resourceExhausted` when the system has no descriptor or thread left.
    public init() throws(TransportError) { sockets = try UnixTransport() }

    public nonisolated(nonsending) func connect(
        to endpoint: SignalingEndpoint
    ) async throws(TransportError) -> FrameConnection {
        try UnixTransport.check(endpoint)
        // One deadline for everything that waits.
        let deadline = Timestamp.now() + endpoint.connectTimeout
        let addresses = try await NameResolver.resolve(endpoint.host, url: endpoint.url, deadline: deadline)
        let descriptor = try await sockets.loop.connect(
            to: addresses, port: endpoint.port, url: endpoint.url, deadline: deadline)
        return try sockets.adopt(descriptor, endpoint)
    }

    public nonisolated(nonsending) func shutdown() async { await sockets.shutdown() }
}
