import RoomProtocol
import RoomServerCore
import Testing
import TransportValues

@Suite("Webhook queue: what is sent, what is sent again, and what is dropped")
struct WebhookQueueTests {
    private let start = Timestamp(nanoseconds: 1_000_000_000)

    private func queue(_ configure: (inout WebhookLimits) -> Void = { _ in }, seed: UInt64 = 1) -> WebhookQueue {
        var limits = WebhookLimits()
        configure(&limits)
        return WebhookQueue(limits: limits, random: ServerHarness.Generator(state: seed))
    }

    private func event(_ id: String, in room: String = "lobby", dropped: Int = 0) -> WebhookEvent {
        WebhookEvent(id: id, event: RoomLifeEvent(.roomOpened, in: RoomName(room)), time: 0, dropped: dropped)
    }

    @Test func eventsOfARoomAreSentOneAfterTheOtherAndThoseOfRoomsTogether() {
        var queue = queue()
        #expect(queue.add(event("1"), at: start).map(\.id) == ["1"])
        #expect(queue.add(event("2"), at: start).isEmpty)
        #expect(queue.add(event("3", in: "hall"), at: start).map(\.id) == ["3"])
        #expect(queue.ended("1", .delivered, at: start).map(\.id) == ["2"])
        #expect(queue.ended("3", .delivered, at: start).isEmpty)
        #expect(queue.ended("2", .delivered, at: start).isEmpty)
        #expect(queue.count == 0 && queue.nextDeadline == nil)
    }

    @Test func soManyRequestsAtTheSameTimeAndTheRestInOrder() {
        var queue = queue { $0.requests = 2 }
        let sent = (1...4).flatMap { queue.add(event("\($0)", in: "room \($0)"), at: start) }
        #expect(sent.map(\.id) == ["1", "2"])
        #expect(queue.ended("2", .delivered, at: start).map(\.id) == ["3"])
        #expect(queue.ended("1", .delivered, at: start).map(\.id) == ["4"])
    }

    @Test func aFailedEventIsSentAgainUnchangedAndNothingOfItsRoomOvertakesIt() throws {
        var queue = queue()
        _ = queue.add(event("1"), at: start)
        _ = queue.add(event("2"), at: start)
        #expect(queue.ended("1", .failed(retryAfter: nil), at: start).isEmpty)
        let again = try #require(queue.nextDeadline)
        #expect(queue.timePassed(to: again + .nanoseconds(-1)).isEmpty)
        #expect(queue.timePassed(to: again) == [event("1")])
        #expect(queue.ended("1", .delivered, at: again).map(\.id) == ["2"])
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func theWaitDoublesFromOneSecondToFiveMinutesAndIsSpread(_ seed: UInt64) throws {
        var queue = queue(seed: seed)
        var now = start
        _ = queue.add(event("1"), at: now)
        var expected: Duration = .seconds(1)
        for _ in 1...12 {
            _ = queue.ended("1", .failed(retryAfter: nil), at: now)
            let next = try #require(queue.nextDeadline)
            #expect(next - now >= expected / 2 && next - now <= expected)
            now = next
            #expect(queue.timePassed(to: now).count == 1)
            expected = min(expected * 2, .seconds(300))
        }
    }

    @Test func aReceiverMaySayHowLongToWaitWithinTheLimit() throws {
        var queue = queue()
        _ = queue.add(event("1"), at: start)
        _ = queue.ended("1", .failed(retryAfter: .seconds(40)), at: start)
        #expect(queue.nextDeadline == start + .seconds(40))
        _ = queue.timePassed(to: start + .seconds(40))
        _ = queue.ended("1", .failed(retryAfter: .seconds(100_000)), at: start)
        #expect(queue.nextDeadline == start + .seconds(300))
    }

    @Test func overItsLimitNewEventsAreDroppedAndTheNextOneSaysHowMany() {
        var queue = queue { $0.events = 2 }
        _ = queue.add(event("1"), at: start)
        _ = queue.add(event("2"), at: start)
        _ = queue.add(event("3"), at: start)
        _ = queue.add(event("4", dropped: 5), at: start)
        #expect(queue.count == 2 && queue.droppedCount == 7)
        #expect(queue.ended("1", .delivered, at: start).map(\.dropped) == [0])
        _ = queue.add(event("5"), at: start)
        #expect(queue.ended("2", .delivered, at: start) == [event("5", dropped: 7)])
        // Only once.
        _ = queue.add(event("6"), at: start)
        #expect(queue.ended("5", .delivered, at: start).map(\.dropped) == [0])
    }

    @Test func anEventThatFailsForTooLongIsDroppedAndCounted() throws {
        var queue = queue { $0.lifetime = .seconds(3600) }
        var now = start
        _ = queue.add(event("1"), at: now)
        var attempts = 1
        while queue.count > 0 {
            _ = queue.ended("1", .failed(retryAfter: nil), at: now)
            guard let next = queue.nextDeadline else { break }
            now = next
            attempts += queue.timePassed(to: now).count
        }
        #expect(now - start >= .seconds(3600) && now - start < .seconds(3900) && attempts > 10)
        #expect(queue.droppedCount == 1 && queue.nextDeadline == nil)
        #expect(queue.add(event("2"), at: now).map(\.dropped) == [1])
    }

    @Test func aReceiverThatIsGoneGetsNothingMore() {
        var queue = queue()
        _ = queue.add(event("1"), at: start)
        _ = queue.add(event("2"), at: start)
        _ = queue.add(event("3", in: "hall"), at: start)
        #expect(queue.ended("1", .gone, at: start).isEmpty)
        #expect(queue.isDisabled && queue.count == 0 && queue.droppedCount == 3)
        #expect(queue.ended("3", .failed(retryAfter: nil), at: start).isEmpty)
        #expect(queue.add(event("4"), at: start).isEmpty)
        #expect(queue.nextDeadline == nil)
    }

    @Test func anOutcomeThatComesTwiceCountsOnce() {
        var queue = queue()
        _ = queue.add(event("1"), at: start)
        _ = queue.add(event("2"), at: start)
        #expect(queue.ended("1", .delivered, at: start).map(\.id) == ["2"])
        #expect(queue.ended("1", .delivered, at: start).isEmpty)
        #expect(queue.count == 1)
    }

    @Test func guessedTokensBlockTheirAddressForAWhileAndNoOther() {
        var guesses = TokenGuesses()
        for _ in 0..<TokenGuesses.burst {
            #expect(!guesses.isBlocked("10.0.0.1", at: start))
            guesses.failed("10.0.0.1", at: start)
        }
        #expect(guesses.isBlocked("10.0.0.1", at: start))
        #expect(!guesses.isBlocked("10.0.0.2", at: start))
        #expect(!guesses.isBlocked("10.0.0.1", at: start + .seconds(1)))
    }
}
