internal import RoomProtocol
internal import TransportValues

/// Candidates of one connection that came before the description that they belong to (RFC 8838 §11). Beyond a limit
/// they are dropped.
struct EarlyCandidates: Sendable {
    let connection: PeerConnectionID
    private let limit: Int
    private var entries: [(negotiation: NegotiationID, candidate: PeerCandidate)] = []

    init(of connection: PeerConnectionID, limit: Int) {
        self.connection = connection
        self.limit = limit
    }

    mutating func add(_ candidate: PeerCandidate, of negotiation: NegotiationID) {
        if entries.count < limit { entries.append((negotiation, candidate)) }
    }

    /// Removes and returns the candidates of a round, in order. Those of earlier rounds are dropped.
    mutating func take(of negotiation: NegotiationID) -> [PeerCandidate] {
        guard !entries.isEmpty else { return [] }
        defer { entries.removeAll { $0.negotiation <= negotiation } }
        return entries.filter { $0.negotiation == negotiation }.map(\.candidate)
    }

    /// Drops the candidates of the rounds before this one.
    mutating func drop(before negotiation: NegotiationID) { entries.removeAll { $0.negotiation < negotiation } }
}
