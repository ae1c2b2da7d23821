internal import TransportValues

/// Decides when a relayed path is moved to fresh credentials. A relay lets nothing through any more when the
/// credentials that it was allocated with expire.
struct RelayRenewal: Sendable {
    /// How long the ICE servers were valid when they came.
    private var credentialLife: Duration?
    /// When the latest ICE servers came, when those came that the latest round uses, and when those that the present
    /// path uses: a round that finds no path leaves the older path where it is.
    private var serversAt: Timestamp?
    private var roundServersAt: Timestamp?
    private var pathServersAt: Timestamp?
    /// When a new path with fresh credentials was last asked for.
    private var renewedAt: Timestamp?

    init(serversAt: Timestamp?) { self.serversAt = serversAt }

    /// `ttl`: for how long the servers are valid.
    mutating func serversChanged(ttl: Duration?, now: Timestamp) {
        serversAt = now
        credentialLife = ttl
    }

    /// This side begins a round, with the latest servers.
    mutating func roundBegan(now: Timestamp) { roundServersAt = serversAt ?? now }

    /// The other side has begun a round; this side answers it with the latest servers.
    mutating func roundAnswered() { roundServersAt = serversAt }

    /// The latest round has found a path.
    mutating func pathFound() { pathServersAt = roundServersAt }

    /// A new path with fresh credentials is asked for.
    mutating func renewed(now: Timestamp) { renewedAt = now }

    /// The machine has slept, and credentials have aged meanwhile.
    mutating func woke(after sleep: Duration) {
        serversAt = serversAt.map { $0 - sleep }
        roundServersAt = roundServersAt.map { $0 - sleep }
        pathServersAt = pathServersAt.map { $0 - sleep }
    }

    /// The earliest time for a new path, where the present one uses relays.
    ///
    /// Nil unless its credentials have lived for a quarter of their life or more, and there are fresh ones, which may
    /// come as rarely as after 0.7 of it.
    func earliest(now: Timestamp) -> Timestamp? {
        guard let credentialLife, let serversAt, let pathServersAt, pathServersAt < serversAt,
            now - pathServersAt >= credentialLife / 4
        else { return nil }
        // Where the last round has found no path, another one is not made at once.
        return max(now, renewedAt.map { $0 + max(.seconds(5), credentialLife / 8) } ?? now)
    }
}
