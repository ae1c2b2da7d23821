internal import Glibc
public import TransportValues

/// Opens the TCP connections that signaling goes over: the same for every backend, which goes on with TLS and the
/// opening handshake.
///
/// Resolves the name, tries its addresses side by side (RFC 8305: 250 ms apart, families in turn, the one that worked
/// last first), and asks the endpoint's proxy, where there is one, for a connection to the endpoint. There is no other
/// proxy: the environment is not read. May be used from any task, for any number of connections at a time.
public final class SignalingDialer: Sendable {
    private struct Place: Hashable {
        var host: String
        var port: UInt16
    }
    /// Places whose address that worked last is remembered.
    private static let memory = 64

    private let loop: TransportLoop
    private let ownsLoop: Bool
    private let lastAddresses = Locked<[Place: String]>([:])

    /// A dialer on the loop of a transport, which shuts it down.
    public init(loop: TransportLoop) {
        self.loop = loop
        ownsLoop = false
    }

    /// A dialer with a thread of its own, until `shutdown()`. Throws `.resourceExhausted` when the system has no
    /// descriptor or thread left.
    public init() throws(TransportError) {
        loop = try TransportLoop(name: "dialer")
        ownsLoop = true
    }

    deinit {
        // Where nobody called shutdown(): somebody has to wait for the thread, which may even be the one that runs
        // this.
        if ownsLoop { Task { [loop] in await loop.shutdown() } }
    }

    /// Opens one connection. Returns the socket, which does not block and belongs to the caller.
    ///
    /// Throws `.nameNotResolved`, `.unreachable`, `.refused` (by nobody who listens, or by the proxy: `status` says
    /// how), `.handshakeFailed` (what answers is no proxy), `.timedOut` at `deadline`, `.cancelled`,
    /// `.invalidArgument`, `.resourceExhausted`, and `.closed` after the loop's shutdown. An attempt that is given up
    /// is closed.
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

    /// Ends what is under way with `.closed`, and the thread where the dialer has one of its own. Idempotent.
    public func shutdown() async { if ownsLoop { await loop.shutdown() } }
}
