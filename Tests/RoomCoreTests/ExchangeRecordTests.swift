import RoomProtocol
import Testing
import TransportValues

@testable import RoomCore

/// Topics and requests after one side has given up the other and meets it again in the same sessions.
@Suite struct ExchangeRecordTests {
    /// The two sides of one topic. What is under way is dropped when the side that has sent it gives the other up.
    private struct Topic {
        var sender = TopicSender()
        var receiver = TopicReceiver()
        var budget = ReceiveWindow.Budget()
        var now = Timestamp.zero
        /// Bodies of messages, and limits or positions, that have not arrived.
        var messages: [Sent] = []
        var grants: [UInt64] = []
        /// The costs of messages that the application has not read.
        var unread: [Int] = []

        enum Sent {
            case message(Int)
            case position(UInt64)
        }

        struct Unexpected: Error { let message: ExchangeMessage }

        static let name = ByteText("t")

        mutating func send(_ count: Int) {
            if sender.begin(Self.name, count: count) == .begun { messages.append(.message(count)) }
        }

        mutating func index() throws -> Int {
            let index = Array(Self.name.text.utf8).withUnsafeBytes { receiver.index(of: $0, &budget) }
            return try #require(index)
        }

        mutating func arrive() throws {
            guard !messages.isEmpty else { return }
            let index = try index()
            switch messages.removeFirst() {
            case .message(let count):
                let isTaken = receiver.receive(index, count: count)
                #expect(isTaken, "nothing goes beyond the limit")
                unread.append(TopicLimits.cost(ofBody: count))
            case .position(let sent):
                if receiver.skip(index, to: sent) { try consume(0) }
            }
        }

        mutating func read() throws { if !unread.isEmpty { try consume(unread.removeFirst()) } }

        private mutating func consume(_ cost: Int) throws {
            let index = try index()
            if receiver.consume(index, cost: cost), let limit = receiver.grant(index, now: now, &budget) {
                grants.append(limit)
            }
        }

        mutating func grantArrives() { if !grants.isEmpty { _ = sender.grant(Self.name, limit: grants.removeFirst()) } }

        mutating func senderGivesUp() throws {
            messages = []
            for message in try restart(ExchangeRecord(sender, TopicReceiver(), OutgoingRequests(), IncomingRequests()))
            {
                guard case .topicPosition(_, let sent) = message else { throw Unexpected(message: message) }
                messages.append(.position(sent))
            }
        }

        mutating func receiverGivesUp() throws {
            (grants, unread, budget) = ([], [], ReceiveWindow.Budget())
            var record = ExchangeRecord(TopicSender(), receiver, OutgoingRequests(), IncomingRequests())
            for message in try decode(record.restart(firstRequest: 1, &budget)) {
                guard case .topicWindow(_, let limit) = message else { throw Unexpected(message: message) }
                grants.append(limit)
            }
            receiver = record.topicReceiver
        }

        private func restart(_ record: ExchangeRecord) throws -> [ExchangeMessage] {
            var (record, budget) = (record, ReceiveWindow.Budget())
            return try decode(record.restart(firstRequest: 1, &budget))
        }

        private func decode(_ messages: [[UInt8]]) throws -> [ExchangeMessage] {
            try messages.map { bytes in try #require(bytes.withUnsafeBytes { ExchangeMessage($0) }) }
        }
    }

    /// Neither side waits for ever, and no message is taken for one too many, whoever gives up and when.
    @Test(arguments: 0..<60 as Range<UInt64>) func topicsGoOn(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var topic = Topic()
        for _ in 0..<2_000 {
            topic.now = topic.now + .milliseconds(Int.random(in: 0..<40, using: &random))
            switch Int.random(in: 0..<100, using: &random) {
            case 0: try topic.senderGivesUp()
            case 1: try topic.receiverGivesUp()
            case 2..<40: topic.send(Int.random(in: 0..<60_000, using: &random))
            case 40..<65: try topic.arrive()
            case 65..<85: try topic.read()
            default: topic.grantArrives()
            }
        }
        while !topic.messages.isEmpty || !topic.unread.isEmpty || !topic.grants.isEmpty {
            try topic.arrive()
            try topic.read()
            topic.grantArrives()
        }
        #expect(topic.sender.isOpen(Topic.name), "seed \(seed)")
    }

    @Test func aPositionThatCannotBeIsIgnored() throws {
        var topic = Topic()
        topic.send(1000)
        try topic.arrive()
        let index = try topic.index()
        for sent in [0, 1, 1064, .max, .max - 300_000] as [UInt64] {
            let isTaken = topic.receiver.skip(index, to: sent)
            #expect(!isTaken, "\(sent)")
        }
        let isTaken = topic.receiver.skip(index, to: 1065)
        #expect(isTaken)
    }

    @Test func requestsEndOnBothSides() throws {
        var incoming = IncomingRequests()
        for id in [5, 9, 7] as [UInt64] { #expect(incoming.received(id, count: 1, deadline: nil) == .run) }
        var outgoing = OutgoingRequests(after: 1 << 32)
        let ids = (0..<70).map { _ in outgoing.begin(deadline: nil).id }
        for id in ids.prefix(60) { #expect(outgoing.sent(id) == nil) }
        var (record, budget) = (
            ExchangeRecord(TopicSender(), TopicReceiver(), outgoing, incoming), ReceiveWindow.Budget()
        )
        #expect(
            record.restart(firstRequest: 2 << 32, &budget) == [ExchangeHead.requestRestart(first: 2 << 32, last: 9)])
        #expect(record.lastRequest == 9)
        // What the other side does with such a message.
        #expect(outgoing.restartReceived(last: ids[2]) == Array(ids[...2]))
        #expect(outgoing.restartReceived(last: .max) == Array(ids[..<64]), "the others have not gone out")
        let end = outgoing.refused(ids[0])
        #expect(end.started == ids[64])
        #expect(incoming.restartReceived(first: 8) == [5, 7])
        let isCancelled = incoming.cancelled(5)
        #expect(isCancelled && incoming.restartReceived(first: 8) == [7])
    }

    @Test func nothingIsSaidWhereThereWasNothing() {
        var (record, budget) = (ExchangeRecord(), ReceiveWindow.Budget())
        #expect(record.restart(firstRequest: 1, &budget) == [] && budget == ReceiveWindow.Budget())
    }
}
