internal import Glibc
public import TransportValues

/// Opens TCP connections for signaling, in the same way for every backend. The backend continues with TLS and the
/// opening handshake.
///
/// Resolves the name and tries its addresses (RFC 8305: 250 ms apart, families in turn, the one that worked last
/// first). If the endpoint has a proxy, asks it for a connection to the endpoint. No other proxy is used: the
/// environment is not read. May be used from any task, for any number of connections at a time.
public final class SignalingDialer: Sendable {
    private struct Place: Hashable {
        var host: String
        var port: UInt16
    }
    /// The maximum number of hosts whose last working address is remembered.
    private static let memory = 64

    private let loop: TransportLoop
    private let ownsLoop: Bool
    private let lastAddresses = Locked<[Place: String]>([:])

    /// Creates a dialer on the loop of a transport, which shuts the loop down.
    public init(loop: TransportLoop) {
        self.loop = loop
        ownsLoop = false
    }

    /// Creates a dialer with its own thread until `shutdown()`. Throws `.resourceExhausted` when the system has no
    /// descriptor or thread left.
    public init() throws(TransportError) {
        loop = try TransportLoop(name: "dialer")
        ownsLoop = true
    }

    deinit {
        // If shutdown() was not called, the thread must still be awaited, and may be the one that runs this.
        if ownsLoop { Task { [loop] in await loop.shutdown() } }
    }

    /// Opens one connection. Returns the socket, which does not block and belongs to the caller.
    ///
    /// Throws `.nameNotResolved`, `.unreachable`, `.refused` (nothing listens, or the proxy refuses: `status` is its
    /// answer), `.handshakeFailed` (the answer is not a proxy's), `.timedOut` at `deadline`, `.cancelled`,
    /// `.invalidArgument`, `.resourceExhausted`, and `.closed` after the loop's shutdown. An abandoned attempt is
    /// closed.
    public nonisolated(nonsending) func connect(
        to endpoint: SignalingEndpoint, deadline: Timestamp
    ) async throws(TransportError) -> Int32 {
        let place = Place(host: endpoint.proxy?.host ?? endpoint.host, port: endpoint.proxy?.port ?? endpoint.port)
        try SignalingEndpoint.validate(hostName: place.host)
        let target = endpoint.proxy.map { "the proxy \($0) for \(endpoint.url)" } ?? endpoint.url
        var addresses = try await NameResolver.resolve(place.host, url: target, deadline: deadline)
        if let last = lastAddresses.withLock({ $0[place] }), let index = addresses.firstIndex(of: last) {
            addresses.insert(addresses.remove(at: index), at: 0)
        }
        let descriptor = try await loop.connect(
            to: addresses, port: place.port, url: target, deadline: deadline,
            tunnelTo: endpoint.proxy == nil ? nil : endpoint)
        if let address = SocketAddress.remote(of: descriptor) {
            lastAddresses.withLock { addresses in
                if addresses.count >= Self.memory, addresses[place] == nil { addresses.removeAll() }
                addresses[place] = address
            }
        }
        return descriptor
    }

    /// Ends attempts with `.closed`, and the thread if the dialer has its own. Idempotent.
    public func shutdown() async { if ownsLoop { await loop.shutdown() } }
}
