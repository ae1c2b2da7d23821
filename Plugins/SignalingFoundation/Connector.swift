internal import Glibc
internal import TransportPluginAPI

/// Connects a TCP socket to the first of several addresses that answers (RFC 8305 §5): each gets a head start of 250 ms on the
/// next, which begins at once when it fails. Belongs to the loop's thread.
final class Connector {
    static let headStart = Duration.milliseconds(250)

    private let loop: TransportLoop
    private let url: String
    private var waiting: ArraySlice<SocketAddress>
    private var attempts: [Int32: LoopWatch] = [:]
    private var failures: [(address: String, error: Int32)] = []
    private var next: LoopTimer?
    private var done: ((Result<Int32, TransportError>) -> Void)?

    /// - Parameters:
    ///   - url: what errors name.
    ///   - done: called once, maybe inside `start`, not after `cancel`. The socket is the callee's from then on.
    init(
        loop: TransportLoop, addresses: [SocketAddress], url: String,
        done: @escaping (Result<Int32, TransportError>) -> Void
    ) {
        self.loop = loop
        self.url = url
        waiting = SocketAddress.interleaved(addresses)[...]
        self.done = done
    }

    func start() {
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

    /// Closes what is under way.
    func cancel() {
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
        // Connected at once or not: the watch tells.
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

    /// The last failure that says most.
    private func failure() -> TransportError {
        let ranks: [Int32] = [ECONNREFUSED, EMFILE, ENFILE, ENOMEM, ENOBUFS]
        let told = failures.last { ranks.contains($0.error) } ?? failures.last ?? ("no address", EADDRNOTAVAIL)
        let target = "\(url) (\(told.address))"
        switch told.error {
        case ECONNREFUSED:
            return TransportError(.refused, "nobody listens at \(target): is the server running?", isRetriable: true)
        case EMFILE, ENFILE, ENOMEM, ENOBUFS:
            return TransportError(
                .resourceExhausted, "no socket for \(target): \(systemText(told.error))", isRetriable: true)
        default:
            return TransportError(
                .unreachable, "\(target) could not be reached: \(systemText(told.error))", isRetriable: true)
        }
    }
}

func systemText(_ error: Int32) -> String { String(cString: strerror(error)) }
