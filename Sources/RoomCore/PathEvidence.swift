internal import TransportValues

/// The evidence that the path of a peer connection carries data.
struct PathEvidence: Sendable {
    /// A path that goes silent within this time after a restart has brought it is a relapse.
    private static let relapseWindow = Duration.seconds(1)
    /// Relapses in a row after which only a new connection helps. One may be a path that was lost again.
    private static let relapseLimit = 2

    /// The transport says that channels can carry data.
    var isUp = false
    /// There are no signs of life where some were expected.
    var isSuspect = false
    /// When a restart has brought the present path.
    private var foundAt: Timestamp?
    private var isRelapse = false
    private var relapses = 0

    var isAlive: Bool { isUp && !isSuspect }
    /// Restarts bring paths, and nothing comes over them: what was sent waits for a timer of the old association.
    var needsNewConnection: Bool { relapses >= Self.relapseLimit }

    mutating func connected() {
        isUp = true
        isSuspect = false
    }

    /// A restart has brought a path, and a sign of life has come over it.
    mutating func found(now: Timestamp) {
        foundAt = now
        isRelapse = false
    }

    /// `since`: when the last sign of life came.
    mutating func suspected(since: Timestamp) {
        isSuspect = true
        guard let foundAt, !isRelapse || since > foundAt + Self.relapseWindow else { return }
        isRelapse = since <= foundAt + Self.relapseWindow
        relapses = isRelapse ? relapses + 1 : 0
    }
}
