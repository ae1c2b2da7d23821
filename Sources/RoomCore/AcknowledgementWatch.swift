/// Detects that what was sent on a channel is not acknowledged. Sampled at intervals while something is outstanding, so
/// that it costs nothing per message.
package struct AcknowledgementWatch: Sendable {
    /// Samples without progress after which the data counts as unacknowledged.
    package static let patience = 4

    private var acknowledged: UInt64?
    private var samples = 0

    package init() {}

    /// Whether nothing has been acknowledged for too long.
    package var isUnacknowledged: Bool { samples >= Self.patience }

    /// Takes a sample. `acknowledged`: a count of what was acknowledged so far; nil when nothing is outstanding.
    package mutating func sample(acknowledged: UInt64?) {
        samples = acknowledged == nil || acknowledged != self.acknowledged ? 0 : min(samples + 1, Self.patience)
        self.acknowledged = acknowledged
    }
}
