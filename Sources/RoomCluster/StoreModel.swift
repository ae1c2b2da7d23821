package import RoomProtocol
package import TransportValues

/// The store as a pure value: does with each request what its script does. The reference for the scripts, for tests and
/// simulations.
package struct StoreModel: Sendable {
    private struct Node: Sendable {
        var lease: NodeLease
        var losses: UInt64 = 0
        var birth: UInt64 = 0
        var until: Timestamp
    }

    private var nodes: [NodeID: Node] = [:]
    private var records: [RoomName: (record: RoomRecord, until: Timestamp)] = [:]
    private var marks: [RoomName: [(mark: Mark, until: Timestamp)]] = [:]
    private var fence: Fence = 0
    /// The time by the store's clock, which may jump.
    private var now = Timestamp.zero

    package static let recordLife = Duration.seconds(86_400)

    package init() {}

    package var roomCount: Int { records.count }
    package func record(of room: RoomName) -> RoomRecord? {
        records[room].flatMap { $0.until > now ? $0.record : nil }
    }
    /// The lease of the record, if it stands.
    package func lease(of record: RoomRecord) -> NodeLease? {
        nodes[record.node].flatMap { $0.until > now && $0.lease.incarnation == record.incarnation ? $0.lease : nil }
    }

    package func hasMark(_ mark: Mark, in room: RoomName) -> Bool {
        marks[room]?.contains { $0.mark == mark && $0.until > now } == true
    }

    /// Applies a request at a time of the store's clock.
    package mutating func apply(_ request: StoreRequest, at now: Timestamp) -> StoreReply {
        self.now = now
        switch request {
        case .renewLease(let lease, let milliseconds, let isFirst, let number):
            return renew(lease, milliseconds, isFirst: isFirst, number)
        case .dropLease(let node, let incarnation):
            if nodes[node]?.lease.incarnation == incarnation { nodes[node] = nil }
            return .done
        case .claim(let claim): return self.claim(claim)
        case .readRoom(let room):
            guard let record = record(of: room), let lease = lease(of: record) else { return .free }
            return .owner(record, lease)
        case .readNodes:
            return .nodes(nodes.values.filter { $0.until > now }.map(\.lease).sorted { $0.node < $1.node })
        case .reassert(let node, let incarnation, let assertions):
            guard holdsLease(node, incarnation) else { return .noLease }
            return .asserted(assertions.map { reassert($0, node, incarnation) })
        case .release(let room, let node, let incarnation, let fence):
            if let record = record(of: room), record.node == node, record.incarnation == incarnation,
                record.fence <= fence
            {
                records[room] = nil
            }
            return .done
        case .writeMarks(let marks):
            for mark in marks { write(mark) }
            return .done
        }
    }

    private func holdsLease(_ node: NodeID, _ incarnation: Incarnation) -> Bool {
        lease(of: RoomRecord(node: node, incarnation: incarnation, fence: 0)) != nil
    }

    private mutating func renew(
        _ lease: NodeLease, _ milliseconds: Int, isFirst: Bool, _ number: UInt64
    ) -> StoreReply {
        var lease = lease
        let known = nodes[lease.node].flatMap { $0.until > now ? $0 : nil }
        if let known, !isFirst, known.lease.incarnation > lease.incarnation { return .superseded }
        let wasHeld = known?.lease.incarnation == lease.incarnation
        let losses = wasHeld ? known?.losses ?? 0 : 0
        let birth = wasHeld ? known?.birth ?? number : number
        lease.renewals = (wasHeld ? known?.lease.renewals ?? 0 : 0) + 1
        nodes[lease.node] = Node(lease: lease, losses: losses, birth: birth, until: now + .milliseconds(milliseconds))
        return .renewed(wasHeld: wasHeld, losses: losses, birth: birth)
    }

    private mutating func claim(_ claim: RoomClaim) -> StoreReply {
        guard holdsLease(claim.node, claim.incarnation) else { return .noLease }
        let known = record(of: claim.room)
        if let known, known.node == claim.node, known.incarnation == claim.incarnation {
            let fence = known.fence >= claim.seen ? known.fence : countUp(claim.seen, known.fence)
            write(fence, of: claim.room, claim.node, claim.incarnation)
            return .claimed(fence, marks(of: claim.room), previous: nil)
        }
        if let known, let lease = lease(of: known) {
            let gone = GoneNode(node: known.node, incarnation: known.incarnation, renewals: lease.renewals)
            if !claim.gone.contains(gone) { return .owner(known, lease) }
        }
        noteLoss(of: known)
        let fence = countUp(claim.seen, known?.fence ?? 0)
        write(fence, of: claim.room, claim.node, claim.incarnation)
        return .claimed(fence, marks(of: claim.room), previous: known)
    }

    private mutating func reassert(
        _ assertion: Assertion, _ node: NodeID, _ incarnation: Incarnation
    ) -> AssertionOutcome {
        let known = record(of: assertion.room)
        var fence = assertion.fence
        var isNews = true
        if let known {
            if known.node == node, known.incarnation == incarnation {
                fence = max(fence, known.fence)
                isNews = false
            } else if known.fence < fence {
                noteLoss(of: known)
            } else if lease(of: known) != nil {
                return .lost(known)
            } else {
                fence = countUp(fence, known.fence)
            }
        }
        self.fence = max(self.fence, fence)
        write(fence, of: assertion.room, node, incarnation)
        return .kept(fence, isNews ? marks(of: assertion.room) : [])
    }

    private mutating func countUp(_ first: Fence, _ second: Fence) -> Fence {
        fence = max(first, second, fence) + 1
        return fence
    }

    private mutating func write(_ fence: Fence, of room: RoomName, _ node: NodeID, _ incarnation: Incarnation) {
        records[room] = (RoomRecord(node: node, incarnation: incarnation, fence: fence), now + Self.recordLife)
    }

    private mutating func noteLoss(of record: RoomRecord?) {
        if let record, lease(of: record) != nil { nodes[record.node]?.losses += 1 }
    }

    private mutating func write(_ mark: TimedMark) {
        let until = now + .milliseconds(mark.milliseconds)
        if case .closed(let closed) = mark.mark, mark.milliseconds > 0 { fence = max(fence, closed) }
        var list = marks[mark.room] ?? []
        if mark.milliseconds <= 0 {
            if (record(of: mark.room)?.fence ?? 0) <= mark.fence { list.removeAll { $0.mark == mark.mark } }
        } else if let place = list.firstIndex(where: { $0.mark == mark.mark }) {
            list[place].until = max(list[place].until, until)
        } else {
            list.append((mark.mark, until))
        }
        marks[mark.room] = latest(list)
    }

    private mutating func marks(of room: RoomName) -> [Mark] {
        guard let list = marks[room] else { return [] }
        let left = latest(list)
        marks[room] = left.isEmpty ? nil : left
        return left.map(\.mark)
    }

    private func latest(_ list: [(mark: Mark, until: Timestamp)]) -> [(mark: Mark, until: Timestamp)] {
        Array(list.filter { $0.until > now }.sorted { $0.until > $1.until }.prefix(Mark.limit))
    }
}
