import InProcessTransport
import RoomProtocol
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import RoomConnection

/// Events and snapshots, for any number of consumers.
@Suite(.timeLimit(.minutes(1))) struct EventsTests {
    /// The events until `isLast`.
    private func events(_ events: RoomEvents, until isLast: (RoomEvent) -> Bool) async -> [RoomEvent] {
        var seen: [RoomEvent] = []
        for await event in events {
            seen.append(event)
            if isLast(event) { break }
        }
        return seen
    }

    private func isLeave(_ event: RoomEvent) -> Bool { if case .peerLeft = event { true } else { false } }

    @Test func everyConsumerGetsEveryEvent() async throws {
        try await World.run { world in
            try await world.member("alice", host: true) { alice in
                let (first, second) = (alice.room.events, alice.room.events)
                try await world.member("bob") { _ in try await alice.waitUntilConnected() }
                for events in [first, second] {
                    let seen = await self.events(events, until: isLeave)
                    #expect(seen.contains { if case .peerJoined = $0 { true } else { false } })
                }
            }
        }
    }

    /// The present state first, and nothing twice.
    @Test func aLateConsumerBeginsWithThePresentState() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let seen = await events(alice.room.events) { if case .peer(_, .connected) = $0 { true } else { false } }
                guard case .signaling(.connected) = seen.first, case .joined(let membership) = seen.dropFirst().first
                else {
                    Issue.record("\(seen)")
                    return
                }
                #expect(membership.participant == alice.room.selfID)
                #expect(seen.count { if case .peerJoined = $0 { true } else { false } } == 1)
            }
        }
    }

    @Test func aConsumerThatDoesNotReadHoldsNobodyBackAndKeepsTheLatestStatusOnly() {
        let feed = EventFeed(room: "lab")
        _ = feed.subscribe()
        let (slow, quick) = (feed.subscribe(), feed.subscribe())
        _ = (slow.mailbox.takeNow(), quick.mailbox.takeNow())
        for attempt in 1...10_000 {
            feed.emit(.signaling(.connecting(attempt: attempt, nextAttemptAt: nil, cause: nil)))
            #expect(quick.mailbox.takeNow().count == 1)
        }
        #expect(slow.mailbox.takeNow() == [.signaling(.connecting(attempt: 10_000, nextAttemptAt: nil, cause: nil))])
        for attempt in 1...100 {
            feed.emit(.signaling(.connecting(attempt: attempt, nextAttemptAt: nil, cause: nil)))
            feed.emit(.signaling(.connected))
        }
        let last = RoomEvent.signaling(.connecting(attempt: 100, nextAttemptAt: nil, cause: nil))
        #expect(slow.mailbox.takeNow() == [last, .signaling(.connected)], "a return, and the loss before it")
        for _ in 1...10_000 { feed.emit(.error(RoomError(.refused, "no"))) }
        #expect(slow.mailbox.takeNow().count == 4096)
    }

    @Test func theEndIsToldToEveryConsumerAlsoAfterwards() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                #expect(bob.room.endReason == nil)
                alice.room.kick(try #require(bob.room.selfID), reason: "enough")
                for await _ in bob.room.messages(on: .unordered) {}
                guard case .kicked(let message) = bob.room.endReason else {
                    Issue.record("\(String(describing: bob.room.endReason))")
                    return
                }
                #expect(message.contains("enough") && bob.room.endReason?.error?.protocolCode == .kicked)
                let seen = await events(bob.room.events) { _ in false }
                guard case .left(.kicked) = seen.last else {
                    Issue.record("\(seen)")
                    return
                }
            }
        }
    }

    @Test func aRoomThatWasLeftHasEndedWithoutAnError() async throws {
        try await World.run { world in
            try await world.member("alice", host: true) { alice in
                await alice.room.leave()
                #expect(alice.room.endReason == .left)
                #expect(alice.room.endReason?.error == nil)
            }
        }
    }

    @Test func snapshotsShowThePresentStateAndTheNewestOne() async throws {
        try await World.run { world in
            try await world.member("alice", host: true) { alice in
                var iterator = alice.room.snapshots.makeAsyncIterator()
                let first = try #require(await iterator.next())
                #expect(first.room == "lab" && first.isHost && first.host == alice.room.selfID && first.members.isEmpty)
                try await world.member("bob") { bob in
                    for await snapshot in bob.room.snapshots {
                        guard let member = snapshot.members.first, case .connected = member.status else { continue }
                        #expect(snapshot.host == member.id && member.participant.name == "alice")
                        break
                    }
                }
                try await alice.events.wait("bob's leave") { Member.left($0) == 1 }
                let next = try #require(await iterator.next())
                #expect(next.members.isEmpty, "those between were not kept")
                await alice.room.leave()
                #expect(await iterator.next()?.endReason == .left)
                #expect(await iterator.next() == nil)
            }
        }
    }

    @Test func aConsumerOfSnapshotsThatIsCancelledEnds() async throws {
        try await World.run { world in
            try await world.member("alice", host: true) { alice in
                let reading = Task { for await _ in alice.room.snapshots {} }
                reading.cancel()
                await reading.value
            }
        }
    }

    @Test func roomsThatHaveEndedAreForgotten() async throws {
        try await World.run { world in
            try await TransportRuntime.withRunning(
                try world.configuration, registry: world.registry(SignalingFaultControl())
            ) { runtime in
                for _ in 0..<5 {
                    let room = try await runtime.connect(toRoom: "lab", as: "alice", host: true)
                    #expect(runtime.rooms.count == 1)
                    await room.leave()
                    #expect(runtime.rooms.isEmpty)
                }
                await #expect(throws: RoomError.self) { try await runtime.connect(toRoom: "nowhere", as: "alice") }
                #expect(runtime.rooms.isEmpty)
                weak var forgotten: Room?
                do {
                    let room = try await runtime.open(room: "nowhere", as: "alice")
                    forgotten = room
                    for await _ in room.events {}
                    await room.leave()
                }
                #expect(runtime.rooms.isEmpty)
                #expect(forgotten == nil)
            }
        }
    }
}
