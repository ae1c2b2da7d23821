import InProcessTransport
import RoomProtocol
import RoomServerCore
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import RoomConnection

/// The whole engine over the in-process transports: everything but the network is real.
@Suite(.timeLimit(.minutes(1))) struct RoomTests {
    @Test func membersMeetAndTalkOnEveryChannel() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                #expect(alice.room.isHost && !bob.room.isHost)
                #expect(alice.room.participants.map(\.name) == ["bob"])
                try await alice.room.send("to all")
                try await bob.room.send("to alice", to: alice.room.selfID)
                try await bob.messages.wait("a message") { $0.map(\.text) == ["to all"] }
                try await alice.messages.wait("a message") { $0.map(\.text) == ["to alice"] }
                for channel in [RoomChannel.unordered, .lossy] {
                    try await alice.room.send(channel.rawValue, channel: channel)
                    var iterator = bob.room.messages(on: channel).makeAsyncIterator()
                    #expect(await iterator.next()?.text == channel.rawValue)
                }
                try await alice.room.flush(within: .seconds(5))
            }
        }
    }

    @Test func aJoinedMemberHasTheRoster() async throws {
        try await World.run { world in
            try await world.member("alice", host: true) { alice in
                for number in 1...20 {
                    try await world.member("bob-\(number)") { bob in
                        #expect(bob.room.participants.map(\.name) == ["alice"])
                        try await bob.room.send("hello", to: alice.room.selfID)
                        try await alice.messages.wait("the message") { $0.count == number }
                    }
                    // A name is free again when its owner has left.
                    try await alice.events.wait("the leave") { Member.left($0) == number }
                }
            }
        }
    }

    /// A program may hold its room longer than the runtime that it came from. The room's loop has ended then.
    @Test(.timeLimit(.minutes(1))) func callsToARoomWithoutItsRuntimeReturn() async throws {
        let kept = Locked<Room?>(nil)
        try await World.run { world in
            try await world.member("alice", host: true) { alice in kept.withLock { $0 = alice.room } }
        }
        let room = try #require(kept.withLock { $0 })
        await room.leave()
        #expect(await room.statistics().isEmpty)
        await room.onMessage { _ in }
        await room.clearMessageHandler()
        await #expect(throws: RoomError.self) { try await room.send("too late") }
    }

    @Test func aPairThatIsNotConnectedTellsWhyAndThatItIsOver() async throws {
        try await World.run { world in
            try await world.pair({ $0.recovery.stall = .milliseconds(300) }) { alice, bob in
                world.peers.cut(newPathsToo: true)
                try await alice.events.wait("the reason") { events in
                    events.contains {
                        if case .stalled(_, let stall) = $0 { stall.code == .checksUnanswered } else { false }
                    }
                }
                world.peers.restore()
                try await alice.events.wait("the end of it") { events in
                    events.contains {
                        if case .resolved(_, let stall) = $0 { stall.code == .checksUnanswered } else { false }
                    }
                }
            }
        }
    }

    /// Either side closes it: the one that opened it and the one that did not.
    @Test(arguments: ["room.reliable", "room.unordered", "room.lossy"])
    func aChannelThatIsClosedIsOpenedAgainAndNothingIsLostOrDoubled(label: String) async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let ids = try [#require(alice.room.selfID?.rawValue), #require(bob.room.selfID?.rawValue)]
                for round in 0..<3 {
                    for number in 0..<10 {
                        try await alice.room.send("\(round * 10 + number)")
                        if number == 5 { world.peers.closeChannels(labelled: label) { $0 == ids[round % 2] } }
                    }
                    try await bob.messages.wait("round \(round)") { $0.count >= (round + 1) * 10 }
                }
                #expect(bob.messages.entries.map(\.text) == (0..<30).map { "\($0)" })
                try await alice.room.send("last", channel: .unordered)
                var iterator = bob.room.messages(on: .unordered).makeAsyncIterator()
                #expect(await iterator.next()?.text == "last")
            }
        }
    }

    @Test func unreadDataIsReportedAsAStall() async throws {
        try await World.run { world in
            try await world.pair(
                {
                    $0.recovery.stall = .milliseconds(300); $0.receiveLimit = 65_536
                }, bobReads: false
            ) { alice, bob in
                for _ in 0..<4 { try await alice.room.send(Payload([UInt8](repeating: 0, count: 40_000))) }
                try await alice.events.wait("the reason") { events in
                    events.contains {
                        if case .stalled(_, let stall) = $0 { stall.code == .notAcknowledged } else { false }
                    }
                }
                #expect(Member.connected(alice.events.entries).count == 1)
                await bob.room.onMessage { _ in }
                try await alice.events.wait("the end of it") { events in
                    events.contains {
                        if case .resolved(_, let stall) = $0 { stall.code == .notAcknowledged } else { false }
                    }
                }
            }
        }
    }

    @Test func aHandlerGetsWhatCameBeforeItAndAnswersOnTheLoop() async throws {
        try await World.run { world in
            try await world.pair(bobReads: false) { alice, bob in
                try await alice.room.send("one")
                try await alice.room.flush()
                let room = bob.room
                await bob.room.onMessage { message in
                    message.withBytes { bytes in
                        // Its buffer is empty: there is credit.
                        try? room.trySend(bytes, isText: message.isText, to: message.from)
                    }
                }
                try await alice.room.send("two")
                try await alice.messages.wait("both echoes") { $0.map(\.text) == ["one", "two"] }
            }
        }
    }

    @Test func refusalsOfAFirstJoinAreTyped() async throws {
        try await World.run { world in
            await #expect(throws: RoomError.self) { try await world.member("guest") { _ in } }
            try await world.member("alice", host: true) { _ in
                do {
                    try await world.member("alice") { _ in Issue.record("two of one name") }
                } catch let error as RoomError {
                    #expect(error.code == .refused && error.protocolCode == .nameTaken)
                }
            }
        }
    }

    @Test func aServerThatCannotBeReachedEndsAFirstJoinInTime() async throws {
        try await World.run { world in
            await world.killServer()
            do {
                try await world.member("alice", host: true, { $0.joinTimeout = .milliseconds(300) }) { _ in }
                Issue.record("joined nothing")
            } catch let error as RoomError {
                #expect(error.code == .timedOut && error.message.contains("ws://localhost:\(world.port)/"))
            }
            try world.startServer()
        }
    }

    @Test(.timeLimit(.minutes(1))) func leaveDoesNotWaitForATokenProvider() async throws {
        let calls = Locked<[UnsafeContinuation<Void, Never>]>([])
        try await World.run { world in
            var configuration = try world.configuration
            configuration.joinTimeout = .milliseconds(200)
            configuration.token = { _ in
                await withUnsafeContinuation { call in calls.withLock { $0.append(call) } }
                return "late"
            }
            try await TransportRuntime.withRunning(configuration, registry: world.registry(SignalingFaultControl())) {
                runtime in
                let error = await #expect(throws: RoomError.self) {
                    try await runtime.connect(toRoom: "lab", as: "alice", host: true)
                }
                #expect(error?.code == .timedOut)
            }
        }
        for call in calls.withLock({ $0 }) { call.resume() }
    }

    @Test(arguments: ["unknown backend", "unknown option", "bad limit", "bad budget", "bad order of budgets"])
    func aWrongConfigurationIsSaidBeforeAnythingStarts(_ what: String) async throws {
        try await World.run { world in
            do {
                try await world.member("alice", host: true) { configuration in
                    switch what {
                    case "unknown backend": configuration.signaling = "pigeon"
                    case "unknown option": configuration.peer.options["speed"] = .integer(9)
                    case "bad limit": configuration.sendLimit = 1
                    case "bad budget": configuration.recovery.silence = .zero
                    default: configuration.recovery.rebuildWithoutPath = .seconds(5)
                    }
                } _: { _ in
                    Issue.record("started with \(what)")
                }
            } catch let error as RoomError {
                #expect(error.code == .configuration, "\(error)")
            }
        }
    }

    /// A message that the other side does not accept would break the connection, be sent again, and break the next one.
    @Test func aMessageThatTheOtherSideWouldNotTakeIsRefusedHere() async throws {
        try await World.run { world in
            try await world.member("alice", host: true) { alice in
                try await world.member("bob", { $0.maximumMessageSize = 65_536 }) { bob in
                    try await alice.waitUntilConnected()
                    let id = try #require(bob.room.selfID)
                    #expect(alice.room.participants.first?.maximumMessageSize == 65_536)
                    do {
                        try await alice.room.send(Payload([UInt8](repeating: 1, count: 65_537)), to: id)
                        Issue.record("taken")
                    } catch let error as RoomError {
                        #expect(error.code == .messageTooLarge && error.message.contains("65536"))
                    }
                    try await alice.room.send(Payload([UInt8](repeating: 1, count: 65_536)), to: id)
                    try await bob.messages.wait("the message") { $0.count == 1 }
                }
            }
        }
    }

    @Test func aReceiverThatDoesNotReadHoldsTheSenderBack() async throws {
        try await World.run { world in
            func limit(_ configuration: inout RoomConfiguration) {
                configuration.sendLimit = 1 << 20
                configuration.receiveLimit = 1 << 20
                configuration.maximumMessageSize = 1 << 20
            }
            try await world.pair(limit, bobReads: false) { alice, bob in
                let id = try #require(bob.room.selfID)
                let chunk = Payload([UInt8](repeating: 7, count: 100_000))
                var accepted = 0
                // The limit of each side, the buffers of the transport, and one message that may exceed each.
                var isFull = false
                while !isFull, accepted < 1000 {
                    do throws(RoomError) {
                        try alice.room.trySend(chunk, to: id)
                        accepted += 1
                    } catch {
                        isFull = error.code == .wouldBlock
                    }
                }
                #expect(isFull && accepted < 60, "accepted \(accepted)")
                let waiting = Locked(false)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        try await alice.room.send(Payload([1, 2, 3]), to: id)
                        waiting.withLock { $0 = true }
                    }
                    let total = accepted + 1
                    group.addTask {
                        var iterator = bob.room.messages().makeAsyncIterator()
                        for _ in 0..<total { _ = await iterator.next() }
                    }
                    try await group.waitForAll()
                }
                #expect(waiting.withLock { $0 })
            }
        }
    }

    @Test func aParticipantThatIsKickedIsToldAndStaysAway() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                alice.room.kick(try #require(bob.room.selfID), reason: "enough")
                try await bob.events.wait("the end") { events in
                    if case .left(.kicked)? = events.last { true } else { false }
                }
                try await alice.events.wait("bob's leave") { Member.left($0) == 1 }
                await #expect(throws: RoomError.self) { try await bob.room.send("but") }
                #expect(alice.room.participants.isEmpty)
            }
        }
    }

    @Test func undeliveredMessagesToAMemberThatLeavesAreCounted() async throws {
        try await World.run { world in
            try await world.pair(bobReads: true) { alice, bob in
                let id = try #require(bob.room.selfID)
                world.peers.cut(newPathsToo: true)
                for number in 1...5 { try await alice.room.send("\(number)", to: id) }
                alice.room.kick(id)
                try await alice.events.wait("the count") { events in
                    events.contains { if case .undelivered(id, count: 5) = $0 { true } else { false } }
                }
                world.peers.restore()
            }
        }
    }

    @Test func aRuntimeThatEndsLeavesItsRooms() async throws {
        try await World.run { world in
            let faults = SignalingFaultControl()
            try await world.member("alice", host: true) { alice in
                let room = try await TransportRuntime.withRunning(world.configuration, registry: world.registry(faults))
                { runtime in
                    try await runtime.connect(toRoom: "lab", as: "bob")
                }
                try await alice.events.wait("bob's leave") { Member.left($0) == 1 }
                await #expect(throws: RoomError.self) { try await room.send("too late") }
            }
        }
    }

    @Test func leavingTwiceAndReadingAfterTheEndAreHarmless() async throws {
        try await World.run { world in
            try await world.member("alice", host: true) { alice in
                await alice.room.leave()
                await alice.room.leave()
                var iterator = alice.room.messages(on: .unordered).makeAsyncIterator()
                #expect(await iterator.next() == nil)
                #expect(throws: RoomError.self) {
                    try alice.room.trySend([], to: ParticipantID("x"))
                }
            }
        }
    }
}
