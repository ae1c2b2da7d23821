internal import Glibc
public import TransportValues

/// Connects a TCP socket to the first of several addresses that answers (RFC 8305 §5): each gets a head start of 250 ms
/// on the next, which begins at once when it fails. Belongs to the loop's thread.
///
/// For transports that continue with the socket on their loop. ``TransportLoop/connect(to:port:url:deadline:)`` is for
/// all others.
public final class TCPConnector {
    static let headStart = Duration.milliseconds(250)

    private let loop: TransportLoop
    private let url: String
    private var waiting: ArraySlice<SocketAddress>
    private var attempts: [Int32: LoopWatch] = [:]
    private var failures: [(address: String, error: Int32)] = []
    private var next: LoopTimer?
    private var done: ((Result<Int32, TransportError>) -> Void)?

    /// - Parameters:
    ///   - loop: The loop of the attempt.
    ///   - addresses: Numeric, as returned by ``NameResolver``; families alternate.
    ///   - port: 1 to 65,535.
    ///   - url: The URL that errors name.
    ///   - done: Called once, maybe inside `start`, not after `cancel`. The non-blocking socket belongs to the callee
    ///     from then on. Fails with `.refused`, `.unreachable` or `.resourceExhausted`.
    public convenience init(
        loop: TransportLoop, addresses: [String], port: UInt16, url: String,
        done: @escaping (Result<Int32, TransportError>) -> Void
    ) {
        self.init(
            loop: loop, addresses: addresses.compactMap { SocketAddress($0, port: port) }, url: url, done: done)
    }

    init(
        loop: TransportLoop, addresses: [SocketAddress], url: String,
        done: @escaping (Result<Int32, TransportError>) -> Void
    ) {
        self.loop = loop
        self.url = url
        waiting = SocketAddress.interleaved(addresses)[...]
        self.done = done
    }

    /// Starts.
    public func start() {
        next?.cancel()
        next = nil
        guard done != nil else { return }
        while let address = waiting.popFirst() {
            guard begin(address) else { continue }
            if !waiting.isEmpty { next = loop.schedule(after: Self.headStart) { self.start() } }
            return
        }
        if attempts.isEmpty { finish(.failure(failure())) }
    }

    /// Closes what is in progress. Idempotent.
    public func cancel() {
        done = nil
        next?.cancel()
        next = nil
        for (descriptor, watch) in attempts {
            watch.cancel()
            close(descriptor)
        }
        attempts = [:]
    }

    private func begin(_ address: SocketAddress) -> Bool {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(address.family, type, 0)
        guard descriptor >= 0 else { return note(address, errno) }
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        let error = address.connect(descriptor)
        // Connected at once or not: the watch reports it.
        guard error == 0 || error == EINPROGRESS else {
            close(descriptor)
            return note(address, error)
        }
        do throws(TransportError) {
            attempts[descriptor] = try loop.watch(descriptor, for: .writable) { _ in
                self.ended(descriptor, address)
            }
            return true
        } catch {
            close(descriptor)
            return note(address, ENOMEM)
        }
    }

    private func ended(_ descriptor: Int32, _ address: SocketAddress) {
        attempts.removeValue(forKey: descriptor)?.cancel()
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
        if error == 0 { return finish(.success(descriptor)) }
        close(descriptor)
        _ = note(address, error)
        start()
    }

    private func note(_ address: SocketAddress, _ error: Int32) -> Bool {
        failures.append((address.text, error))
        return false
    }

    private func finish(_ outcome: Result<Int32, TransportError>) {
        let done = done
        cancel()
        done?(outcome)
    }

    /// The most informative failure so far.
    private func failure() -> TransportError {
        let ranks: [Int32] = [ECONNREFUSED, EMFILE, ENFILE, ENOMEM, ENOBUFS]
        let reported = failures.last { ranks.contains($0.error) } ?? failures.last ?? ("no address", EADDRNOTAVAIL)
        let target = "\(url) (\(reported.address))"
        switch reported.error {
        case ECONNREFUSED:
            return TransportError(.refused, "nothing listens at \(target): is the server running?", isRetryable: true)
        case EMFILE, ENFILE, ENOMEM, ENOBUFS:
            return TransportError(
                .resourceExhausted, "no socket for \(target): \(systemText(reported.error))", isRetryable: true)
        default:
            return TransportError(
                .unreachable, "\(target) could not be reached: \(systemText(reported.error))", isRetryable: true)
        }
    }
}

private func systemText(_ error: Int32) -> String { String(cString: strerror(error)) }

extension TransportLoop {
    /// Opens a TCP connection to the first of `addresses` that answers: the step of a transport between
    /// ``NameResolver`` and its own handshake. Returns the non-blocking socket, which belongs to the caller.
    ///
    /// Throws `.refused`, `.unreachable`, `.resourceExhausted`, `.timedOut` at `deadline`, `.cancelled` as soon as the
    /// task is cancelled, and `.closed` when the loop is shut down meanwhile or was before. An abandoned attempt is
    /// closed.
    /// - Parameters:
    ///   - addresses: Numeric. Families alternate, and each address has 250 ms before the next is tried too (RFC 8305).
    ///   - port: 1 to 65,535.
    ///   - url: The URL that errors name.
    ///   - deadline: The time limit; the same as the resolver's.
    public nonisolated(nonsending) func connect(
        to addresses: [String], port: UInt16, url: String, deadline: Timestamp
    ) async throws(TransportError) -> Int32 {
        try await connect(to: addresses, port: port, url: url, deadline: deadline, tunnelTo: nil)
    }

    /// Connects as above. With `tunnelTo`, connects to that endpoint's proxy, and asks it for a connection to the
    /// endpoint.
    nonisolated(nonsending) func connect(
        to addresses: [String], port: UInt16, url: String, deadline: Timestamp, tunnelTo endpoint: SignalingEndpoint?
    ) async throws(TransportError) -> Int32 {
        let attempt = TCPAttempt(self, addresses, port, url, deadline, endpoint)
        attempt.begin()
        return try await attempt.pending.value { attempt.cancel() }
    }
}

/// One call of `connect`, as its task and the loop share it. The first outcome counts.
// SAFETY: `pending` has its own lock; members under "On the loop" are touched only there.
private final class TCPAttempt: LoopSource, @unchecked Sendable {
    typealias Outcome = Result<Int32, TransportError>

    let pending = PendingOutcome<Int32>()
    private let loop: TransportLoop
    private let addresses: [String]
    private let port: UInt16
    private let url: String
    private let deadline: Timestamp
    private let endpoint: SignalingEndpoint?

    // MARK: On the loop

    private var connector: TCPConnector?
    private var tunnel: (request: ProxyTunnel, descriptor: Int32)?
    private var timer: LoopTimer?

    init(
        _ loop: TransportLoop, _ addresses: [String], _ port: UInt16, _ url: String, _ deadline: Timestamp,
        _ endpoint: SignalingEndpoint?
    ) {
        self.loop = loop
        self.addresses = addresses
        self.port = port
        self.url = url
        self.deadline = deadline
        self.endpoint = endpoint
    }

    func begin() {
        // An ended loop does not accept the work, which must not be awaited then.
        if !loop.execute({ self.start() }) { pending.settle(.failure(closed)) }
    }

    func cancel() {
        guard pending.settle(.failure(TransportError(.cancelled, "connecting to \(url) was cancelled"))) else { return }
        // Not accepted: then the loop's end has closed it.
        loop.execute { self.clear() }
    }

    private var closed: TransportError {
        TransportError(.closed, "connecting to \(url) was aborted: the transport is shut down")
    }

    private func start() {
        guard pending.outcome == nil else { return }
        // A source is notified of the loop's end.
        loop.attach(self)
        timer = loop.schedule(at: deadline) { [self] in
            end(.failure(TransportError(.timedOut, "\(url) did not answer in time", isRetryable: true)))
        }
        let connector = TCPConnector(loop: loop, addresses: addresses, port: port, url: url) { self.connected($0) }
        self.connector = connector
        connector.start()
    }

    private func connected(_ outcome: Outcome) {
        guard let endpoint, case .success(let descriptor) = outcome else { return end(outcome) }
        connector = nil
        let request = ProxyTunnel(loop: loop, descriptor: descriptor, endpoint: endpoint) { [self] error in
            if error == nil { tunnel = nil }
            end(error.map { .failure($0) } ?? .success(descriptor))
        }
        tunnel = (request, descriptor)
        request.start()
    }

    private func end(_ outcome: Outcome) {
        clear()
        // The waiting task was cancelled at the same moment: the socket has no owner.
        if !pending.settle(outcome), case .success(let descriptor) = outcome { close(descriptor) }
    }

    private func clear() {
        timer?.cancel()
        timer = nil
        connector?.cancel()
        connector = nil
        if let tunnel {
            tunnel.request.cancel()
            close(tunnel.descriptor)
        }
        tunnel = nil
        loop.detach(self)
    }

    func loopWillSleep() -> Timestamp? { nil }

    func loopWillEnd() { end(.failure(closed)) }
}
