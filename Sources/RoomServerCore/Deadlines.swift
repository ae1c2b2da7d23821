import RoomProtocol
import TransportValues

/// What waits for a time. Each has one deadline at most: the earliest that was asked for.
///
/// A deadline that has come says only "look whether something is due": whoever is looked at decides, and asks again.
struct Deadlines: Sendable {
    enum Key: Hashable {
        case connection(ConnectionID)
        case grace(RoomName, ParticipantID)
        case acknowledgement(RoomName, ParticipantID)
        case update(RoomName, ParticipantID)
        case room(RoomName)
    }

    /// A binary heap by time. Entries that were overtaken by an earlier one for the same key stay until their time.
    private var heap: [(time: Timestamp, key: Key)] = []
    private var earliest: [Key: Timestamp] = [:]

    var next: Timestamp? { heap.first?.time }

    mutating func schedule(_ key: Key, at time: Timestamp) {
        if let known = earliest[key], known <= time { return }
        earliest[key] = time
        heap.append((time, key))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard heap[child].time < heap[parent].time else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    /// Takes one key whose time has come.
    mutating func takeDue(_ now: Timestamp) -> Key? {
        while let first = heap.first, first.time <= now {
            removeFirst()
            guard earliest[first.key] == first.time else { continue }
            earliest[first.key] = nil
            return first.key
        }
        return nil
    }

    private mutating func removeFirst() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var smallest = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && heap[child].time < heap[smallest].time {
                smallest = child
            }
            guard smallest != parent else { return }
            heap.swapAt(parent, smallest)
            parent = smallest
        }
    }
}
