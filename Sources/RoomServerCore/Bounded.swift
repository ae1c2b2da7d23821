import TransportValues

/// Remembers the latest keys with their values, up to a limit.
struct BoundedMap<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private let limit: Int
    private var entries: [Key: (value: Value, number: UInt64)] = [:]
    /// In the order of their arrival. Keys that were removed, or came again later, stay for a while.
    private(set) var order: [(key: Key, number: UInt64)] = []
    private var head = 0
    private var lastNumber: UInt64 = 0

    init(limit: Int) { self.limit = limit }

    subscript(key: Key) -> Value? { entries[key]?.value }

    mutating func insert(_ value: Value, for key: Key) {
        lastNumber += 1
        entries[key] = (value, lastNumber)
        order.append((key, lastNumber))
        while entries.count > limit {
            let oldest = order[head]
            head += 1
            if entries[oldest.key]?.number == oldest.number { entries[oldest.key] = nil }
        }
        // Once in `limit` insertions at most.
        if order.count > 2 * limit {
            order = order[head...].filter { entries[$0.key]?.number == $0.number }
            head = 0
        }
    }

    mutating func remove(_ key: Key) { entries[key] = nil }
}

/// Remembers the latest keys, up to a limit.
struct BoundedMemory<Key: Hashable & Sendable>: Sendable {
    private var map: BoundedMap<Key, Void>

    init(limit: Int) { map = BoundedMap(limit: limit) }

    func contains(_ key: Key) -> Bool { map[key] != nil }

    mutating func insert(_ key: Key) { map.insert((), for: key) }

    mutating func remove(_ key: Key) { map.remove(key) }
}

/// Allows `burst` at once and `rate` per second. Full at first.
struct TokenBucket: Sendable {
    private var tokens = Double.infinity
    private var updated = Timestamp.zero

    /// Takes `amount`, or all that the bucket can hold where that is less. False: there is not enough yet.
    mutating func take(_ amount: Int = 1, rate: Int, burst: Int, now: Timestamp) -> Bool {
        tokens = min(Double(burst), tokens + max(0, (now - updated).inSeconds) * Double(rate))
        updated = now
        let amount = Double(min(amount, burst))
        guard tokens >= amount else { return false }
        tokens -= amount
        return true
    }

    /// How long it takes until `amount` can be taken, as of the last call of `take`.
    func delay(of amount: Int, rate: Int, burst: Int) -> Duration {
        let missing = Double(min(amount, burst)) - tokens
        return missing > 0 ? .milliseconds(Int64((missing * 1000 / Double(max(rate, 1))).rounded(.up))) : .zero
    }
}

/// What a participant may cost the server and the others: of the session, over all of its connections. Who comes under the same name
/// next goes on with it.
struct Allowance: Sendable {
    /// Messages.
    var messages = TokenBucket()
    /// Returns: hellos that resume, rejoin or take the name over.
    var returns = TokenBucket()
    /// Bytes that are sent again after resumes.
    var replays = TokenBucket()
    /// Bytes that tell the others of new metadata: of each update, for each receiver.
    var updates = TokenBucket()

    mutating func takeMessages(_ count: Int, _ effects: Effects) -> Bool {
        messages.take(
            count, rate: effects.limits.messagesPerSecond, burst: effects.limits.messageBurst, now: effects.now)
    }

    mutating func takeReturn(_ effects: Effects) -> Bool {
        returns.take(rate: effects.limits.returnsPerSecond, burst: effects.limits.returnBurst, now: effects.now)
    }

    mutating func takeReplay(_ bytes: Int, _ effects: Effects) -> Bool {
        replays.take(
            bytes, rate: effects.limits.replayBytesPerSecond, burst: effects.limits.replayBurst, now: effects.now)
    }

    /// Nil: it is paid for. Otherwise when it can be.
    mutating func takeUpdate(_ bytes: Int, _ effects: Effects) -> Timestamp? {
        let (rate, burst) = (effects.limits.updateBytesPerSecond, effects.limits.updateBurst)
        if updates.take(bytes, rate: rate, burst: burst, now: effects.now) { return nil }
        return effects.now + updates.delay(of: bytes, rate: rate, burst: burst)
    }
}
