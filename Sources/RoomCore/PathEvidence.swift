/// The evidence that the path of a peer connection carries data.
struct PathEvidence: Sendable {
    /// The transport says that channels can carry data.
    var isUp = false
    /// There are no signs of life where some were expected.
    var isSuspect = false

    var isAlive: Bool { isUp && !isSuspect }

    mutating func connected() { self = PathEvidence(isUp: true) }
}
