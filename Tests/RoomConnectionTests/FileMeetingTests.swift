import Testing
import TransportPluginAPI
import TransportTestKit

@testable import FileTransfer
@testable import RoomConnection

/// The meetings of senders and receivers of files, in a room.
@Suite(.timeLimit(.minutes(1))) struct FileMeetingTests {
    private final class Weak: Sendable {
        // SAFETY: set once, before anybody else has it.
        nonisolated(unsafe) weak var connection: RoomTransferConnection?
    }

    /// Opens a sender's stream from alice to bob, and leaves. Returns the stream as bob sees it.
    private static func stream(_ world: World, to bob: Member) async throws -> (RoomIncomingStream, RoomParticipant) {
        var result: (RoomIncomingStream, RoomParticipant)?
        try await world.member("alice") { alice in
            try await alice.waitUntilConnected()
            try await bob.waitUntilConnected()
            let receiver = try #require(alice.room.participants.first)
            let connection = RoomTransferConnection(receiver, in: alice.room, as: .send)
            try await connection.open()
            defer { withExtendedLifetime(connection) {} }
            let sender = try #require(bob.room.participants.first)
            for await stream in bob.room.incomingStreams() {
                result = (stream, sender)
                break
            }
        }
        return try #require(result)
    }

    private static func waitForDeparture(_ member: Member) async throws {
        try await member.events.wait("a departure") { events in
            events.contains { if case .peerLeft = $0 { true } else { false } }
        }
    }

    @Test func aReceiversConnectionThatWasLostIsNotKept() async throws {
        try await World.run { world in
            try await world.member("bob", host: .host) { bob in
                let meeting = TransferMeeting(bob.room, .receive) { _ in true }
                var connections = meeting.listen().makeAsyncIterator()
                let kept = Weak()
                try await world.member("alice") { alice in
                    try await alice.waitUntilConnected()
                    try await bob.waitUntilConnected()
                    let receiver = try #require(alice.room.participants.first)
                    let connection = RoomTransferConnection(receiver, in: alice.room, as: .send)
                    try await connection.open()
                    defer { withExtendedLifetime(connection) {} }
                    for await stream in bob.room.incomingStreams() {
                        #expect(try await meeting.take(stream))
                        break
                    }
                }
                try await Self.waitForDeparture(bob)
                do {
                    let connection = try #require(await connections.next() as? RoomTransferConnection)
                    kept.connection = connection
                    _ = try? await connection.read()
                    #expect(connection.hasLostPeer)
                }
                for event in bob.events.entries { try await meeting.note(event, Departures()) }
                #expect(kept.connection == nil)
                meeting.end()
            }
        }
    }

    @Test func aMeetingWithASenderThatIsGoneBeforeItIsMetEnds() async throws {
        try await World.run { world in
            try await world.member("bob", host: .host) { bob in
                let (stream, sender) = try await Self.stream(world, to: bob)
                try await Self.waitForDeparture(bob)
                let meeting = TransferMeeting(bob.room, .receive, with: sender, connected: [])
                let connections = meeting.listen()
                #expect(try await meeting.take(stream))
                for await _ in connections { Issue.record("nobody is there") }
                #expect(meeting.hasEnded)
            }
        }
    }

    @Test func aConnectionThatNobodyHasTakenKeepsAMeeting() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let sender = try #require(bob.room.participants.first)
                let meeting = TransferMeeting(bob.room, .receive, with: sender, connected: [])
                let receiver = try #require(alice.room.participants.first)
                let connection = RoomTransferConnection(receiver, in: alice.room, as: .send)
                try await connection.open()
                defer { withExtendedLifetime(connection) {} }
                for await stream in bob.room.incomingStreams() {
                    #expect(try await meeting.take(stream))
                    break
                }
                #expect(!meeting.endIfIdle(), "the connection waits for a listener")
                var connections = meeting.listen().makeAsyncIterator()
                #expect(await connections.next() != nil)
                #expect(meeting.endIfIdle())
            }
        }
    }
}
