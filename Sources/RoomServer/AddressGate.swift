internal import Logging
internal import NIOCore
internal import RoomServerCore
internal import TransportPluginAPI
internal import WebSocketWire

/// Decides which sockets are admitted by the addresses that they come from. One for all loops of a server: it is asked
/// when a socket is opened, at its `hello`, and when it is closed, never for a message.
final class AddressGate: AddressAuthority {
    private let table: Locked<AddressTable>
    private let hasWarned = Locked(false)
    private let unlimited: [AddressRange]
    private let proxies: [AddressRange]
    /// Whether every connection begins with a header of the PROXY protocol.
    let expectsProxyHeader: Bool

    /// Creates a gate. Throws when the configuration names something that is not a range of addresses.
    init(_ configuration: RoomServerConfiguration) throws(RoomServerError) {
        table = Locked(AddressTable(configuration.limits.perAddress))
        unlimited = try Self.ranges(configuration.unlimitedAddresses)
        proxies = try Self.ranges(configuration.trustedProxies)
        expectsProxyHeader = configuration.expectsProxyProtocol
        guard !expectsProxyHeader || !proxies.isEmpty else {
            throw RoomServerError(
                message: "The PROXY protocol needs the addresses of the proxies: name them as trusted proxies.")
        }
    }

    private static func ranges(_ texts: [String]) throws(RoomServerError) -> [AddressRange] {
        var ranges: [AddressRange] = []
        for text in texts {
            guard let range = AddressRange(text) else {
                throw RoomServerError(
                    message: "'\(text)' is not a range of addresses: write 10.0.0.0/8, 2001:db8::/32, or an address.")
            }
            ranges.append(range)
        }
        return ranges
    }

    /// Whether the address is that of a proxy, which tells those of its clients.
    func isProxy(_ address: NetworkAddress) -> Bool { proxies.contains { $0.contains(address) } }

    /// Warns once about a proxy because of which no client has limits.
    func warnOfProxy(_ logger: Logger) {
        let isFirst = hasWarned.withLock { hasWarned in
            defer { hasWarned = true }
            return !hasWarned
        }
        guard isFirst else { return }
        logger.warning(
            """
            a proxy names its clients' addresses, but is not trusted and has no limits, so they have none: name it as \
            a trusted proxy
            """
        )
    }

    // MARK: Sockets

    /// Admits a socket by the address that it was opened from. Throws when it must be closed at once. Whom a proxy
    /// speaks for is not known yet, so its sockets are not counted.
    func accept(_ remote: SocketAddress?) throws(AddressRefusal) -> ClientAddress {
        guard let address = remote.flatMap(NetworkAddress.init) else { return ClientAddress(nil) }
        if isProxy(address) { return ClientAddress(address) }
        guard !expectsProxyHeader else { throw AddressRefusal() }
        return try admit(address)
    }

    /// Counts a socket of a client. Throws when it must be closed at once.
    func admit(_ address: NetworkAddress) throws(AddressRefusal) -> ClientAddress {
        var client = ClientAddress(address)
        if isProxy(address) || unlimited.contains(where: { $0.contains(address) }) { return client }
        switch table.withLock({ $0.opened(address, at: .now()) }) {
        case .admitted(let place): client.pass = AddressPass(place, self)
        case .refusedPolitely(let place, let delay):
            client.pass = AddressPass(place, self)
            client.delay = delay
        case .refused: throw AddressRefusal()
        }
        return client
    }

    fileprivate func handshakeBegan(_ place: AddressTable.Place) -> Bool {
        table.withLock { $0.handshakeBegan(place) }
    }

    fileprivate func handshakeEnded(_ place: AddressTable.Place) { table.withLock { $0.handshakeEnded(place) } }

    fileprivate func closed(_ place: AddressTable.Place) { table.withLock { $0.closed(place) } }

    // MARK: Hellos

    func openRoom(
        _ address: NetworkAddress, at now: Timestamp
    ) -> Result<AddressTable.Place, AddressTable.RoomRefusal> {
        table.withLock { $0.openRoom(address, at: now) }
    }

    func roomEnded(_ place: AddressTable.Place) { table.withLock { $0.roomEnded(place) } }

    func delayOfCredentials(_ address: NetworkAddress, at now: Timestamp) -> Duration? {
        table.withLock { $0.delayOfCredentials(address, at: now) }
    }

    func joined(withToken token: String, at now: Timestamp) -> Duration? {
        table.withLock { $0.joined(withToken: token, at: now) }
    }

    func credentialFailed(_ address: NetworkAddress, at now: Timestamp) {
        table.withLock { $0.credentialFailed(address, at: now) }
    }
}

/// The address of a socket has too many: the socket must be closed at once.
struct AddressRefusal: Error {}

/// The place of a socket in the limits of its address. Given back at its end.
final class AddressPass: @unchecked Sendable {
    // SAFETY: belongs to one connection, which is on one loop at a time.
    private let gate: AddressGate
    private let place: AddressTable.Place
    private var isHandshake = true

    init(_ place: AddressTable.Place, _ gate: AddressGate) {
        self.place = place
        self.gate = gate
    }

    deinit {
        handshakeEnded()
        gate.closed(place)
    }

    /// The first request was answered, or the `hello` was accepted.
    func handshakeEnded() {
        if isHandshake { gate.handshakeEnded(place) }
        isHandshake = false
    }

    /// A WebSocket handshake begins. Returns false when there are too many.
    func handshakeBegan() -> Bool {
        if !isHandshake { isHandshake = gate.handshakeBegan(place) }
        return isHandshake
    }
}

/// The address that a connection comes from, and what it has there.
struct ClientAddress {
    /// Nil: unknown, as that of a UNIX socket.
    private(set) var address: NetworkAddress?
    /// Nil: nothing is counted.
    fileprivate(set) var pass: AddressPass?
    /// Its requests are refused, with this time to return.
    fileprivate var delay: Duration?

    init(_ address: NetworkAddress?) { self.address = address }

    private static let forwardedFor = "x-forwarded-for"

    /// Whether the address has no limits, and names another one, without being that of a trusted proxy.
    func isBehindUnknownProxy(_ request: RequestHead, _ gate: AddressGate) -> Bool {
        guard pass == nil, let address, !gate.isProxy(address) else { return false }
        return !request.fields.values(Self.forwardedFor).isEmpty
    }

    /// The address that pays for what the connection does; nil: nobody.
    var payer: NetworkAddress? { pass == nil ? nil : address }

    /// Counts a request, at the address that a proxy names for it. Returns the time to return, if it is refused.
    mutating func requested(_ request: RequestHead, isUpgrade: Bool, _ gate: AddressGate) -> Duration? {
        if let delay { return delay }
        guard isUpgrade else { return nil }
        if pass == nil, let address, gate.isProxy(address) {
            let lines = request.fields.values(Self.forwardedFor)
            let client = ForwardedFor.client(of: address, lines, isTrusted: gate.isProxy)
            do throws(AddressRefusal) { self = try gate.admit(client) } catch { return .seconds(1) }
            return delay
        }
        return pass?.handshakeBegan() == false ? .seconds(1) : nil
    }
}

extension NetworkAddress {
    init?(_ address: SocketAddress) {
        switch address {
        case .v4, .v6: self.init(address.ipAddress ?? "")
        case .unixDomainSocket: return nil
        }
    }
}

extension Channel {
    /// Closes at once, and tells the other side so with a reset: neither side's kernel remembers the connection.
    func reset() {
        // A `struct linger`: on, no seconds.
        let linger: (CInt, CInt) = (1, 0)
        _ = (self as? any SocketOptionProvider)?
            .unsafeSetSocketOption(level: .socket, name: .so_linger, value: linger)
        close(promise: nil)
    }
}

extension ServerLoop {
    /// Returns the answer to a request, which counts for the address of the client.
    func answer(to request: RequestHead, from client: inout ClientAddress) -> HTTPResponse {
        var status = status
        if let gate {
            if client.isBehindUnknownProxy(request, gate) { gate.warnOfProxy(logger) }
            status.tooMany = client.requested(request, isUpgrade: ServerHandshake.isWanted(by: request), gate)
        }
        if status.tooMany != nil { metrics.refusedAddress() }
        return HTTPResponse(to: request, status)
    }
}
