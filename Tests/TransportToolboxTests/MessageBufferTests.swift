import Testing
import TransportToolbox
import TransportValues

@Suite struct MessageBufferTests {
    private func text(_ text: String) -> SignalingMessage { .text(Payload(text)) }

    private func code<Result>(_ body: () async throws(TransportError) -> Result) async -> TransportError.Code? {
        do throws(TransportError) { _ = try await body() } catch { return error.code }
        return nil
    }

    @Test func messagesComeOutInTheirOrder() async throws {
        let buffer = MessageBuffer(limit: 1 << 20)
        for number in 0..<500 { try await buffer.append(text("\(number)")) }
        for number in 0..<250 { #expect(try await buffer.next() == text("\(number)")) }
        for number in 250..<500 { #expect(buffer.popFirst() == text("\(number)")) }
        #expect(buffer.popFirst() == nil && buffer.isEmpty && buffer.cost == 0)
    }

    @Test func aMessageLargerThanTheLimitPassesAlone() async throws {
        let buffer = MessageBuffer(limit: 10)
        try await buffer.append(.binary(Payload([UInt8](repeating: 0, count: 1000))))
        #expect(buffer.popFirst()?.payload.count == 1000)
    }

    @Test func emptyMessagesCountToo() {
        let buffer = MessageBuffer(limit: 640)
        var taken = 0
        while buffer.appendNow(text("")) { taken += 1 }
        #expect(taken == 9)
    }

    @Test func sendersWaitForRoomAndAreServedInTurn() async throws {
        let buffer = MessageBuffer(limit: 1)
        try await buffer.append(text("0"))
        let sender = Task {
            for number in 1...50 { try await buffer.append(text("\(number)")) }
        }
        for number in 0...50 { #expect(try await buffer.next() == text("\(number)")) }
        try await sender.value
    }

    @Test func aCancelledSenderSendsNothing() async throws {
        let buffer = MessageBuffer(limit: 1)
        try await buffer.append(text("first"))
        for _ in 0..<100 {
            let sender = Task { try await buffer.append(text("never")) }
            sender.cancel()
            let outcome = await sender.result
            #expect(throws: TransportError.self) { try outcome.get() }
        }
        #expect(buffer.popFirst() == text("first"))
        #expect(buffer.popFirst() == nil)
    }

    @Test func aCancelledReceiverLosesNothing() async throws {
        let buffer = MessageBuffer(limit: 1 << 20)
        var received = 0
        for number in 0..<200 {
            let receiver = Task { try await buffer.next() }
            async let sent: Void = buffer.append(text("\(number)"))
            receiver.cancel()
            if case .success(let message) = await receiver.result {
                #expect(message == text("\(received)"))
                received += 1
            }
            try await sent
        }
        while let message = buffer.popFirst() {
            #expect(message == text("\(received)"))
            received += 1
        }
        #expect(received == 200)
    }

    @Test func aSecondReceiverIsRefused() async throws {
        let buffer = MessageBuffer(limit: 10)
        let both = (0..<2).map { _ in Task { try await buffer.next() } }
        // The second waiter fails at once; the other gets the message.
        var failures = 0
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for task in both {
                group.addTask {
                    do { return try await task.value == text("x") } catch {
                        #expect((error as? TransportError)?.code == .invalidState)
                        try await buffer.append(text("x"))
                        return false
                    }
                }
            }
            for try await isReceiver in group where !isReceiver { failures += 1 }
        }
        #expect(failures == 1)
    }

    @Test func anEndComesAfterWhatWasThere() async throws {
        let buffer = MessageBuffer(limit: 100)
        try await buffer.append(text("last"))
        buffer.finish()
        buffer.finish(TransportError(.io, "too late to matter"))
        #expect(await code { () async throws(TransportError) in try await buffer.append(text("late")) } == .closed)
        #expect(try await buffer.next() == text("last"))
        #expect(try await buffer.next() == nil)
        #expect(try await buffer.next() == nil)
    }

    @Test func anEndWakesEverybody() async throws {
        let full = MessageBuffer(limit: 1)
        try await full.append(text("fills it"))
        let senders = (0..<3).map { _ in Task { try await full.append(text("waits")) } }
        let empty = MessageBuffer(limit: 1)
        let receiver = Task { try await empty.next() }
        full.finish(TransportError(.closed, "over"), discarding: true)
        empty.finish(TransportError(.io, "broken"))
        for sender in senders { await #expect(throws: TransportError.self) { try await sender.value } }
        await #expect(throws: TransportError.self) { try await receiver.value }
        #expect(full.isEmpty)
    }

    @Test func roomIsToldOnceAfterTheLimitWasReached() async throws {
        let told = Locked(0)
        let buffer = MessageBuffer(limit: 4 * 65, onRoom: { told.withLock { $0 += 1 } })
        for _ in 0..<3 { #expect(buffer.appendNow(text("x"))) }
        #expect(!buffer.appendNow(text("x")))
        for _ in 0..<4 { _ = try await buffer.next() }
        #expect(told.withLock { $0 } == 1)
    }
}
