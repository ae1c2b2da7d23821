import RoomProtocol

/// The rooms of this node, in an order that depends on nothing but what has happened.
struct OwnedRooms: Sendable {
    private var places: [RoomName: Int] = [:]
    private var rooms: [(name: RoomName, fence: Fence)] = []

    var count: Int { rooms.count }
    var names: [RoomName] { rooms.map(\.name) }

    subscript(name: RoomName) -> Fence? {
        get { places[name].map { rooms[$0].fence } }
        set {
            switch (places[name], newValue) {
            case (let place?, let fence?): rooms[place].fence = fence
            case (nil, let fence?):
                places[name] = rooms.count
                rooms.append((name, fence))
            case (let place?, nil):
                places[name] = nil
                let last = rooms.removeLast()
                if place < rooms.count {
                    rooms[place] = last
                    places[last.name] = place
                }
            case (nil, nil): break
            }
        }
    }
}
