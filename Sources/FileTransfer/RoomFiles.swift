package import RoomConnection
internal import TransportPluginAPI

/// Files between the participants of a room in which they also talk: each transfer has a pair of streams of its own.
package final class RoomFiles: Sendable {
    /// The metadata with which a participant says that it takes files.
    package static let metadata = [RoomTransferConnection.name: TransferRoom.Role.receive.rawValue]

    private let room: Room
    /// The transfers to others that are under way: one to each participant.
    private let sending = Locked<[ParticipantID: RoomTransferConnection]>([:])

    package init(_ room: Room) { self.room = room }

    /// The participants whose programs take files.
    package var takers: [RoomParticipant] { room.participants.filter(TransferRoom.takesFiles) }

    /// Returns when a participant has everything. Throws `TransferError`: `.busy` while another transfer to it is under
    /// way.
    package func send(
        _ tree: SourceTree, to participant: RoomParticipant, _ report: @escaping @Sendable (TransferEvent) -> Void
    ) async throws -> TransferSummary {
        let connection = RoomTransferConnection(participant, in: room, as: .send)
        // Known before it is opened: the answer may come at once.
        let isFirst = sending.withLock { sending in
            guard sending[participant.id] == nil else { return false }
            sending[participant.id] = connection
            return true
        }
        guard isFirst else {
            throw TransferError(.busy, "another transfer to \(participant.name) is under way: wait for its end")
        }
        defer { sending.withLock { $0[participant.id] = nil } }
        try await connection.open()
        return try await FileSender(tree, code: nil).meet(over: connection).send(report)
    }

    /// Takes what others send, until the room ends or the task is cancelled. Nothing is overwritten.
    ///
    /// - Parameters:
    ///   - consent: Decides about each transfer, before anything is written.
    ///   - report: Called with what happens in a transfer, and the name of its sender.
    ///   - failed: Called with the sender's name when a transfer ends before its time.
    package func receive(
        into folder: String, consent: @escaping @Sendable (FileReceiver.Offer) async -> Bool,
        _ report: @escaping @Sendable (String, TransferEvent) -> Void,
        failed: @escaping @Sendable (String, any Error) -> Void
    ) async {
        await withDiscardingTaskGroup { group in
            for await stream in room.incomingStreams() {
                let participant = room.participants.first { $0.id == stream.from }
                switch RoomTransferConnection.part(stream) {
                case .receive?: sending.withLock { $0[stream.from] }?.deliver(stream)
                case .send?:
                    guard let participant else { continue }
                    group.addTask { [room] in
                        do {
                            let connection = RoomTransferConnection(participant, in: room, as: .receive)
                            connection.deliver(stream)
                            try await connection.open()
                            _ = try await FileReceiver(into: folder, code: nil, existing: .rename)
                                .receive(over: connection, consent: consent) { report(participant.name, $0) }
                        } catch {
                            failed(participant.name, error)
                        }
                    }
                case nil: stream.cancel("nobody takes this stream here")
                }
            }
        }
    }
}
