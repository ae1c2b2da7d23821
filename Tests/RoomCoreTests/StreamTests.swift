import RoomProtocol
import Testing
import TransportValues

@testable import RoomCore

private func makeSignal(_ peer: String = "z", connection: String = "c1", negotiation: NegotiationID = 1) -> Signal {
    Signal(
        peer: ParticipantID(peer), session: SessionID("s-\(peer)"), connection: PeerConnectionID(connection),
        negotiation: negotiation, body: .restartRequest(reason: "test"))
}

@Suite struct OutgoingStreamTests {
    @Test func messagesAreNumberedWhenTheyAreFirstSentAndKeptUntilAcknowledged() {
        var stream = OutgoingStream(countLimit: 10, byteLimit: 10_000)
        #expect(stream.append(.signal(makeSignal())) == true)
        #expect(stream.append(.update(metadata: [:])) == true)
        #expect(stream.takeUnsent().map(\.sequence) == [1, 2])
        #expect(stream.takeUnsent().isEmpty)
        #expect(stream.acknowledge(1) == true)
        #expect(stream.count == 1)
        #expect(stream.acknowledge(1) == true)
        #expect(stream.acknowledge(2) == true)
        #expect(stream.count == 0)
        #expect(stream.acknowledge(3) == false)
    }

    @Test func aResumeSendsAgainWhatTheServerLacksUnderItsOldNumbersAndThenWhatIsNew() {
        var stream = OutgoingStream(countLimit: 10, byteLimit: 10_000)
        for _ in 0..<3 { _ = stream.append(.signal(makeSignal())) }
        _ = stream.takeUnsent()
        _ = stream.append(.update(metadata: ["a": "b"]))
        #expect(stream.resume(received: 1)?.map(\.sequence) == [2, 3, 4])
    }

    @Test(arguments: [(4, false), (3, true), (2, true), (1, false)] as [(SequenceNumber, Bool)])
    func aResumeAtAnImpossiblePlaceIsRefused(received: SequenceNumber, isPossible: Bool) {
        var stream = OutgoingStream(countLimit: 10, byteLimit: 10_000)
        for _ in 0..<3 { _ = stream.append(.signal(makeSignal())) }
        _ = stream.takeUnsent()
        #expect(stream.acknowledge(2) == true)
        #expect((stream.resume(received: received) != nil) == isPossible)
    }

    @Test func aRestartKeepsKicksAndTheLatestMetadataAndDropsSignals() {
        var stream = OutgoingStream(countLimit: 10, byteLimit: 10_000)
        let kick = ClientMessage.kick(ParticipantID("z"), reason: "r")
        for message in [
            .signal(makeSignal()), .update(metadata: ["a": "1"]), kick, .update(metadata: ["a": "2"]),
        ] as [ClientMessage] { _ = stream.append(message) }
        _ = stream.takeUnsent()
        stream.restart()
        #expect(
            stream.takeUnsent() == [Envelope(sequence: 1, kick), Envelope(sequence: 2, .update(metadata: ["a": "2"]))])
    }

    @Test func theQueueIsBoundedInCountAndBytes() {
        var few = OutgoingStream(countLimit: 2, byteLimit: 100_000)
        #expect(few.append(.update(metadata: [:])) == true)
        #expect(few.append(.update(metadata: [:])) == true)
        #expect(few.append(.update(metadata: [:])) == false)
        var small = OutgoingStream(countLimit: 100, byteLimit: 300)
        #expect(small.append(.signal(makeSignal())) == true)
        #expect(small.append(.signal(makeSignal())) == false)
        _ = small.takeUnsent()
        #expect(small.acknowledge(1) == true)
        #expect(small.append(.signal(makeSignal())) == true)
    }

    @Test func onlyUnsentSignalsCanBeTakenBack() {
        var stream = OutgoingStream(countLimit: 10, byteLimit: 10_000)
        _ = stream.append(.signal(makeSignal(connection: "old")))
        _ = stream.takeUnsent()
        _ = stream.append(.signal(makeSignal(connection: "old")))
        _ = stream.append(.signal(makeSignal(connection: "new")))
        stream.removeUnsentSignals { $0.connection.rawValue == "old" }
        #expect(stream.count == 2)
        #expect(stream.takeUnsent().map(\.sequence) == [2])
    }
}

@Suite struct IncomingStreamTests {
    @Test func eachNumberIsTakenOnceAndInOrder() {
        var stream = IncomingStream()
        #expect(stream.take(1) == .next)
        #expect(stream.take(2) == .next)
        #expect(stream.take(1) == .duplicate)
        #expect(stream.take(2) == .duplicate)
        #expect(stream.take(4) == .gap)
        #expect(stream.take(.max) == .gap)
        #expect(stream.take(0) == .duplicate)
        #expect(stream.received == 2)
        #expect(stream.take(3) == .next)
    }
}

@Suite struct BackoffTests {
    @Test func everyDelayIsJitteredFromNothingToItsLimitFromTheFirstRetryOn() throws {
        var longest: [Duration] = Array(repeating: .zero, count: 8)
        var shortest: [Duration] = Array(repeating: .seconds(99), count: 8)
        for seed in 0..<400 {
            var backoff = Backoff(BackoffConfiguration())
            var generator = SeededGenerator(seed: UInt64(seed))
            for retry in 0..<8 {
                let delay = try #require(backoff.nextDelay(now: .zero, using: &generator))
                longest[retry] = max(longest[retry], delay)
                shortest[retry] = min(shortest[retry], delay)
            }
        }
        let limits: [Duration] = [100, 200, 400, 800, 1000, 1000, 1000, 1000].map { .milliseconds($0) }
        for (retry, limit) in limits.enumerated() {
            #expect(longest[retry] <= limit && longest[retry] > limit * 0.9)
            #expect(shortest[retry] < limit * 0.1)
        }
    }

    @Test(arguments: [(29, 1.0), (31, 1.04), (150, 5), (299, 10), (4000, 10)])
    func theCapGrowsAfterHalfAMinuteUpToTenSeconds(age: Int, limit: Double) throws {
        var longest = Duration.zero
        for seed in 0..<300 {
            var backoff = Backoff(BackoffConfiguration())
            var generator = SeededGenerator(seed: UInt64(seed))
            for _ in 0..<12 { _ = backoff.nextDelay(now: .zero, using: &generator) }
            longest = max(longest, try #require(backoff.nextDelay(now: at(Double(age)), using: &generator)))
        }
        #expect(longest.inSeconds <= limit && longest.inSeconds > limit * 0.9)
    }

    @Test func itEndsAtItsAttemptLimitAndBeginsAnewWhenStable() {
        var configuration = BackoffConfiguration()
        configuration.reconnect.attemptLimit = 2
        var backoff = Backoff(configuration)
        var generator = SeededGenerator(seed: 1)
        #expect(backoff.nextDelay(now: .zero, using: &generator) != nil)
        #expect(backoff.nextDelay(now: .zero, using: &generator) != nil)
        #expect(backoff.nextDelay(now: .zero, using: &generator) == nil)
        backoff.stabilized()
        #expect(backoff.nextDelay(now: .zero, using: &generator).map { $0 <= .milliseconds(100) } == true)
    }
}
