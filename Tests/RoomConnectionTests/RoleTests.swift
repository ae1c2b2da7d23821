import InProcessTransport
import RoomProtocol
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import RoomConnection

@Suite("Who comes first, and what the host says about the room", .timeLimit(.minutes(1)))
struct RoleTests {
    @Test func aGuestWaitsForItsHost() async throws {
        try await World.run { world in
            let isWaiting = Journal<Void>()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    let configuration = try world.configuration
                    let registry = world.registry(SignalingFaultControl())
                    try await TransportRuntime.withRunning(configuration, registry: registry) { runtime in
                        let watched = try await runtime.open(room: "lab", as: "watcher", host: .awaited)
                        for await event in watched.events {
                            if case .signaling(.connecting(_, _, let cause?)) = event, cause.cause == .waitingForRoom {
                                isWaiting.append(())
                                break
                            }
                        }
                        let bob = try await runtime.connect(toRoom: "lab", as: "bob", host: .awaited)
                        #expect(bob.participants.contains { $0.name == "alice" })
                    }
                }
                try await isWaiting.wait("the watcher waits") { !$0.isEmpty }
                try await world.member("alice", host: .ifFirst) { alice in
                    #expect(alice.room.isHost)
                    try await alice.events.wait("bob was there") { events in
                        events.contains {
                            if case .peerJoined(let participant) = $0 { participant.name == "bob" } else { false }
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test func whoeverComesSecondIsAGuest() async throws {
        try await World.run { world in
            try await world.member("alice", host: .ifFirst) { alice in
                try await world.member("bob", host: .ifFirst) { bob in
                    #expect(alice.room.isHost && !bob.room.isHost)
                }
            }
        }
    }

    @Test func waitingCanBeCancelled() async throws {
        try await World.run { world in
            try await TransportRuntime.withRunning(
                try world.configuration, registry: world.registry(SignalingFaultControl())
            ) { runtime in
                let attempt = Task { try await runtime.connect(toRoom: "lab", as: "bob", host: .awaited) }
                attempt.cancel()
                let error = await #expect(throws: RoomError.self) { try await attempt.value }
                #expect(error?.code == .cancelled)
            }
        }
    }

    @Test func attributesReachEverybodyAndOutliveTheServersState() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                alice.room.update(attributes: ["map": "desert"])
                try await bob.events.wait("the attributes") { events in
                    events.contains { $0 == .attributesChanged(["map": "desert"], changes: ["map"]) }
                }
                #expect(bob.room.attributes == ["map": "desert"] && alice.room.attributes == ["map": "desert"])
                await world.killServer()
                try world.startServer()
                for member in [alice, bob] {
                    try await member.events.wait("back") { Member.joins($0).count == 2 }
                    #expect(member.room.attributes == ["map": "desert"])
                }
                try await world.member("carol") { carol in
                    try await carol.events.wait("the attributes") { events in
                        events.contains { $0 == .attributesChanged(["map": "desert"], changes: ["map"]) }
                    }
                }
            }
        }
    }
}
