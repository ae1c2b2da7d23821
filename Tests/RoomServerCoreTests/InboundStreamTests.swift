import Testing
import TransportValues

@testable import RoomServerCore

@Suite("The numbered messages of one participant")
struct InboundStreamTests {
    private let start = Timestamp(nanoseconds: 1_000_000_000)

    @Test func eachNumberIsTakenOnceAndNoneIsMissing() throws {
        var stream = InboundStream()
        let verdicts = [try stream.take(1), try stream.take(2), try stream.take(2), try stream.take(1)]
        #expect(verdicts == [.next, .next, .duplicate, .duplicate] && stream.received == 2)
        #expect(throws: (any Error).self) { try stream.take(4) }
        #expect(stream.received == 2)
    }

    @Test func manyMessagesAreAcknowledgedAtOnceAndFewAfterADelay() {
        var limits = RoomServerLimits()
        (limits.ackEvery, limits.ackDelay) = (3, .milliseconds(100))
        var stream = InboundStream()
        let due = start + .milliseconds(100)
        #expect(stream.scheduleAcknowledgement(limits, at: start) == .at(due))
        #expect(stream.scheduleAcknowledgement(limits, at: start + .milliseconds(1)) == .none)
        #expect(stream.acknowledgement(at: due - .nanoseconds(1)) == .at(due))
        #expect(stream.acknowledgement(at: due) == .now)
        #expect(stream.scheduleAcknowledgement(limits, at: start) == .now)
        #expect(stream.takeAcknowledgement() == nil, "no number has come yet")
        #expect(stream.acknowledgement(at: due) == .none)
        #expect(stream.scheduleAcknowledgement(limits, at: start) == .at(due))
        stream.disconnected()
        #expect(stream.acknowledgement(at: due) == .none)
    }

    @Test func aTimeThatIsAskedForIsAskedForOnceUntilItHasCome() {
        var limits = RoomServerLimits()
        limits.ackDelay = .milliseconds(100)
        var stream = InboundStream()
        let (first, second) = (start + .milliseconds(100), start + .milliseconds(140))
        #expect(stream.scheduleAcknowledgement(limits, at: start) == .at(first))
        // It went with another message; the next one is due later.
        _ = stream.takeAcknowledgement()
        #expect(stream.scheduleAcknowledgement(limits, at: start + .milliseconds(40)) == .none)
        #expect(stream.acknowledgement(at: first) == .at(second))
        #expect(stream.acknowledgement(at: second) == .now)
        _ = stream.takeAcknowledgement()
        #expect(stream.scheduleAcknowledgement(limits, at: second) == .at(second + .milliseconds(100)))
        // Another connection has a time of its own.
        stream.disconnected()
        stream.connected()
        #expect(stream.scheduleAcknowledgement(limits, at: second) == .at(second + .milliseconds(100)))
        // Also where nobody has noticed that the earlier one is over.
        stream.connected()
        #expect(stream.acknowledgement(at: second + .milliseconds(100)) == .none, "its beginning acknowledges")
        #expect(stream.scheduleAcknowledgement(limits, at: second) == .at(second + .milliseconds(100)))
    }
}
