internal import HeapModule
import RoomProtocol
import TransportValues

/// The times at which something may be due. Each key has at most one deadline: the earliest that was scheduled.
///
/// A deadline only means that the owner of the key must check whether something is due. The owner decides, and
/// schedules the next one.
struct Deadlines: Sendable {
    /// Every connection has one: what is larger lies elsewhere.
    enum Key: Hashable {
        case connection(ConnectionID)
        indirect case grace(RoomName, ParticipantID)
        case acknowledgement(ConnectionID)
        indirect case update(RoomName, ParticipantID)
        indirect case attributes(RoomName)
        indirect case room(RoomName)
    }

    private struct Entry: Comparable, Sendable {
        let time: Timestamp
        let key: Key

        static func < (left: Self, right: Self) -> Bool { left.time < right.time }
    }

    /// An entry with an earlier one for the same key stays until its own time.
    private var heap = Heap<Entry>()
    private var earliest: [Key: Timestamp] = [:]

    var next: Timestamp? { heap.min?.time }

    mutating func schedule(_ key: Key, at time: Timestamp) {
        if let known = earliest[key], known <= time { return }
        earliest[key] = time
        heap.insert(Entry(time: time, key: key))
    }

    /// Removes one key whose deadline has passed, and returns it.
    mutating func takeDue(_ now: Timestamp) -> Key? {
        while let first = heap.min, first.time <= now {
            heap.removeMin()
            guard earliest[first.key] == first.time else { continue }
            earliest[first.key] = nil
            return first.key
        }
        return nil
    }
}
