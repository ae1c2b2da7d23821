internal import TransportValues

/// Decides when a peer connection may be made anew: at once where the last one has held for a while, later and later
/// where it has not.
struct RebuildPace: Sendable {
    private let configuration: RecoveryConfiguration
    /// Rebuilds since the connection was last healthy for a while.
    private(set) var count = 0
    private var lastAt: Timestamp?
    private var healthySince: Timestamp?

    init(_ configuration: RecoveryConfiguration) { self.configuration = configuration }

    /// How long the connection that is being made may take.
    var connectTime: Duration { min(configuration.budgets.connect * min(count, 1000), configuration.connectMaximum) }

    mutating func recovered(now: Timestamp) { healthySince = now }

    mutating func rebuilt(now: Timestamp) {
        count += 1
        lastAt = now
        healthySince = nil
    }

    /// The connection is broken. Returns the earliest time of the next rebuild; nil: at once.
    mutating func earliest(now: Timestamp) -> Timestamp? {
        if let healthySince, now - healthySince >= configuration.budgets.connect { count = 0 }
        healthySince = nil
        guard count > 0, let lastAt else { return nil }
        return lastAt + min(configuration.rebuildDelay * (1 << min(count - 1, 16)), configuration.rebuildDelayMaximum)
    }
}
