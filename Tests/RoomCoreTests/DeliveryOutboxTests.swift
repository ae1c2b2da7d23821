import RoomCore
import RoomProtocol
import Testing
import TransportValues

@Suite struct DeliveryOutboxTests {
    private func withOutbox(
        level: DeliveryLevel = .delivery, buffer: Int = 1000, bulk: Int = 1000, message: Int = 10_000,
        _ body: (inout DeliveryOutbox) -> Void
    ) {
        var limits = DeliveryOutbox.Limits(buffer: buffer, message: message)
        limits.bulk = bulk
        limits.block = 256
        let streams = NumberedStreams(session: SessionID("a"), peerSession: SessionID("b"))
        var outbox = DeliveryOutbox(level: level, streams: streams, limits: limits)
        body(&outbox)
        // Gives the memory back.
        var link = link(level)
        _ = link.close(&outbox)
    }

    private func send(
        _ count: Int, _ outbox: inout DeliveryOutbox, on channel: DeliveryChannel = .reliable, mayDrop: Bool = false
    ) -> DeliveryOutbox.Outcome {
        [UInt8](repeating: 7, count: count).withUnsafeBytes {
            outbox.accept($0, isText: false, on: channel, mayDrop: mayDrop)
        }
    }

    private func link(_ level: DeliveryLevel) -> DeliveryLink {
        DeliveryLink(
            streams: NumberedStreams(session: SessionID("a"), peerSession: SessionID("b")), level: level,
            messageLimit: 0)
    }

    private func exchange(
        _ count: Int, _ outbox: inout DeliveryOutbox, on channel: DeliveryChannel, isUrgent: Bool = false,
        isCounted: Bool = false
    ) -> DeliveryOutbox.Outcome {
        let head: [UInt8] = [1, 2, 3]
        return head.withUnsafeBytes { head in
            [UInt8](repeating: 7, count: count - 3).withUnsafeBytes {
                outbox.accept(exchange: head, $0, on: channel, isUrgent: isUrgent, isCounted: isCounted)
            }
        }
    }

    private func status(_ rung: RecoveryRung) -> PeerStatus { .recovering(rung, attempt: 1, since: .zero) }

    @Test func aSenderWaitsAboveTheLimitAndGoesOnAtHalfOfIt() {
        withOutbox { outbox in
            let outcomes = (0..<4).map { _ in send(300, &outbox) }
            #expect(outcomes == [.accepted, .accepted, .accepted, .full])
            outbox.release(upTo: 1, on: .reliable)
            #expect(!outbox.hasCredit(on: .reliable, mayDrop: false))
            outbox.release(upTo: 2, on: .reliable)
            #expect(outbox.hasCredit(on: .reliable, mayDrop: false))
        }
    }

    /// Otherwise it could never be sent.
    @Test func anEmptyBufferTakesAMessageOfAnySizeWithinTheMessageLimit() {
        withOutbox { outbox in
            let outcomes = [send(10_000, &outbox), send(10_001, &outbox), send(1, &outbox)]
            #expect(outcomes == [.accepted, .tooLarge(limit: 10_000), .full])
        }
    }

    @Test func aLongMessageIsSplitIntoPartsThatTheOtherSideTakes() {
        withOutbox { outbox in
            outbox.connected(maximumMessageSize: 100)
            _ = send(1000, &outbox)
            let lengths = (0..<12).compactMap { index -> Int? in
                var batch = outbox.frames(on: .reliable, from: 1)
                return index < batch.count ? batch[index].count : nil
            }
            #expect(lengths == Array(repeating: 100, count: 10) + [1000 - 910 + 9])
            #expect(outbox.messageCount(on: .reliable) == 1)
            outbox.release(upTo: 10, on: .reliable)
            #expect(outbox.messageCount(on: .reliable) == 1, "its end has not arrived")
        }
    }

    @Test func plainChannelsSplitNothing() {
        withOutbox { outbox in
            let early = send(200, &outbox, on: .unordered)
            #expect(early == .accepted, "the other side's limit is not known yet")
            outbox.connected(maximumMessageSize: 100)
            let outcomes = [send(101, &outbox, on: .unordered), send(100, &outbox, on: .unordered)]
            #expect(outcomes == [.tooLarge(limit: 100), .accepted])
        }
        withOutbox(level: .plain) { outbox in
            outbox.connected(maximumMessageSize: 100)
            let outcome = send(101, &outbox)
            #expect(outcome == .tooLarge(limit: 100), "nothing reassembles at a plain member")
        }
    }

    @Test func aBroadcastDropsOnlyWhatABrokenParticipantHasNoRoomFor() {
        withOutbox { outbox in
            var link = link(.delivery)
            outbox.connected(maximumMessageSize: 1000)
            _ = send(900, &outbox, mayDrop: true)
            func sent(_ mayDrop: Bool) -> DeliveryOutbox.Outcome { send(200, &outbox, mayDrop: mayDrop) }
            let whole = sent(true)
            _ = link.statusChanged(status(.wait), &outbox)
            let slow = sent(true)
            _ = link.statusChanged(status(.restart), &outbox)
            let broken = (sent(true), sent(true), sent(false))
            #expect(whole == .full && slow == .full)
            #expect(broken == (.dropped, .dropped, .full))
            #expect(outbox.hasCredit(on: .reliable, mayDrop: true) && !outbox.hasCredit(on: .reliable, mayDrop: false))
            let lost = link.statusChanged(.connected(nil), &outbox)
            let again = link.statusChanged(.connected(nil), &outbox)
            #expect((lost, again) == (2, 0))
            let after = sent(true)
            #expect(after == .full)
        }
    }

    @Test func lossyMessagesAreForNowOrNever() {
        withOutbox { outbox in
            let early = send(10, &outbox, on: .lossy)
            outbox.connected(maximumMessageSize: 1000)
            let outcomes = [send(1000, &outbox, on: .lossy), send(10, &outbox, on: .lossy, mayDrop: false)]
            #expect(early == .dropped && outcomes == [.accepted, .full])
            let dropped = outbox.connectionEnded()
            #expect(dropped == 1 && outbox.messageCount(on: .lossy) == 0)
            let late = send(10, &outbox, on: .lossy)
            #expect(late == .dropped)
            #expect(outbox.takeGivenUpCount() == 0, "lossy messages are not among those that were given up")
        }
    }

    /// A sender of bulk waits for its own buffer only, and what others cannot wait for is taken above the limit.
    @Test func exchangeMessagesHaveABufferOfTheirOwnForBulkAndUrgentOnesAreTakenAboveTheLimit() {
        withOutbox(level: .exchange, buffer: 300, bulk: 500) { outbox in
            let bulk = (0..<3).map { _ in exchange(200, &outbox, on: .bulk) }
            #expect(bulk == [.accepted, .accepted, .full])
            #expect(!outbox.hasCredit(on: .bulk, mayDrop: false) && outbox.hasCredit(on: .reliable, mayDrop: false))
            let reliable = [exchange(200, &outbox, on: .reliable), exchange(200, &outbox, on: .reliable)]
            #expect(reliable == [.accepted, .full])
            let urgent = exchange(200, &outbox, on: .reliable, isUrgent: true)
            #expect(urgent == .accepted)
            let tooLong = exchange(10_001, &outbox, on: .reliable, isUrgent: true)
            #expect(tooLong == .tooLarge(limit: 10_000))
        }
    }

    @Test func anExchangeMessageIsItsHeadAndItsBodyAlsoInParts() {
        withOutbox(level: .exchange, buffer: 10_000, bulk: 10_000) { outbox in
            outbox.connected(maximumMessageSize: 100)
            for count in [50, 91, 92, 400] { _ = exchange(count, &outbox, on: .bulk) }
            var batch = outbox.frames(on: .bulk, from: 1)
            let header = DeliveryProtocol.dataHeaderLength
            let frames = (0..<batch.count).map { [UInt8](batch[$0]) }
            #expect(frames.map(\.count) == [59, 100, 100, 10, 100, 100, 100, 100, 45])
            #expect(frames.map(\.first) == [7, 7, 4, 7, 4, 4, 4, 4, 7])
            #expect(frames[4].dropFirst(header).prefix(4) == [1, 2, 3, 7])
            #expect(frames[8].dropFirst(header) == Array(repeating: 7, count: 36)[...])
        }
    }

    /// Only what an application would call a message is told to be lost.
    @Test func theEndCountsExchangeMessagesThatAreSaidToCount() {
        withOutbox(level: .exchange) { outbox in
            _ = exchange(10, &outbox, on: .reliable)
            _ = exchange(10, &outbox, on: .reliable, isCounted: true)
            _ = exchange(10, &outbox, on: .bulk)
            var link = link(.exchange)
            let lost = link.close(&outbox)
            #expect(lost == 1)
            #expect(link.streams[.bulk].machine.accepted == 1 && link.streams[.reliable].machine.accepted == 2)
        }
    }

    @Test func theEndCountsWhatWasNotDelivered() {
        withOutbox { outbox in
            var link = link(.delivery)
            for channel in DeliveryLevel.delivery.channels { _ = send(10, &outbox, on: channel) }
            _ = send(10, &outbox)
            outbox.giveUpMessage()
            let targets = outbox.lastSequences
            #expect(!outbox.isReleased(upTo: targets))
            let lost = link.close(&outbox)
            #expect(lost == 4)
            let outcome = send(1, &outbox)
            #expect(outcome == .gone && outbox.isGone && outbox.hasCredit(on: .reliable, mayDrop: false))
            #expect(link.machine.accepted == 2, "the stream goes on behind them when its memory is taken up again")
        }
    }
}
