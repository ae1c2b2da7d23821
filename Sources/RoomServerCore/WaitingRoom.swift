import RoomProtocol

/// The clients that wait for rooms which do not exist yet, in the order in which they came.
struct WaitingRoom: Sendable {
    private var waiting: [RoomName: [ConnectionID]] = [:]
    private var admitted: [ConnectionID] = []

    mutating func add(_ id: ConnectionID, for room: RoomName) { waiting[room, default: []].append(id) }

    mutating func remove(_ id: ConnectionID, from room: RoomName) {
        waiting[room]?.removeAll { $0 == id }
        if waiting[room]?.isEmpty == true { waiting[room] = nil }
    }

    /// Somebody is in the room: whoever waits for it can come in.
    mutating func opened(_ room: RoomName) { admitted += waiting.removeValue(forKey: room) ?? [] }

    /// Takes the clients whose room was created.
    mutating func takeAdmitted() -> [ConnectionID] {
        defer { admitted = [] }
        return admitted
    }
}
