internal import RoomConnection

/// The other side of a transfer in a room. When its program comes back as another participant, its certificate shows
/// that it is the same one; another program under the same name has another certificate.
struct TransferPartner: Sendable {
    let name: String
    /// The participant that it is now.
    private(set) var id: ParticipantID
    /// Of its certificate; nil while it was never seen, and where the transport has none.
    private var fingerprint: String?

    init(_ id: ParticipantID, name: String) {
        self.id = id
        self.name = name
    }

    /// Whether a participant is this partner. `fingerprint`: of its certificate, as it is seen now.
    mutating func isSame(_ other: ParticipantID, name otherName: String, fingerprint seen: String?) -> Bool {
        if other == id {
            fingerprint = seen ?? fingerprint
            return true
        }
        guard otherName == name, let seen, seen == fingerprint else { return false }
        id = other
        return true
    }
}
