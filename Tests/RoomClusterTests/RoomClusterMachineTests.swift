import RoomCore
import RoomProtocol
import Testing
import TransportValues

@testable import RoomCluster

/// A node whose store answers at once, unless it is away.
private struct Node {
    var machine: RoomClusterMachine
    var log: [ClusterAction] = []
    let incarnation: Incarnation
    /// Requests do not reach the store.
    var isStoreAway = false
    /// Requests reach the store, but its replies are lost.
    var repliesAreLost = false

    init(_ name: String, incarnation: UInt64 = 1, _ store: inout StoreModel, at now: Timestamp = .zero) {
        machine = RoomClusterMachine(
            node: NodeID(name), address: "\(name):1", random: SeededGenerator(seed: incarnation))
        self.incarnation = Incarnation(incarnation)
        feed(&store, now) { $0.started(as: Incarnation(incarnation), at: $1) }
        feed(&store, now) { $0.storeConnected(at: $1) }
    }

    mutating func feed(
        _ store: inout StoreModel, _ now: Timestamp, _ event: (inout RoomClusterMachine, Timestamp) -> [ClusterAction]
    ) {
        var actions = event(&machine, now)[...]
        while let action = actions.popFirst() {
            log.append(action)
            guard case .send(let request, let id) = action, !isStoreAway else { continue }
            let reply = store.apply(request, at: now)
            if !repliesAreLost { actions += machine.replied(reply, to: id, at: now) }
        }
    }

    mutating func resolve(_ waiter: Waiter, _ store: inout StoreModel, at now: Timestamp = .zero) -> Route? {
        feed(&store, now) { $0.resolve(waiter, at: $1) }
        return route(of: waiter.id)
    }

    mutating func pass(to now: Timestamp, _ store: inout StoreModel) { feed(&store, now) { $0.timePassed(to: $1) } }

    /// The latest answer to the hello.
    func route(of waiter: WaiterID) -> Route? {
        for case .route(let answered, let route) in log.reversed() where answered.id == waiter { return route }
        return nil
    }

    var claims: Int { log.count { if case .send(.claim, _) = $0 { true } else { false } } }
}

extension Route {
    fileprivate var refusal: RouteRefusal? { if case .refused(_, let refusal) = self { refusal } else { nil } }
}

private let room = RoomName("r")
private func waiter(_ id: UInt64, fence: Fence = 0, isRelayed: Bool = false) -> Waiter {
    Waiter(WaiterID(id), for: room, fence: fence, isRelayed: isRelayed)
}

@Suite struct RoomClusterMachineTests {
    private var store = StoreModel()

    @Test mutating func theFirstNodeOwnsTheRoomAndOthersFindIt() {
        var a = Node("a", &store)
        var b = Node("b", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        #expect(b.resolve(waiter(1), &store) == nil)
        #expect(b.log.last == .dial(NodeID("a"), address: "a:1"))
        b.feed(&store, .zero) { $0.linkUp(NodeID("a"), Incarnation(1), at: $1) }
        #expect(b.route(of: WaiterID(1)) == .there(NodeID("a"), address: "a:1", 1))
        // Remembered.
        let claims = b.claims
        #expect(b.resolve(waiter(2), &store) == .there(NodeID("a"), address: "a:1", 1))
        #expect(b.claims == claims)
    }

    @Test mutating func manyHellosOfOneRoomAskOnce() {
        var a = Node("a", &store)
        a.isStoreAway = true
        for id in 1...5 { #expect(a.resolve(waiter(UInt64(id)), &store) == nil) }
        #expect(a.claims == 1)
        #expect(a.machine.waiterCount == 5)
    }

    @Test mutating func withoutAStoreHellosAreRefusedInTimeAndOwnedRoomsGoOn() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        a.isStoreAway = true
        a.feed(&store, .zero) { $0.storeDisconnected(at: $1) }
        let late = Timestamp.zero + .seconds(60)
        #expect(a.resolve(waiter(2), &store, at: late) == .here(1))
        let other = Waiter(WaiterID(3), for: RoomName("other"))
        #expect(a.resolve(other, &store, at: late) == nil)
        a.pass(to: late + .seconds(3), &store)
        #expect(a.route(of: WaiterID(3))?.refusal == .storeAway)
    }

    @Test mutating func aRefusedLinkProvesThatTheOwnerIsGone() {
        var a = Node("a", &store)
        var b = Node("b", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        #expect(b.resolve(waiter(1), &store) == nil)
        b.feed(&store, .zero) { $0.linkDown(NodeID("a"), .refused, at: $1) }
        #expect(b.route(of: WaiterID(1)) == .here(2))
    }

    @Test mutating func aSilentOwnerKeepsItsRoomsUntilItsLeaseIsOver() {
        var a = Node("a", &store)
        var b = Node("b", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        var now = Timestamp.zero
        for id in 1...15 {
            now = .zero + .seconds(id - 1)
            b.pass(to: now, &store)
            #expect(b.resolve(waiter(UInt64(id)), &store, at: now) == nil)
            b.feed(&store, now) { $0.linkDown(NodeID("a"), .silent, at: $1) }
        }
        now = .zero + .seconds(16)
        b.pass(to: now, &store)
        #expect(b.resolve(waiter(16), &store, at: now) == .here(2))
    }

    /// Something refuses in its stead: it loses the room once, not again and again.
    @Test mutating func aNodeThatRenewsItsLeaseIsNotGone() {
        var a = Node("a", &store)
        var b = Node("b", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        let other = Waiter(WaiterID(2), for: RoomName("other"))
        #expect(a.resolve(other, &store) == .here(2))
        #expect(b.resolve(waiter(1), &store) == nil)
        b.feed(&store, .zero) { $0.linkDown(NodeID("a"), .refused, at: $1) }
        #expect(b.route(of: WaiterID(1)) == .here(3))
        // The loss shows with the next renewal.
        let later = Timestamp.zero + .seconds(5)
        a.pass(to: later, &store)
        #expect(a.log.contains(.yield(room, .fenced(3))))
        b.pass(to: later, &store)
        #expect(b.resolve(other, &store, at: later) == nil)
        b.feed(&store, later) { $0.linkDown(NodeID("a"), .refused, at: $1) }
        #expect(b.route(of: WaiterID(2)) == nil)
    }

    @Test mutating func aStoppedOwnerAsksBeforeItLetsAnybodyIn() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        let late = Timestamp.zero + .seconds(20)
        var b = Node("b", &store, at: late)
        #expect(b.resolve(waiter(1), &store, at: late) == .here(2))
        a.pass(to: late, &store)
        a.feed(&store, late) { $0.storeConnected(at: $1) }
        a.pass(to: late + .seconds(1), &store)
        #expect(a.log.contains(.yield(room, .fenced(2))))
    }

    @Test mutating func anOwnerRaisesItsFenceAboveTheOneThatAClientHasSeen() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        #expect(a.resolve(waiter(2, fence: 9), &store) == .here(10))
        #expect(a.machine.fence(of: room) == 10)
    }

    @Test mutating func aHelloOverALinkIsNotCarriedOn() {
        var a = Node("a", &store)
        var b = Node("b", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        #expect(b.resolve(waiter(1, isRelayed: true), &store) == .there(NodeID("a"), address: "a:1", 1))
    }

    @Test mutating func aThirdNodeThatIsNotTheOwnerEndsTheSearch() {
        var a = Node("a", &store)
        var b = Node("b", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        b.feed(&store, .zero) { $0.linkUp(NodeID("a"), Incarnation(1), at: $1) }
        #expect(b.resolve(waiter(1), &store) == .there(NodeID("a"), address: "a:1", 1))
        var now = Timestamp.zero
        var claims = b.claims
        for _ in 1...2 {
            guard case .route(let routed, _)? = b.log.last(where: { if case .route = $0 { true } else { false } })
            else {
                Issue.record("no route")
                return
            }
            b.feed(&store, now) { $0.notOwner(routed, from: NodeID("a"), at: $1) }
            now = now + .seconds(1)
            b.pass(to: now, &store)
            // Not from memory.
            #expect(b.claims == claims + 1)
            claims = b.claims
        }
        guard case .route(let routed, _)? = b.log.last(where: { if case .route = $0 { true } else { false } }) else {
            Issue.record("no route")
            return
        }
        b.feed(&store, now) { $0.notOwner(routed, from: NodeID("a"), at: $1) }
        #expect(b.route(of: WaiterID(1))?.refusal == .unsettled)
    }

    @Test mutating func aDrainReleasesItsRoomsAndClaimsNone() {
        var a = Node("a", &store)
        var b = Node("b", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        a.feed(&store, .zero) { $0.drain(within: .seconds(2), at: $1) }
        #expect(a.log.contains(.yield(room, .draining)))
        #expect(b.resolve(waiter(1), &store) == .here(2))
        #expect(a.resolve(Waiter(WaiterID(2), for: RoomName("other")), &store)?.refusal == .draining)
        a.pass(to: .zero + .seconds(2), &store)
        #expect(a.log.contains(.drained))
        #expect(store.lease(of: RoomRecord(node: NodeID("a"), incarnation: Incarnation(1), fence: 0)) == nil)
    }

    @Test mutating func marksReachTheNextOwner() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        let mark = Mark.kicked(SessionID("s"))
        a.feed(&store, .zero) { $0.marked(mark, in: room, lifetime: .seconds(100), at: $1) }
        let late = Timestamp.zero + .seconds(20)
        var b = Node("b", &store, at: late)
        #expect(b.resolve(waiter(1), &store, at: late) == .here(2))
        #expect(b.log.contains(.own(room, 2, [mark])))
    }

    @Test mutating func aMarkThatEndsAtOnceDoesNotEndAnEarlierOne() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        let mark = Mark.kickedName("bob")
        a.feed(&store, .zero) { $0.marked(mark, in: room, lifetime: .seconds(100), at: $1) }
        a.feed(&store, .zero) { $0.marked(mark, in: room, lifetime: .microseconds(500), at: $1) }
        #expect(store.hasMark(mark, in: room))
        a.feed(&store, .zero) { $0.marked(mark, in: room, lifetime: .zero, at: $1) }
        #expect(!store.hasMark(mark, in: room))
    }

    @Test mutating func aNameThatIsForgottenWhileTheStoreIsAwayIsForgottenWhenItIsBack() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        let mark = Mark.kickedName("bob")
        a.feed(&store, .zero) { $0.marked(mark, in: room, lifetime: .seconds(100), at: $1) }
        a.feed(&store, .zero) { $0.storeDisconnected(at: $1) }
        a.feed(&store, .zero) { $0.marked(mark, in: room, lifetime: .zero, at: $1) }
        #expect(store.hasMark(mark, in: room))
        a.feed(&store, .zero) { $0.storeConnected(at: $1) }
        #expect(!store.hasMark(mark, in: room))
    }

    @Test mutating func whatIsForgottenIsWrittenAgainUntilTheStoreHasConfirmedIt() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        let mark = Mark.kickedName("bob")
        // Each of the requests is lost with its connection, and a kick lies between.
        a.isStoreAway = true
        for lifetime in [Duration.zero, .seconds(100), .zero] {
            a.feed(&store, .zero) { $0.marked(mark, in: room, lifetime: lifetime, at: $1) }
        }
        // The answer to the first one confirms only that.
        let requests = a.log.compactMap { if case .send(.writeMarks, let id) = $0 { id } else { nil } }
        a.feed(&store, .zero) { $0.replied(.done, to: requests[0], at: $1) }
        let kick = TimedMark(mark: mark, room: room, milliseconds: 100_000)
        _ = store.apply(.writeMarks([kick]), at: .zero)
        a.feed(&store, .zero) { $0.storeDisconnected(at: $1) }
        a.isStoreAway = false
        a.feed(&store, .zero) { $0.storeConnected(at: $1) }
        #expect(!store.hasMark(mark, in: room))
        // Confirmed: a later kick of another node stays.
        _ = store.apply(.writeMarks([kick]), at: .zero)
        a.feed(&store, .zero) { $0.storeConnected(at: $1) }
        #expect(store.hasMark(mark, in: room))
    }

    @Test mutating func aLateWishOfAFormerOwnerToForgetDoesNotEndAKickOfTheNextOne() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        let mark = Mark.kickedName("bob")
        a.isStoreAway = true
        a.feed(&store, .zero) { $0.marked(mark, in: room, lifetime: .zero, at: $1) }
        a.feed(&store, .zero) { $0.storeDisconnected(at: $1) }
        a.isStoreAway = false
        let late = Timestamp.zero + .seconds(20)
        var b = Node("b", incarnation: 2, &store, at: late)
        #expect(b.resolve(waiter(1), &store, at: late) == .here(2))
        b.feed(&store, late) { $0.marked(mark, in: room, lifetime: .seconds(100), at: $1) }
        a.feed(&store, late) { $0.storeConnected(at: $1) }
        #expect(store.hasMark(mark, in: room))
        // The room is not its own any more.
        a.feed(&store, late) { $0.marked(mark, in: room, lifetime: .zero, at: $1) }
        #expect(a.machine.ownedCount == 0 && store.hasMark(mark, in: room))
        b.feed(&store, late) { $0.marked(mark, in: room, lifetime: .zero, at: $1) }
        #expect(!store.hasMark(mark, in: room))
    }

    @Test mutating func kicksThatAreForgottenWhileTheStoreIsAwayDoNotPileUp() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        let (left, mark) = (Mark.left(SessionID("s")), Mark.kickedName("bob"))
        a.feed(&store, .zero) { $0.storeDisconnected(at: $1) }
        a.feed(&store, .zero) { $0.marked(left, in: room, lifetime: .seconds(100), at: $1) }
        for _ in 0..<5000 {
            for lifetime in [Duration.seconds(100), .zero] {
                a.feed(&store, .zero) { $0.marked(mark, in: room, lifetime: lifetime, at: $1) }
            }
        }
        #expect(a.machine.outbox.count == 2)
        a.feed(&store, .zero) { $0.storeConnected(at: $1) }
        #expect(store.hasMark(left, in: room) && !store.hasMark(mark, in: room))
    }

    @Test mutating func marksAreWrittenAgainWhenTheStoreHasForgottenEverything() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        let mark = Mark.kicked(SessionID("s"))
        a.feed(&store, .zero) { $0.marked(mark, in: room, lifetime: .seconds(100), at: $1) }
        store = StoreModel()
        // Nobody has said so: the next renewal shows it.
        a.pass(to: .zero + .seconds(5), &store)
        #expect(store.hasMark(mark, in: room))
        #expect(store.record(of: room)?.node == NodeID("a"))
    }

    @Test mutating func aLeaseThatAStrayRenewalHasCreatedAnewIsNoticed() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        store = StoreModel()
        let lease = NodeLease(node: NodeID("a"), incarnation: Incarnation(1), address: "a:1")
        _ = store.apply(.renewLease(lease, milliseconds: 15_000, isFirst: false, number: 9), at: .zero)
        a.pass(to: .zero + .seconds(5), &store)
        #expect(store.record(of: room)?.node == NodeID("a"))
    }

    @Test mutating func aClaimWithoutAReplyIsGivenUpWhenNobodyWaitsAnyLonger() {
        var a = Node("a", &store)
        a.repliesAreLost = true
        #expect(a.resolve(waiter(1), &store) == nil)
        #expect(store.record(of: room)?.node == NodeID("a"))
        a.feed(&store, .zero) { $0.cancel(waiter(1), at: $1) }
        a.feed(&store, .zero) { $0.storeDisconnected(at: $1) }
        a.repliesAreLost = false
        a.feed(&store, .zero) { $0.storeConnected(at: $1) }
        #expect(store.record(of: room) == nil)
        #expect(a.machine.fence(of: room) == nil)
    }

    @Test mutating func aClaimWithoutAReplyHoldsForAHelloThatStillWaits() {
        var a = Node("a", &store)
        a.repliesAreLost = true
        #expect(a.resolve(waiter(1), &store) == nil)
        a.feed(&store, .zero) { $0.storeDisconnected(at: $1) }
        a.repliesAreLost = false
        a.feed(&store, .zero) { $0.storeConnected(at: $1) }
        #expect(a.route(of: WaiterID(1)) == .here(1))
    }

    /// The release of a room whose reply was lost must not take the room away that was claimed again meanwhile.
    @Test mutating func aRoomThatIsClaimedAgainHasAHigherFenceThanItsRelease() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        a.isStoreAway = true
        a.feed(&store, .zero) { $0.roomEnded(room, at: $1) }
        a.isStoreAway = false
        #expect(a.resolve(waiter(2), &store) == .here(3))
        _ = store.apply(.release(room, NodeID("a"), Incarnation(1), 1), at: .zero)
        #expect(store.record(of: room)?.fence == 3)
    }

    @Test mutating func aStrayReleaseHarmsNothingAtAStoreThatHasForgottenItsFences() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        a.feed(&store, .zero) { $0.roomEnded(room, at: $1) }
        store = StoreModel()
        a.pass(to: .zero + .seconds(5), &store)
        #expect(a.resolve(waiter(2), &store, at: .zero + .seconds(5)) == .here(2))
        _ = store.apply(.release(room, NodeID("a"), Incarnation(1), 1), at: .zero + .seconds(5))
        #expect(store.record(of: room)?.fence == 2)
    }

    @Test func marksAreReadAsTheyWereWritten() {
        for mark in [
            Mark.kicked(SessionID("a:b")), .left(SessionID("x")), .kickedName("\u{301}: n"), .closed(12),
        ] { #expect(Mark(text: mark.text) == mark) }
        #expect(Mark(text: "z:1") == nil)
        #expect(Mark(text: "c:x") == nil)
        #expect(Mark(text: "") == nil)
    }

    @Test mutating func aLaterProcessOfTheSameNameTakesItsPlace() {
        var a = Node("a", &store)
        #expect(a.resolve(waiter(1), &store) == .here(1))
        _ = Node("a", incarnation: 2, &store)
        a.pass(to: .zero + .seconds(5), &store)
        #expect(a.log.last == .superseded)
        #expect(a.machine.ownedCount == 0)
    }
}
