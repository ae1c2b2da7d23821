import InProcessTransport
import RoomProtocol
import RoomServerCore
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import RoomConnection

/// Rooms whose signaling, server or paths are lost.
@Suite(.timeLimit(.minutes(1))) struct OutageTests {
    @Test func aResetOfSignalingIsResumedWithoutEventsForOthers() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                bob.faults.reset()
                try await bob.events.wait("a resumed join") { Member.joins($0).contains { $0.isResumed } }
                try await bob.room.send("still here")
                try await alice.messages.wait("a message") { $0.map(\.text) == ["still here"] }
                #expect(Member.left(alice.events.entries) == 0)
                #expect(Member.left(bob.events.entries) == 0)
            }
        }
    }

    @Test func messagesToAHalfOpenConnectionArriveAfterTheResume() async throws {
        var limits = RoomServerLimits()
        limits.pingInterval = .milliseconds(200)
        limits.pingDeadline = .milliseconds(200)
        try await World.run(limits: limits) { world in
            try await world.pair { alice, bob in
                // The offer and its candidates go into a connection that accepts everything and delivers nothing.
                alice.faults.cut()
                bob.faults.cut()
                alice.room.restartPaths()
                bob.room.restartPaths()
                for member in [alice, bob] {
                    try await member.events.wait("a resumed join") { Member.joins($0).contains { $0.isResumed } }
                }
                for member in [alice, bob] {
                    try await member.events.wait("the end of the restart") { events in
                        events.contains {
                            if case .incident(let incident) = $0, incident.participant != nil {
                                incident.hasRecovered
                            } else {
                                false
                            }
                        }
                    }
                }
            }
        }
    }

    @Test func theFirstReturningMemberRebuildsTheRoomOfAServerWithoutState() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let ids = (alice.room.selfID, bob.room.selfID)
                await world.killServer()
                alice.faults.admission = .refused()
                try await bob.room.send("without a server")
                try await alice.messages.wait("a message") { $0.count == 1 }
                try world.startServer()
                try await bob.events.wait("the guest's rejoin") { Member.joins($0).count == 2 }
                alice.faults.restore()
                try await alice.events.wait("the host's rejoin") { Member.joins($0).count == 2 }
                try await bob.room.send("back")
                try await alice.messages.wait("a message") { $0.map(\.text) == ["without a server", "back"] }
                #expect(alice.room.selfID == ids.0 && bob.room.selfID == ids.1)
                #expect(alice.room.isHost)
                #expect(Member.left(alice.events.entries) == 0, "a rejoin is not a leave")
            }
        }
    }

    /// No server knows of it: the others know because the member that left told them.
    @Test func aLeaveDuringAnOutageOfTheServerIsReportedAfterwards() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let id = bob.room.selfID
                await world.killServer()
                await bob.room.leave(within: .seconds(1))
                try world.startServer()
                try await alice.events.wait("the host's rejoin") { Member.joins($0).count == 2 }
                try await alice.events.wait("the guest's leaving") { Member.left($0) == 1 }
                let reasons = alice.events.entries.compactMap {
                    if case .peerLeft(let participant, let reason) = $0, participant.id == id { reason } else { nil }
                }
                #expect(reasons == [.left], "and not waited for until its time was up")
            }
        }
    }

    @Test func messagesOfEverySizeOutliveRebuiltConnections() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                // Each is split into parts; the connection fails while they are on their way, again and again.
                let texts = (0..<60).map { "\($0) " + String(repeating: "x", count: ($0 * 37_171) % 400_000) }
                let id = try #require(bob.room.selfID)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    // To one participant: a message to everybody does not wait for a participant whose connection is
                    // broken.
                    group.addTask { for text in texts { try await alice.room.send(text, to: id) } }
                    for count in [10, 25, 40] {
                        try await bob.messages.wait("\(count) messages") { $0.count >= count }
                        world.peers.fail()
                        try await bob.waitUntilConnected()
                    }
                    try await group.waitForAll()
                }
                try await bob.messages.wait("all messages") { $0.count >= texts.count }
                try await alice.room.flush()
                let received = bob.messages.entries.map { $0.text ?? "" }
                #expect(received.map(\.utf8.count) == texts.map(\.utf8.count))
                #expect(received == texts)
            }
        }
    }

    @Test func aPathThatIsCutIsReplacedAndLosesNothing() async throws {
        try await World.run { world in
            try await world.pair({ $0.recovery.silence = .milliseconds(250) }) { alice, bob in
                world.peers.cut(newPathsToo: true)
                try await alice.events.wait("a recovery") { events in
                    events.contains { if case .peer(_, .recovering) = $0 { true } else { false } }
                }
                for number in 1...100 { try await alice.room.send("\(number)") }
                world.peers.restore()
                try await bob.messages.wait("all messages") { $0.count >= 100 }
                #expect(bob.messages.entries.compactMap(\.text) == (1...100).map(String.init))
            }
        }
    }

    @Test func aBroadcastGoesOnPastAPeerWhosePathIsCut() async throws {
        func limit(_ configuration: inout RoomConfiguration) {
            configuration.sendLimit = 1 << 16
            configuration.maximumMessageSize = 1 << 16
            configuration.recovery.silence = .milliseconds(250)
        }
        try await World.run { world in
            try await world.pair(limit) { alice, bob in
                try await world.member("carol", limit) { carol in
                    try await alice.waitUntilConnected(to: 2)
                    try await carol.waitUntilConnected(to: 2)
                    let id = try #require(bob.room.selfID).rawValue
                    world.peers.cut(newPathsToo: true) { $0 == id }
                    let chunk = Payload([UInt8](repeating: 7, count: 10_000))
                    for _ in 0..<100 { try await alice.room.send(chunk) }
                    try await carol.messages.wait("everything") { $0.count == 100 }
                    world.peers.restore()
                    try await alice.events.wait("the count of what bob missed") { events in
                        events.contains { if case .undelivered(_, let count) = $0 { count > 50 } else { false } }
                    }
                }
            }
        }
    }
}
