import RoomProtocol
import TransportValues

/// The links to other nodes, and what they prove about the others' processes.
///
/// A link can transition: down → dialling → up (of one process) → down. That a connection is refused proves that the
/// process is gone whose address the store had given just before, unless its lease is renewed once more: then it lives
/// behind something that refuses in its stead, and nothing is concluded from its refusals until a link has been up.
struct Links: Sendable {
    enum Reach {
        case up
        /// `linkUp` or `linkDown` follows.
        case dialling
        /// Nothing can be done before this time.
        case later(Timestamp)
        /// The process is gone. The store can be asked again with this as evidence.
        case gone
    }

    private struct Link: Sendable {
        enum State {
            case down(dialAt: Timestamp)
            case dialling(NodeLease)
            case up(Incarnation)
        }
        var state = State.down(dialAt: .zero)
        /// The rooms whose hellos wait for the link, in order of arrival.
        var waiting: [RoomName] = []
        /// The evidence that a process is gone.
        var gone: GoneNode?
        /// The process whose refusals prove nothing.
        var spared: Incarnation?
    }

    private static let limit = 256
    private var links: [NodeID: Link] = [:]

    /// The nodes with links that are up or being opened.
    var count: Int {
        links.values.count { if case .down = $0.state { false } else { true } }
    }

    /// Whether the link to exactly this process is up.
    func isUp(_ node: NodeID, _ incarnation: Incarnation) -> Bool {
        if case .up(incarnation)? = links[node]?.state { true } else { false }
    }

    /// The evidence for claims, in a fixed order.
    var gone: [GoneNode] {
        Array(links.values.compactMap(\.gone).sorted { $0.node < $1.node }.prefix(64))
    }

    /// The room belongs to the process of this lease, which the store has just read: makes way for hellos to it.
    mutating func reach(_ lease: NodeLease, for room: RoomName, _ effects: inout Effects) -> Reach {
        var link = links[lease.node] ?? makeLink()
        defer { links[lease.node] = link }
        if let gone = link.gone, gone.incarnation != lease.incarnation || gone.renewals != lease.renewals {
            if gone.incarnation == lease.incarnation { link.spared = gone.incarnation }
            link.gone = nil
        }
        switch link.state {
        case .up(lease.incarnation): return .up
        case .up(let later) where later > lease.incarnation:
            link.gone = GoneNode(lease)
            return .gone
        case .up:
            effects.actions.append(.hangUp(lease.node))
            dial(lease, &link, &effects)
        case .dialling: break
        case .down(let dialAt):
            guard dialAt <= effects.now else { return .later(dialAt) }
            dial(lease, &link, &effects)
        }
        link.waiting.append(room)
        return .dialling
    }

    private func dial(_ lease: NodeLease, _ link: inout Link, _ effects: inout Effects) {
        link.state = .dialling(lease)
        effects.actions.append(.dial(lease.node, address: lease.address))
    }

    /// A link is up, whoever has opened it. Returns the rooms whose hellos have waited for it.
    mutating func up(_ node: NodeID, _ incarnation: Incarnation) -> [RoomName] {
        var link = links[node] ?? makeLink()
        defer { links[node] = link }
        link.state = .up(incarnation)
        link.gone = nil
        link.spared = nil
        defer { link.waiting = [] }
        return link.waiting
    }

    /// The link is down. Returns the rooms whose hellos have waited for it, and whether the process is proved to be
    /// gone.
    mutating func down(
        _ node: NodeID, _ failure: LinkFailure, _ effects: inout Effects
    ) -> (waiting: [RoomName], isGone: Bool) {
        guard var link = links[node] else { return ([], false) }
        var pause = Duration.zero
        switch (link.state, failure) {
        case (.dialling(let lease), .refused) where link.spared != lease.incarnation: link.gone = GoneNode(lease)
        case (.dialling, _): pause = effects.jitter(ClusterLimits.pause)
        // Whether its process is gone shows when somebody needs it.
        case (.up, _), (.down, _): break
        }
        link.state = .down(dialAt: effects.now + pause)
        let waiting = link.waiting
        link.waiting = []
        links[node] = link
        return (waiting, link.gone != nil)
    }

    /// Forgets nodes that there is no link to, when there are too many.
    private mutating func makeLink() -> Link {
        if links.count >= Self.limit {
            links = links.filter { if case .down = $0.value.state { false } else { true } }
        }
        return Link()
    }
}

extension GoneNode {
    fileprivate init(_ lease: NodeLease) {
        self.init(node: lease.node, incarnation: lease.incarnation, renewals: lease.renewals)
    }
}
