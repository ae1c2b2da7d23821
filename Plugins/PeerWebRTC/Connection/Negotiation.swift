internal import TransportPluginAPI

/// The decisions about descriptions and candidates of one connection (RFC 8829, RFC 8838, RFC 8842): which of them are
/// valid now, what this side writes, and which side begins the DTLS handshake. The same side always offers. Pure.
///
/// An offer or an answer is processed in two steps, since the agent may refuse it in between: `read` decides whether
/// the description is valid now, and `accepted` records it.
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

    /// The latest answer of this side, which also answers a repetition of the offer.
    private struct Answer: Equatable {
        /// Those of the offer.
        var credentials: ICECredentials
        var description: SessionDescription
    }

    enum Offer: Equatable {
        /// The offer begins a generation.
        case new(DataDescription)
        /// The offer was answered before with this description: the answer may have been lost.
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

    /// Throws `.invalidState` if the first offer is not possible now.
    func checkFirstOffer() throws(TransportError) {
        guard state == .idle else {
            throw Self.stale("the connection is negotiating already: use restart(iceServers:)")
        }
    }

    /// Throws `.invalidState` if the offer of a restart is not possible now.
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

    /// Reads an answer to the open offer. Throws `.invalidState` for any other answer, `.protocolViolation`,
    /// `.notSupported`.
    func read(answer description: SessionDescription) throws(TransportError) -> DataDescription {
        guard state == .offering else { throw Self.stale("the answer matches no open offer") }
        let answer = try DataDescription(parsing: description)
        try check(answer)
        guard !isKnown(answer) else { throw Self.stale("the answer belongs to an earlier offer") }
        return answer
    }

    /// The answer was accepted. Returns the candidates of its generation that have arrived already.
    mutating func accepted(answer: DataDescription) -> [RemoteCandidates.Item] {
        state = .settled
        return accepted(answer)
    }

    // MARK: Offers of the other side

    /// Reads an offer. `newest` are the other side's credentials in the latest generation. Throws `.invalidState` for
    /// an offer that is not allowed now, `.protocolViolation`, `.notSupported`.
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

    /// The offer was accepted. Returns this side's answer, and the candidates of the offer's generation that have
    /// arrived already.
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

    /// Returns this side's role in the DTLS handshake. RFC 8842 §5.1: the side that says `active` begins; with an
    /// existing association the roles stay.
    static func role(opposite description: DataDescription) -> DTLSSession.Role {
        description.setup == .active ? .server : .client
    }

    /// Throws `.notSupported` if the description changes something that must stay for the life of a connection.
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

    /// Returns a candidate with its generation; nil if it is useless, or waits for its description. Throws
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
