internal import TransportPluginAPI

/// Decides about the descriptions and candidates of one connection (RFC 8829, RFC 8838, RFC 8842): which of them fit,
/// what this side writes, and who begins the DTLS handshake. One side offers, always. Pure.
///
/// An offer or an answer is taken in two steps, since an agent that may refuse stands between them: `read` decides
/// whether the description fits, and `accepted` takes it.
struct Negotiation {
    private enum State: Equatable {
        /// Nothing was offered or accepted. Can transition to: offering, answered.
        case idle
        /// An offer of this side waits for its answer. Can transition to: settled, offering (by a restart).
        case offering
        /// The other side has answered the latest offer. Can transition to: offering.
        case settled
        /// This side answers, and has answered the latest offer. Can transition to: answered (another one).
        case answered(Answer)
    }

    /// The latest answer of this side. A repeated offer gets it again.
    private struct Answer: Equatable {
        /// Those of the offer.
        var credentials: ICECredentials
        var description: SessionDescription
    }

    enum Offer: Equatable {
        /// It begins a generation.
        case new(DataDescription)
        /// It was answered before, by this description: the answer may have been lost.
        case repeated(SessionDescription)
    }

    /// A candidate, or the end of candidates, and the generation that it belongs to.
    struct RoutedCandidate: Equatable {
        var usernameFragment: String
        var item: RemoteCandidates.Item
    }

    private var state = State.idle
    private var candidates = RemoteCandidates()
    private var writer: DescriptionWriter
    /// The last description that was accepted.
    private(set) var remote: DataDescription?

    init(writer: DescriptionWriter) { self.writer = writer }

    var sctpPort: UInt16 { writer.sctpPort }
    var mediaID: String? {
        if let remote { return remote.mid }
        return state == .idle ? nil : DescriptionWriter.offeredMid
    }
    var mediaIndex: Int { remote?.mediaIndex ?? 0 }

    // MARK: Offers of this side

    /// Throws `.invalidState` when the first offer has no place.
    func checkFirstOffer() throws(TransportError) {
        guard state == .idle else {
            throw Self.stale("the connection is negotiating already: use restart(iceServers:)")
        }
    }

    /// Throws `.invalidState` when the offer of a restart has no place.
    func checkRestart() throws(TransportError) {
        guard isOfferer, remote != nil else {
            throw Self.stale("only the offerer restarts, and only after its first offer was answered")
        }
    }

    /// Writes an offer of this side's generation.
    mutating func offered(_ local: ICECredentials) -> SessionDescription {
        state = .offering
        defer { writer.version += 1 }
        return writer.offer(local, setup: .actpass)
    }

    /// Reads an answer that fits the open offer. Throws `.invalidState` for another one, `.protocolViolation`,
    /// `.notSupported`.
    func read(answer description: SessionDescription) throws(TransportError) -> DataDescription {
        guard state == .offering else { throw Self.stale("the answer matches no open offer") }
        let answer = try DataDescription(parsing: description)
        try check(answer)
        guard !isKnown(answer) else { throw Self.stale("the answer belongs to an earlier offer") }
        return answer
    }

    /// The answer is taken. Returns the candidates that this side knows of its generation.
    mutating func accepted(answer: DataDescription) -> [RemoteCandidates.Item] {
        state = .settled
        return accepted(answer)
    }

    // MARK: Offers of the other side

    /// Reads an offer that has a place. `newest`: the other side's credentials in the latest generation. Throws
    /// `.invalidState` for another one, `.protocolViolation`, `.notSupported`.
    func read(
        offer description: SessionDescription, newest: ICECredentials?
    ) throws(TransportError) -> Offer {
        guard !isOfferer else {
            throw Self.stale("this side is the offerer of the connection: the other side must not send an offer")
        }
        let offer = try DataDescription(parsing: description)
        try check(offer)
        if case .answered(let answer) = state, answer.credentials == offer.credentials, newest == offer.credentials {
            return .repeated(answer.description)
        }
        guard !isKnown(offer) else { throw Self.stale("the offer belongs to a generation that was replaced") }
        return .new(offer)
    }

    /// The offer is taken. Returns this side's answer, and the candidates that it knows of the offer's generation.
    mutating func accepted(
        offer: DataDescription, local: ICECredentials, role: DTLSSession.Role
    ) -> (answer: SessionDescription, candidates: [RemoteCandidates.Item]) {
        let answer = writer.answer(to: offer, local, setup: role == .server ? .passive : .active)
        writer.version += 1
        state = .answered(Answer(credentials: offer.credentials, description: answer))
        return (answer, accepted(offer))
    }

    // MARK: Both

    private var isOfferer: Bool {
        switch state {
        case .idle, .answered: false
        case .offering, .settled: true
        }
    }

    /// This side's part of the DTLS handshake. RFC 8842 §5.1: a side that says `active` begins; over a living
    /// association the roles stay as they are.
    static func role(opposite description: DataDescription) -> DTLSSession.Role {
        description.setup == .active ? .server : .client
    }

    /// Throws `.notSupported` when the description changes what must stay as it is over the life of a connection.
    private func check(_ description: DataDescription) throws(TransportError) {
        guard let remote else { return }
        guard Set(description.fingerprints) == Set(remote.fingerprints) else {
            throw TransportError(.notSupported, "a restart cannot bring another certificate: make a new connection")
        }
        guard description.sctpPort == remote.sctpPort else {
            throw TransportError(.notSupported, "a restart cannot bring another SCTP port: make a new connection")
        }
    }

    private func isKnown(_ description: DataDescription) -> Bool {
        let fragment = description.credentials.usernameFragment
        return candidates.isCurrent(fragment) || candidates.isOld(fragment)
    }

    private mutating func accepted(_ description: DataDescription) -> [RemoteCandidates.Item] {
        remote = description
        var items = candidates.began(description.credentials.usernameFragment)
        for candidate in description.candidates {
            guard let text = try? CandidateText(parsing: candidate), text.component == 1 else { continue }
            items.append(.candidate(text.line))
        }
        if description.hasEndOfCandidates { items.append(.end) }
        return items
    }

    private static func stale(_ message: String) -> TransportError { TransportError(.invalidState, message) }

    // MARK: Candidates of the other side

    /// Finds the generation that a candidate belongs to. Nil for one that is of no use, or not yet. Throws
    /// `.protocolViolation`.
    mutating func received(_ candidate: PeerCandidate) throws(TransportError) -> RoutedCandidate? {
        guard !candidate.text.isEmpty else { return route(.end, fragment: candidate.usernameFragment) }
        let text = try CandidateText(parsing: candidate.text)
        // Other components and other media sections have no transport here.
        guard text.component == 1 else { return nil }
        let fragment = candidate.usernameFragment ?? text.usernameFragment
        if fragment == nil, let theirs = candidate.mediaID, let ours = mediaID, theirs != ours { return nil }
        return route(.candidate(text.line), fragment: fragment)
    }

    private mutating func route(_ item: RemoteCandidates.Item, fragment: String?) -> RoutedCandidate? {
        candidates.route(item, fragment: fragment).map { RoutedCandidate(usernameFragment: $0, item: item) }
    }

    /// A generation of the other side was replaced.
    mutating func generationEnded(_ usernameFragment: String) { candidates.ended(usernameFragment) }
}
