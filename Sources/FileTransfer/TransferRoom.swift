package import RoomConnection
internal import TransportPluginAPI

/// A room as the meeting point of a sender and a receiver of files: finds the other side, and makes connections to it.
package final class TransferRoom: Sendable {
    /// The part of this side. The others see it in the participant's metadata, under `files`.
    package enum Role: String, Sendable {
        case send
        case receive
    }

    /// Whether a participant has said that it takes files.
    static func takesFiles(_ participant: RoomParticipant) -> Bool {
        participant.metadata[RoomTransferConnection.name] == Role.receive.rawValue
    }

    /// The connections: a sender's to each receiver that it meets, a receiver's to each sender that opens a stream to
    /// it. For one consumer.
    package let connections: AsyncStream<any TransferConnection>
    private let announce: AsyncStream<any TransferConnection>.Continuation
    /// The connections that one side has given up.
    private let lost: AsyncStream<RoomTransferConnection>
    private let noteLost: AsyncStream<RoomTransferConnection>.Continuation
    private let room: Room
    private let role: Role
    /// The name of the only participant that is wanted.
    private let partnerName: String?
    private let known = Locked<[ParticipantID: RoomTransferConnection]>([:])
    /// The participants to which there is a peer connection, whatever has become of the streams.
    private let connected = Locked<Set<ParticipantID>>([])

    /// - Parameters:
    ///   - role: The part of this side, with which the room was joined.
    ///   - partnerName: The name that the other side must have. Nil: anybody with the other role.
    package init(_ room: Room, _ role: Role, partnerName: String?) {
        self.room = room
        self.partnerName = partnerName
        self.role = role
        (connections, announce) = AsyncStream.makeStream()
        (lost, noteLost) = AsyncStream.makeStream()
    }

    /// Joins a room, and creates it if there is none: either side may come first.
    ///
    /// - Parameters:
    ///   - participant: The name to show to the others.
    ///   - onWait: Called once when the name is still taken, by the participant of an earlier run that has not been
    ///     given up yet.
    package static func join(
        _ runtime: TransportRuntime, room name: String, as participant: String, _ part: Role,
        onWait: () -> Void = {}
    ) async throws -> Room {
        var role = HostRole.ifFirst
        var pause: Duration?
        // As long as a server keeps a participant that is gone.
        let deadline = Timestamp.now() + .seconds(120)
        while true {
            do throws(RoomError) {
                return try await runtime.connect(
                    toRoom: name, as: participant, host: role, metadata: [RoomTransferConnection.name: part.rawValue])
            } catch {
                switch error.protocolCode?.rawValue {
                // The join token is one for guests.
                case "room_not_found" where role == .ifFirst: role = .awaited
                case "name_taken" where .now() < deadline:
                    if pause == nil { onWait() }
                    // Neither many questions to the server, nor a long wait for a name that is free.
                    let next = min(pause.map { $0 * 2 } ?? .milliseconds(250), .seconds(4))
                    pause = next
                    try await Task.sleep(for: next)
                default: throw error
                }
            }
        }
    }

    /// Passes what happens in the room to the connections, until the room ends. Throws when it was not left by this
    /// side.
    package func run() async throws {
        defer {
            announce.finish()
            for connection in known.withLock({ $0.values }) { connection.departed(mayReturn: false) }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                for await stream in room.incomingStreams() { try await take(stream) }
                // The room has ended.
                noteLost.finish()
            }
            group.addTask { [self] in try await followEvents() }
            group.addTask { [self] in
                for await connection in lost where role == .send { try await replace(connection) }
            }
            // The first error ends the other tasks.
            while try await group.next() != nil {}
        }
    }

    private func followEvents() async throws {
        var departures = Departures()
        for await event in room.events {
            departures.note(event)
            switch event {
            case .peer(let participant, let status):
                var isConnected = false
                if case .connected = status { isConnected = true }
                connected.withLock { connected in
                    if isConnected { _ = connected.insert(participant) } else { _ = connected.remove(participant) }
                }
                let connection = known.withLock { $0[participant] }
                connection?.isConnected = isConnected
                if isConnected, connection?.hasLostPeer == true { connection?.departed(mayReturn: true) }
                if isConnected, role == .send { try await connect(to: participant, instead: connection) }
            case .peerLeft(let participant, let reason):
                connected.withLock { _ = $0.remove(participant.id) }
                let connection = known.withLock { $0.removeValue(forKey: participant.id) }
                connection?.isConnected = false
                connection?.departed(mayReturn: departures.mayReturn(reason))
            case .left(let reason):
                if let error = reason.error { throw error }
                return
            default: break
            }
        }
    }

    /// A sender opens its stream to a receiver that is connected, and again when the receiver was given up meanwhile.
    private func connect(to id: ParticipantID, instead old: RoomTransferConnection?) async throws {
        if let old {
            guard old.hasLostPeer, known.withLock({ $0[id] }) === old else { return }
            old.cut(RoomTransferConnection.gone(old.participant))
        }
        guard let participant = partner(id), Self.takesFiles(participant) else { return }
        try await open(to: participant, instead: old, incoming: nil)
    }

    /// A receiver that had given this side up, and has met it again, ends the streams: no event tells of it.
    private func replace(_ connection: RoomTransferConnection) async throws {
        let id = connection.participant.id
        guard connected.withLock({ $0.contains(id) }), known.withLock({ $0[id] }) === connection else { return }
        try await connect(to: id, instead: connection)
    }

    /// A participant has opened a stream: a sender begins, or a receiver answers.
    private func take(_ stream: RoomIncomingStream) async throws {
        let connection = known.withLock { $0[stream.from] }
        guard let part = RoomTransferConnection.part(stream), part != role, let participant = partner(stream.from)
        else { return stream.cancel("this program is there to \(role.rawValue) files only") }
        switch role {
        case .send: connection?.deliver(stream)
        case .receive:
            connection?.departed(mayReturn: true)
            connection?.cut(TransferError(.interrupted, "\(participant.name) has begun anew"))
            try await open(to: participant, instead: connection, incoming: stream)
        }
    }

    private func open(
        to participant: RoomParticipant, instead old: RoomTransferConnection?, incoming: RoomIncomingStream?
    ) async throws {
        let connection = RoomTransferConnection(participant, in: room, as: role) { [noteLost] in noteLost.yield($0) }
        // Known before it is opened: the answer may come at once.
        let isFirst = known.withLock { known in
            guard role == .receive || known[participant.id] === old else { return false }
            known[participant.id] = connection
            return true
        }
        guard isFirst else { return }
        if let incoming { connection.deliver(incoming) }
        do throws(RoomError) {
            try await connection.open()
        } catch {
            known.withLock { if $0[participant.id] === connection { $0[participant.id] = nil } }
            // It has left again. A sender whose streams are all taken is not waited for.
            guard error.code == .peerNotFound || error.code == .wouldBlock else { throw error }
            return
        }
        announce.yield(connection)
    }

    /// Returns the participant if it has the name that is wanted.
    private func partner(_ id: ParticipantID) -> RoomParticipant? {
        room.participants.first { $0.id == id && (partnerName == nil || $0.name == partnerName) }
    }
}
