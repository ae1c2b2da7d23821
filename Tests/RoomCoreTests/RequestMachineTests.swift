import Testing
import TransportValues

@testable import RoomCore

@Suite("Requests to a participant")
struct OutgoingRequestTests {
    private typealias End = OutgoingRequests.End

    private func sent(_ machine: inout OutgoingRequests, deadline: Timestamp? = nil) -> UInt64 {
        let (id, isStarted) = machine.begin(deadline: deadline)
        #expect(isStarted && machine.sent(id) == nil)
        return id
    }

    @Test func idsCountUpFromOne() {
        var machine = OutgoingRequests()
        #expect((1...3).map { _ in machine.begin(deadline: nil).id } == [1, 2, 3])
    }

    @Test func anAnswerEndsARequestOnce() {
        var machine = OutgoingRequests()
        let id = sent(&machine)
        #expect(machine.answered(id) == End())
        #expect(machine.answered(id) == nil)
        #expect(machine.giveUp(id) == nil)
        #expect(machine.answered(99) == nil)
    }

    /// The answer may come before the call that has sent the request returns.
    @Test func anAnswerMayComeBeforeTheRequestCountsAsSent() {
        var machine = OutgoingRequests()
        let id = machine.begin(deadline: nil).id
        #expect(machine.answered(id) == End())
        #expect(machine.sent(id) == nil)
    }

    @Test func moreThanSixtyFourWaitInOrder() {
        var machine = OutgoingRequests()
        let ids = (0..<64).map { _ in sent(&machine) }
        let waiting = (0..<3).map { _ in machine.begin(deadline: nil) }
        #expect(waiting.allSatisfy { !$0.isStarted })
        #expect(machine.answered(ids[5])?.started == waiting[0].id)
        #expect(machine.isStarted(waiting[0].id) && !machine.isStarted(waiting[1].id))
        #expect(machine.giveUp(waiting[1].id) == End(), "it has never gone out: nobody is told")
        #expect(machine.giveUp(ids[0]) == End(mustCancel: true, started: waiting[2].id))
        #expect(machine.answered(ids[1]) == End())
        #expect(machine.begin(deadline: nil).isStarted)
    }

    @Test func aRequestThatIsGivenUpWhileItIsHandedOverIsCancelledAfterwards() {
        var machine = OutgoingRequests()
        let id = machine.begin(deadline: nil).id
        #expect(machine.giveUp(id) == End())
        #expect(machine.giveUp(id) == nil)
        #expect(machine.sent(id) == End(mustCancel: true))
        let other = machine.begin(deadline: nil).id
        #expect(machine.giveUp(other) == End())
        #expect(machine.refused(other) == End(), "the channel has never had it")
    }

    @Test func aRequestThatIsRefusedMakesRoom() {
        var machine = OutgoingRequests()
        let ids = (0..<64).map { _ in machine.begin(deadline: nil).id }
        let next = machine.begin(deadline: nil).id
        #expect(machine.refused(ids[0]).started == next)
    }

    @Test func deadlinesPassInTheirOrder() {
        var machine = OutgoingRequests()
        let start = Timestamp.zero
        let late = sent(&machine, deadline: start + .seconds(9))
        let early = sent(&machine, deadline: start + .seconds(3))
        let never = sent(&machine)
        #expect(machine.nextDeadline == start + .seconds(3))
        #expect(machine.late(now: start + .seconds(2)).isEmpty)
        #expect(machine.late(now: start + .seconds(3)) == [early])
        #expect(machine.giveUp(early)?.mustCancel == true)
        #expect(machine.nextDeadline == start + .seconds(9))
        #expect(machine.late(now: .distantFuture) == [late])
        #expect(machine.answered(late) != nil && machine.nextDeadline == nil)
        #expect(machine.answered(never) != nil)
    }

    @Test func whoeverWaitsForASlotIsLateToo() {
        var machine = OutgoingRequests()
        for _ in 0..<64 { _ = sent(&machine) }
        let id = machine.begin(deadline: .zero + .seconds(1)).id
        #expect(machine.late(now: .zero + .seconds(1)) == [id])
        #expect(machine.giveUp(id) == End())
        #expect(machine.nextDeadline == nil)
    }

    @Test func nothingIsLeftWhenTheOtherSideHasGone() {
        var machine = OutgoingRequests()
        let id = sent(&machine, deadline: .zero)
        machine.close()
        #expect(machine.answered(id) == nil && machine.nextDeadline == nil)
        #expect(machine.sent(id) == nil && machine.refused(id) == End())
    }
}

@Suite("Requests of a participant")
struct IncomingRequestTests {
    @Test func aDuplicateOfARunningRequestIsIgnored() {
        var machine = IncomingRequests()
        #expect(machine.received(1, count: 1, deadline: nil) == .run)
        #expect(machine.received(1, count: 1, deadline: nil) == .duplicate)
    }

    @Test func onlySoManyRunAtOnce() {
        var machine = IncomingRequests()
        for id in 1...64 as ClosedRange<UInt64> { #expect(machine.received(id, count: 1, deadline: nil) == .run) }
        #expect(machine.received(65, count: 1, deadline: nil) == .busy)
        #expect(machine.cancelled(3) == true)
        #expect(machine.received(66, count: 1, deadline: nil) == .busy, "its handler has not ended yet")
        machine.finished(3)
        #expect(machine.received(67, count: 1, deadline: nil) == .run)
    }

    @Test func onlySoManyBytesAreKept() {
        var machine = IncomingRequests()
        #expect(machine.received(1, count: 9 << 20, deadline: nil) == .run, "a single one always runs")
        #expect(machine.received(2, count: 1, deadline: nil) == .busy)
        machine.finished(1)
        #expect(machine.received(3, count: 4 << 20, deadline: nil) == .run)
        #expect(machine.received(4, count: 4 << 20, deadline: nil) == .run)
        #expect(machine.received(5, count: 1, deadline: nil) == .busy)
    }

    @Test func anAnswerIsWantedUntilTheCallerCancelsOrTheTimeIsOver() {
        var machine = IncomingRequests()
        let deadline = Timestamp.zero + .seconds(1)
        _ = machine.received(1, count: 1, deadline: nil)
        _ = machine.received(2, count: 1, deadline: deadline)
        #expect(machine.isWanted(1) && machine.isWanted(2))
        #expect(machine.cancelled(1) && !machine.cancelled(1) && !machine.isWanted(1))
        #expect(!machine.cancelled(9) && !machine.isWanted(9))
        #expect(machine.nextDeadline == deadline)
        #expect(machine.late(now: deadline) == [2] && machine.late(now: deadline).isEmpty)
        #expect(!machine.isWanted(2) && machine.nextDeadline == nil)
        machine.finished(2)
        machine.finished(2)
        #expect(machine.received(2, count: 1, deadline: nil) == .run)
    }
}
