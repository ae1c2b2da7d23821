package import RoomProtocol
package import TransportValues
package import WebSocketWire

/// The decisions of the room server: who is in which room, which messages go to whom, and when a participant is gone.
///
/// A pure value: connections, decoded messages and the time go in, actions come out. The shell owns the sockets. It
/// calls `timePassed` at `nextDeadline`; calling it earlier or later is harmless.
///
/// A connection can transition: open → joined (hello) → removed; open → waiting (hello of a guest before its room
/// exists) → joined; open or waiting → removed (refused, too late, closed). A machine can transition: serving →
/// draining.
package struct RoomServerMachine: Sendable {
    var connections: [ConnectionID: Connection] = [:]
    private var handshakes = 0
    var rooms: [RoomName: ServerRoom] = [:]
    var waitingRoom = WaitingRoom()
    private var lastPing: UInt64 = 0
    private var goingAway: RetryWindow?
    var effects: Effects
    /// The load of the other machines of the same server, which counts towards the limits.
    package var elsewhere = ServerLoad()

    package init(
        limits: RoomServerLimits, authority: any RoomAuthority, random: any RandomNumberGenerator & Sendable,
        addresses: (any AddressAuthority)? = nil
    ) {
        var limits = limits
        limits.participantsPerRoom = min(max(limits.participantsPerRoom, 1), Limits.participants)
        effects = Effects(limits: limits, authority: authority, random: random)
        effects.addresses.authority = addresses
        effects.serverID = effects.makeIdentifier("v")
    }

    // MARK: What is there

    package var load: ServerLoad {
        ServerLoad(
            rooms: rooms.count, participants: effects.participants, connections: connections.count,
            handshakes: handshakes)
    }
    /// The number of connections whose `hello` waits for a room.
    package var waitingCount: Int { waitingRoom.count }
    /// The approximate number of bytes kept for participants until they acknowledge them.
    package var streamBytes: Int { effects.streamBytes }

    /// Returns the figures that the shell looks at after each transition. Mutating, as it would otherwise be asked of a
    /// copy of the machine, which is a property of an object there.
    package mutating func standing() -> Standing {
        Standing(load: load, waiting: waitingCount, streamBytes: streamBytes, nextDeadline: nextDeadline)
    }

    /// Whether the connection is open and has not sent `hello`.
    package func isNew(_ id: ConnectionID) -> Bool {
        if case .waitingForHello? = connections[id]?.phase { true } else { false }
    }

    /// The time at which `timePassed` must be called; nil if not before the next event.
    package var nextDeadline: Timestamp? { effects.nextDeadline }

    /// The time to return, if another connection would be refused now; otherwise nil.
    package var refusal: RetryWindow? {
        if let goingAway { return goingAway }
        let limits = effects.limits
        if connections.count + elsewhere.connections >= limits.connections { return limits.retryAfter }
        guard handshakes + elsewhere.handshakes >= limits.handshakes else { return nil }
        // All come at once, as after a restart: they will soon be in.
        let soonest = limits.retryAfter.lowerBound
        return soonest...min(soonest + soonest, limits.retryAfter.upperBound)
    }

    // MARK: Connections

    /// A connection was opened.
    package mutating func connected(
        _ id: ConnectionID, from address: NetworkAddress? = nil, at now: Timestamp
    ) -> [ServerAction] {
        effects.now = now
        if let refusal {
            let error: ProtocolError =
                goingAway == nil ? .tooManyRequests("The server is full.", refusal) : .shuttingDown(refusal)
            effects.send(.error(error), to: id)
            effects.actions.append(.close(id, .refused))
            return effects.takeActions()
        }
        let until = now + effects.limits.handshakeTimeout
        connections[id] = Connection(phase: .waitingForHello(until: until), address: address, lastHeard: now)
        handshakes += 1
        effects.schedule(.connection(id), at: until)
        return effects.takeActions()
    }

    /// The connection has ended. Unknown ones are ignored.
    package mutating func disconnected(_ id: ConnectionID, at now: Timestamp) -> [ServerAction] {
        effects.now = now
        removeConnection(id)
        return effects.takeActions()
    }

    /// The connection has moved to another machine of the same server, before its `hello`.
    package mutating func moved(_ id: ConnectionID) { removeConnection(id) }

    /// The server shuts down: tells all clients to return within the window, and admits no more.
    package mutating func drain(retryAfter window: RetryWindow, at now: Timestamp) -> [ServerAction] {
        effects.now = now
        goingAway = window
        for id in connections.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            effects.send(.goingAway(retryAfter: window), to: id)
            effects.actions.append(.close(id, .goingAway))
            removeConnection(id)
        }
        return effects.takeActions()
    }

    mutating func removeConnection(_ id: ConnectionID) {
        guard let connection = connections.removeValue(forKey: id) else { return }
        switch connection.phase {
        case .waitingForHello: handshakes -= 1
        case .waitingForRoom(let hello):
            waitingRoom.remove(id, from: hello.room)
            effects.noteQuiet(hello.room)
        case .joined(let room, let participant): rooms[room]?.disconnected(participant, id, &effects)
        }
    }

    /// Sends the error, and closes and removes the connection. Its session, if it has one, can be resumed.
    mutating func refuse(_ error: ProtocolError, _ id: ConnectionID) {
        var error = error
        error.isFatal = true
        effects.send(.error(error), to: id)
        effects.actions.append(.close(id, .refused))
        removeConnection(id)
    }

    // MARK: Hello

    /// Answers a hello: admits the client, lets it wait for its room, or refuses it.
    mutating func handleHello(_ hello: Hello, _ id: ConnectionID) {
        let isNew = rooms[hello.room] == nil
        defer { effects.noteQuiet(hello.room) }
        do throws(ProtocolError) {
            if let participant = try enter(hello, id) {
                waitingRoom.opened(hello.room)
                // The text of the room's own name, not that of each hello.
                leaveHandshake(id, for: .joined(rooms[hello.room]?.roster.room ?? hello.room, participant))
                effects.schedule(.connection(id), at: effects.limits.pingTime(after: effects.now))
            } else {
                leaveHandshake(id, for: .waitingForRoom(hello))
                waitingRoom.add(id, for: hello.room)
                let limits = effects.limits
                effects.send(.waiting(pingInterval: limits.pingInterval, pingDeadline: limits.pingDeadline), to: id)
                effects.schedule(.connection(id), at: limits.pingTime(after: effects.now))
            }
        } catch {
            if isNew, rooms[hello.room]?.roster.members.isEmpty == true { removeRoom(hello.room) }
            refuse(error, id)
        }
    }

    private mutating func leaveHandshake(_ id: ConnectionID, for phase: Connection.Phase) {
        if case .waitingForHello = connections[id]?.phase { handshakes -= 1 }
        connections[id]?.phase = phase
    }

    /// Admits the clients that have waited for a room that was created, in the order of arrival.
    mutating func admitWaiting() {
        for id in waitingRoom.takeAdmitted() {
            guard case .waitingForRoom(let hello)? = connections[id]?.phase else { continue }
            handleHello(hello, id)
        }
    }

    /// Returns nil if the room does not exist, and the client waits for it.
    private mutating func enter(_ hello: Hello, _ id: ConnectionID) throws(ProtocolError) -> ParticipantID? {
        defer {
            for connection in effects.replaced { connections[connection] = nil }
            effects.replaced = []
        }
        let participant: ParticipantID?
        if let resume = hello.resume {
            guard let claims = effects.authority.claims(ofSessionToken: resume.sessionToken), claims.room == hello.room
            else { throw .invalidSessionToken }
            if rooms[hello.room] == nil {
                // The server has lost its state, or the room was removed: the first holder of a token creates it again.
                try effects.departures.checkRoom(hello.room, fence: claims.fence)
                try makeRoom(hello.room, id)
            }
            participant = try rooms[hello.room]?.resumeOrRejoin(hello, resume, claims, id, &effects)
        } else {
            let admission = try effects.authorize(hello, from: connections[id]?.address)
            var hello = hello
            hello.role = role(of: hello, admission)
            switch (hello.role, rooms[hello.room]) {
            case (.host, nil): try makeRoom(hello.room, id)
            case (_, nil):
                guard hello.waitsForRoom else { throw .roomNotFound }
                return nil
            case (.host, .some(let room)) where !room.isFree(for: hello, admission, effects): throw .roomExists
            case (_, .some): break
            }
            participant = try rooms[hello.room]?.join(hello, admission, id, &effects)
        }
        guard let participant else { throw .roomNotFound }
        return participant
    }

    /// The role in which a client comes in that has left it open.
    private func role(of hello: Hello, _ admission: Admission) -> Hello.Role {
        guard hello.role == .first else { return hello.role }
        let isFree = rooms[hello.room]?.isFree(for: hello, admission, effects) ?? true
        return isFree && admission.role != .guest ? .host : .guest
    }

    private mutating func makeRoom(_ name: RoomName, _ id: ConnectionID) throws(ProtocolError) {
        guard rooms.count + elsewhere.rooms < effects.limits.rooms else {
            throw .tooManyRequests("The server has reached its limit of rooms.", effects.limits.retryAfter)
        }
        try effects.payForRoom(name, connections[id]?.address)
        rooms[name] = ServerRoom(name: name)
        effects.departures.roomCreated(name)
    }

    // MARK: Time

    /// Performs everything that is due.
    package mutating func timePassed(to now: Timestamp) -> [ServerAction] {
        effects.now = now
        while let key = effects.takeDue() {
            switch key {
            case .connection(let id): connectionDeadline(id)
            case .grace(let room, let participant): rooms[room]?.graceDeadline(participant, &effects)
            case .acknowledgement(let id):
                guard case .joined(let room, let participant)? = connections[id]?.phase else { continue }
                rooms[room]?.roster.acknowledgementDeadline(participant, &effects)
            case .update(let room, let participant): rooms[room]?.roster.sendUpdate(of: participant, &effects)
            case .attributes(let room): rooms[room]?.sendAttributes(&effects)
            case .room(let name):
                if rooms[name]?.roomDeadline(&effects) ?? true { removeRoom(name) }
            }
        }
        return effects.takeActions()
    }

    private mutating func connectionDeadline(_ id: ConnectionID) {
        guard let connection = connections[id] else { return }
        switch connection.phase {
        case .waitingForHello(let until):
            guard until <= effects.now else { return effects.schedule(.connection(id), at: until) }
            var error = ProtocolError.malformed("No hello arrived in time.")
            error.isRetryable = true
            refuse(error, id)
        case .waitingForRoom: checkLiveness(of: id, connection) { $0.effects.send(.ping(id: $0.lastPing), to: id) }
        case .joined(let room, let participant):
            rooms[room]?.roster.refreshICEServers(of: participant, &effects)
            rooms[room]?.renewToken(of: participant, &effects)
            checkLiveness(of: id, connection) {
                $0.rooms[room]?.roster.transmit(.ping(id: $0.lastPing), nil, to: participant, &$0.effects)
            }
        }
    }

    /// Pings a silent client, and ends its connection if it does not answer.
    private mutating func checkLiveness(
        of id: ConnectionID, _ connection: Connection, _ sendPing: (inout Self) -> Void
    ) {
        switch connection.liveness(at: effects.now, effects.limits) {
        case .alive(let end): effects.schedule(.connection(id), at: end)
        case .silent:
            lastPing += 1
            connections[id]?.pingedAt = effects.now
            sendPing(&self)
            effects.schedule(.connection(id), at: effects.now + effects.limits.pingDeadline)
        case .dead:
            effects.actions.append(.abort(id))
            removeConnection(id)
        }
    }
}
