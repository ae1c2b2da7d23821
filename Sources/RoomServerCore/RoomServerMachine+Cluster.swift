package import RoomProtocol
package import TransportValues

/// The rooms of a server that is one node of a cluster.
extension RoomServerMachine {
    /// The room belongs to this node with this fence, which session tokens carry from now on.
    /// The facts are those of earlier owners.
    package mutating func own(_ room: RoomName, fence: UInt64, facts: [DepartureFact]) {
        effects.fences[room] = fence
        effects.departures.records = true
        for fact in facts { effects.departures.remember(fact, in: room) }
    }

    /// Takes what the next owners of rooms must know.
    package mutating func takeFacts() -> [(room: RoomName, fact: DepartureFact)] {
        guard !effects.departures.facts.isEmpty else { return [] }
        defer { effects.departures.facts = [] }
        return effects.departures.facts
    }

    /// Whether the room belongs to this node.
    package func owns(_ room: RoomName) -> Bool { effects.fences[room] != nil }

    /// Refuses a client whose hello cannot be served.
    package mutating func refuse(
        _ id: ConnectionID, _ error: ProtocolError, at now: Timestamp
    ) -> [ServerAction] {
        effects.now = now
        if connections[id] != nil { refuse(error, id) }
        return effects.takeActions()
    }

    /// The room belongs to another node: its members and those that wait for it are told to return at once, with their
    /// tokens, and it is removed without a trace.
    package mutating func yield(_ room: RoomName, at now: Timestamp) -> [ServerAction] {
        effects.now = now
        effects.fences[room] = nil
        let window: RetryWindow = .zero ... .milliseconds(100)
        let waiting = waitingRoom.waiting(for: room)
        let members = rooms[room]?.roster.inOrder.compactMap(\.connection) ?? []
        if rooms[room] != nil { removeRoom(room) }
        for id in members + waiting {
            effects.send(.goingAway(retryAfter: window), to: id)
            effects.actions.append(.close(id, .goingAway))
            removeConnection(id)
        }
        return effects.takeActions()
    }

    /// Looks whether the room is in use when `takeQuietRooms` is called next.
    package mutating func check(_ room: RoomName) { effects.noteQuiet(room) }

    /// Takes the rooms of this node that have ended, or that nobody has entered, and that no client waits for.
    package mutating func takeQuietRooms() -> [RoomName] {
        guard !effects.quiet.isEmpty else { return [] }
        defer { effects.quiet = [] }
        var ended: [RoomName] = []
        for room in effects.quiet where rooms[room] == nil && waitingRoom.waiting(for: room).isEmpty {
            if effects.fences.removeValue(forKey: room) != nil { ended.append(room) }
        }
        return ended
    }
}

extension Effects {
    mutating func noteQuiet(_ room: RoomName) {
        if fences[room] != nil, quiet.last != room { quiet.append(room) }
    }
}
