internal import DequeModule

/// A map of the latest keys, up to a limit.
struct BoundedMap<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private let limit: Int
    private var entries: [Key: (value: Value, number: UInt64)] = [:]
    /// The keys in the order of insertion. A key that was removed, or inserted again, stays for a while.
    private var order: Deque<(key: Key, number: UInt64)> = []
    private var lastNumber: UInt64 = 0

    init(limit: Int) { self.limit = limit }

    /// The number of keys that take memory, with those that were removed.
    var keptCount: Int { order.count }

    var isEmpty: Bool { entries.isEmpty }

    subscript(key: Key) -> Value? { entries[key]?.value }

    mutating func insert(_ value: Value, for key: Key) {
        lastNumber += 1
        entries[key] = (value, lastNumber)
        order.append((key, lastNumber))
        while entries.count > limit, let oldest = order.popFirst() {
            if entries[oldest.key]?.number == oldest.number { entries[oldest.key] = nil }
        }
        // At most once in `limit` insertions.
        if order.count > 2 * limit { order.removeAll { entries[$0.key]?.number != $0.number } }
    }

    mutating func remove(_ key: Key) { entries[key] = nil }

    /// The entries, the oldest insertion first.
    var inOrder: [(key: Key, value: Value)] {
        order.compactMap { place in
            guard let entry = entries[place.key], entry.number == place.number else { return nil }
            return (place.key, entry.value)
        }
    }
}

/// A set of the latest keys, up to a limit.
struct BoundedMemory<Key: Hashable & Sendable>: Sendable {
    private var map: BoundedMap<Key, Void>

    init(limit: Int) { map = BoundedMap(limit: limit) }

    var isEmpty: Bool { map.isEmpty }

    func contains(_ key: Key) -> Bool { map[key] != nil }

    mutating func insert(_ key: Key) { map.insert((), for: key) }

    mutating func remove(_ key: Key) { map.remove(key) }

    /// The keys, the oldest insertion first.
    var inOrder: [Key] { map.inOrder.map(\.key) }
}
