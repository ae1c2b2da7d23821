internal import HeapModule
package import RoomProtocol
package import TransportValues

/// One room in a list for operators.
package struct RoomSummary: Sendable, Hashable {
    package var name: RoomName
    /// The number of participants, with those within their grace period.
    package var participants: Int
    package var connected: Int
    /// The name of the host; nil while the room waits for one.
    package var host: String?
    package var openedAt: Timestamp

    package init(name: RoomName, participants: Int, connected: Int, host: String?, openedAt: Timestamp) {
        self.name = name
        self.participants = participants
        self.connected = connected
        self.host = host
        self.openedAt = openedAt
    }
}

/// One room with its participants, for operators.
package struct RoomReport: Sendable, Hashable {
    package struct Member: Sendable, Hashable {
        package var participant: Participant
        /// The only role that its join token allows; nil if it allows both.
        package var role: Hello.Role?
        package var joinedAt: Timestamp
        /// The time until which it can return; nil while it is connected.
        package var graceEnd: Timestamp?
        /// Bytes of the keys and values of its metadata.
        package var metadataBytes: Int
    }

    package var summary: RoomSummary
    /// The longest-present first.
    package var members: [Member]
    /// Bytes of the keys and values of the room's attributes.
    package var attributeBytes: Int
}

/// The result of a change that an operator has asked for.
package enum OperatorOutcome: Sendable, Hashable {
    /// It is done. The participants are those whose sessions have ended.
    case done([RoomLifeEvent.Subject])
    case noSuchRoom
    case noSuchParticipant
}

extension RoomServerMachine {
    /// Whether events are recorded for `takeLifeEvents`. False at first.
    package var recordsLife: Bool {
        get { effects.recordsLife }
        set { effects.recordsLife = newValue }
    }

    /// Takes the events since the last call. Called after every transition, it takes few at a time.
    package mutating func takeLifeEvents() -> [RoomLifeEvent] {
        guard !effects.life.isEmpty else { return [] }
        defer { effects.life = [] }
        return effects.life
    }

    // MARK: Lists

    package func participants(of room: RoomName) -> [Participant] {
        rooms[room]?.roster.inOrder.map(\.participant) ?? []
    }

    /// Returns the first rooms in the order of the bytes of their names.
    ///
    /// - Parameters:
    ///   - name: Only rooms after this one. Nil: from the first.
    ///   - prefix: Only rooms whose names begin with it.
    ///   - limit: The maximum number of rooms.
    package func rooms(after name: RoomName?, prefix: String = "", limit: Int) -> [RoomSummary] {
        // The best so far: one pass, and no list of all names.
        var first = Heap<OrderedName>()
        let lower = name.map(OrderedName.init)
        for room in rooms.keys {
            let ordered = OrderedName(room)
            if let lower, ordered <= lower { continue }
            guard prefix.isEmpty || room.rawValue.utf8.starts(with: prefix.utf8) else { continue }
            if first.count < limit {
                first.insert(ordered)
            } else if let last = first.max, ordered < last {
                first.replaceMax(with: ordered)
            }
        }
        return first.unordered.sorted().compactMap { rooms[$0.name]?.summary }
    }

    /// Returns a room with its participants; nil when there is none of this name.
    package func report(of room: RoomName) -> RoomReport? { rooms[room]?.report(grace: effects.limits.grace) }

    // MARK: Changes

    /// Removes a participant for an operator: with the same messages and the same memory as a kick by the host. The
    /// host itself may be removed; another participant then becomes host.
    ///
    /// - Parameter ban: The time for which nobody can join the room under its name, also when the room has ended.
    package mutating func kick(
        _ participant: ParticipantID, from room: RoomName, reason: String, ban: Duration = .zero, at now: Timestamp
    ) -> (outcome: OperatorOutcome, actions: [ServerAction]) {
        effects.now = now
        guard rooms[room] != nil else { return (.noSuchRoom, []) }
        guard let member = rooms[room]?.roster.members[participant] else { return (.noSuchParticipant, []) }
        // Throws only for a participant that is not there.
        _ = try? removeMember(participant, from: room, reason: reason, ban: ban, by: nil, sequence: nil)
        return (.done([RoomLifeEvent.Subject(member.participant)]), effects.takeActions())
    }

    /// Closes a room for an operator, as its host does. A host can create it again; no session can return to it before.
    package mutating func close(
        _ room: RoomName, reason: String, at now: Timestamp
    ) -> (outcome: OperatorOutcome, actions: [ServerAction]) {
        effects.now = now
        guard let members = rooms[room]?.roster.inOrder else { return (.noSuchRoom, []) }
        closeRoom(room, reason: reason, by: .operator)
        return (.done(members.map { RoomLifeEvent.Subject($0.participant) }), effects.takeActions())
    }

    /// Removes a participant for the host `id`, or for an operator.
    mutating func removeMember(
        _ participant: ParticipantID, from room: RoomName, reason: String, ban: Duration = .zero,
        by id: ParticipantID?, sequence: SequenceNumber?
    ) throws(ProtocolError) {
        let connection = try rooms[room]?
            .kick(participant, reason: reason, ban: ban, by: id, sequence: sequence, &effects)
        if let connection { connections[connection] = nil }
    }

    /// Removes a room that was empty for too long, that nobody has entered, or that belongs to another node.
    mutating func removeRoom(_ name: RoomName) {
        let wasOpen = rooms.removeValue(forKey: name)?.openedAt != nil
        if wasOpen { effects.record(.roomClosed(by: nil, reason: ""), in: name) }
        effects.addresses.roomEnded(name)
        effects.noteQuiet(name)
        effects.departures.roomRemoved(name, isOwned: effects.fences[name] != nil, at: effects.now)
    }

    mutating func closeRoom(_ room: RoomName, reason: String, by author: RoomLifeEvent.Author) {
        for connection in rooms[room]?.close(reason: reason, by: author, &effects) ?? [] {
            connections[connection] = nil
        }
        rooms[room] = nil
        effects.addresses.roomEnded(room)
        effects.noteQuiet(room)
        effects.departures.roomClosed(room, fence: effects.fences[room], at: effects.now)
    }
}

extension ServerRoom {
    /// Records that a participant has come in, and with the first one that the room is open.
    mutating func recordEntry(of participant: Participant, isReturn: Bool, _ effects: inout Effects) {
        if openedAt == nil {
            openedAt = effects.now
            effects.record(.roomOpened, in: roster.room)
        }
        effects.record(.participantJoined(RoomLifeEvent.Subject(participant), isReturn: isReturn), in: roster.room)
    }

    var summary: RoomSummary {
        RoomSummary(
            name: roster.room, participants: roster.members.count,
            connected: roster.inOrder.count { $0.connection != nil },
            host: host.flatMap { roster.members[$0]?.participant.name }, openedAt: openedAt ?? .zero)
    }

    func report(grace: Duration) -> RoomReport {
        let members = roster.inOrder.map { member in
            RoomReport.Member(
                participant: member.participant, role: member.role, joinedAt: member.joinedAt,
                graceEnd: member.disconnectedAt.map { $0 + grace },
                metadataBytes: member.participant.metadata.textBytes)
        }
        return RoomReport(summary: summary, members: members, attributeBytes: attributes.values.textBytes)
    }
}

extension [String: String] {
    /// The bytes of all keys and values.
    fileprivate var textBytes: Int { reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count } }
}

/// A room's name in the order of its bytes.
private struct OrderedName: Comparable {
    let name: RoomName
    init(_ name: RoomName) { self.name = name }
    static func < (left: Self, right: Self) -> Bool {
        left.name.rawValue.utf8.lexicographicallyPrecedes(right.name.rawValue.utf8)
    }
}
