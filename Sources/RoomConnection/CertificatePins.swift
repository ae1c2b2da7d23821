internal import RoomProtocol
internal import TransportPluginAPI

/// The certificates that participants must have: a connection with another is closed before a message passes.
final class CertificatePins: Sendable {
    private let fingerprints = Locked<[ParticipantID: String]>([:])

    func pin(_ fingerprint: String, of participant: ParticipantID) {
        fingerprints.withLock { $0[participant] = fingerprint }
    }

    /// Forgets a participant that has left.
    func remove(_ participant: ParticipantID) { fingerprints.withLock { $0[participant] = nil } }

    /// Whether a new connection has the certificate that is required, if one is.
    func accept(_ security: PeerSecurity?, of participant: ParticipantID) -> Bool {
        guard let fingerprint = fingerprints.withLock({ $0[participant] }) else { return true }
        return security?.remoteFingerprint == fingerprint
    }
}

extension Room {
    /// Takes no other certificate of a participant from now on, until it leaves the room: a connection with another is
    /// closed before a message passes in either direction. For programs that have compared certificates end to end.
    package func pin(certificate fingerprint: String, of participant: ParticipantID) {
        hub.pins.pin(fingerprint, of: participant)
    }
}
