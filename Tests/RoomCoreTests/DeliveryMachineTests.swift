import RoomProtocol
import Testing

@testable import RoomCore

@Suite struct DeliveryMachineTests {
    private let alice = SessionID("alice-1")
    private let bob = SessionID("bob-1")

    /// Two machines whose resume frames were exchanged over a new channel.
    private func openPair() -> (DeliveryMachine, DeliveryMachine) {
        var left = DeliveryMachine(session: alice, peerSession: bob)
        var right = DeliveryMachine(session: bob, peerSession: alice)
        open(&left, &right)
        return (left, right)
    }

    private func open(_ left: inout DeliveryMachine, _ right: inout DeliveryMachine) {
        let fromLeft = left.channelOpened()
        let fromRight = right.channelOpened()
        let areAccepted = (left.resumeReceived(fromRight), right.resumeReceived(fromLeft))
        #expect(areAccepted == (true, true))
    }

    /// Hands all frames that can be transmitted to the other side; what is `lost` never comes.
    private func pump(
        _ from: inout DeliveryMachine, _ to: inout DeliveryMachine, lost: ClosedRange<UInt64>? = nil
    ) -> [UInt64] {
        var delivered: [UInt64] = []
        while let sequence = from.nextToTransmit {
            let ack = UInt32(truncatingIfNeeded: from.received)
            from.frameTransmitted(sequence)
            if let lost, lost.contains(sequence) { continue }
            if to.dataReceived(kind: .binary, sequence: UInt32(truncatingIfNeeded: sequence), ack: ack) == .deliver {
                delivered.append(sequence)
            }
        }
        return delivered
    }

    @Test func framesArriveOnceAndInOrder() {
        var (left, right) = openPair()
        left.framesAccepted(upTo: 5)
        let delivered = pump(&left, &right)
        #expect(delivered == [1, 2, 3, 4, 5])
        let ack = right.ackToSend
        right.ackTransmitted()
        #expect(ack == 5)
        #expect(right.ackToSend == nil)
        let isAccepted = left.ackReceived(5)
        #expect(isAccepted)
        #expect(left.unacknowledged == 0)
    }

    @Test func whatTheOtherSideLacksIsSentAgainAfterARebuildAndNothingElse() {
        var (left, right) = openPair()
        left.framesAccepted(upTo: 10)
        // Six of ten arrive, the acknowledgement does not, then the connection dies.
        let first = pump(&left, &right, lost: 7...10)
        #expect(first == [1, 2, 3, 4, 5, 6])
        left.channelLost()
        right.channelLost()
        left.framesAccepted(upTo: 12)
        #expect(left.nextToTransmit == nil)
        open(&left, &right)
        #expect(left.acknowledged == 6)
        let second = pump(&left, &right)
        #expect(second == [7, 8, 9, 10, 11, 12])
    }

    @Test func aFirstChannelDoesNotWaitForTheOtherSidesResumeFrame() {
        var left = DeliveryMachine(session: alice, peerSession: bob)
        left.framesAccepted(upTo: 1)
        #expect(left.nextToTransmit == nil)
        _ = left.channelOpened()
        #expect(left.nextToTransmit == 1)
    }

    @Test func aLaterChannelWaitsForTheOtherSidesResumeFrame() {
        var (left, right) = openPair()
        left.framesAccepted(upTo: 1)
        _ = pump(&left, &right)
        left.channelLost()
        left.framesAccepted(upTo: 2)
        _ = left.channelOpened()
        #expect(left.nextToTransmit == nil)
    }

    @Test func aDuplicateIsDroppedAndAGapIsAViolation() {
        var (left, right) = openPair()
        left.framesAccepted(upTo: 3)
        _ = pump(&left, &right)
        let verdicts = (
            right.dataReceived(kind: .binary, sequence: 2, ack: 0),
            right.dataReceived(kind: .binary, sequence: 5, ack: 0)
        )
        #expect(verdicts == (.duplicate, .violation))
    }

    @Test func anAcknowledgementOfWhatWasNeverSentIsAViolation() {
        var (left, right) = openPair()
        left.framesAccepted(upTo: 1)
        _ = pump(&left, &right)
        let areAccepted = (left.ackReceived(2), left.ackReceived(1), left.ackReceived(0))
        #expect(areAccepted == (false, true, true))
        #expect(left.acknowledged == 1)
    }

    @Test(arguments: [
        DeliveryProtocol.ResumeFrame(
            session: SessionID("bob-2"), peerSession: SessionID("alice-1"), received: 0, next: 1),
        DeliveryProtocol.ResumeFrame(
            session: SessionID("bob-1"), peerSession: SessionID("alice-2"), received: 0, next: 1),
        DeliveryProtocol.ResumeFrame(
            session: SessionID("bob-1"), peerSession: SessionID("alice-1"), received: 1, next: 1),
        DeliveryProtocol.ResumeFrame(
            session: SessionID("bob-1"), peerSession: SessionID("alice-1"), received: 0, next: 0),
        DeliveryProtocol.ResumeFrame(
            session: SessionID("bob-1"), peerSession: SessionID("alice-1"), received: 0, next: .max),
    ])
    func aResumeFrameThatDoesNotFitIsRefused(_ frame: DeliveryProtocol.ResumeFrame) {
        var left = DeliveryMachine(session: alice, peerSession: bob)
        _ = left.channelOpened()
        let isAccepted = left.resumeReceived(frame)
        #expect(!isAccepted)
    }

    @Test func dataBeforeTheResumeFrameIsAViolation() {
        var right = DeliveryMachine(session: bob, peerSession: alice)
        _ = right.channelOpened()
        let verdict = right.dataReceived(kind: .binary, sequence: 1, ack: 0)
        #expect(verdict == .violation)
    }

    /// A connection that dies between two parts must not make a message of the rest.
    @Test func theRestOfAMessageInPartsComesOverTheNextConnection() {
        var (left, right) = openPair()
        left.framesAccepted(upTo: 5)
        func take(_ kinds: [DeliveryProtocol.Kind]) -> [DeliveryMachine.Verdict] {
            kinds.map { kind in
                let sequence = left.nextToTransmit ?? 0
                left.frameTransmitted(sequence)
                return right.dataReceived(kind: kind, sequence: UInt32(sequence), ack: 0)
            }
        }
        let before = take([.part, .part])
        #expect(before == [.begin, .append])
        left.channelLost()
        right.channelLost()
        open(&left, &right)
        let after = take([.part, .text, .binary])
        #expect(after == [.append, .complete, .deliver])
    }

    @Test func anAcknowledgementThatTheChannelDidNotTakeIsStillToBeSent() {
        var (left, right) = openPair()
        left.framesAccepted(upTo: 1)
        _ = pump(&left, &right)
        let urgency = right.ackUrgency(afterFrameOf: 10)
        #expect(urgency == .soon)
        #expect(right.ackToSend == 1)
        right.ackTransmitted()
        #expect(right.ackToSend == nil)
        let later = right.ackUrgency(afterFrameOf: 10)
        #expect(later == .none)
    }

    @Test func muchIsAcknowledgedAtOnce() {
        var (left, right) = openPair()
        left.framesAccepted(upTo: DeliveryMachine.ackEvery)
        while let sequence = left.nextToTransmit {
            left.frameTransmitted(sequence)
            _ = right.dataReceived(kind: .binary, sequence: UInt32(sequence), ack: 0)
            let urgency = right.ackUrgency(afterFrameOf: 10)
            #expect(urgency == (sequence == DeliveryMachine.ackEvery ? .now : .soon))
        }
        right.ackTransmitted()
        left.framesAccepted(upTo: DeliveryMachine.ackEvery + 1)
        _ = pump(&left, &right)
        let urgency = right.ackUrgency(afterFrameOf: DeliveryMachine.ackEveryBytes)
        #expect(urgency == .now)
    }

    @Test func aPeerThatForgetsWhatItHadIsRefused() {
        var (left, right) = openPair()
        left.framesAccepted(upTo: 3)
        _ = pump(&left, &right)
        let isAccepted = left.ackReceived(2)
        #expect(isAccepted)
        left.channelLost()
        _ = left.channelOpened()
        let isResumed = left.resumeReceived(.init(session: bob, peerSession: alice, received: 1, next: 1))
        #expect(!isResumed)
    }

    /// One side has given the other one up and meets it again with the same session; the other side never noticed.
    @Test func aStreamThatWasGivenUpGoesOnBehindWhatWasLost() {
        var (left, right) = openPair()
        left.framesAccepted(upTo: 4)
        right.framesAccepted(upTo: 2)
        _ = pump(&left, &right, lost: 3...4)
        _ = pump(&right, &left, lost: 2...2)
        var memory = DeliveryMemory()
        var streams = NumberedStreams(session: alice, peerSession: bob)
        streams[.reliable].machine = left
        memory.store(streams)
        right.channelLost()
        left = memory.take(session: alice, peerSession: bob)[.reliable].machine
        #expect(left.unacknowledged == 0)
        open(&left, &right)
        left.framesAccepted(upTo: 6)
        let toRight = pump(&left, &right)
        let toLeft = pump(&right, &left)
        #expect(toRight == [5, 6])
        #expect(toLeft == [2])
    }

    @Test func whatWasGivenUpInTheMiddleOfAMessageEndsIt() {
        var (left, right) = openPair()
        left.framesAccepted(upTo: 2)
        left.frameTransmitted(1)
        let first = right.dataReceived(kind: .part, sequence: 1, ack: 0)
        #expect(first == .begin)
        left.abandon()
        right.channelLost()
        open(&left, &right)
        left.framesAccepted(upTo: 3)
        left.frameTransmitted(3)
        let next = right.dataReceived(kind: .binary, sequence: 3, ack: 0)
        #expect(next == .deliver)
    }

    @Test func theMemoryIsBoundedAndTellsSessionsApart() {
        var memory = DeliveryMemory()
        for number in 0...DeliveryMemory.limit {
            var streams = NumberedStreams(session: alice, peerSession: SessionID("bob-\(number)"))
            streams[.reliable].machine.framesAccepted(upTo: 9)
            streams[.bulk].machine.framesAccepted(upTo: 4)
            memory.store(streams)
        }
        func accepted(_ session: SessionID, _ peer: String) -> [UInt64] {
            let streams = memory.take(session: session, peerSession: SessionID(peer))
            return [streams[.reliable].machine.accepted, streams[.bulk].machine.accepted]
        }
        let oldest = accepted(alice, "bob-0")
        let other = accepted(SessionID("alice-2"), "bob-1")
        let known = accepted(alice, "bob-1")
        let again = accepted(alice, "bob-1")
        #expect(oldest == [0, 0] && other == [0, 0] && known == [9, 4] && again == [0, 0])
    }

    @Test func framesSurviveTheWire() throws {
        let resume = DeliveryProtocol.ResumeFrame(
            session: alice, peerSession: bob, received: 1 << 40, next: UInt64.max)
        let decoded = resume.encoded.withUnsafeBytes { DeliveryProtocol.decode($0) }
        #expect(decoded == .resume(resume))
        for length in 0..<resume.encoded.count {
            #expect(resume.encoded.prefix(length).withUnsafeBytes { DeliveryProtocol.decode($0) } == nil)
        }
        let data: [UInt8] = [3, 0, 0, 1, 2, 0, 0, 0, 9, 65]
        #expect(
            data.withUnsafeBytes { DeliveryProtocol.decode($0) } == .data(kind: .text, sequence: 258, ack: 9))
        #expect([UInt8](arrayLiteral: 5, 0, 0, 0, 7).withUnsafeBytes { DeliveryProtocol.decode($0) } == .ack(7))
        #expect([UInt8](arrayLiteral: 9, 0, 0, 0, 7).withUnsafeBytes { DeliveryProtocol.decode($0) } == nil)
        let exchange: [UInt8] = [7, 0, 0, 0, 1, 0, 0, 0, 2, 65]
        #expect(
            exchange.withUnsafeBytes { DeliveryProtocol.decode($0) } == .data(kind: .exchange, sequence: 1, ack: 2))
    }

    @Test(arguments: 0..<200) func nothingIsLostDoubledOrDisorderedOverAnyScheduleOfOutages(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var (left, right) = openPair()
        var accepted: UInt64 = 0
        var delivered: [UInt64] = []
        for _ in 0..<200 {
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<5:
                accepted += UInt64.random(in: 1...4, using: &generator)
                left.framesAccepted(upTo: accepted)
                // The tail of a burst may be lost with the connection.
                let isCut = Int.random(in: 0..<6, using: &generator) == 0
                let first = left.nextToTransmit ?? accepted
                let cut = UInt64.random(in: first...max(first, accepted), using: &generator)
                delivered += pump(&left, &right, lost: isCut ? cut...UInt64.max : nil)
                if isCut {
                    left.channelLost()
                    right.channelLost()
                    open(&left, &right)
                }
            case 5..<8:
                if let ack = right.ackToSend {
                    right.ackTransmitted()
                    let isAccepted = left.ackReceived(ack)
                    #expect(isAccepted)
                }
            default:
                left.channelLost()
                right.channelLost()
                open(&left, &right)
            }
        }
        delivered += pump(&left, &right)
        #expect(delivered == Array(1...max(1, accepted)), "seed \(seed)")
    }
}
