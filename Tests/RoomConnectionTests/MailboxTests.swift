import Testing
import TransportPluginAPI

@testable import RoomConnection

@Suite(.timeLimit(.minutes(1))) struct MailboxTests {
    @Test func elementsComeInOrderAndTheEndComesLast() async {
        let mailbox = Mailbox<Int>(limit: 10)
        mailbox.append(1, weight: 1)
        mailbox.append(2, weight: 1)
        mailbox.finish()
        mailbox.append(3, weight: 1)
        #expect(await mailbox.takeAll() == [1, 2])
        #expect(await mailbox.takeAll() == nil)
    }

    @Test func aWaitingConsumerIsWoken() async {
        let mailbox = Mailbox<Int>(limit: 10)
        async let batch = mailbox.takeAll()
        mailbox.append(7, weight: 1)
        #expect(await batch == [7])
    }

    @Test func aFullMailboxSaysSoAndTellsWhenItIsDrained() async {
        let mailbox = Mailbox<Int>(limit: 2)
        let drained = Locked(0)
        mailbox.setOnDrained { drained.withLock { $0 += 1 } }
        #expect(mailbox.append(1, weight: 1))
        #expect(!mailbox.append(2, weight: 1))
        #expect(mailbox.isFull)
        _ = await mailbox.takeAll()
        #expect(drained.withLock { $0 } == 1)
        #expect(!mailbox.isFull)
        mailbox.append(3, weight: 1)
        _ = await mailbox.takeAll()
        #expect(drained.withLock { $0 } == 1)
    }

    @Test func cancellingAConsumerEndsItsWaitAndNotTheMailbox() async {
        let mailbox = Mailbox<Int>(limit: 2)
        let task = Task { await mailbox.takeAll() }
        task.cancel()
        #expect(await task.value == nil)
        mailbox.append(1, weight: 1)
        #expect(await mailbox.takeAll() == [1])
    }

    @Test func coalescedElementsAreBounded() async {
        let mailbox = Mailbox<Int>(limit: 3)
        for value in 1...5 { mailbox.coalesce(value) }
        #expect(await mailbox.takeAll() == [3, 4, 5])
    }

    @Test func onlyTheLastOfCoalescedElementsIsKept() async {
        let mailbox = Mailbox<Int>(limit: 10)
        for value in [1, 10, 2, 3] { mailbox.coalesce(value) { ($0 < 10) == (value < 10) } }
        #expect(await mailbox.takeAll() == [10, 3])
    }
}
