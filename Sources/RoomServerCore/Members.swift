import RoomProtocol

/// The members of a room, the longest-present first.
///
/// They lie in one array: a room has few, so that looking at each is faster than hashing an id, and an array has no
/// empty places.
struct Members: Sendable {
    private(set) var all: [Member] = []

    var count: Int { all.count }
    var isEmpty: Bool { all.isEmpty }

    func index(of id: ParticipantID) -> Int? { all.firstIndex { $0.participant.id == id } }

    subscript(index: Int) -> Member {
        _read { yield all[index] }
        _modify { yield &all[index] }
    }

    /// The member with this id. Only a member that is there can be set.
    subscript(id: ParticipantID) -> Member? {
        get { index(of: id).map { all[$0] } }
        set { if let newValue, let index = index(of: id) { all[index] = newValue } }
    }

    mutating func append(_ member: Member) { all.append(member) }

    mutating func remove(_ id: ParticipantID) -> Member? { index(of: id).map { all.remove(at: $0) } }
}
