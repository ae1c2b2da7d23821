import RoomCore
import RoomProtocol
import Testing
import TransportValues

/// One end of a link with the smallest shell: what it sends lies in `sent`.
private final class End {
    var link: DeliveryLink
    var outbox: DeliveryOutbox
    var sent: [(bytes: [UInt8], isText: Bool, channel: ChannelID)] = []
    var delivered: [(text: String, isText: Bool, channel: DeliveryChannel)] = []
    var verdicts: [DeliveryLink.Verdict] = []
    var actions: [DeliveryLink.Action] = []
    var refusal: TransportError.Code?
    /// Frames that are taken before one is refused.
    var credit = Int.max

    init(_ session: SessionID, _ peer: SessionID, isDelivery: Bool = true, messageLimit: Int = 1 << 20) {
        link = DeliveryLink(
            machine: DeliveryMachine(session: session, peerSession: peer), parts: [], isDelivery: isDelivery,
            messageLimit: messageLimit)
        outbox = DeliveryOutbox(
            isDelivery: isDelivery, lastSequence: 0, limits: .init(buffer: 100_000, message: 100_000, block: 1024))
    }

    deinit { _ = link.close(&outbox) }

    func send(_ text: String, on channel: DeliveryChannel = .reliable) {
        var text = text
        let outcome = text.withUTF8 {
            outbox.accept(UnsafeRawBufferPointer($0), isText: true, on: channel, mayDrop: false)
        }
        #expect(outcome == .accepted)
        drain(channel)
    }

    func perform(_ new: [DeliveryLink.Action]) {
        actions += new
        for action in new {
            switch action {
            case .beginSending: outbox.connected(maximumMessageSize: 20)
            case .suspendSending: outbox.disconnected()
            case .sendResume(let frame, let id): sent.append((frame.encoded, false, id))
            case .drain(let channel): drain(channel)
            case .openChannel, .scheduleTimer, .cancelTimer: break
            }
        }
    }

    func drain(_ channel: DeliveryChannel) {
        guard let id = link.writable(channel) else { return }
        let batch = link.nextFrames(on: channel, in: &outbox)
        for index in 0..<batch.count {
            if credit == 0, let refusal {
                let verdict = link.frameRefused(batch.first + UInt64(index), refusal, on: channel)
                if verdict == .drop { continue }
                return
            }
            credit -= 1
            if batch.hasHeaders { link.stamp(batch[index]) }
            sent.append(([UInt8](batch[index]), batch.isText(index), id))
            link.frameTaken(batch.first + UInt64(index), count: batch[index].count, on: channel)
        }
        if let sequence = link.takeReleasable(on: channel) { outbox.release(upTo: sequence, on: channel) }
        if batch.count == FrameBatch.capacity { drain(channel) }
    }

    func receive(_ bytes: [UInt8], isText: Bool = false, on id: ChannelID) {
        bytes.withUnsafeBytes { bytes in
            let verdict = link.received(bytes, isText: isText, on: id)
            verdicts.append(verdict)
            if let sequence = link.takeReleasable(on: .reliable) { outbox.release(upTo: sequence, on: .reliable) }
            switch verdict {
            case .deliver(let channel, let isText, let offset):
                delivered.append((String(decoding: bytes.dropFirst(offset), as: UTF8.self), isText, channel))
            case .deliverAssembled(let isText):
                delivered.append((String(decoding: link.takeAssembled(), as: UTF8.self), isText, .reliable))
            case .resumed: drain(.reliable)
            case .absorbed, .hint, .ignored, .violation: break
            }
        }
    }

    func open(isOpener: Bool) {
        link.detached()
        _ = outbox.connectionEnded()
        for channel in link.attached(isOpener: isOpener) {
            link.opening(channel, as: ChannelID(rawValue: channel.rawValue))
        }
        for channel in DeliveryChannel.allCases {
            perform(
                link.channelOpened(
                    ChannelID(rawValue: channel.rawValue), channel.parameters(isDelivery: link.isDelivery)))
        }
    }
}

@Suite struct DeliveryLinkTests {
    private func pair(isDelivery: Bool = true) -> (End, End) {
        (
            End(SessionID("a"), SessionID("b"), isDelivery: isDelivery),
            End(SessionID("b"), SessionID("a"), isDelivery: isDelivery)
        )
    }

    /// Carries what both have sent, until there is nothing more.
    private func carry(_ left: End, _ right: End) {
        while !left.sent.isEmpty || !right.sent.isEmpty {
            for (from, to) in [(left, right), (right, left)] {
                let frames = from.sent
                from.sent = []
                for frame in frames { to.receive(frame.bytes, isText: frame.isText, on: frame.channel) }
            }
        }
    }

    private func open(_ left: End, _ right: End) {
        left.open(isOpener: true)
        right.open(isOpener: false)
    }

    @Test(arguments: [true, false]) func messagesOfAllChannelsArrive(isDelivery: Bool) {
        let (left, right) = pair(isDelivery: isDelivery)
        open(left, right)
        for channel in DeliveryChannel.allCases { left.send("to \(channel)", on: channel) }
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
        #expect(right.delivered.isEmpty && !right.link.assembled.isEmpty)
        open(left, right)
        carry(left, right)
        #expect(right.delivered.map(\.text) == [text])
        #expect(right.link.assembled.isEmpty)
    }

    @Test func aMessageOverTheReceiversLimitIsAViolation() {
        let left = End(SessionID("a"), SessionID("b"))
        let right = End(SessionID("b"), SessionID("a"), messageLimit: 30)
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
        let urgency = right.link.acknowledgementUrgency(afterFrameOf: 12)
        #expect(urgency == .soon)
        let second = right.link.acknowledgementUrgency(afterFrameOf: 12)
        #expect(second == .none, "the timer runs already")
        right.link.acknowledgementTimerFired()
        guard let (frame, id) = right.link.acknowledgementFrame else {
            Issue.record("nothing to acknowledge")
            return
        }
        right.link.acknowledgementTaken()
        #expect(right.link.acknowledgementFrame == nil)
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
        #expect(right.link.acknowledgementFrame == nil)
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
        #expect(!left.link.isReady)
        // Its end is told: the opener opens another one, and the frame goes over it.
        let actions = left.link.channelClosed(ChannelID(rawValue: 0), now: .zero)
        #expect(actions == [.suspendSending, .scheduleTimer(.reopening(.reliable), after: .zero)])
        #expect(left.link.reopeningTimerFired(.reliable) == [.openChannel(.reliable)])
        left.credit = .max
        left.link.opening(.reliable, as: ChannelID(rawValue: 9))
        left.sent = []
        left.perform(
            left.link.channelOpened(ChannelID(rawValue: 9), DeliveryChannel.reliable.parameters(isDelivery: true)))
        right.perform(
            right.link.channelOpened(ChannelID(rawValue: 9), DeliveryChannel.reliable.parameters(isDelivery: true)))
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
        let verdicts = (0..<2).map { _ in frame.withUnsafeBytes { right.link.received(frame: $0) } }
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
        #expect(!left.link.isAcknowledgedByTransport { _ in 5 })
        #expect(left.link.isAcknowledgedByTransport { _ in 0 })
        _ = left.link.watch(.unordered, buffered: { _ in 5 })
        let looks = (0..<4).map { _ in left.link.watchTimerFired(buffered: { _ in 5 }) }
        #expect(looks.map(\.isMissing) == [nil, nil, nil, true])
        left.send("123", on: .unordered)
        let progress = left.link.watchTimerFired(buffered: { _ in 3 })
        #expect(progress.isMissing == false)
    }
}
