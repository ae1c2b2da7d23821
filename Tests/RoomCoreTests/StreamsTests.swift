import Testing
import TransportValues

@testable import RoomCore

/// One sender's machine and one receiver's, whose messages arrive at once or as a test likes.
@Suite struct StreamsTests {
    private var outgoing = OutgoingStreams()
    private var incoming = IncomingStreams()
    private var budget = ReceiveWindow.Budget()

    private mutating func open(length: UInt64? = nil) throws -> UInt64 {
        let opened = outgoing.open(length: length)
        let id = try #require(opened)
        let opening = incoming.openReceived(id, length: length, &budget)
        #expect(opening == .taken)
        return id
    }

    @Test mutating func aSenderWaitsForItsWindowAndGoesOnWhenHalfOfItIsConsumed() throws {
        let id = try open()
        var taken = 0
        while outgoing.begin(id, count: 16_000) == .begun {
            let chunk = incoming.dataReceived(id, count: 16_000, &budget)
            #expect(chunk == .taken)
            taken += 16_000
        }
        #expect(taken >= 262_144 && taken < 262_144 + 16_000)
        #expect(!outgoing.isOpen(id))
        let early = incoming.consume(id, count: 131_000, now: at(1), &budget)
        #expect(early == nil)
        let due = incoming.consume(id, count: 1000, now: at(1), &budget)
        let grant = try #require(due)
        let consumed = outgoing.windowReceived(id, consumed: grant.consumed, limit: grant.limit)
        #expect(consumed == 132_000 && outgoing.isOpen(id))
    }

    /// A reader that is as fast as the path gets a larger window, within the budget of the pair.
    @Test mutating func windowsGrowForFastReadersWithinTheBudget() throws {
        var ids: [UInt64] = []
        for _ in 0..<StreamLimits.open { ids.append(try open()) }
        for round in 0..<100 {
            for id in ids {
                for _ in 0..<8 where outgoing.begin(id, count: 65_000) == .begun {
                    _ = incoming.dataReceived(id, count: 65_000, &budget)
                    if let grant = incoming.consume(id, count: 65_000, now: at(Double(round) / 1000), &budget) {
                        _ = outgoing.windowReceived(id, consumed: grant.consumed, limit: grant.limit)
                    }
                }
            }
            #expect(budget.used <= max(ReceiveWindow.Budget.maximum, UInt64(ids.count) * ReceiveWindow.initialSize))
        }
        for id in ids { _ = incoming.stop(id, &budget) }
        #expect(budget.used == 0)
    }

    @Test mutating func aSenderThatGoesBeyondItsWindowIsStopped() throws {
        let id = try open()
        let first = incoming.dataReceived(id, count: 300_000, &budget)
        let second = incoming.dataReceived(id, count: 1, &budget)
        let third = incoming.dataReceived(id, count: 1, &budget)
        #expect(first == .taken && second == .refused(code: StreamCode.windowExceeded) && third == .ignored)
        #expect(incoming.ids.isEmpty && budget.used == 0)
    }

    @Test mutating func theAnnouncedLengthIsKeptByBoth() throws {
        let id = try open(length: 100)
        let starts = [outgoing.begin(id, count: 60), outgoing.begin(id, count: 41)]
        #expect(starts == [.begun, .tooLong])
        #expect(outgoing.isIncomplete(id))
        let early = outgoing.end(id)
        let rest = outgoing.begin(id, count: 40)
        let late = outgoing.end(id)
        #expect(!early && rest == .begun && late && !outgoing.isIncomplete(id))
        _ = incoming.dataReceived(id, count: 60, &budget)
        let short = incoming.endReceived(id, &budget)
        #expect(short == .refused(code: StreamCode.incomplete))
        let other = try open(length: 10)
        let long = incoming.dataReceived(other, count: 11, &budget)
        #expect(long == .refused(code: StreamCode.lengthExceeded))
    }

    @Test mutating func aStreamIsFinishedWhenAllIsConsumedAndTheEndSeen() throws {
        let id = try open()
        _ = outgoing.begin(id, count: 10)
        _ = incoming.dataReceived(id, count: 10, &budget)
        let ended = outgoing.end(id)
        let again = outgoing.end(id)
        #expect(ended && !again)
        let more = outgoing.begin(id, count: 1)
        #expect(more == .closed)
        _ = incoming.endReceived(id, &budget)
        let early = incoming.finish(id, &budget)
        _ = incoming.consume(id, count: 10, now: at(1), &budget)
        let late = incoming.finish(id, &budget)
        let twice = incoming.finish(id, &budget)
        #expect(!early && late && !twice)
        let count = outgoing.finishedReceived(id)
        let unknown = outgoing.finishedReceived(id)
        #expect(count == 10 && unknown == nil && outgoing.ids.isEmpty)
    }

    @Test mutating func whatComesForAStreamThatHasEndedIsIgnored() throws {
        let id = try open()
        let isStopped = incoming.stop(id, &budget)
        #expect(isStopped)
        let data = incoming.dataReceived(id, count: 5, &budget)
        let end = incoming.endReceived(id, &budget)
        let reset = incoming.resetReceived(id, &budget)
        #expect(data == .ignored && end == .ignored && !reset)
        let stopped = outgoing.stopReceived(id)
        let window = outgoing.windowReceived(id, consumed: 0, limit: 1 << 20)
        let cancelled = outgoing.cancel(id)
        #expect(stopped && window == nil && !cancelled)
        let opening = incoming.openReceived(id, length: nil, &budget)
        #expect(opening == .malformed, "an id is used once")
        let unknown = incoming.dataReceived(id + 1, count: 5, &budget)
        #expect(unknown == .malformed)
    }

    /// A receiver cannot have consumed what was not sent, nor take back what it has said.
    @Test mutating func windowsThatCannotBeAreIgnored() throws {
        let id = try open()
        _ = outgoing.begin(id, count: 1000)
        let wrong = outgoing.windowReceived(id, consumed: 1001, limit: 1 << 20)
        let right = outgoing.windowReceived(id, consumed: 1000, limit: 1 << 20)
        let back = outgoing.windowReceived(id, consumed: 999, limit: 1 << 21)
        #expect(wrong == nil && right == 1000 && back == nil)
        let early = outgoing.finishedReceived(id)
        #expect(early == nil, "its end was not sent")
    }

    @Test mutating func tooManyStreamsAreRefused() throws {
        for _ in 0..<StreamLimits.open { _ = try open() }
        let more = outgoing.open(length: nil)
        #expect(more == nil)
        let busy = incoming.openReceived(1000, length: nil, &budget)
        #expect(busy == .refused(code: StreamCode.busy))
        let isStopped = incoming.stop(1, &budget)
        let next = incoming.openReceived(1001, length: nil, &budget)
        #expect(isStopped && next == .taken)
    }

    @Test mutating func aRecordGoesOnCountingAndTellsTheOtherSideWhatHasEnded() throws {
        let ids = [try open(), try open()]
        _ = outgoing.cancel(ids[0])
        let record = StreamRecord(outgoing, incoming)
        #expect(record.restart == [0x27, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2])
        #expect(StreamRecord().restart == nil)
        let outgoingEnded = outgoing.restartReceived(last: 1)
        let incomingEnded = incoming.restartReceived(first: 2, &budget)
        #expect(outgoingEnded == [] && outgoing.ids == [2])
        #expect(incomingEnded == [1] && incoming.ids == [2])
        var next = OutgoingStreams(lastID: record.lastOutgoing)
        let id = next.open(length: nil)
        #expect(id == 3)
    }
}

@Suite struct BulkPaceTests {
    /// A path of a fixed rate and delay, with a queue in front of it. Returns the longest time that a byte has taken.
    private func run(_ pace: inout BulkPace, rate: Double, delay: Double, seconds: Double) -> Double {
        var now = 0.0
        var free = 0.0
        var sequence: UInt64 = 0
        var underWay: [(sequence: UInt64, bytes: Int, arrival: Double)] = []
        var buffered = 0
        var latest = 0.0
        while now < seconds {
            while buffered + pace.frame <= pace.limit {
                sequence += 1
                buffered += pace.frame
                free = max(free, now) + Double(pace.frame) / rate
                underWay.append((sequence, pace.frame, free + delay))
                latest = now < seconds / 2 ? 0 : max(latest, free + delay - now)
                pace.frameTaken(sequence, buffered: buffered, now: at(now))
            }
            pace.bufferWasFull()
            let next = underWay.removeFirst()
            now = next.arrival
            buffered -= next.bytes
            pace.acknowledged(upTo: next.sequence, bytes: next.bytes, now: at(now))
        }
        return latest
    }

    @Test func aSlowPathHasShortChunksAndAShortQueue() {
        var pace = BulkPace()
        let latest = run(&pace, rate: 2_500_000, delay: 0.05, seconds: 60)
        #expect(pace.frame == BulkPace.shortFrame)
        #expect(pace.rate > 2_300_000 && pace.rate < 2_700_000)
        #expect(latest < 0.05 + 0.1, "at most some dozens of milliseconds are queued")
    }

    @Test func aLongFastPathIsFilled() {
        var pace = BulkPace()
        _ = run(&pace, rate: 19_000_000, delay: 0.2, seconds: 10)
        #expect(pace.limit == BulkPace.maximumLimit)
        #expect(pace.rate > 17_000_000)
    }

    @Test func aFastPathHasLongChunksAndModestMemory() {
        var pace = BulkPace()
        _ = run(&pace, rate: 200_000_000, delay: 0.0005, seconds: 2)
        #expect(pace.frame == BulkPace.longFrame)
        #expect(pace.limit <= 2 << 20 && pace.limit >= 1 << 19)
        pace.connectionEnded()
        #expect(pace.frame == BulkPace.shortFrame, "nothing is known of the next path")
    }

    /// A sender that is slow says nothing about the path.
    @Test func whatWasNotSentDoesNotLowerTheLimit() {
        var pace = BulkPace()
        _ = run(&pace, rate: 50_000_000, delay: 0.01, seconds: 5)
        // The end of what was under way.
        pace.acknowledged(upTo: 999_999, bytes: 0, now: at(5.02))
        let limit = pace.limit
        for number in 0..<100 {
            let sequence = UInt64(1_000_000 + number)
            pace.frameTaken(sequence, buffered: 100, now: at(10 + Double(number)))
            pace.acknowledged(upTo: sequence, bytes: 100, now: at(10.01 + Double(number)))
        }
        #expect(pace.limit == limit)
    }
}
