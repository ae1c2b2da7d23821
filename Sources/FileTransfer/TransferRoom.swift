package import RoomConnection
internal import TransportPluginAPI

/// A room as the meeting point of a sender and a receiver of files: finds the other side, and makes connections to it.
package final class TransferRoom: Sendable {
    /// The part of this side. The others see it in the participant's metadata, under `files`.
    package enum Role: String, Sendable {
        case send
        case receive
    }

    private static let key = "files"

    /// Connections to the participants on the other side, each when it is first connected. For one consumer.
    package let connections: AsyncStream<any TransferConnection>
    private let announce: AsyncStream<any TransferConnection>.Continuation
    private let room: Room
    private let wanted: Role
    /// The name of the only participant that is wanted.
    private let partnerName: String?
    private let known = Locked<[ParticipantID: RoomTransferConnection]>([:])

    /// - Parameters:
    ///   - role: The part of this side, with which the room was joined.
    ///   - partnerName: The name that the other side must have. Nil: anybody with the other role.
    package init(_ room: Room, _ role: Role, partnerName: String?) {
        self.room = room
        self.partnerName = partnerName
        wanted = role == .send ? .receive : .send
        (connections, announce) = AsyncStream.makeStream()
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
        var hasWaited = false
        // As long as a server keeps a participant that is gone.
        let deadline = Timestamp.now() + .seconds(120)
        while true {
            do throws(RoomError) {
                return try await runtime.connect(
                    toRoom: name, as: participant, host: role, metadata: [key: part.rawValue])
            } catch {
                switch error.protocolCode?.rawValue {
                // The join token is one for guests.
                case "room_not_found" where role == .ifFirst: role = .awaited
                case "name_taken" where .now() < deadline:
                    if !hasWaited { onWait() }
                    hasWaited = true
                    try await Task.sleep(for: .seconds(1))
                default: throw error
                }
            }
        }
    }

    /// Passes what happens in the room to the connections, until the room ends. Throws when it was not left by this
    /// side.
    package func run() async throws {
        defer { announce.finish() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                for await message in room.messages() {
                    guard let connection = connection(with: message.from) else { continue }
                    await connection.deliver(message.payload)
                }
            }
            group.addTask { [self] in try await followEvents() }
            // The first error ends the other task.
            while try await group.next() != nil {}
        }
    }

    private func followEvents() async throws {
        for await event in room.events {
            switch event {
            case .peer(let participant, let status):
                guard let connection = connection(with: participant) else { continue }
                var isConnected = false
                if case .connected = status { isConnected = true }
                if connection.connectionChanged(isConnected) { announce.yield(connection) }
            case .peerLeft(let participant, _):
                known.withLock { $0.removeValue(forKey: participant.id) }?
                    .fail(RoomTransferConnection.gone(participant))
            case .undelivered(let participant, _):
                guard let connection = known.withLock({ $0.removeValue(forKey: participant) }) else { continue }
                connection.fail(RoomTransferConnection.gone(connection.participant))
            case .left(let reason):
                let error = reason.error
                let all = known.withLock { known in
                    defer { known = [:] }
                    return Array(known.values)
                }
                for connection in all {
                    connection.fail(error ?? RoomTransferConnection.gone(connection.participant))
                }
                if let error { throw error }
                return
            default: break
            }
        }
    }

    /// Returns the connection with a participant of the other role.
    private func connection(with id: ParticipantID) -> RoomTransferConnection? {
        if let connection = known.withLock({ $0[id] }) { return connection }
        guard let participant = room.participants.first(where: { $0.id == id }),
            participant.metadata[Self.key] == wanted.rawValue,
            partnerName == nil || participant.name == partnerName
        else { return nil }
        return known.withLock { known in
            if let connection = known[id] { return connection }
            let connection = RoomTransferConnection(participant, in: room)
            known[id] = connection
            return connection
        }
    }
}
