import RoomProtocol

/// The marks that hold after a sequence of marks: the latest of each kind, up to a limit. Reads the journal of a server
/// at its start, and when it is made shorter.
package struct MarkSet: Sendable {
    private typealias Sessions = BoundedMap<SessionID, Entry>
    private typealias Names = BoundedMap<ByteText, UInt64>

    private struct Entry: Sendable {
        let room: RoomName
        /// In seconds since 1970.
        let expiry: UInt64
    }

    private let limits: Departures.Limits
    private var left: Sessions
    private var kicked: Sessions
    private var replaced: Sessions
    private var closed: BoundedMap<RoomName, UInt64>
    private var names: BoundedMap<RoomName, Names>
    private var bans: BoundedMap<RoomName, Names>

    /// - Parameter machines: The number of machines that share the rooms of a server. Each remembers up to its limits.
    package init(machines: Int = 1) {
        limits = Departures.Limits()
        left = Sessions(limit: limits.sessions * machines)
        kicked = Sessions(limit: limits.sessions * machines)
        replaced = Sessions(limit: limits.sessions * machines)
        closed = BoundedMap(limit: limits.rooms * machines)
        names = BoundedMap(limit: limits.rooms * machines)
        bans = BoundedMap(limit: limits.rooms * machines)
    }

    /// Applies the next mark.
    package mutating func apply(_ mark: Mark, expiry: UInt64) {
        let (room, entry) = (mark.room, Entry(room: mark.room, expiry: expiry))
        switch mark.fact {
        case .left(let session): left.insert(entry, for: session)
        case .kicked(let session): kicked.insert(entry, for: session)
        case .replaced(let session): replaced.insert(entry, for: session)
        case .nameKicked(let name): add(name, expiry, in: room, to: \.names)
        case .nameBanned(let name): add(name, expiry, in: room, to: \.bans)
        case .roomClosed:
            closed.insert(expiry, for: room)
            names.remove(room)
        case .roomCreated: closed.remove(room)
        case .roomRemoved: names.remove(room)
        }
    }

    private mutating func add(
        _ name: String, _ expiry: UInt64, in room: RoomName, to map: WritableKeyPath<Self, BoundedMap<RoomName, Names>>
    ) {
        var known = self[keyPath: map][room] ?? Names(limit: limits.names)
        let name = ByteText(name)
        known.insert(max(expiry, known[name] ?? 0), for: name)
        self[keyPath: map].insert(known, for: room)
    }

    /// The marks that have not expired at this time, in seconds since 1970. Those of one kind are in their order.
    package func marks(at now: UInt64) -> [(mark: Mark, expiry: UInt64)] {
        var marks: [(mark: Mark, expiry: UInt64)] = []
        func add(_ fact: Mark.Fact, _ room: RoomName, _ expiry: UInt64) {
            guard expiry > now else { return }
            // Only a ban counts its own time.
            let life: Duration? = if case .nameBanned = fact { .seconds(Int64(clamping: expiry - now)) } else { nil }
            marks.append((Mark(fact, in: room, for: life), expiry))
        }
        for (session, entry) in left.inOrder { add(.left(session), entry.room, entry.expiry) }
        for (session, entry) in kicked.inOrder { add(.kicked(session), entry.room, entry.expiry) }
        for (session, entry) in replaced.inOrder { add(.replaced(session), entry.room, entry.expiry) }
        for (room, expiry) in closed.inOrder { add(.roomClosed, room, expiry) }
        for (room, known) in names.inOrder {
            for (name, expiry) in known.inOrder { add(.nameKicked(name.text), room, expiry) }
        }
        for (room, known) in bans.inOrder {
            for (name, expiry) in known.inOrder { add(.nameBanned(name.text), room, expiry) }
        }
        return marks
    }
}
