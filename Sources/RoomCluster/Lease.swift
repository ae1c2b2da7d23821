import TransportValues

/// The node's own lease.
///
/// It is held until its length after the moment *before* the request was sent that has prolonged it. The machine's
/// clock counts suspends, so a process that was stopped finds its lease over before it does anything else.
///
/// Can transition: unborn → lapsed (started) ⇄ held; held or lapsed → over (superseded, dropped).
struct Lease: Sendable {
    private enum State {
        case unborn
        case lapsed
        case held(until: Timestamp)
        case over
    }

    private let address: String
    private(set) var incarnation = Incarnation(0)
    private var state = State.unborn
    private var isFirst = true
    private var losses: UInt64 = 0
    /// The number of the last request, and of the one that has created the lease.
    private var asked: UInt64 = 0
    private var birth: UInt64 = 0
    var isDraining = false
    /// The time just before the renewal was sent that is under way.
    private var askedAt: Timestamp?
    private var renewAt = Timestamp.zero

    init(address: String) { self.address = address }

    var isOver: Bool { if case .over = state { true } else { false } }

    func isHeld(at now: Timestamp) -> Bool { if case .held(let until) = state { now < until } else { false } }

    var end: Timestamp? { if case .held(let until) = state { until } else { nil } }

    mutating func started(as incarnation: Incarnation) {
        guard case .unborn = state else { return }
        self.incarnation = incarnation
        state = .lapsed
    }

    /// Renews at once; or after the renewal that is under way.
    mutating func renewSoon(_ effects: inout Effects) {
        renewAt = effects.now
        renewIfDue(&effects)
    }

    mutating func renewIfDue(_ effects: inout Effects) {
        guard effects.requests.isConnected, askedAt == nil else { return }
        switch state {
        case .unborn, .over: return
        case .lapsed, .held: break
        }
        guard renewAt <= effects.now else { return effects.schedule(.renewal, at: renewAt) }
        askedAt = effects.now
        renewAt = effects.now + ClusterLimits.renewal
        effects.schedule(.renewal, at: renewAt)
        var lease = NodeLease(node: effects.node, incarnation: incarnation, address: address)
        lease.isDraining = isDraining
        let milliseconds = Int(ClusterLimits.lease.saturatedNanoseconds / 1_000_000)
        asked += 1
        effects.send(.renewLease(lease, milliseconds: milliseconds, isFirst: isFirst, number: asked))
    }

    /// The store has prolonged the lease. Returns whether it may have lost, or given to others, what was this node's.
    mutating func renewed(wasHeld: Bool, losses: UInt64, birth: UInt64, _ effects: inout Effects) -> Bool {
        guard let askedAt, !isOver else { return false }
        effects.statistics.renewals += 1
        // A renewal of an earlier connection that arrives late may have created the lease anew before this one.
        let mayHaveLost =
            !wasHeld || birth != self.birth || losses != self.losses || !isHeld(at: effects.now)
        self.askedAt = nil
        self.losses = losses
        self.birth = birth
        isFirst = false
        // A reply that comes later than the lease would have ended is a loss.
        let until = askedAt + ClusterLimits.lease
        state = until > effects.now ? .held(until: until) : .lapsed
        renewIfDue(&effects)
        return mayHaveLost
    }

    /// The store has answered with an error.
    mutating func failed(_ effects: inout Effects) {
        askedAt = nil
        renewAt = effects.now + .seconds(1)
        renewIfDue(&effects)
    }

    /// Another reply says that the store knows no lease of this node.
    mutating func wasDenied(_ effects: inout Effects) {
        if case .held = state { state = .lapsed }
        renewSoon(&effects)
    }

    mutating func disconnected() {
        askedAt = nil
        renewAt = .zero
    }

    mutating func finish() { state = .over }
}
