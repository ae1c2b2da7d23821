internal import Glibc
public import TransportValues

/// Resolves names on threads of its own, because `getaddrinfo` blocks, and must block neither a transport loop nor the
/// cooperative pool.
public enum NameResolver {
    /// The maximum number of concurrent look-ups in this process; `getaddrinfo` cannot be cancelled.
    private static let limit = 64
    private static let running = Locked(0)

    private typealias Outcome = Result<[String], TransportError>

    /// Returns the host's numeric addresses, in the system's order (RFC 6724), without duplicates. A numeric host is
    /// returned unchanged. Of more than 16 addresses, each family keeps its share.
    ///
    /// Throws `.nameNotResolved`, `.timedOut`, `.cancelled`, and `.resourceExhausted` when 64 look-ups are running in
    /// this process or no thread is left. An abandoned look-up ends by itself, later.
    /// - Parameters:
    ///   - host: A name or a numeric address.
    ///   - url: The URL that errors name.
    ///   - deadline: The time limit.
    public nonisolated(nonsending) static func resolve(
        _ host: String, url: String, deadline: Timestamp
    ) async throws(TransportError) -> [String] {
        // A numeric host needs no thread.
        if case .success(let addresses) = lookUp(host, flags: AI_NUMERICHOST, url: url) { return addresses }
        let pending = PendingOutcome<[String]>()
        start(host, url: url, pending)
        let timer = Task {
            try? await Task.sleep(for: deadline - .now())
            pending.settle(
                .failure(
                    TransportError(
                        .timedOut, "the name in \(url) was not resolved in time: is the resolver reachable?",
                        isRetryable: true)))
        }
        defer { timer.cancel() }
        return try await pending.value { pending.settle(.failure(cancelled(url))) }
    }

    private static func cancelled(_ url: String) -> TransportError {
        TransportError(.cancelled, "connecting to \(url) was cancelled")
    }

    private static func start(_ host: String, url: String, _ pending: PendingOutcome<[String]>) {
        let mayStart = running.withLock { running in
            guard running < limit else { return false }
            running += 1
            return true
        }
        let started =
            mayStart
            && DetachedThread.start {
                pending.settle(lookUp(host, flags: 0, url: url))
                running.withLock { $0 -= 1 }
            }
        guard !started else { return }
        if mayStart { running.withLock { $0 -= 1 } }
        pending.settle(
            .failure(
                TransportError(
                    .resourceExhausted, "no thread is left to resolve the name in \(url)", isRetryable: true)))
    }

    private static func lookUp(_ host: String, flags: Int32, url: String) -> Outcome {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = flags
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, nil, &hints, &list)
        defer { if list != nil { freeaddrinfo(list) } }
        var addresses: [String] = []
        var next = status == 0 ? list : nil
        // An answer may contain thousands.
        while let entry = next?.pointee, addresses.count < 256 {
            next = entry.ai_next
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            if getnameinfo(
                entry.ai_addr, entry.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
            {
                let address = text.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
                if !addresses.contains(address) { addresses.append(address) }
            }
        }
        guard addresses.isEmpty else { return .success(limited(addresses)) }
        let reason = status == 0 ? "it has no address" : String(cString: gai_strerror(status))
        return .failure(
            TransportError(.nameNotResolved, "the name in \(url) was not resolved: \(reason)", isRetryable: true))
    }

    /// Returns the first 16 addresses. When there are more, neither family displaces the other.
    static func limited(_ addresses: [String]) -> [String] {
        let six = addresses.count { $0.contains(":") }
        let share = max(8, 16 - min(six, addresses.count - six))
        var taken = (six: 0, four: 0)
        return addresses.filter { address in
            if address.contains(":") { taken.six += 1 } else { taken.four += 1 }
            return (address.contains(":") ? taken.six : taken.four) <= share
        }
    }
}
