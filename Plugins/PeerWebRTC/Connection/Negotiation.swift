internal import TransportPluginAPI

/// Where the exchange of descriptions stands. One side offers, always.
struct Negotiation {
    enum Side { case undecided, offerer, answerer }

    var side = Side.undecided
    /// An offer of ours waits for its answer.
    var isOfferOpen = false
    /// The last description that was accepted.
    var remote: DataDescription?
    /// What the answerer said last, and to which credentials: a repeated offer gets it again.
    var lastAnswer: (to: ICECredentials, SessionDescription)?

    var mid: String? { remote?.mid ?? (side == .offerer ? DescriptionWriter.offeredMid : nil) }
    var mediaIndex: Int { remote?.mediaIndex ?? 0 }

    /// What another description of the same connection must not change. Throws `.notSupported`.
    func check(_ description: DataDescription) throws(TransportError) {
        guard let remote else { return }
        guard Set(description.fingerprints) == Set(remote.fingerprints) else {
            throw TransportError(.notSupported, "a restart cannot bring another certificate: make a new connection")
        }
        guard description.sctpPort == remote.sctpPort else {
            throw TransportError(.notSupported, "a restart cannot bring another SCTP port: make a new connection")
        }
    }

    static func stale(_ what: String) -> TransportError { TransportError(.invalidState, what) }
}
