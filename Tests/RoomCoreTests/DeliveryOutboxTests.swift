import RoomCore
import RoomProtocol
import Testing
import TransportValues

@Suite struct DeliveryOutboxTests {
    private func withOutbox(
        isDelivery: Bool = true, buffer: Int = 1000, message: Int = 10_000, _ body: (inout DeliveryOutbox) -> Void
    ) {
        var outbox = DeliveryOutbox(
            isDelivery: isDelivery, lastSequence: 0, limits: .init(buffer: buffer, message: message, block: 256))
        body(&outbox)
        // Gives the memory back.
        var link = DeliveryLink(
            machine: DeliveryMachine(session: SessionID("a"), peerSession: SessionID("b")), parts: [],
            isDelivery: isDelivery,
            messageLimit: 0)
        _ = link.close(&outbox)
    }

    private func send(
        _ count: Int, _ outbox: inout DeliveryOutbox, on channel: DeliveryChannel = .reliable, mayDrop: Bool = false
    ) -> DeliveryOutbox.Outcome {
        [UInt8](repeating: 7, count: count).withUnsafeBytes {
            outbox.accept($0, isText: false, on: channel, mayDrop: mayDrop)
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
                let batch = outbox.frames(on: .reliable, from: 1)
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
        withOutbox(isDelivery: false) { outbox in
            outbox.connected(maximumMessageSize: 100)
            let outcome = send(101, &outbox)
            #expect(outcome == .tooLarge(limit: 100), "nothing reassembles at a plain member")
        }
    }

    @Test func aBroadcastDropsOnlyWhatABrokenParticipantHasNoRoomFor() {
        withOutbox { outbox in
            var link = DeliveryLink(
                machine: DeliveryMachine(session: SessionID("a"), peerSession: SessionID("b")), parts: [],
                isDelivery: true, messageLimit: 0)
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

    @Test func theEndCountsWhatWasNotDelivered() {
        withOutbox { outbox in
            var link = DeliveryLink(
                machine: DeliveryMachine(session: SessionID("a"), peerSession: SessionID("b")), parts: [],
                isDelivery: true, messageLimit: 0)
            for channel in DeliveryChannel.allCases { _ = send(10, &outbox, on: channel) }
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
