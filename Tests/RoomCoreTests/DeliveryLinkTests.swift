import RoomCore
import RoomProtocol
import Testing
import TransportValues

@Suite struct DeliveryLinkTests {
    private func pair(level: DeliveryLevel = .delivery) -> (DeliveryEnd, DeliveryEnd) {
        (
            DeliveryEnd(SessionID("a"), SessionID("b"), level: level),
            DeliveryEnd(SessionID("b"), SessionID("a"), level: level)
        )
    }

    /// Carries what both have sent, until there is nothing more.
    private func carry(_ left: DeliveryEnd, _ right: DeliveryEnd) {
        while !left.sent.isEmpty || !right.sent.isEmpty {
            for (from, to) in [(left, right), (right, left)] {
                let frames = from.sent
                from.sent = []
                for frame in frames { to.receive(frame.bytes, isText: frame.isText, on: frame.channel) }
            }
        }
    }

    private func open(_ left: DeliveryEnd, _ right: DeliveryEnd) {
        left.open(isOpener: true)
        right.open(isOpener: false)
    }

    @Test(arguments: DeliveryLevel.allCases) func messagesOfAllChannelsArrive(level: DeliveryLevel) {
        let (left, right) = pair(level: level)
        open(left, right)
        for channel in DeliveryLevel.plain.channels { left.send("to \(channel)", on: channel) }
        carry(left, right)
        #expect(right.delivered.map(\.text).sorted() == ["to lossy", "to reliable", "to unordered"])
        #expect(right.delivered.allSatisfy { $0.isText && $0.text == "to \($0.channel)" })
    }

    @Test func aMessageInPartsIsWholeAlsoOverTwoConnections() {
        let (left, right) = pair()
        let text = String(repeating: "abcdefghij", count: 5)
        left.open(isOpener: true)
        right.open(isOpener: false)
        left.send(text)
        // The resume frame and two of five parts arrive, then the connection dies.
        let first = left.sent.prefix(3)
        left.sent = []
        right.sent = []
        for frame in first { right.receive(frame.bytes, on: frame.channel) }
        #expect(right.delivered.isEmpty && !right.link.streams[.reliable].parts.isEmpty)
        open(left, right)
        carry(left, right)
        #expect(right.delivered.map(\.text) == [text])
        #expect(right.link.streams[.reliable].parts.isEmpty)
    }

    /// The receiver has given the sender up and meets it again with the same session; the sender never noticed.
    @Test func aMessageInPartsIsWholeAlsoOverTwoLinks() {
        let (left, right) = pair(level: .exchange)
        let text = String(repeating: "abcdefghij", count: 5)
        open(left, right)
        left.send(exchange: text, on: .bulk)
        let all = left.sent
        left.sent = []
        right.sent = []
        for frame in all.prefix(4) { right.receive(frame.bytes, on: frame.channel) }
        #expect(!right.link.streams[.bulk].parts.isEmpty)
        var memory = DeliveryMemory()
        memory.store(right.link.streams)
        let again = DeliveryEnd(memory.take(session: SessionID("b"), peerSession: SessionID("a")), level: .exchange)
        open(left, again)
        carry(left, again)
        #expect(again.exchanged.map(\.text) == [text])
    }

    /// The numbers, acknowledgements and resume frames of the two numbered channels are apart.
    @Test func exchangeMessagesArriveOnTheirChannelsExactlyOnceOverConnections() {
        let (left, right) = pair(level: .exchange)
        open(left, right)
        for number in 0..<3 {
            for channel in [DeliveryChannel.reliable, .bulk, .topics] {
                left.send(exchange: "\(channel) \(number)", on: channel)
            }
        }
        left.send("raw")
        // Nothing of bulk arrives before the connection dies.
        left.sent.removeAll { $0.channel.rawValue == DeliveryChannel.bulk.rawValue }
        let frames = left.sent
        left.sent = []
        right.sent = []
        for frame in frames { right.receive(frame.bytes, on: frame.channel) }
        #expect(right.exchanged.allSatisfy { $0.channel != .bulk })
        #expect(right.exchanged.count == 6)
        open(left, right)
        carry(left, right)
        for channel in [DeliveryChannel.reliable, .bulk, .topics] {
            let texts = right.exchanged.filter { $0.channel == channel }.map(\.text)
            #expect(texts == (0..<3).map { "\(channel) \($0)" })
        }
        #expect(right.delivered.map(\.text) == ["raw"])
        #expect(right.verdicts.filter { if case .violation = $0 { true } else { false } }.isEmpty)
    }

    @Test func anExchangeMessageOfAMemberWithoutTheCapabilityIsAViolation() {
        let (left, right) = (DeliveryEnd(SessionID("a"), SessionID("b"), level: .exchange), pair().1)
        open(left, right)
        left.send(exchange: "x", on: .reliable)
        carry(left, right)
        #expect(right.verdicts.contains(.violation) && right.exchanged.isEmpty)
        #expect(right.link.machine.received == 0, "and it is not taken for received")
    }

    @Test func aRawMessageOnBulkIsAcknowledgedAndDropped() {
        let (left, right) = pair(level: .exchange)
        open(left, right)
        left.send("raw", on: .bulk)
        left.send(String(repeating: "long", count: 20), on: .bulk)
        left.send(exchange: "x", on: .bulk)
        carry(left, right)
        #expect(right.delivered.isEmpty && right.exchanged.map(\.text) == ["x"])
        #expect(right.link.streams[.bulk].machine.received == left.link.streams[.bulk].machine.accepted)
    }

    @Test func aMessageOverTheReceiversLimitIsAViolation() {
        let left = DeliveryEnd(SessionID("a"), SessionID("b"))
        let right = DeliveryEnd(SessionID("b"), SessionID("a"), messageLimit: 30)
        open(left, right)
        left.send(String(repeating: "x", count: 31))
        carry(left, right)
        #expect(right.verdicts.last == .violation && right.delivered.isEmpty)
    }

    @Test func aFrameIsReleasedWhenItIsAcknowledgedAndNotBefore() {
        let (left, right) = pair()
        open(left, right)
        left.send("one")
        carry(left, right)
        #expect(left.outbox.messageCount(on: .reliable) == 1)
        let urgency = right.link.acknowledgementUrgency(afterFrameOf: 12, on: .reliable)
        #expect(urgency == .soon)
        let second = right.link.acknowledgementUrgency(afterFrameOf: 12, on: .reliable)
        #expect(second == .none, "the timer runs already")
        right.link.acknowledgementTimerFired(.reliable)
        guard let (frame, id) = right.link.acknowledgementFrame(.reliable) else {
            Issue.record("nothing to acknowledge")
            return
        }
        right.link.acknowledgementTaken(.reliable)
        #expect(right.link.acknowledgementFrame(.reliable) == nil)
        left.receive(frame.indices.map { frame[$0] }, on: id)
        #expect(left.outbox.messageCount(on: .reliable) == 0)
    }

    @Test func everyFrameCarriesAnAcknowledgement() {
        let (left, right) = pair()
        open(left, right)
        left.send("one")
        carry(left, right)
        right.send("answer")
        carry(left, right)
        #expect(left.outbox.messageCount(on: .reliable) == 0)
        #expect(right.link.acknowledgementFrame(.reliable) == nil)
    }

    /// Messages that a plain channel has accepted are lost with its connection; waiting ones go over the next one.
    @Test func unorderedMessagesWaitForAConnectionAndAreNotSentTwice() {
        let (left, right) = pair()
        left.send("early", on: .unordered)
        open(left, right)
        left.sent = []
        right.sent = []
        left.send("later", on: .unordered)
        left.sent = []
        open(left, right)
        carry(left, right)
        #expect(right.delivered.isEmpty)
        #expect(left.outbox.messageCount(on: .unordered) == 0)
    }

    @Test func aBlockedChannelGoesOnWhereItStopped() {
        let (left, right) = pair()
        open(left, right)
        carry(left, right)
        (left.credit, left.refusal) = (2, .wouldBlock)
        for text in ["1", "2", "3", "4"] { left.send(text, on: .unordered) }
        #expect(left.sent.count == 2)
        left.credit = .max
        let channel = left.link.channelWritable(ChannelID(rawValue: DeliveryChannel.unordered.rawValue))
        #expect(channel == .unordered)
        left.drain(.unordered)
        carry(left, right)
        #expect(right.delivered.map(\.text) == ["1", "2", "3", "4"])
    }

    @Test func aPlainMessageThatIsTooLargeIsDroppedAndTheNextOneIsSent() {
        let (left, right) = pair()
        open(left, right)
        (left.credit, left.refusal) = (0, .messageTooLarge)
        left.send("large", on: .unordered)
        #expect(left.outbox.messageCount(on: .unordered) == 0)
        left.credit = .max
        left.send("small", on: .unordered)
        carry(left, right)
        #expect(right.delivered.map(\.text) == ["small"])
    }

    @Test func aChannelThatTakesNothingIsOver() {
        let (left, right) = pair()
        open(left, right)
        (left.credit, left.refusal) = (0, .closed)
        left.send("lost", on: .reliable)
        let isReady = left.link.isReady
        #expect(!isReady)
        // Its end is told: the opener opens another one, and the frame goes over it.
        let actions = left.link.channelClosed(ChannelID(rawValue: 0), now: .zero)
        #expect(actions == [.suspendSending, .scheduleTimer(.reopening(.reliable), after: .zero)])
        #expect(left.link.reopeningTimerFired(.reliable) == [.openChannel(.reliable)])
        left.credit = .max
        left.link.opening(.reliable, as: ChannelID(rawValue: 9))
        left.sent = []
        left.perform(
            left.link.channelOpened(ChannelID(rawValue: 9), DeliveryChannel.reliable.parameters(.delivery)))
        right.perform(
            right.link.channelOpened(ChannelID(rawValue: 9), DeliveryChannel.reliable.parameters(.delivery)))
        carry(left, right)
        #expect(right.delivered.map(\.text) == ["lost"])
    }

    @Test func nothingIsOpenedOnceTheConnectionHasEnded() {
        let (left, right) = pair()
        open(left, right)
        _ = left.link.channelClosed(ChannelID(rawValue: 1), now: .zero)
        left.link.detached()
        #expect(left.link.reopeningTimerFired(.unordered).isEmpty)
    }

    @Test func theFirstMessageOfAParticipantThatRecoversIsNews() {
        let (left, right) = pair()
        open(left, right)
        carry(left, right)
        _ = right.link.statusChanged(.recovering(.wait, attempt: 1, since: .zero), &right.outbox)
        let before = right.link.takeIsFirstSinceBreak()
        right.receive([1, 2, 3], on: ChannelID(rawValue: 99))
        let foreign = right.link.takeIsFirstSinceBreak()
        left.send("here", on: .lossy)
        carry(left, right)
        let news = (right.link.takeIsFirstSinceBreak(), right.link.takeIsFirstSinceBreak())
        #expect(!before && !foreign && news == (true, false))
    }

    @Test func aHintIsHandedOnAndGoodbyeIsRemembered() {
        let (left, right) = pair()
        open(left, right)
        #expect(left.link.hintChannel == nil, "the stream has not begun")
        carry(left, right)
        #expect(left.link.hintChannel == ChannelID(rawValue: 0))
        right.receive(DeliveryProtocol.Hint.leaving.encoded, on: ChannelID(rawValue: 0))
        #expect(right.verdicts.last == .hint(.leaving) && right.link.isLeaving)
        right.receive([DeliveryProtocol.Kind.hint.rawValue, 99], on: ChannelID(rawValue: 0))
        #expect(right.verdicts.last == .ignored)
    }

    /// Frames count by their numbers, wherever they came.
    @Test func aFrameOverAnotherCarrierIsTaken() {
        let (left, right) = pair()
        open(left, right)
        carry(left, right)
        left.send("one")
        let frame = left.sent.removeFirst().bytes
        let verdicts = (0..<2).map { _ in frame.withUnsafeBytes { right.link.received(frame: $0, of: .reliable) } }
        #expect(verdicts == [.deliver(.reliable, isText: true, offset: 9), .absorbed])
    }

    @Test func whatIsNotAcknowledgedForLongIsTold() {
        let (left, right) = pair()
        open(left, right)
        carry(left, right)
        left.send("one")
        let begins = left.link.watch(.reliable, buffered: { _ in 0 })
        let lossy = left.link.watch(.lossy, buffered: { _ in 0 })
        #expect(begins == .seconds(2) && lossy == nil)
        let looks = (0..<4).map { _ in left.link.watchTimerFired(buffered: { _ in 0 }) }
        #expect(looks.map(\.after) == Array(repeating: .seconds(2), count: 4))
        #expect(looks.map(\.isMissing) == [nil, nil, nil, true])
        left.receive([5, 0, 0, 0, 1], on: ChannelID(rawValue: 0))
        let last = left.link.watchTimerFired(buffered: { _ in 0 })
        #expect(last.after == nil && last.isMissing == false)
    }

    /// A plain channel has no acknowledgements of ours: the transport tells what is outstanding.
    @Test func aPlainChannelIsWatchedByWhatItsTransportHas() {
        let (left, right) = pair()
        open(left, right)
        carry(left, right)
        left.send("12345", on: .unordered)
        #expect(!left.link.unacknowledgedChannels { _ in 5 }.isEmpty)
        #expect(left.link.unacknowledgedChannels { _ in 0 }.isEmpty)
        _ = left.link.watch(.unordered, buffered: { _ in 5 })
        let looks = (0..<4).map { _ in left.link.watchTimerFired(buffered: { _ in 5 }) }
        #expect(looks.map(\.isMissing) == [nil, nil, nil, true])
        left.send("123", on: .unordered)
        let progress = left.link.watchTimerFired(buffered: { _ in 3 })
        #expect(progress.isMissing == false)
    }
}
