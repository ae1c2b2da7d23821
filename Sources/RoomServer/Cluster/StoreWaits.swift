internal import RoomCluster
internal import RoomProtocol
internal import TransportValues

/// Those who wait until the store has a mark. Each is answered once: with false when the store has refused the mark,
/// and some time after the limit of a decision, when its answer is not needed any more, at the latest.
struct StoreWaits {
    private struct Key: Hashable {
        let room: RoomName
        let mark: RoomCluster.Mark
    }

    /// The number of those that wait.
    private static let limit = 1024
    private var waits: [Key: [(end: Timestamp, answer: (Bool) -> Void)]] = [:]
    private(set) var count = 0
    private var isOver = false

    mutating func add(
        _ answer: @escaping (Bool) -> Void, for mark: RoomCluster.Mark, in room: RoomName, at now: Timestamp
    ) {
        expire(at: now)
        guard !isOver, count < Self.limit else { return answer(false) }
        count += 1
        waits[Key(room: room, mark: mark), default: []].append((now + Decision.limit, answer))
    }

    /// The store has answered a request. Marks without an answer are sent again.
    mutating func answered(_ request: StoreRequest, _ reply: StoreReply) {
        guard count > 0, case .writeMarks(let marks) = request else { return }
        for mark in marks {
            let answered = waits.removeValue(forKey: Key(room: mark.room, mark: mark.mark)) ?? []
            count -= answered.count
            for wait in answered { wait.answer(reply == .done) }
        }
    }

    /// Nothing is stored any more.
    mutating func end() {
        isOver = true
        expire(at: .distantFuture)
    }

    private mutating func expire(at now: Timestamp) {
        guard count > 0 else { return }
        for (key, all) in waits {
            let late = all.prefix { $0.end <= now }
            guard !late.isEmpty else { continue }
            count -= late.count
            waits[key] = late.count < all.count ? Array(all.dropFirst(late.count)) : nil
            for wait in late { wait.answer(false) }
        }
    }
}
