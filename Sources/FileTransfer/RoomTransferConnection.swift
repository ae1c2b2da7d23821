internal import RoomConnection
internal import TransportPluginAPI

/// A connection to one participant of a room, over the room's reliable messages.
final class RoomTransferConnection: TransferConnection {
    let participant: RoomParticipant
    private let room: Room
    private let inbox = TransferInbox()
    private let status = Locked(Status())

    private struct Status {
        var isConnected = false
        var isAnnounced = false
        /// The certificates at the first look: they belong to the two processes, and stay for their life.
        var security: PeerSecurity?
    }

    init(_ participant: RoomParticipant, in room: Room) {
        self.participant = participant
        self.room = room
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
    var isConnected: Bool { status.withLock { $0.isConnected } }

    func write(_ bytes: Payload) async throws {
        try check()
        do throws(RoomError) {
            _ = try await room.send(bytes, to: participant.id)
        } catch {
            switch error.code {
            case .peerNotFound: throw Self.gone(participant)
            case .cancelled: throw inbox.failure ?? CancellationError()
            default: throw error
            }
        }
        try check()
    }

    func read() async throws -> Payload? {
        let piece = try await inbox.next()
        try check()
        return piece
    }

    func close() async {
        try? await room.flush(within: .seconds(2))
        inbox.end()
    }

    func cut(_ reason: TransferError) { inbox.end(reason) }

    /// Throws when this side has ended, or when the other side has another certificate than it had: a new connection
    /// between the same two processes has the same ones.
    private func check() throws {
        if let failure = inbox.failure { throw failure }
        let now = room.security(of: participant.id)
        let isOther = status.withLock { status in
            guard let first = status.security, let now else { return false }
            return first.remoteFingerprint != now.remoteFingerprint
        }
        if isOther { throw TransferHandshake.wrong }
    }

    // MARK: For the room's events and messages

    func deliver(_ payload: Payload) async { await inbox.add(payload) }

    func fail(_ error: any Error) { inbox.end(error) }

    /// Records whether there is a connection. Returns true for the first time.
    func connectionChanged(_ isConnected: Bool) -> Bool {
        status.withLock { status in
            status.isConnected = isConnected
            guard isConnected, !status.isAnnounced else { return false }
            status.isAnnounced = true
            return true
        }
    }

    static func gone(_ participant: RoomParticipant) -> TransferError {
        TransferError(.interrupted, "\(participant.name) has left: what has arrived is kept")
    }
}
