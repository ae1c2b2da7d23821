internal import TransportValues

/// The credential of one participant: when the provider is asked for another one, and whether another one would help.
struct SignalingCredential: Sendable {
    /// A decision about a credential that was refused.
    enum Renewal: Sendable, Hashable {
        /// Another one may be let in: ask for it now.
        case atOnce
        /// The same, but one was asked for not long ago.
        case later
        /// Another one would not help.
        case useless
    }

    private let hasProvider: Bool
    private let margin: Duration
    /// A secret.
    private(set) var token: String?
    private var expiresAt: Timestamp?
    private var isFetched = false
    private var mustForce = false
    /// A forced one is being fetched.
    private(set) var isForcing = false
    /// When a forced one came that has not let this participant in yet.
    private var forcedAt: Timestamp?
    /// The last one that was refused.
    private var refusedToken: String?

    init(token: String?, hasProvider: Bool, margin: Duration) {
        self.token = token
        self.hasProvider = hasProvider
        self.margin = margin
    }

    /// Whether the provider is to be asked before the next attempt.
    func mustBeFetched(now: Timestamp) -> Bool {
        guard hasProvider else { return false }
        if mustForce || (token == nil && !isFetched) { return true }
        return expiresAt.map { now + margin >= $0 } ?? false
    }

    /// The provider is asked. One that was refused must not come from a cache again.
    mutating func requested() { isForcing = mustForce }

    mutating func arrived(_ token: String?, expiresAt: Timestamp?, now: Timestamp) {
        self.token = token
        self.expiresAt = expiresAt
        isFetched = true
        guard isForcing else { return }
        isForcing = false
        mustForce = false
        forcedAt = now
    }

    /// The server has let this participant in.
    mutating func accepted() {
        forcedAt = nil
        refusedToken = nil
    }

    /// The server has refused the credential. Another one does not help where a new one was refused, for another reason
    /// than its age, or where the provider has no newer one than the one that is too old.
    mutating func refused(isTooOld: Bool, now: Timestamp) -> Renewal {
        let isNew = forcedAt.map { now - $0 <= margin } ?? false
        guard hasProvider, !isNew || (isTooOld && token != refusedToken) else { return .useless }
        refusedToken = token
        mustForce = true
        return isNew ? .later : .atOnce
    }

    /// This machine has slept, and the credential has aged.
    mutating func woke(after sleep: Duration) { expiresAt = expiresAt.map { $0 - sleep } }
}
