internal import TransportPluginAPI

/// Matches remote candidates to generations by their user name fragment (RFC 8838 §4.1). Pure.
///
/// Candidates that arrive before their description are kept, at most `maximumWaiting`; the oldest are dropped first.
/// Those of a replaced generation are dropped.
struct RemoteCandidates: Equatable {
    enum Item: Equatable {
        case candidate(String)
        case end
    }

    static let maximumWaiting = 64
    private static let maximumOld = 16

    private var current: [String] = []
    private var old: [String] = []
    private var waiting: [(fragment: String?, item: Item)] = []

    /// Returns the generation that a candidate belongs to. Nil when it is kept for later, or dropped.
    mutating func route(_ item: Item, fragment: String?) -> String? {
        if let fragment {
            if current.contains(fragment) { return fragment }
            if old.contains(fragment) { return nil }
        } else if let newest = current.last {
            return newest
        }
        if waiting.count == Self.maximumWaiting { waiting.removeFirst() }
        waiting.append((fragment, item))
        return nil
    }

    /// A description has begun a new generation. Returns the candidates that waited for it.
    mutating func began(_ fragment: String) -> [Item] {
        current.removeAll { $0 == fragment }
        current.append(fragment)
        let items = waiting.filter { $0.fragment == fragment || $0.fragment == nil }.map(\.item)
        waiting.removeAll { $0.fragment == fragment || $0.fragment == nil }
        return items
    }

    /// A generation was replaced.
    mutating func ended(_ fragment: String) {
        current.removeAll { $0 == fragment }
        guard !old.contains(fragment) else { return }
        if old.count == Self.maximumOld { old.removeFirst() }
        old.append(fragment)
    }

    func isCurrent(_ fragment: String) -> Bool { current.contains(fragment) }
    func isOld(_ fragment: String) -> Bool { old.contains(fragment) }
    var waitingCount: Int { waiting.count }

    static func == (left: RemoteCandidates, right: RemoteCandidates) -> Bool {
        left.current == right.current && left.old == right.old
            && left.waiting.elementsEqual(right.waiting) { $0.fragment == $1.fragment && $0.item == $1.item }
    }
}
