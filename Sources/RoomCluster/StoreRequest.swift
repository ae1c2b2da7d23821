package import RoomProtocol

/// A request to the store (Redis or Valkey). Each is one atomic operation: a Lua script.
///
/// The keys, where P is the cluster's prefix. All have the hash tag `{P}`, so that they lie in one slot:
///
/// | key            | type       | content                                                          | expiry        |
/// |----------------|------------|------------------------------------------------------------------|---------------|
/// | `{P}:node:N`   | hash       | `incarnation`, `address`, `draining`, `renewals`, `losses`, `birth` | `lease` |
/// | `{P}:room:R`   | hash       | `node`, `incarnation`, `fence`                                   | `recordLife`  |
/// | `{P}:marks:R`  | sorted set | `Mark.text`, with the time of its end (ms, by `TIME`) as score   | its last mark |
/// | `{P}:nodes`    | sorted set | the names of nodes, with the ends of their leases (ms) as scores | `recordLife`  |
/// | `{P}:fence`    | string     | the highest fence that was ever given                            | none, ever    |
///
/// `recordLife` (24 hours from the last claim or reassertion) only removes the records of rooms that nobody came back
/// to. Correctness never depends on it.
///
/// Of a room's record, its *lease* is `{P}:node:` of the record's node, and it *stands* if that key exists and has the
/// record's incarnation. To *write* a record sets its three fields and its expiry. To *count up* from some fences means
/// `f = max(those, {P}:fence) + 1; SET {P}:fence f`. To *note a loss* of a record adds 1 to `losses` of its lease, if
/// that stands, and leaves the expiry alone.
///
/// `StoreModel` is the reference: the scripts must do the same.
package enum StoreRequest: Sendable, Hashable {
    /// Creates or prolongs the lease of the node. Reply: `.renewed` or `.superseded`.
    ///
    /// If `{P}:node:N` has another incarnation, `isFirst` is false and the other one is higher: `.superseded`, and
    /// nothing changes. Otherwise, if it has the same incarnation: `wasHeld` is true, `losses` is kept, `renewals`
    /// counts up by 1. Otherwise, that is with a lower incarnation, `isFirst` or no key: `wasHeld` is false, `losses`
    /// is 0, `renewals` is 1. Then incarnation, address and draining are set, and the expiry is `lease` from now on.
    /// The node's name is added to `{P}:nodes`. `birth` is kept while `wasHeld`, otherwise set to `number`, which
    /// counts the requests of the node.
    case renewLease(NodeLease, milliseconds: Int, isFirst: Bool, number: UInt64 = 0)
    /// Ends the lease: deletes `{P}:node:N` if it has this incarnation. Reply: `.done`.
    case dropLease(NodeID, Incarnation)
    /// Claims the room for the node unless it has an owner. Reply: `.noLease`, `.claimed` or `.owner`.
    ///
    /// 1. If `{P}:node:N` of `claim.node` does not have `claim.incarnation`: `.noLease`.
    /// 2. If the record has the claim's node and incarnation: with `record.fence >= claim.seen` the expiry of the
    ///    record is renewed, and the reply is `.claimed` with the record's fence; otherwise count up from
    ///    `record.fence` and `claim.seen`, write the record, and reply `.claimed`. `previous` is nil.
    /// 3. If the record's lease stands, and no entry of `claim.gone` has the record's node and incarnation and the
    ///    lease's `renewals`: `.owner` with both.
    /// 4. Otherwise (no record, no lease, another incarnation, or gone) note a loss of the record, count up from its
    ///    fence (0 without a record) and `claim.seen`, write the record, and reply `.claimed` with the earlier record
    ///    as `previous`.
    ///
    /// `.claimed` carries all marks of the room that have not ended, at most `Mark.limit`, the latest-ending first.
    /// Those that have ended are removed.
    case claim(RoomClaim)
    /// Reads the room's record and its lease. Reply: `.owner` if the record's lease stands, otherwise `.free`.
    case readRoom(RoomName)
    /// Reads the leases of all nodes, at most 1000. Reply: `.nodes`. For operators: nothing depends on it.
    case readNodes
    /// Asserts rooms that the node believes to own, in order. Reply: `.noLease`, or `.asserted` with one outcome a
    /// room.
    ///
    /// If `{P}:node:N` does not have the incarnation: `.noLease`, and nothing changes. For each room:
    /// 1. No record: write it with `assertion.fence`, and `.kept` with that.
    /// 2. The record has this node and incarnation: write it with the higher one of both fences, and `.kept` with that.
    /// 3. The record's fence is lower: note a loss, write the record with `assertion.fence`, and `.kept` with that.
    /// 4. The record's lease stands: `.lost(record)`.
    /// 5. Otherwise (an owner that is gone): count up from both fences, write the record, and `.kept` with the new one.
    ///
    /// After 1 to 3, `{P}:fence` is raised to at least the fence that was written. Except in 2, where the node has
    /// written or read them itself, `.kept` carries the room's marks, as `.claimed` does.
    case reassert(NodeID, Incarnation, [Assertion])
    /// Deletes the room's record if it has this node and incarnation, and no higher fence. Reply: `.done`.
    case release(RoomName, NodeID, Incarnation, Fence)
    /// Adds marks to their rooms, each to end so long from now on. One with 0 milliseconds is removed, unless the
    /// room's record has a higher fence. A mark that is there already ends at the later time. Only the `Mark.limit`
    /// latest-ending ones of a room are kept. `{P}:fence` is raised to at least the fence of a mark that is added and
    /// says that its room is closed. Reply: `.done`.
    case writeMarks([TimedMark])
}

/// A reply of the store.
package enum StoreReply: Sendable, Hashable {
    /// The lease is prolonged. `wasHeld`: it stood until now. `losses` counts the rooms that others have taken from
    /// this incarnation while its lease stood. `birth` is the number of the request that has created the lease.
    case renewed(wasHeld: Bool, losses: UInt64, birth: UInt64)
    /// A later process runs under this node's name.
    case superseded
    /// The room belongs to the node that has asked, with this fence.
    case claimed(Fence, [Mark], previous: RoomRecord?)
    /// The room belongs to the record's node, whose lease stands.
    case owner(RoomRecord, NodeLease)
    /// The room has no owner with a lease.
    case free
    /// The leases that stand, in the order of their nodes.
    case nodes([NodeLease])
    /// Refused: the node that has asked has no lease.
    case noLease
    case asserted([AssertionOutcome])
    case done
    /// The store has answered with an error. Nothing is known about the effect.
    case failed
}

/// The owner of a room.
package struct RoomRecord: Sendable, Hashable {
    package var node: NodeID
    package var incarnation: Incarnation
    package var fence: Fence

    package init(node: NodeID, incarnation: Incarnation, fence: Fence) {
        self.node = node
        self.incarnation = incarnation
        self.fence = fence
    }
}

package struct RoomClaim: Sendable, Hashable {
    package var room: RoomName
    package var node: NodeID
    package var incarnation: Incarnation
    /// The highest fence of the room that the claimant knows of, for instance from a session token.
    package var seen: Fence
    /// Nodes whose processes are gone by the evidence of their links, although their leases may stand. At most 64.
    package var gone: [GoneNode] = []
}

/// A node that refused its link after its lease had been renewed so many times. It lives if its lease is renewed once
/// more.
package struct GoneNode: Sendable, Hashable {
    package var node: NodeID
    package var incarnation: Incarnation
    package var renewals: UInt64
}

/// A room that a node believes to own, and the fence with which it does.
package struct Assertion: Sendable, Hashable {
    package var room: RoomName
    package var fence: Fence
}

package enum AssertionOutcome: Sendable, Hashable {
    /// The room belongs to the node that has asked, with this fence.
    case kept(Fence, [Mark])
    /// Another node owns the room.
    case lost(RoomRecord)
}

/// A fact about a room that outlives its owner.
package enum Mark: Sendable, Hashable {
    /// The session was removed by the host.
    case kicked(SessionID)
    /// Participants of this name were removed by the host.
    case kickedName(String)
    /// The participant has left with this session.
    case left(SessionID)
    /// The host has closed the room when it had this fence: sessions whose tokens carry no higher one cannot return. A
    /// room that a host creates again later has a higher fence.
    case closed(Fence)

    /// The marks of a room that the store keeps.
    package static let limit = 1024

    /// The mark as a member of the store's sorted set.
    package var text: String {
        switch self {
        case .kicked(let session): "k:" + session.rawValue
        case .kickedName(let name): "n:" + name
        case .left(let session): "l:" + session.rawValue
        case .closed(let fence): "c:\(fence)"
        }
    }

    /// Reads `text`. Nil for anything else, for instance a mark of a later version.
    package init?(text: String) {
        // By scalars: a name may begin with one that combines with the colon.
        let rest = String(text.unicodeScalars.dropFirst(2))
        switch String(text.unicodeScalars.prefix(2)) {
        case "k:": self = .kicked(SessionID(rest))
        case "n:": self = .kickedName(rest)
        case "l:": self = .left(SessionID(rest))
        case "c:":
            guard let fence = Fence(rest) else { return nil }
            self = .closed(fence)
        default: return nil
        }
    }
}

/// A mark of a room that ends so long after the store has received it.
package struct TimedMark: Sendable, Hashable {
    package var mark: Mark
    package var room: RoomName
    /// Zero: it is to be removed.
    package var milliseconds: Int
    /// Where it is to be removed, the fence of the owner that says so.
    package var fence: Fence = 0
    /// Tells apart requests to remove a mark. The store does not get it.
    package var number: UInt64 = 0
}
