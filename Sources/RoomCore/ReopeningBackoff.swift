package import TransportValues

/// How long to wait until a channel that the other side has closed is opened again: not at all the first time, then
/// longer and longer while it goes on closing it.
package struct ReopeningBackoff: Sendable {
    private static let limit: Duration = .seconds(30)
    /// A channel that was open for so long begins anew.
    private static let calm: Duration = .seconds(60)

    private var count = 0
    private var lastAt: Timestamp?

    package init() {}

    /// The channel was closed at `now`.
    package mutating func delay(now: Timestamp) -> Duration {
        if let lastAt, now - lastAt > Self.calm { count = 0 }
        lastAt = now
        defer { count += 1 }
        return count == 0 ? .zero : min(.seconds(1) * (1 << min(count - 1, 8)), Self.limit)
    }
}
