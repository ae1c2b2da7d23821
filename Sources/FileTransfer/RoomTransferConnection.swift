internal import RoomConnection
internal import TransportPluginAPI

/// A connection to one participant of a room: a stream of the room in each direction.
final class RoomTransferConnection: TransferConnection {
    /// The name of both streams, and the key in a participant's metadata.
    static let name = "files"
    /// The key in a stream's metadata that tells the two apart: the part of the side that opens it.
    private static let partKey = "part"
    /// The key in both streams' metadata that ties an answer to the stream that it answers. Older programs have none.
    static let attemptKey = "attempt"
    private static let attemptLimit = 64
    /// The time that the other side has to read what was written before the end.
    private static let closingTime = Duration.seconds(2)

    let participant: RoomParticipant
    private let room: Room
    private let part: TransferRoom.Role
    /// The other side's stream, once it has opened it.
    private let arrivals: AsyncStream<RoomIncomingStream>
    private let arrival: AsyncStream<RoomIncomingStream>.Continuation
    // SAFETY: only the one task that reads touches it.
    private nonisolated(unsafe) var iterator: RoomIncomingStream.AsyncIterator?
    /// Ends when the room has told whether the other side may come back.
    private let departures: AsyncStream<Void>
    private let departure: AsyncStream<Void>.Continuation
    /// Ends when the room has told that the other side does not come back.
    private let farewells: AsyncStream<Void>
    private let farewell: AsyncStream<Void>.Continuation
    private let onLost: @Sendable (ParticipantID) -> Void
    private let status = Locked(Status())

    struct Status {
        private(set) var isConnected = true
        /// The sender's choice, and in the receiver's answer the same.
        var attempt: String?
        /// This side's stream, once it is open.
        var outgoing: RoomOutgoingStream?
        var incoming: RoomIncomingStream?
        /// The reason why this side has ended the connection.
        var failure: TransferError?
        /// A stream has ended since one side has given the other up.
        var hasLostPeer = false
        /// Whether the other side may come back, once the room has told.
        private(set) var mayReturn: Bool?
        /// The certificates at the first look: they belong to the two processes, and stay for their life.
        var security: PeerSecurity?

        /// The peer connection came or went. One that this side has ended stays ended.
        mutating func peerChanged(isConnected: Bool) { self.isConnected = isConnected && failure == nil }

        mutating func end(_ reason: TransferError) {
            if failure == nil { failure = reason }
            isConnected = false
        }

        /// The other side may have met this one again, and left in order after that.
        mutating func departed(mayReturn: Bool) { self.mayReturn = mayReturn && self.mayReturn != false }

        /// Takes the metadata of the other side's stream. False: it answers another stream.
        mutating func take(_ metadata: [String: String], as part: TransferRoom.Role) -> Bool {
            let named = metadata[RoomTransferConnection.attemptKey]
            switch part {
            case .send: return named == nil || named == attempt
            case .receive:
                // It is sent back.
                attempt = named.flatMap { $0.utf8.count <= RoomTransferConnection.attemptLimit ? $0 : nil }
                return true
            }
        }
    }

    /// Takes the other side's stream from now on (`deliver`); `open` opens this side's.
    ///
    /// `onLost`: called once, with the participant, when a read or write fails since one side has given the other up.
    init(
        _ participant: RoomParticipant, in room: Room, as part: TransferRoom.Role,
        onLost: @escaping @Sendable (ParticipantID) -> Void = { _ in }
    ) {
        self.participant = participant
        self.room = room
        self.part = part
        self.onLost = onLost
        (arrivals, arrival) = AsyncStream.makeStream()
        (departures, departure) = AsyncStream.makeStream()
        (farewells, farewell) = AsyncStream.makeStream()
        if part == .send {
            status.withLock { $0.attempt = String(UInt64.random(in: .min ... .max), radix: 36) }
        }
    }

    /// Opens this side's stream. Throws as `Room.openStream` does.
    func open() async throws(RoomError) {
        var metadata = [Self.partKey: part.rawValue]
        metadata[Self.attemptKey] = status.withLock { $0.attempt }
        let stream = try await room.openStream(Self.name, to: participant.id, metadata: metadata)
        let failure = status.withLock { status in
            status.outgoing = stream
            return status.failure
        }
        if let failure { stream.cancel(failure.message) }
    }

    private var outgoing: RoomOutgoingStream? { status.withLock { $0.outgoing } }
    private var outgoingFailure: RoomStreamError? { outgoing?.failures[participant.id] }

    /// The part of the side that has opened a stream; nil for a stream of something else.
    static func part(_ stream: RoomIncomingStream) -> TransferRoom.Role? {
        stream.name == name ? stream.metadata[partKey].flatMap { TransferRoom.Role(rawValue: $0) } : nil
    }

    var security: PeerSecurity? {
        let now = room.security(of: participant.id)
        return status.withLock { status in
            status.security = status.security ?? now
            return status.security
        }
    }

    func pinCertificate() {
        guard let security else { return }
        room.pin(certificate: security.remoteFingerprint, of: participant.id)
    }

    var peerName: String { participant.name }
    var executor: (any TaskExecutor)? { room.executor }
    var isConnected: Bool {
        get { status.withLock { $0.isConnected } }
        set { status.withLock { $0.peerChanged(isConnected: newValue) } }
    }

    /// Whether the streams have ended since one side has given the other up.
    var hasLostPeer: Bool { status.withLock { $0.hasLostPeer } || outgoingFailure?.code == .peerGone }

    /// The room has told what has become of the other side. False is the last word.
    func departed(mayReturn: Bool) {
        status.withLock { $0.departed(mayReturn: mayReturn) }
        departure.finish()
        if !mayReturn { farewell.finish() }
    }

    func hasLeft() async { for await _ in farewells {} }

    func mayReturn() async -> Bool {
        if status.withLock({ $0.hasLostPeer }) { for await _ in departures {} }
        return status.withLock { $0.mayReturn } == true
    }

    func write(_ bytes: Payload) async throws {
        try check()
        guard let outgoing else { throw Self.gone(participant) }
        do throws(RoomStreamError) {
            try await outgoing.write(bytes)
        } catch {
            throw failure(error)
        }
    }

    func read() async throws -> Payload? {
        if iterator == nil {
            iterator = await firstArrival()?.makeAsyncIterator()
            try Task.checkCancellation()
            if iterator == nil, let error = outgoingFailure { throw failure(error) }
        }
        let piece: Payload?
        do throws(RoomStreamError) {
            piece = try await iterator?.next()
        } catch {
            throw failure(error)
        }
        try check()
        return piece
    }

    /// Returns the other side's stream when it is open, or nil when this side's has ended before.
    private func firstArrival() async -> RoomIncomingStream? {
        await withTaskGroup(of: Void.self) { [arrivals, arrival, outgoing] group in
            group.addTask {
                if let outgoing { for await _ in outgoing.progress {} }
                arrival.finish()
            }
            defer { group.cancelAll() }
            for await stream in arrivals { return stream }
            return nil
        }
    }

    /// Reads on meanwhile, so that neither side waits for the other to take what was its last word.
    func close() async {
        await withTaskGroup(of: Bool.self) { group in
            group.addTask { [outgoing] in
                try? await outgoing?.finish()
                return true
            }
            group.addTask {
                try? await Task.sleep(for: Self.closingTime)
                return true
            }
            group.addTask { [self] in
                while let piece = try? await read() { _ = piece }
                return false
            }
            while await group.next() == false {}
            group.cancelAll()
        }
        end(TransferError(.interrupted, "this side has ended the transfer"))
    }

    func cut(_ reason: TransferError) {
        end(reason)
        // Nobody waits for the other side on this connection any more.
        departure.finish()
        farewell.finish()
    }

    private func end(_ reason: TransferError) {
        let (outgoing, incoming) = status.withLock { status in
            status.end(reason)
            return (status.outgoing, status.incoming)
        }
        arrival.finish()
        outgoing?.cancel(reason.message)
        incoming?.cancel(reason.message)
    }

    private func failure(_ error: RoomStreamError) -> any Error {
        let (failure, isFirstLoss) = status.withLock { status in
            defer { if error.code == .peerGone { status.hasLostPeer = true } }
            return (status.failure, error.code == .peerGone && !status.hasLostPeer)
        }
        if isFirstLoss { onLost(participant.id) }
        if let failure { return failure }
        return switch error.code {
        case .taskCancelled: CancellationError()
        case .peerGone: Self.gone(participant)
        default: TransferError(.interrupted, "\(participant.name) has ended the transfer: \(error.message)")
        }
    }

    /// Throws when this side has ended, or when the other side has another certificate than it had: a new connection
    /// between the same two processes has the same ones.
    private func check() throws {
        let now = room.security(of: participant.id)
        let (failure, first) = status.withLock { ($0.failure, $0.security) }
        if let failure { throw failure }
        if let first, let now, first.remoteFingerprint != now.remoteFingerprint { throw TransferHandshake.wrong }
    }

    /// The other side has opened its stream. A second one is refused, and one that answers another stream.
    func deliver(_ stream: RoomIncomingStream) {
        guard status.withLock({ $0.take(stream.metadata, as: part) }) else {
            return stream.cancel("this answers a stream that has ended")
        }
        let isFirst = status.withLock { status in
            guard status.incoming == nil, status.failure == nil else { return false }
            status.incoming = stream
            return true
        }
        guard isFirst else { return stream.cancel("there is a transfer already") }
        arrival.yield(stream)
        arrival.finish()
    }

    static func gone(_ participant: RoomParticipant) -> TransferError {
        TransferError(.interrupted, "\(participant.name) is gone: what has arrived is kept")
    }
}
