import RoomProtocol

/// The clients that wait for rooms which do not exist yet, in the order in which they came.
struct WaitingRoom: Sendable {
    private var waiting: [RoomName: [ConnectionID]] = [:]
    private var admitted: [ConnectionID] = []
    /// The number of clients that wait.
    private(set) var count = 0

    mutating func add(_ id: ConnectionID, for room: RoomName) {
        waiting[room, default: []].append(id)
        count += 1
    }

    mutating func remove(_ id: ConnectionID, from room: RoomName) {
        guard let index = waiting[room]?.firstIndex(of: id) else { return }
        waiting[room]?.remove(at: index)
        count -= 1
        if waiting[room]?.isEmpty == true { waiting[room] = nil }
    }

    func waiting(for room: RoomName) -> [ConnectionID] { waiting[room] ?? [] }

    /// Somebody is in the room: whoever waits for it can come in.
    mutating func opened(_ room: RoomName) {
        let opened = waiting.removeValue(forKey: room) ?? []
        count -= opened.count
        admitted += opened
    }

    /// Takes the clients whose room was created.
    mutating func takeAdmitted() -> [ConnectionID] {
        defer { admitted = [] }
        return admitted
    }
}
