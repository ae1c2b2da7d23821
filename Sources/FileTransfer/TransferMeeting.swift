internal import RoomConnection
internal import TransportPluginAPI

/// The connections of one side, which sends or receives, to its partners in a room: makes them, and makes them anew
/// when one side had given the other up.
final class TransferMeeting: Sendable {
    private struct Queue {
        /// Where connections go while somebody takes them, and how many have taken them so far.
        var listener: AsyncStream<any TransferConnection>.Continuation?
        var listenerNumber: UInt64 = 0
        /// Whether it has got a connection.
        var hasGiven = false
        /// Those that nobody has taken.
        var waiting: [any TransferConnection] = []
        /// Those that are being made.
        var pendingCount = 0
        var hasBegun = false
        var hasEnded = false
        /// Why it has ended, where somebody has to be told.
        var reason: TransferError?

        /// Whether there is a connection to serve, or about to be.
        var isIdle: Bool { waiting.isEmpty && pendingCount == 0 }
    }

    private let room: Room
    private let role: TransferRoom.Role
    /// The only partner, or else those that are meant.
    private let partner: Locked<TransferPartner>?
    private let isPartner: @Sendable (RoomParticipant) -> Bool
    private let queue = Locked(Queue())
    /// The participants whose connections were lost: a sender makes them anew.
    private let lost: AsyncStream<ParticipantID>
    private let noteLost: AsyncStream<ParticipantID>.Continuation
    private let known = Locked<[ParticipantID: RoomTransferConnection]>([:])
    /// The participants to which there is a peer connection, whatever has become of the streams.
    private let connected: Locked<Set<ParticipantID>>

    /// A meeting with all those of whom `isPartner` is true.
    init(_ room: Room, _ role: TransferRoom.Role, isPartner: @escaping @Sendable (RoomParticipant) -> Bool) {
        self.room = room
        self.role = role
        connected = Locked([])
        partner = nil
        self.isPartner = isPartner
        (lost, noteLost) = AsyncStream.makeStream()
    }

    /// A meeting with one program. It ends when another takes the program's name, a sender's also when the program
    /// leaves in order, and a receiver's when there is nothing to serve.
    ///
    /// `connected`: the participants to which there is a peer connection now.
    init(
        _ room: Room, _ role: TransferRoom.Role, with participant: RoomParticipant, connected: Set<ParticipantID>
    ) {
        self.room = room
        self.role = role
        self.connected = Locked(connected)
        partner = Locked(TransferPartner(participant.id, name: participant.name))
        isPartner = { _ in true }
        (lost, noteLost) = AsyncStream.makeStream()
    }

    /// Whether a participant is meant.
    func has(_ participant: RoomParticipant) -> Bool {
        guard let partner else { return isPartner(participant) }
        let fingerprint = room.security(of: participant.id)?.remoteFingerprint
        return partner.withLock { $0.isSame(participant.id, name: participant.name, fingerprint: fingerprint) }
    }

    // MARK: The connections

    /// The connections from now on, those included that nobody has taken. For one consumer at a time.
    func listen() -> AsyncStream<any TransferConnection> {
        let (connections, listener) = AsyncStream.makeStream(of: (any TransferConnection).self)
        var hasGiven = false
        while true {
            // The older ones go first: the listener is known when they have gone.
            let (waiting, hasEnded) = queue.withLock { [hasGiven] queue in
                defer { queue.waiting = [] }
                guard queue.waiting.isEmpty else { return (queue.waiting, false) }
                queue.hasGiven = hasGiven
                if isUnused(queue), queue.hasBegun { queue.hasEnded = true }
                if !queue.hasEnded {
                    queue.listener = listener
                    queue.listenerNumber += 1
                }
                return (queue.waiting, queue.hasEnded)
            }
            for connection in waiting { listener.yield(connection) }
            if hasEnded { listener.finish() }
            if waiting.isEmpty { return connections }
            hasGiven = true
        }
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
    /// Why the meeting has ended, where somebody has to be told.
    var reason: TransferError? { queue.withLock { $0.reason } }

    /// Ends the meeting unless there is a connection to serve, or about to be. Returns whether it has ended.
    func endIfIdle() -> Bool {
        queue.withLock { queue in
            if queue.isIdle { queue.hasEnded = true }
            return queue.hasEnded
        }
    }

    /// The room has ended, or nobody is waited for any more. `reason`: for the person at this side.
    func end(_ reason: TransferError? = nil) {
        let listener = queue.withLock { queue in
            if !queue.hasEnded { queue.reason = reason }
            queue.hasEnded = true
            return queue.listener.take()
        }
        listener?.finish()
        noteLost.finish()
        for connection in known.withLock({ $0.values }) { connection.departed(mayReturn: false) }
    }

    /// Ends the meeting and its connections.
    func cancel(_ reason: TransferError) {
        end(reason)
        for connection in known.withLock({ $0.values }) { connection.cut(reason) }
    }

    /// No stream comes any more.
    func stopReplacing() { noteLost.finish() }

    /// Reserves the place of a connection that is about to be made. False: the meeting has ended.
    private func reserve() -> Bool {
        queue.withLock { queue in
            if !queue.hasEnded { queue.pendingCount += 1 }
            queue.hasBegun = true
            return !queue.hasEnded
        }
    }

    /// The connection is made.
    private func settle(_ connection: RoomTransferConnection) {
        var tried: UInt64?
        while true {
            // It is handed over outside of the lock, and counts as one that is being made until then.
            let (listener, number, hasEnded) = queue.withLock {
                [tried] queue -> (AsyncStream<any TransferConnection>.Continuation?, UInt64, Bool) in
                if !queue.hasEnded, let listener = queue.listener, queue.listenerNumber != tried {
                    return (listener, queue.listenerNumber, false)
                }
                queue.pendingCount -= 1
                if !queue.hasEnded { queue.waiting.append(connection) }
                return (nil, 0, queue.hasEnded)
            }
            if hasEnded { connection.cut(TransferError(.interrupted, "this side has ended the transfer")) }
            guard let listener else { return }
            // A listener that was cancelled takes nothing any more.
            if case .enqueued = listener.yield(connection) {
                return queue.withLock { queue in
                    queue.pendingCount -= 1
                    if queue.listenerNumber == number { queue.hasGiven = true }
                }
            }
            tried = number
        }
    }

    /// The connection could not be made.
    private func abandon() {
        queue.withLock { $0.pendingCount -= 1 }
        endIfUnused()
    }

    /// Whether a receiver that takes from one sender has nothing to take. No event would tell it.
    private func isUnused(_ queue: Queue) -> Bool {
        partner != nil && role == .receive && queue.isIdle && !queue.hasGiven
    }

    private func endIfUnused() {
        let listener = queue.withLock { queue -> AsyncStream<any TransferConnection>.Continuation? in
            guard isUnused(queue) else { return nil }
            queue.hasEnded = true
            return queue.listener.take()
        }
        listener?.finish()
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
            if isConnected, isReplaced(by: participant) { return }
            if isConnected, connection?.hasLostPeer == true { connection?.departed(mayReturn: true) }
            if isConnected, role == .send { try await connect(to: participant, instead: connection) }
        case .peerLeft(let participant, let reason):
            connected.withLock { _ = $0.remove(participant.id) }
            let connection = known.withLock { $0.removeValue(forKey: participant.id) }
            connection?.isConnected = false
            connection?.departed(mayReturn: departures.mayReturn(reason))
            if partner != nil, role == .send, has(participant), !departures.mayReturn(reason) { end() }
        default: break
        }
    }

    /// Ends the meeting when somebody else has the name of its partner, which cannot come back under it.
    private func isReplaced(by id: ParticipantID) -> Bool {
        guard let name = partner?.withLock({ $0.name }),
            let participant = room.participants.first(where: { $0.id == id && $0.name == name }), !has(participant)
        else { return false }
        endReplaced()
        return true
    }

    /// Ends the meeting, since somebody else has the name of its partner.
    func endReplaced() {
        let name = partner?.withLock { $0.name } ?? ""
        end(TransferError(.interrupted, "somebody else is \(name) now: what has arrived is kept"))
    }

    /// Makes the connections anew that a receiver has ended which had given this side up and has met it again: no event
    /// tells of it. Returns when no stream comes any more.
    func replaceLost() async throws {
        for await id in lost {
            guard connected.withLock({ $0.contains(id) }), let connection = known.withLock({ $0[id] }) else { continue }
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
        // Its certificate is known from now on.
        _ = has(participant)
        try await open(to: participant, instead: nil, incoming: nil)
    }

    /// A participant has opened a stream: a sender begins, or a receiver answers. False: the meeting has ended.
    func take(_ stream: RoomIncomingStream) async throws -> Bool {
        let connection = known.withLock { $0[stream.from] }
        guard let part = RoomTransferConnection.part(stream), part != role, let participant = partner(stream.from)
        else {
            endIfUnused()
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
        let connection = RoomTransferConnection(participant, in: room, as: role) { [noteLost, role] id in
            if role == .send { noteLost.yield(id) }
        }
        // Known before it is opened: the answer may come at once.
        let isFirst = known.withLock { known in
            guard role == .receive || known[participant.id] === old else { return false }
            known[participant.id] = connection
            return true
        }
        guard isFirst else { return abandon() }
        if let incoming { connection.deliver(incoming) }
        do throws(RoomError) {
            try await connection.open()
        } catch {
            known.withLock { if $0[participant.id] === connection { $0[participant.id] = nil } }
            abandon()
            throw error
        }
        settle(connection)
    }

    private func partner(_ id: ParticipantID) -> RoomParticipant? {
        room.participants.first { $0.id == id && has($0) }
    }
}
