public import HeapModule
public import TransportValues

/// The times at which something may be due. Each key has at most one deadline: the earliest that was scheduled.
///
/// A deadline only means that the owner of the key must check whether something is due. The owner decides, and
/// schedules the next one.
// `@usableFromInline`: without it, other modules cannot inline the methods of a type that is `package`, and a generic
// one is called unspecialized.
@usableFromInline
package struct DeadlineQueue<Key: Hashable & Sendable>: Sendable {
    @usableFromInline
    struct Entry: Comparable, Sendable {
        @usableFromInline let time: Timestamp
        @usableFromInline let key: Key

        @inlinable
        init(time: Timestamp, key: Key) {
            self.time = time
            self.key = key
        }

        @inlinable
        static func < (left: Self, right: Self) -> Bool { left.time < right.time }

        @inlinable
        static func == (left: Self, right: Self) -> Bool { left.time == right.time && left.key == right.key }
    }

    /// An entry with an earlier one for the same key stays until its own time.
    @usableFromInline var heap = Heap<Entry>()
    @usableFromInline var earliest: [Key: Timestamp] = [:]

    @inlinable
    package init() {}

    @inlinable package var next: Timestamp? { heap.min?.time }

    @inlinable
    package mutating func schedule(_ key: Key, at time: Timestamp) {
        if let known = earliest[key], known <= time { return }
        earliest[key] = time
        heap.insert(Entry(time: time, key: key))
    }

    /// Removes one key whose deadline has passed, and returns it.
    @inlinable
    package mutating func takeDue(_ now: Timestamp) -> Key? {
        while let first = heap.min, first.time <= now {
            heap.removeMin()
            guard earliest[first.key] == first.time else { continue }
            earliest[first.key] = nil
            return first.key
        }
        return nil
    }
}
