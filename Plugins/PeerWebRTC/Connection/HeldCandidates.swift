/// Candidates of the other side that are held from an agent for a while, in their order. Pure.
///
/// At most `maximumCount` are kept, and the others are dropped. Their end is never dropped: an agent that does not
/// hear of it waits for more.
struct HeldCandidates: Equatable {
    /// More than an agent accepts.
    static let maximumCount = 128

    private var candidates: [RemoteCandidates.Item] = []
    private var hasEnded = false

    mutating func add(_ item: RemoteCandidates.Item) {
        switch item {
        case .candidate: if candidates.count < Self.maximumCount { candidates.append(item) }
        case .end: hasEnded = true
        }
    }

    /// Returns what is held, the end last, and holds nothing any more.
    mutating func take() -> [RemoteCandidates.Item] {
        defer { self = HeldCandidates() }
        return candidates + (hasEnded ? [.end] : [])
    }
}
