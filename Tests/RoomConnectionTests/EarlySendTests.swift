import InProcessTransport
import RoomProtocol
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import RoomConnection

/// Messages that are sent before the room is joined, or before its members are connected, arrive all the same.
@Suite(.timeLimit(.minutes(1))) struct EarlySendTests {
    /// Runs `body` with a room that is being joined; the host `bob` is in it.
    private func opening(
        _ world: World, room: String = "lab", _ body: (Room) async throws -> Void
    ) async throws {
        try await TransportRuntime.withRunning(
            try world.configuration, registry: world.registry(SignalingFaultControl())
        ) { runtime in
            let room = try await runtime.open(room: room, as: "alice")
            try await body(room)
        }
    }

    @Test(arguments: [RoomChannel.reliable, .unordered])
    func sendingWaitsUntilTheRoomIsJoinedAndIsForEverybodyInIt(_ channel: RoomChannel) async throws {
        try await World.run { world in
            try await world.member("bob", host: true) { bob in
                try await opening(world) { room in
                    #expect(try await room.send("early", channel: channel).acceptedCount == 1)
                    try await room.flush(within: .seconds(10))
                    var messages = bob.room.messages(on: channel).makeAsyncIterator()
                    if channel == .unordered { #expect(await messages.next()?.text == "early") }
                    if channel == .reliable { try await bob.messages.wait("it") { $0.map(\.text) == ["early"] } }
                }
            }
        }
    }

    @Test func sendingToOneParticipantWaitsToo() async throws {
        try await World.run { world in
            try await world.member("bob", host: true) { bob in
                try await opening(world) { room in
                    #expect(try await room.send("early", to: bob.room.selfID).acceptedCount == 1)
                    try await bob.messages.wait("it") { $0.map(\.text) == ["early"] }
                }
            }
        }
    }

    @Test func sendingThrowsWhyTheRoomIsNotJoined() async throws {
        try await World.run { world in
            try await opening(world, room: "nowhere") { room in
                let error = await #expect(throws: RoomError.self) { try await room.send("early") }
                #expect(error?.protocolCode == .roomNotFound)
            }
        }
    }

    /// As the one that waited for the answer.
    @Test func sendingAfterTheRefusalThrowsWhyTheRoomIsNotJoined() async throws {
        try await World.run { world in
            try await opening(world, room: "nowhere") { room in
                for await event in room.events { if case .left = event { break } }
                for _ in 0..<2 {
                    let error = await #expect(throws: RoomError.self) { try await room.send("late") }
                    #expect(error?.protocolCode == .roomNotFound)
                }
                let error = await #expect(throws: RoomError.self) {
                    try await room.send("late", to: ParticipantID("bob"))
                }
                #expect(error?.protocolCode == .roomNotFound)
            }
        }
    }

    @Test func sendingThrowsWhenTheRoomIsLeftBeforeItIsJoined() async throws {
        try await World.run { world in
            await world.killServer()
            try await opening(world) { room in
                async let sending = room.send("early")
                await room.leave(within: .zero)
                do {
                    _ = try await sending
                    Issue.record("sent to nobody")
                } catch let error as RoomError {
                    #expect(error.code == .left)
                }
            }
            try world.startServer()
        }
    }

    @Test func tryingToSendBlocksUntilTheRoomIsJoined() async throws {
        try await World.run { world in
            await world.killServer()
            try await opening(world) { room in
                do throws(RoomError) {
                    try room.trySend("early", to: ParticipantID("bob"))
                    Issue.record("taken by nobody")
                } catch {
                    #expect(error.code == .wouldBlock)
                }
            }
            try world.startServer()
        }
    }

    @Test func aMessageInAnEmptyRoomHasNoReceivers() async throws {
        try await World.run { world in
            try await world.member("alice", host: true) { alice in
                for channel in RoomChannel.allCases {
                    let report = try await alice.room.send("?", channel: channel)
                    #expect(report.acceptedCount == 0 && report.isComplete)
                }
            }
        }
    }

    /// The last acknowledgement goes out with the goodbye: a message that has arrived is not counted as undelivered.
    @Test func aLeavingMemberAcknowledgesReceivedMessages() async throws {
        try await World.run { world in
            try await world.member("alice", host: true) { alice in
                for number in 1...10 {
                    try await world.member("bob-\(number)") { bob in
                        try await alice.events.wait("bob") { Member.connected($0).count == 1 }
                        try await alice.room.send("\(number)")
                        try await bob.messages.wait("it") { $0.count == 1 }
                    }
                    try await alice.events.wait("the leave") { Member.left($0) == number }
                }
                let undelivered = alice.events.entries.filter { if case .undelivered = $0 { true } else { false } }
                #expect(undelivered.isEmpty)
            }
        }
    }

    @Test func undeliveredMessagesAreReportedBeforeTheLastEvent() async throws {
        try await World.run { world in
            try await world.member("bob", host: true, reads: false) { bob in
                try await world.member("alice") { alice in
                    try await alice.waitUntilConnected()
                    world.peers.cut(newPathsToo: true)
                    try await alice.room.send("lost")
                    await alice.room.leave(within: .milliseconds(50))
                    try await alice.events.wait("the end") { if case .left? = $0.last { true } else { false } }
                    let undelivered = alice.events.entries.filter { if case .undelivered = $0 { true } else { false } }
                    #expect(undelivered.count == 1)
                }
            }
        }
    }
}
