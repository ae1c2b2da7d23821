import RoomProtocol
import Testing
import TransportValues

@testable import RoomCore

private let start = Timestamp.zero

@Suite("Windows of topics and streams")
struct ReceiveWindowTests {
    @Test func aSenderMayBeginWhileItHasSentLessThanTheLimit() {
        var window = SendWindow()
        #expect(window.begin(262_143) == true)
        #expect(window.begin(1_000_000) == true, "the last one goes beyond the limit")
        #expect(!window.begin(1) && !window.isOpen)
        #expect(window.grant(2_000_000) && window.begin(1))
    }

    @Test func aLimitNeverFalls() {
        var window = SendWindow()
        #expect(!window.grant(262_144) && !window.grant(5))
        #expect(window.limit == 262_144)
    }

    @Test func aMessageThatWasNotTakenDoesNotCount() {
        var window = SendWindow()
        #expect(window.begin(300_000) && !window.begin(1))
        window.undo(300_000)
        #expect(window.begin(1) == true)
    }

    @Test func theReceiverGrantsWhenHalfOfTheWindowIsConsumed() {
        var budget = ReceiveWindow.Budget()
        var window = ReceiveWindow(&budget)
        #expect(window.receive(200_000) == true)
        #expect(!window.consume(131_071) && window.grant(now: start, &budget) == nil)
        #expect(window.consume(1) == true)
        let limit = window.grant(now: start, &budget)
        #expect(limit == 393_216)
        #expect(window.grant(now: start, &budget) == nil, "once")
    }

    @Test func aSenderThatGoesBeyondItsLimitIsNoticed() {
        var budget = ReceiveWindow.Budget()
        var window = ReceiveWindow(&budget)
        #expect(window.receive(262_144) == true)
        #expect(window.receive(1) == false)
    }

    @Test func nothingIsConsumedThatHasNotCome() {
        var budget = ReceiveWindow.Budget()
        var window = ReceiveWindow(&budget)
        #expect(window.receive(100) == true)
        _ = window.consume(1_000_000)
        #expect(window.consumed == 100)
    }

    /// So many bytes come, and are consumed.
    private func read(_ count: Int, _ window: inout ReceiveWindow) {
        _ = window.receive(count)
        _ = window.consume(count)
    }

    @Test func theWindowOfAFastReaderDoublesUpToItsMaximum() {
        var budget = ReceiveWindow.Budget()
        var window = ReceiveWindow(&budget)
        var now = start
        var sizes: [UInt64] = []
        for _ in 0..<40 {
            now = now + .milliseconds(50)
            read(Int(window.size), &window)
            _ = window.grant(now: now, &budget)
            if sizes.last != window.size { sizes.append(window.size) }
        }
        #expect(sizes == [1, 2, 4, 8, 16].map { $0 << 18 })
        #expect(window.limit == window.consumed + window.size)
    }

    @Test func theWindowOfASlowReaderStaysAsItIs() {
        var budget = ReceiveWindow.Budget()
        var window = ReceiveWindow(&budget)
        for second in 1...20 {
            read(200_000, &window)
            _ = window.grant(now: start + .seconds(second), &budget)
        }
        #expect(window.size == ReceiveWindow.initialSize)
    }

    @Test func aLongRoundTripIsNoSlowReader() {
        var budget = ReceiveWindow.Budget()
        var window = ReceiveWindow(&budget)
        for step in 1...2 {
            read(200_000, &window)
            let now = start + .milliseconds(900 * step)
            _ = window.grant(now: now, roundTrip: .milliseconds(500), &budget)
        }
        #expect(window.size == 2 * ReceiveWindow.initialSize)
    }

    @Test func windowsGrowOnlyWithinTheBudgetOfTheConnection() {
        var budget = ReceiveWindow.Budget()
        var windows = (0..<32).map { _ in ReceiveWindow(&budget) }
        for _ in 0..<20 {
            for index in windows.indices {
                _ = windows[index].receive(Int(windows[index].size))
                _ = windows[index].consume(Int(windows[index].size))
                _ = windows[index].grant(now: start, &budget)
            }
        }
        #expect(windows.reduce(0) { $0 + $1.size } == budget.used)
        #expect(budget.used <= ReceiveWindow.Budget.maximum && budget.used > 12 << 20)
        for window in windows { window.end(&budget) }
        #expect(budget.used == 0)
    }
}

@Suite("Topics between two participants")
struct TopicWindowTests {
    private func index(_ receiver: inout TopicReceiver, _ name: String, _ budget: inout ReceiveWindow.Budget) -> Int? {
        Array(name.utf8).withUnsafeBytes { receiver.index(of: $0, &budget) }
    }

    @Test func eachTopicHasAWindowOfItsOwn() {
        var sender = TopicSender()
        let (full, other) = (ByteText("a"), ByteText("b"))
        #expect(sender.begin(full, count: 300_000) == .begun)
        #expect(sender.begin(full, count: 1) == .wait && !sender.isOpen(full))
        #expect(sender.begin(other, count: 1) == .begun)
        #expect(sender.grant(full, limit: 400_000) == true && sender.begin(full, count: 1) == .begun)
    }

    @Test func evenEmptyMessagesCostSomething() {
        var sender = TopicSender()
        var count = 0
        while sender.begin(ByteText("a"), count: 0) == .begun { count += 1 }
        #expect(count == 262_144 / 64)
    }

    @Test func aGrantForATopicThatWasNeverSentOnIsNone() {
        var sender = TopicSender()
        #expect(sender.grant(ByteText("a"), limit: 1_000_000) == nil)
    }

    @Test func thereAreOnlySoManyTopics() {
        var (sender, receiver, budget) = (TopicSender(), TopicReceiver(), ReceiveWindow.Budget())
        for number in 0..<256 {
            #expect(sender.begin(ByteText("\(number)"), count: 1) == .begun)
            #expect(index(&receiver, "\(number)", &budget) == number)
        }
        #expect(sender.begin(ByteText("another"), count: 1) == .tooMany)
        #expect(index(&receiver, "another", &budget) == nil)
        #expect(index(&receiver, "17", &budget) == 17)
    }

    @Test func topicsAreKnownByTheirBytes() {
        var (receiver, budget) = (TopicReceiver(), ReceiveWindow.Budget())
        #expect(index(&receiver, "\u{E9}", &budget) == 0)
        #expect(index(&receiver, "e\u{301}", &budget) == 1)
        #expect(index(&receiver, "\u{E9}", &budget) == 0)
    }

    /// Random senders and readers: the two sides always agree, and nothing waits for ever.
    @Test(arguments: 0..<20 as Range<UInt64>) func senderAndReceiverAgree(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var (sender, receiver, budget) = (TopicSender(), TopicReceiver(), ReceiveWindow.Budget())
        let topic = ByteText("t")
        var (now, unread, taken) = (start, [Int](), 0)
        for _ in 0..<2_000 {
            now = now + .milliseconds(Int.random(in: 0..<40, using: &random))
            let count = Int.random(in: 0..<60_000, using: &random)
            if Bool.random(using: &random), sender.begin(topic, count: count) == .begun {
                #expect(index(&receiver, "t", &budget) == 0)
                #expect(receiver.receive(0, count: count) == true)
                unread.append(TopicLimits.cost(ofBody: count))
            } else if !unread.isEmpty, Bool.random(using: &random) {
                let cost = unread.removeFirst()
                taken += 1
                if receiver.consume(0, cost: cost), let limit = receiver.grant(0, now: now, &budget) {
                    #expect(sender.grant(topic, limit: limit) == true)
                }
            }
        }
        while !unread.isEmpty {
            if receiver.consume(0, cost: unread.removeFirst()), let limit = receiver.grant(0, now: now, &budget) {
                _ = sender.grant(topic, limit: limit)
            }
        }
        #expect(sender.begin(topic, count: 1) == .begun, "after \(taken) messages")
    }
}
