internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// A peer connection as a whole: what the two ends have described to each other, and which round carries data.
final class PeerPair {
    struct Round {
        /// Nil: there was none when the round was described, or it is not described yet.
        var offererNetwork: Int?
        var answererNetwork: Int?
        var offererAddress: String?
        var answererAddress: String?
        /// Until when the relays of both ends let data through.
        var expiry: Timestamp
        var hasOffererRelay: Bool
        var hasAnswererRelay = false
        var isAnswered = false
        var candidates = 0
        /// How often a path is looked for.
        var patience: Int
        var tries = 0
    }
    let id: PeerConnectionID
    var offerer: Endpoint?
    var answerer: Endpoint?
    var rounds: [Round] = []
    var selected: Int?
    /// Since when the selected path has worked both ways.
    var worksSince: Timestamp?
    /// Each path goes silent soon after it was found. Only a new connection helps.
    var hasShortPaths = false
    /// Single heartbeats are looked at, since some are lost.
    var hasHeartbeats = false
    /// The association, from the offerer and from the answerer.
    var isEstablished = false
    private let fromOfferer = Pipe()
    private let fromAnswerer = Pipe()
    private let plainFromOfferer = PlainPipe()
    private let plainFromAnswerer = PlainPipe()

    init(id: PeerConnectionID) { self.id = id }

    /// Both ends are closed. They and the pair own each other.
    func dissolve() {
        offerer = nil
        answerer = nil
    }

    /// Whether both ends of the round are where they were when they described it, and the relays of its path let data
    /// through. `needsRelay`: there is no path without one.
    func isCurrent(_ round: Int, at now: Timestamp, needsRelay: Bool) -> Bool {
        guard let offerer, let answerer, !offerer.isClosed, !answerer.isClosed, rounds.indices.contains(round) else {
            return false
        }
        let known = rounds[round]
        return known.isAnswered && known.candidates > 0 && known.offererNetwork == offerer.node.network
            && known.answererNetwork == answerer.node.network && now < known.expiry
            && (!needsRelay || known.hasOffererRelay || known.hasAnswererRelay)
    }

    func pipe(fromOfferer isFromOfferer: Bool) -> Pipe { isFromOfferer ? fromOfferer : fromAnswerer }
    func plainPipe(fromOfferer isFromOfferer: Bool) -> PlainPipe {
        isFromOfferer ? plainFromOfferer : plainFromAnswerer
    }
    func end(isOfferer: Bool) -> Endpoint? { isOfferer ? offerer : answerer }
    func other(than endpoint: Endpoint) -> Endpoint? { endpoint.isOfferer ? answerer : offerer }
}
