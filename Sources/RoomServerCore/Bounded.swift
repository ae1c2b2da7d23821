import TransportPluginAPI

/// Remembers the latest keys, up to a limit.
struct BoundedMemory<Key: Hashable & Sendable>: Sendable {
    private let limit: Int
    private var order: [Key] = []
    private var keys: Set<Key> = []

    init(limit: Int) { self.limit = limit }

    func contains(_ key: Key) -> Bool { keys.contains(key) }

    mutating func insert(_ key: Key) {
        guard keys.insert(key).inserted else { return }
        order.append(key)
        if order.count > limit { keys.remove(order.removeFirst()) }
    }

    mutating func remove(_ key: Key) {
        guard keys.remove(key) != nil else { return }
        order.removeAll { $0 == key }
    }
}

/// Allows `burst` at once and `rate` per second.
struct TokenBucket: Sendable {
    private var tokens: Double
    private var updated: Timestamp

    init(burst: Int, now: Timestamp) {
        tokens = Double(burst)
        updated = now
    }

    /// Takes `amount`, or all that the bucket can hold where that is less. False: there is not enough yet.
    mutating func take(_ amount: Int = 1, rate: Int, burst: Int, now: Timestamp) -> Bool {
        tokens = min(Double(burst), tokens + max(0, (now - updated).inSeconds) * Double(rate))
        updated = now
        let amount = Double(min(amount, burst))
        guard tokens >= amount else { return false }
        tokens -= amount
        return true
    }
}
