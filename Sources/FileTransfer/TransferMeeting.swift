internal import RoomConnection
internal import TransportPluginAPI

/// The connections of one side, which sends or receives, to its partners in a room: makes them, and makes them anew
/// when one side had given the other up.
final class TransferMeeting: Sendable {
    private struct Queue {
        /// Of whoever takes the connections now.
        var listener: AsyncStream<any TransferConnection>.Continuation?
        /// Those that nobody has taken.
        var waiting: [any TransferConnection] = []
        /// Those that are being made.
        var pendingCount = 0
        var hasEnded = false
    }

    private let room: Room
    private let role: TransferRoom.Role
    private let isPartner: @Sendable (RoomParticipant) -> Bool
    /// There is one partner only: the meeting ends when it leaves in order.
    private let endsWithPartner: Bool
    private let queue = Locked(Queue())
    /// The connections that one side has given up.
    private let lost: AsyncStream<RoomTransferConnection>
    private let noteLost: AsyncStream<RoomTransferConnection>.Continuation
    private let known = Locked<[ParticipantID: RoomTransferConnection]>([:])
    /// The participants to which there is a peer connection, whatever has become of the streams.
    private let connected: Locked<Set<ParticipantID>>

    /// `connected`: the participants to which there is a peer connection now.
    init(
        _ room: Room, _ role: TransferRoom.Role, connected: Set<ParticipantID> = [], endsWithPartner: Bool = false,
        isPartner: @escaping @Sendable (RoomParticipant) -> Bool
    ) {
        self.room = room
        self.role = role
        self.connected = Locked(connected)
        self.endsWithPartner = endsWithPartner
        self.isPartner = isPartner
        (lost, noteLost) = AsyncStream.makeStream()
    }

    // MARK: The connections

    /// The connections from now on, those included that nobody has taken. For one consumer at a time.
    func listen() -> AsyncStream<any TransferConnection> {
        let (connections, listener) = AsyncStream.makeStream(of: (any TransferConnection).self)
        queue.withLock { queue in
            for connection in queue.waiting { listener.yield(connection) }
            queue.waiting = []
            if queue.hasEnded { listener.finish() } else { queue.listener = listener }
        }
        return connections
    }

    /// The consumer of `connections` takes no more. They and `unserved` are for the next one.
    func stopListening(_ connections: AsyncStream<any TransferConnection>, unserved: [any TransferConnection]) async {
        let listener = queue.withLock { queue in
            defer { queue.listener = nil }
            return queue.listener
        }
        listener?.finish()
        var left = unserved
        for await connection in connections { left.append(connection) }
        queue.withLock { [left] queue in queue.waiting = left + queue.waiting }
    }

    var hasEnded: Bool { queue.withLock { $0.hasEnded } }

    /// Ends the meeting unless there is a connection to serve, or about to be. Returns whether it has ended.
    func endIfIdle() -> Bool {
        queue.withLock { queue in
            if queue.waiting.isEmpty, queue.pendingCount == 0 { queue.hasEnded = true }
            return queue.hasEnded
        }
    }

    /// The room has ended, or nobody is waited for any more.
    func end() {
        let listener = queue.withLock { queue in
            queue.hasEnded = true
            defer { queue.listener = nil }
            return queue.listener
        }
        listener?.finish()
        noteLost.finish()
        for connection in known.withLock({ $0.values }) { connection.departed(mayReturn: false) }
    }

    /// No stream comes any more.
    func stopReplacing() { noteLost.finish() }

    /// Reserves the place of a connection that is about to be made. False: the meeting has ended.
    private func reserve() -> Bool {
        queue.withLock { queue in
            if !queue.hasEnded { queue.pendingCount += 1 }
            return !queue.hasEnded
        }
    }

    /// The connection is made, or could not be.
    private func settle(_ connection: RoomTransferConnection?) {
        queue.withLock { queue in
            queue.pendingCount -= 1
            guard let connection else { return }
            // A listener that was cancelled takes nothing any more.
            if case .enqueued? = queue.listener?.yield(connection) { return }
            queue.waiting.append(connection)
        }
    }

    // MARK: What happens in the room

    /// Takes an event. `departures`: with this event.
    func note(_ event: RoomEvent, _ departures: Departures) async throws {
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
            if endsWithPartner, isPartner(participant), !departures.mayReturn(reason) { end() }
        default: break
        }
    }

    /// Makes the connections anew that a receiver has ended which had given this side up and has met it again: no event
    /// tells of it. Returns when no stream comes any more.
    func replaceLost() async throws {
        for await connection in lost where role == .send {
            let id = connection.participant.id
            guard connected.withLock({ $0.contains(id) }), known.withLock({ $0[id] }) === connection else { continue }
            try await connect(to: id, instead: connection)
        }
    }

    /// A sender opens its stream to a receiver that is connected, and again when the receiver was given up meanwhile.
    private func connect(to id: ParticipantID, instead old: RoomTransferConnection?) async throws {
        if let old {
            guard old.hasLostPeer, known.withLock({ $0[id] }) === old else { return }
            old.cut(RoomTransferConnection.gone(old.participant))
        }
        guard let participant = partner(id), TransferRoom.takesFiles(participant) else { return }
        try await openUnlessGone(to: participant, instead: old, incoming: nil)
    }

    /// A sender opens its stream to a receiver, unless it has one.
    func begin(with participant: RoomParticipant) async throws(RoomError) {
        try await open(to: participant, instead: nil, incoming: nil)
    }

    /// A participant has opened a stream: a sender begins, or a receiver answers. False: the meeting has ended.
    func take(_ stream: RoomIncomingStream) async throws -> Bool {
        let connection = known.withLock { $0[stream.from] }
        guard let part = RoomTransferConnection.part(stream), part != role, let participant = partner(stream.from)
        else {
            stream.cancel("this program is there to \(role.rawValue) files only")
            return true
        }
        switch role {
        case .send: connection?.deliver(stream)
        case .receive:
            guard reserve() else { return false }
            connection?.departed(mayReturn: true)
            connection?.cut(TransferError(.interrupted, "\(participant.name) has begun anew"))
            try await openUnlessGone(to: participant, instead: connection, incoming: stream)
        }
        return true
    }

    private func openUnlessGone(
        to participant: RoomParticipant, instead old: RoomTransferConnection?, incoming: RoomIncomingStream?
    ) async throws {
        do throws(RoomError) {
            try await open(to: participant, instead: old, incoming: incoming)
        } catch {
            // It has left again. A sender whose streams are all taken is not waited for.
            guard error.code == .peerNotFound || error.code == .wouldBlock else { throw error }
        }
    }

    /// Makes a connection. A receiver has reserved its place.
    private func open(
        to participant: RoomParticipant, instead old: RoomTransferConnection?, incoming: RoomIncomingStream?
    ) async throws(RoomError) {
        guard role == .receive || reserve() else { return }
        let connection = RoomTransferConnection(participant, in: room, as: role) { [noteLost] in noteLost.yield($0) }
        // Known before it is opened: the answer may come at once.
        let isFirst = known.withLock { known in
            guard role == .receive || known[participant.id] === old else { return false }
            known[participant.id] = connection
            return true
        }
        guard isFirst else { return settle(nil) }
        if let incoming { connection.deliver(incoming) }
        do throws(RoomError) {
            try await connection.open()
        } catch {
            known.withLock { if $0[participant.id] === connection { $0[participant.id] = nil } }
            settle(nil)
            throw error
        }
        settle(connection)
    }

    private func partner(_ id: ParticipantID) -> RoomParticipant? {
        room.participants.first { $0.id == id && isPartner($0) }
    }
}
