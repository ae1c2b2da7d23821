package import RoomConnection
internal import TransportPluginAPI

/// Files between the participants of a room in which they also talk: each transfer has a pair of streams of its own,
/// and goes on when one side had given the other up.
package final class RoomFiles: Sendable {
    /// The metadata with which a participant says that it takes files.
    package static let metadata = [RoomTransferConnection.name: TransferRoom.Role.receive.rawValue]

    private struct State {
        var connected: Set<ParticipantID> = []
        /// By the bytes of the other sides' names. One transfer to each is under way.
        var sending: [[UInt8]: TransferMeeting] = [:]
        var receiving: [[UInt8]: TransferMeeting] = [:]

        var meetings: [TransferMeeting] { Array(sending.values) + Array(receiving.values) }
    }

    /// The transfers from others that are under way at most, those included that wait for their senders. Each has a
    /// thread.
    package static let receivingLimit = 64

    private let room: Room
    private let receivingLimit: Int
    private let state = Locked(State())

    package init(_ room: Room, receivingLimit: Int = RoomFiles.receivingLimit) {
        self.room = room
        self.receivingLimit = receivingLimit
    }

    /// The participants whose programs take files.
    package var takers: [RoomParticipant] { room.participants.filter(TransferRoom.takesFiles) }

    // MARK: To others

    /// Returns when a participant has everything. Waits for one that has disappeared. Call it while `receive` runs.
    ///
    /// Throws `TransferError`: `.busy` while another transfer to it is under way, `.interrupted` when it has left.
    package func send(
        _ tree: SourceTree, to participant: RoomParticipant, _ report: @escaping @Sendable (TransferEvent) -> Void
    ) async throws -> TransferSummary {
        let (name, key) = (participant.name, Array(participant.name.utf8))
        let meeting = state.withLock { state -> TransferMeeting? in
            guard state.sending[key] == nil else { return nil }
            let meeting = TransferMeeting(room, .send, with: participant, connected: state.connected)
            state.sending[key] = meeting
            return meeting
        }
        guard let meeting else {
            throw TransferError(.busy, "another transfer to \(name) is under way: wait for its end")
        }
        defer {
            state.withLock { $0.sending[key] = nil }
            meeting.end()
        }
        let desk = SenderDesk(
            try FileSender(tree, code: nil),
            mayContinue: { ($0 as? RoomTransferConnection)?.hasLostPeer == true }, report)
        do {
            return try await withThrowingTaskGroup(of: TransferSummary?.self) { group in
                defer { group.cancelAll() }
                group.addTask {
                    try await meeting.replaceLost()
                    return nil
                }
                group.addTask {
                    try await desk.serve(meeting.listen(), atEnd: RoomTransferConnection.gone(participant))
                }
                try await meeting.begin(with: participant)
                while let result = try await group.next() {
                    if let result { return result }
                }
                throw CancellationError()
            }
        } catch {
            throw meeting.reason ?? error
        }
    }

    /// Gives up the transfers to and from the participant of this name, which may be gone. False: there is none.
    package func cancel(_ name: String) -> Bool {
        let key = Array(name.utf8)
        let meetings = state.withLock { [$0.sending[key], $0.receiving[key]].compactMap(\.self) }
        for meeting in meetings {
            meeting.cancel(TransferError(.interrupted, "the transfer was given up: what has arrived is kept"))
        }
        return !meetings.isEmpty
    }

    // MARK: From others

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
            group.addTask { [self] in await followEvents() }
            for await stream in room.incomingStreams() {
                guard let part = RoomTransferConnection.part(stream),
                    let sender = room.participants.first(where: { $0.id == stream.from })
                else {
                    stream.cancel("nobody takes this stream here")
                    continue
                }
                let name = sender.name
                do {
                    if part == .receive {
                        _ = try await state.withLock { $0.sending[Array(name.utf8)] }?.take(stream)
                        continue
                    }
                    while true {
                        guard let (meeting, isNew) = receiving(from: sender) else {
                            stream.cancel("too many transfers are under way here: try again later")
                            break
                        }
                        if isNew {
                            group.addTask { [self] in
                                await take(meeting, into: folder, name, consent, report, failed)
                            }
                        }
                        if try await meeting.take(stream) { break }
                    }
                } catch {
                    failed(name, error)
                }
            }
            for meeting in meetings { meeting.end() }
        }
    }

    private var meetings: [TransferMeeting] { state.withLock { $0.meetings } }

    private func followEvents() async {
        var departures = Departures()
        for await event in room.events {
            departures.note(event)
            let meetings = state.withLock { state in
                switch event {
                case .peer(let participant, .connected): state.connected.insert(participant)
                case .peer(let participant, _): state.connected.remove(participant)
                case .peerLeft(let participant, _): state.connected.remove(participant.id)
                default: break
                }
                return state.meetings
            }
            // It fails when the room has ended.
            for meeting in meetings { try? await meeting.note(event, departures) }
        }
    }

    /// The meeting with a sender, which may be new. Nil: there are too many.
    private func receiving(from sender: RoomParticipant) -> (TransferMeeting, isNew: Bool)? {
        let key = Array(sender.name.utf8)
        let former = state.withLock { $0.receiving[key] }
        if let former, !former.hasEnded {
            if former.has(sender) { return (former, false) }
            former.endReplaced()
        }
        return state.withLock { state in
            guard state.receiving[key] != nil || state.receiving.count < receivingLimit else { return nil }
            let meeting = TransferMeeting(room, .receive, with: sender, connected: state.connected)
            state.receiving[key] = meeting
            return (meeting, true)
        }
    }

    /// Takes the transfers of one sender, until none is there.
    private func take(
        _ meeting: TransferMeeting, into folder: String, _ name: String,
        _ consent: @escaping @Sendable (FileReceiver.Offer) async -> Bool,
        _ report: @escaping @Sendable (String, TransferEvent) -> Void,
        _ failed: @escaping @Sendable (String, any Error) -> Void
    ) async {
        do {
            let receiver = try FileReceiver(into: folder, code: nil, existing: .rename)
            repeat {
                let connections = meeting.listen()
                var unserved: [any TransferConnection] = []
                do {
                    let desk = ReceiverDesk(receiver, waitsBeforeConsent: false, consent: consent) { report(name, $0) }
                    _ = try await desk.receive(connections) { unserved.append($0) }
                } catch {
                    // The end of the room is told elsewhere.
                    if let reason = meeting.reason {
                        failed(name, reason)
                    } else if !meeting.hasEnded {
                        failed(name, error)
                    }
                }
                await meeting.stopListening(connections, unserved: unserved)
            } while !Task.isCancelled && !meeting.endIfIdle()
        } catch {
            meeting.end()
            failed(name, error)
        }
        state.withLock { state in
            let key = Array(name.utf8)
            if state.receiving[key] === meeting { state.receiving[key] = nil }
        }
    }
}
