/// Notices that what was sent on a channel is not acknowledged. Looked at every now and then while something is
/// outstanding, so that it costs nothing per message.
package struct AcknowledgementWatch: Sendable {
    /// Looks without progress after which the data is unacknowledged.
    package static let patience = 4

    private var acknowledged: UInt64?
    private var samples = 0

    package init() {}

    /// Whether nothing has been acknowledged for too long.
    package var isUnacknowledged: Bool { samples >= Self.patience }

    /// Takes a look. `acknowledged`: a count of what was acknowledged so far; nil when nothing is outstanding.
    package mutating func sample(acknowledged: UInt64?) {
        samples = acknowledged == nil || acknowledged != self.acknowledged ? 0 : min(samples + 1, Self.patience)
        self.acknowledged = acknowledged
    }
}
