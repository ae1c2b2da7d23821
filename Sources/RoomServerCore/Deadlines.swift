internal import HeapModule
import RoomProtocol
import TransportValues

/// The times at which something may be due. Each key has one deadline at most: the earliest that was asked for.
///
/// A deadline that has come says only "look whether something is due": the code that looks decides, and asks again.
struct Deadlines: Sendable {
    enum Key: Hashable {
        case connection(ConnectionID)
        case grace(RoomName, ParticipantID)
        case acknowledgement(RoomName, ParticipantID)
        case update(RoomName, ParticipantID)
        case attributes(RoomName)
        case room(RoomName)
    }

    private struct Entry: Comparable, Sendable {
        let time: Timestamp
        let key: Key

        static func < (left: Self, right: Self) -> Bool { left.time < right.time }
    }

    /// Entries that were overtaken by an earlier one for the same key stay until their time.
    private var heap = Heap<Entry>()
    private var earliest: [Key: Timestamp] = [:]

    var next: Timestamp? { heap.min?.time }

    mutating func schedule(_ key: Key, at time: Timestamp) {
        if let known = earliest[key], known <= time { return }
        earliest[key] = time
        heap.insert(Entry(time: time, key: key))
    }

    /// Takes one key whose time has come.
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
