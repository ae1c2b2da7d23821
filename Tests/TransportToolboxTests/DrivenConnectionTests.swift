import Testing
import TransportValues

@testable import TransportToolbox

/// The reports of drivers, and their meaning for the tasks of a connection.
@Suite(.timeLimit(.minutes(1))) struct DrivenConnectionTests {
    private enum Call: Equatable { case start, flush, resumeReading, close(SignalingClose), abort }

    /// Does nothing but note what is asked of it.
    private final class Driver: SignalingDriver {
        private let calls = Locked<[Call]>([])
        private let onCall: @Sendable (Call) -> Void

        init(_ onCall: @escaping @Sendable (Call) -> Void = { _ in }) { self.onCall = onCall }

        var asked: [Call] { calls.withLock { $0 } }

        func start() { note(.start) }
        func flush() { note(.flush) }
        func resumeReading() { note(.resumeReading) }
        func close(_ reason: SignalingClose, deadline: Timestamp) { note(.close(reason)) }
        func abort() { note(.abort) }

        private func note(_ call: Call) {
            calls.withLock { $0.append(call) }
            onCall(call)
        }
    }

    private func text(_ text: String) -> SignalingMessage { .text(Payload(text)) }

    private func code<Result>(_ body: () async throws(TransportError) -> Result) async -> TransportError.Code? {
        do throws(TransportError) { _ = try await body() } catch { return error.code }
        return nil
    }

    private func makeConnection(bufferLimit: Int = 1 << 20, _ driver: Driver) throws -> DrivenConnection {
        var endpoint = try SignalingEndpoint(url: "ws://127.0.0.1:1/")
        endpoint.maximumMessageSize = 1000
        endpoint.bufferLimit = bufferLimit
        let connection = DrivenConnection(endpoint, deadline: .now() + .seconds(5))
        connection.attach(driver)
        return connection
    }

    private static let cancelled = TransportError(.cancelled, "cancelled")
    private static let broken = TransportError(.io, "broken", isRetryable: true)

    // MARK: The attempt

    @Test func theFirstOutcomeOfAnAttemptCounts() async throws {
        let driver = Driver()
        let open = try makeConnection(driver)
        #expect(open.opened(from: "192.0.2.1"))
        open.failed(Self.broken)
        #expect(
            await code { () throws(TransportError) in try await open.waitUntilOpen(cancelled: Self.cancelled) } == nil)
        #expect(open.localAddress == "192.0.2.1" && !open.isAbandoned)

        let failed = try makeConnection(driver)
        failed.failed(Self.broken)
        #expect(failed.isAbandoned && !failed.opened(from: nil))
        #expect(
            await code { () throws(TransportError) in try await failed.waitUntilOpen(cancelled: Self.cancelled) } == .io
        )
    }

    @Test func anAttemptWhoseTaskIsCancelledIsAborted() async throws {
        let driver = Driver()
        let connection = try makeConnection(driver)
        let task = Task {
            await code { () throws(TransportError) in
                try await connection.waitUntilOpen(cancelled: Self.cancelled)
            }
        }
        task.cancel()
        #expect(await task.value == .cancelled)
        #expect(connection.isAbandoned && driver.asked == [.abort])
        #expect(!connection.opened(from: nil), "the driver learns that the attempt was given up")
    }

    @Test func connectReturnsWhenItsDriverEndsDuringTheAttempt() async throws {
        let connection = try makeConnection(Driver())
        async let outcome = code { () throws(TransportError) in
            try await connection.waitUntilOpen(cancelled: Self.cancelled)
        }
        connection.ended()
        #expect(await outcome == .closed)
    }

    // MARK: Messages

    @Test func driversAreAskedForWhatThereIsToDo() async throws {
        let driver = Driver()
        let connection = try makeConnection(bufferLimit: 150, driver)
        let handle = WebSocketConnection(connection, driver)
        try await handle.send(text("out"))
        #expect(driver.asked == [.flush] && connection.outbound.popFirst() == text("out"))
        #expect(
            await code { () throws(TransportError) in try await handle.send(text(String(repeating: "x", count: 1001))) }
                == .messageTooLarge)
        #expect(connection.inbound.appendNow(text("1")) && connection.inbound.appendNow(text("2")))
        #expect(!connection.inbound.appendNow(text("3")))
        for number in 1...3 { #expect(try await handle.receive() == text("\(number)")) }
        #expect(driver.asked == [.flush, .resumeReading])
    }

    // MARK: The end

    @Test func messagesBeforeABrokenConnectionAreReceivedFirst() async throws {
        let driver = Driver()
        let connection = try makeConnection(driver)
        let handle = WebSocketConnection(connection, driver)
        _ = connection.inbound.appendNow(text("before"))
        connection.connectionLost(Self.broken)
        connection.ended()
        #expect(try await handle.receive() == text("before"))
        #expect(await code { () throws(TransportError) in try await handle.receive() } == .io)
        do throws(TransportError) { try await handle.send(text("after")) } catch {
            #expect(error.code == .closed && error.message.contains("broken"), "\(error)")
        }
    }

    @Test func aCloseByTheOtherSideIsAnEndInOrder() async throws {
        let driver = Driver()
        let connection = try makeConnection(driver)
        let handle = WebSocketConnection(connection, driver)
        _ = connection.inbound.appendNow(text("before"))
        connection.closedByPeer(.goingAway)
        #expect(try await handle.receive() == text("before"))
        #expect(try await handle.receive() == nil && handle.closeReason == .goingAway)
        #expect(await code { () throws(TransportError) in try await handle.send(text("after")) } == .closed)
    }

    @Test func everyCloserWaitsForTheEndAndTheDriverIsAskedOnce() async throws {
        let (calls, feed) = AsyncStream.makeStream(of: Call.self)
        let driver = Driver { feed.yield($0) }
        let connection = try makeConnection(driver)
        let handle = WebSocketConnection(connection, driver)
        try await handle.send(text("last"))
        _ = connection.inbound.appendNow(text("unread"))
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<3 { group.addTask { await handle.close(.normal, within: .seconds(30)) } }
            for await call in calls where call == .close(.normal) { break }
            #expect(connection.outbound.popFirst() == text("last"), "what was accepted goes out")
            #expect(await code { () throws(TransportError) in try await handle.receive() } == .closed)
            connection.ended()
        }
        await handle.close(.goingAway, within: .seconds(30))
        #expect(driver.asked == [.flush, .close(.normal)])
    }

    @Test func anAbortWakesEverybodyAndDropsWhatCame() async throws {
        let driver = Driver()
        let connection = try makeConnection(driver)
        let handle = WebSocketConnection(connection, driver)
        _ = connection.inbound.appendNow(text("dropped"))
        async let closed: Void = handle.close(.normal, within: .seconds(30))
        handle.abort()
        await closed
        #expect(await code { () throws(TransportError) in try await handle.receive() } == .closed)
        #expect(driver.asked.contains(.abort))
        await handle.close(.normal, within: .seconds(30))
    }

    @Test func theLastReferenceAborts() throws {
        let driver = Driver()
        let connection = try makeConnection(driver)
        _ = WebSocketConnection(connection, driver)
        #expect(driver.asked == [.abort])
    }

    @Test func sendersLearnFirstThatNothingCanBeSent() async throws {
        let driver = Driver()
        let connection = try makeConnection(driver)
        let handle = WebSocketConnection(connection, driver)
        connection.sendingFailed()
        #expect(await code { () throws(TransportError) in try await handle.send(text("x")) } == .closed)
        _ = connection.inbound.appendNow(text("still"))
        #expect(try await handle.receive() == text("still"))
    }
}

@Suite(.timeLimit(.minutes(1))) struct PendingOutcomeTests {
    private static let cancelled = TransportError(.cancelled, "cancelled")

    @Test func theFirstOutcomeCountsAndTheOthersAreGivenBack() async throws {
        let pending = PendingOutcome<Int>()
        #expect(pending.outcome == nil)
        #expect(pending.settle(.success(1)))
        #expect(!pending.settle(.success(2)) && !pending.settle(.failure(Self.cancelled)))
        #expect(try await pending.value {} == 1)
        #expect(try pending.outcome?.get() == 1)
    }

    /// Settled and cancelled at every moment: the waiting task goes on, once.
    @Test func outcomesAndCancellationRace() async throws {
        for round in 0..<200 {
            let pending = PendingOutcome<Int>()
            let task = Task { try await pending.value { pending.settle(.failure(Self.cancelled)) } }
            for _ in 0..<(round % 7) { await Task.yield() }
            async let settled = Task.detached { pending.settle(.success(round)) }.value
            if round % 2 == 0 { task.cancel() }
            let wasFirst = await settled
            switch await task.result {
            case .success(let value): #expect(value == round && wasFirst)
            case .failure(let error): #expect((error as? TransportError)?.code == .cancelled && !wasFirst)
            }
        }
    }
}
