internal import DequeModule

/// Remembers the latest keys with their values, up to a limit.
struct BoundedMap<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private let limit: Int
    private var entries: [Key: (value: Value, number: UInt64)] = [:]
    /// In the order of their arrival. Keys that were removed, or came again later, stay for a while.
    private var order: Deque<(key: Key, number: UInt64)> = []
    private var lastNumber: UInt64 = 0

    init(limit: Int) { self.limit = limit }

    /// The keys that take memory, those included that are no longer remembered.
    var keptCount: Int { order.count }

    subscript(key: Key) -> Value? { entries[key]?.value }

    mutating func insert(_ value: Value, for key: Key) {
        lastNumber += 1
        entries[key] = (value, lastNumber)
        order.append((key, lastNumber))
        while entries.count > limit, let oldest = order.popFirst() {
            if entries[oldest.key]?.number == oldest.number { entries[oldest.key] = nil }
        }
        // Once in `limit` insertions at most.
        if order.count > 2 * limit { order.removeAll { entries[$0.key]?.number != $0.number } }
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
