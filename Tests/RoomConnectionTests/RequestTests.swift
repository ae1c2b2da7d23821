import InProcessTransport
import RoomProtocol
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import RoomConnection

private struct Move: Codable, Sendable { var x: Int }
private struct Position: Codable, Sendable, Hashable { var x: Int }
private struct Secret: Error, CustomStringConvertible { var description: String { "the password is 1234" } }

/// Runs `body`, and returns the error of a request.
private func failure(_ body: () async throws -> Void) async -> RequestError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? RequestError
    }
}

@Suite(.timeLimit(.minutes(1))) struct RequestTests {
    private func pair(
        handlerGrace: Duration = .zero, _ body: (Room, Room, ParticipantID) async throws -> Void
    ) async throws {
        try await World.run { world in
            try await world.pair({ $0.handlerGrace = handlerGrace }) { alice, bob in
                try await body(alice.room, bob.room, try #require(bob.room.selfID))
            }
        }
    }

    @Test func aTypedRequestGetsItsTypedAnswer() async throws {
        try await pair { alice, bob, id in
            try bob.handle("move", of: Move.self) { move, caller in
                #expect(caller == alice.selfID)
                return Position(x: move.x + 1)
            }
            for x in 1...20 {
                #expect(try await alice.request("move", Move(x: x), of: Position.self, to: id) == Position(x: x + 1))
            }
        }
    }

    @Test func bothSidesAskEachOtherAtOnce() async throws {
        try await pair { alice, bob, id in
            let other = try #require(alice.selfID)
            for room in [alice, bob] { try room.handle("echo") { body, _ in body } }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (room, participant) in [(alice, id), (bob, other)] {
                    for number in 0..<200 as Range<UInt8> {
                        group.addTask {
                            let answer = try await room.request("echo", Payload([number]), to: participant)
                            #expect(answer == Payload([number]))
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func noMoreThanSixtyFourHandlersRunForOneCaller() async throws {
        try await pair { alice, bob, id in
            let counts = Locked((running: 0, most: 0))
            let isFull = Journal<Int>()
            let gate = Flag()
            try bob.handle("wait") { body, _ in
                let running = counts.withLock { counts -> Int in
                    counts.running += 1
                    counts.most = max(counts.most, counts.running)
                    return counts.running
                }
                isFull.append(running)
                await gate.wait()
                counts.withLock { $0.running -= 1 }
                return body
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<200 { group.addTask { _ = try await alice.request("wait", to: id) } }
                try await isFull.wait("all slots are taken") { $0.contains(64) }
                gate.raise()
                try await group.waitForAll()
            }
            #expect(counts.withLock { $0.most } == 64)
        }
    }

    @Test(arguments: [Duration.zero, .milliseconds(500)]) func anUnknownMethodIsAnErrorOfItsOwn(
        handlerGrace: Duration
    ) async throws {
        try await pair(handlerGrace: handlerGrace) { alice, bob, id in
            let error = await failure { _ = try await alice.request("nothing", to: id) }
            #expect(error?.code == .unknownMethod && error?.method == "nothing" && error?.participant == id)
            // The time in which a handler is waited for is over now.
            #expect(bob.hub.exchange.graceEnd(now: .now()) == nil)
            let again = await failure { _ = try await alice.request("nothing", to: id) }
            #expect(again?.code == .unknownMethod)
        }
    }

    @Test func aRequestThatComesBeforeItsHandlerWaitsForIt() async throws {
        try await pair(handlerGrace: .seconds(3600)) { alice, bob, id in
            async let answer = alice.request("late", to: id)
            // It is there before the handler, or a little after it: both are right.
            try await alice.flush()
            try bob.handle("late") { _, _ in Payload([1]) }
            #expect(try await answer == Payload([1]))
        }
    }

    @Test func aRefusalReachesTheCallerAndNothingElseThatAHandlerThrows() async throws {
        try await pair { alice, bob, id in
            try bob.handle("refuse") { _, _ in throw RequestFailure("out_of_reach", "x is too large") }
            try bob.handle("fail") { _, _ in throw Secret() }
            let refusal = await failure { _ = try await alice.request("refuse", to: id) }
            #expect(refusal?.code == .refused)
            #expect(refusal?.failure == RequestFailure("out_of_reach", "x is too large"))
            let error = await failure { _ = try await alice.request("fail", to: id) }
            #expect(error?.code == .handlerFailed && error?.failure == nil)
            #expect(error?.description.contains("1234") == false)
        }
    }

    @Test func valuesThatDoNotFitAreUndecodable() async throws {
        try await pair { alice, bob, id in
            let wasCalled = Locked(false)
            try bob.handle("move", of: Move.self) { _, _ in
                wasCalled.withLock { $0 = true }
                return Position(x: 0)
            }
            let request = await failure {
                _ = try await alice.request("move", ["y": "?"], of: Position.self, to: id)
            }
            #expect(request?.code == .undecodable && !wasCalled.withLock { $0 })
            let answer = await failure { _ = try await alice.request("move", Move(x: 1), of: [Int].self, to: id) }
            #expect(answer?.code == .undecodable && wasCalled.withLock { $0 })
        }
    }

    @Test func aRequestOrAnAnswerThatIsTooLargeSaysSo() async throws {
        try await pair { alice, bob, id in
            try bob.handle("large") { _, _ in Payload([UInt8](repeating: 0, count: 5 << 20)) }
            let answer = await failure { _ = try await alice.request("large", to: id) }
            #expect(answer?.code == .tooLarge)
            let request = await failure {
                _ = try await alice.request("large", Payload([UInt8](repeating: 0, count: 5 << 20)), to: id)
            }
            #expect(request?.code == .tooLarge)
        }
    }

    /// The rooms take requests that they never answer. Returns when handlers begin, and whether they were cancelled.
    private func handleForEver(_ rooms: Room...) throws -> (begins: Journal<Bool>, ends: Journal<Bool>) {
        let (begins, ends) = (Journal<Bool>(), Journal<Bool>())
        for room in rooms {
            try room.handle("for ever") { body, _ in
                begins.append(true)
                await Flag().wait()
                ends.append(Task.isCancelled)
                return body
            }
        }
        return (begins, ends)
    }

    @Test func aTimeoutEndsBothSides() async throws {
        try await pair { alice, bob, id in
            let (begins, ends) = try handleForEver(bob)
            let timeout = Duration.seconds(3600)
            async let error = failure { _ = try await alice.request("for ever", to: id, timeout: timeout) }
            try await begins.wait("the handler runs") { $0.count == 1 }
            let late = Timestamp.now() + timeout
            _ = await alice.hub.exchange.loop.runUnlessEnded { alice.hub.exchange.peer(id)?.requestsLate(now: late) }
            #expect(await error?.code == .timedOut)
            try await ends.wait("the handler is cancelled") { $0 == [true] }
        }
    }

    @Test func aRequestEndsWhenItsTimeIsOver() async throws {
        try await pair { alice, bob, id in
            try bob.handle("for ever") { body, _ in
                await Flag().wait()
                return body
            }
            let error = await failure { _ = try await alice.request("for ever", to: id, timeout: .milliseconds(50)) }
            #expect(error?.code == .timedOut)
        }
    }

    @Test func cancellingTheCallerCancelsTheHandler() async throws {
        try await pair { alice, bob, id in
            let (begins, ends) = try handleForEver(bob)
            let caller = Task { try await alice.request("for ever", to: id, timeout: nil) }
            try await begins.wait("the handler runs") { $0.count == 1 }
            caller.cancel()
            #expect(await failure { _ = try await caller.value }?.code == .cancelled)
            try await ends.wait("the handler is cancelled") { $0 == [true] }
        }
    }

    @Test func aParticipantThatLeavesEndsItsRequestsAndItsHandlers() async throws {
        try await pair { alice, bob, id in
            let other = try #require(alice.selfID)
            let (begins, ends) = try handleForEver(alice, bob)
            async let error = failure { _ = try await alice.request("for ever", to: id, timeout: nil) }
            async let own = failure { _ = try await bob.request("for ever", to: other, timeout: nil) }
            try await begins.wait("both handlers run") { $0.count == 2 }
            await bob.leave()
            #expect(await error?.code == .peerGone)
            #expect(await own?.code == .peerGone)
            try await ends.wait("both handlers are cancelled") { $0 == [true, true] }
            #expect(await failure { _ = try await alice.request("x", to: id) }?.code == .peerGone)
            #expect(await failure { _ = try await bob.request("x", to: other) }?.code == .left)
        }
    }

    @Test func aRequestAndItsAnswerOutliveAnOutage() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let id = try #require(bob.room.selfID)
                let calls = Locked(0)
                let gate = Flag()
                let begins = Journal<Bool>()
                try bob.room.handle("slow") { body, _ in
                    calls.withLock { $0 += 1 }
                    begins.append(true)
                    await gate.wait()
                    return body
                }
                async let first = alice.room.request("slow", Payload([1]), to: id)
                try await begins.wait("the handler runs") { $0.count == 1 }
                world.peers.cut(newPathsToo: true)
                gate.raise()
                async let second = alice.room.request("slow", Payload([2]), to: id)
                try await alice.events.wait("the outage") { $0.contains { $0.isRecovery } }
                world.peers.restore()
                #expect(try await first == Payload([1]))
                #expect(try await second == Payload([2]))
                #expect(calls.withLock { $0 } == 2)
            }
        }
    }

    @Test func requestsAndTopicsGoOnWithoutAServerAndAfterItHasLostItsState() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let id = try #require(bob.room.selfID)
                let calls = Locked(0)
                try bob.room.handle("echo") { body, _ in
                    calls.withLock { $0 += 1 }
                    return body
                }
                let messages = bob.room.topic("t").messages()
                await world.killServer()
                #expect(try await alice.room.request("echo", Payload([1]), to: id) == Payload([1]))
                try await alice.room.topic("t").publish("without a server")
                try world.startServer()
                for member in [alice, bob] {
                    try await member.events.wait("the way back") { Member.joins($0).count == 2 }
                }
                #expect(try await alice.room.request("echo", Payload([2]), to: id) == Payload([2]))
                try await alice.room.topic("t").publish("with another one")
                var iterator = messages.makeAsyncIterator()
                #expect(await iterator.next()?.text == "without a server")
                #expect(await iterator.next()?.text == "with another one")
                #expect(calls.withLock { $0 } == 2)
            }
        }
    }

    @Test func aMethodHasOneHandler() async throws {
        try await pair { alice, bob, id in
            let first = try bob.handle("m") { _, _ in Payload([1]) }
            #expect { try bob.handle("m") { _, _ in Payload([2]) } } throws: {
                ($0 as? RoomError)?.code == .configuration
            }
            #expect(try await alice.request("m", to: id) == Payload([1]))
            first.remove()
            try bob.handle("m") { _, _ in Payload([2]) }
            first.remove()
            #expect(try await alice.request("m", to: id) == Payload([2]))
        }
    }
}

extension RoomEvent {
    fileprivate var isRecovery: Bool {
        if case .peer(_, let status) = self { status.isRecovering } else { false }
    }
}
