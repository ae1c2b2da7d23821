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
    private let room: Room
    private let meeting: TransferMeeting

    /// - Parameters:
    ///   - role: The part of this side, with which the room was joined.
    ///   - partnerName: The name that the other side must have. Nil: anybody with the other role.
    package init(_ room: Room, _ role: Role, partnerName: String?) {
        self.room = room
        meeting = TransferMeeting(room, role) { partnerName == nil || $0.name == partnerName }
        connections = meeting.listen()
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
        defer { meeting.end() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [room, meeting] in
                for await stream in room.incomingStreams() { _ = try await meeting.take(stream) }
                // The room has ended.
                meeting.stopReplacing()
            }
            group.addTask { [self] in try await followEvents() }
            group.addTask { [meeting] in try await meeting.replaceLost() }
            // The first error ends the other tasks.
            while try await group.next() != nil {}
        }
    }

    private func followEvents() async throws {
        var departures = Departures()
        for await event in room.events {
            departures.note(event)
            try await meeting.note(event, departures)
            guard case .left(let reason) = event else { continue }
            if let error = reason.error { throw error }
            return
        }
    }
}
