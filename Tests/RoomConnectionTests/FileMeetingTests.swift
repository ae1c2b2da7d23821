import Testing
import TransportPluginAPI
import TransportTestKit

@testable import FileTransfer
@testable import RoomConnection

/// The meetings of senders and receivers of files, in a room.
@Suite(.timeLimit(.minutes(1))) struct FileMeetingTests {
    /// Opens a sender's stream from alice to bob. Returns what keeps it open, and the stream as bob sees it.
    private static func open(_ alice: Member, _ bob: Member) async throws -> (
        RoomTransferConnection, RoomIncomingStream
    ) {
        let receiver = try #require(alice.room.participants.first)
        let connection = RoomTransferConnection(receiver, in: alice.room, as: .send)
        try await connection.open()
        var streams = bob.room.incomingStreams().makeAsyncIterator()
        return (connection, try #require(await streams.next()))
    }

    /// Runs `body` with a stream that alice opens to bob, and leaves afterwards.
    private static func withStream(
        _ world: World, to bob: Member, _ body: (RoomIncomingStream) async throws -> Void
    ) async throws {
        try await world.member("alice") { alice in
            try await alice.waitUntilConnected()
            try await bob.waitUntilConnected()
            let (connection, stream) = try await open(alice, bob)
            defer { withExtendedLifetime(connection) {} }
            try await body(stream)
        }
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
                try await Self.withStream(world, to: bob) { stream in
                    let isTaken = try await meeting.take(stream)
                    #expect(isTaken)
                }
                try await Self.waitForDeparture(bob)
                let kept: Weak<RoomTransferConnection>
                do {
                    let connection = try #require(await connections.next() as? RoomTransferConnection)
                    kept = Weak(connection)
                    _ = try? await connection.read()
                    #expect(connection.hasLostPeer)
                }
                for event in bob.events.entries { try await meeting.note(event, Departures()) }
                #expect(kept.object == nil)
                meeting.end()
            }
        }
    }

    @Test func aMeetingWithASenderThatIsGoneBeforeItIsMetEnds() async throws {
        try await World.run { world in
            try await world.member("bob", host: .host) { bob in
                var met: (stream: RoomIncomingStream, sender: RoomParticipant)?
                try await Self.withStream(world, to: bob) { met = ($0, try #require(bob.room.participants.first)) }
                let (stream, sender) = try #require(met)
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
                let (connection, stream) = try await Self.open(alice, bob)
                defer { withExtendedLifetime(connection) {} }
                #expect(try await meeting.take(stream))
                #expect(!meeting.endIfIdle(), "the connection waits for a listener")
                var connections = meeting.listen().makeAsyncIterator()
                #expect(await connections.next() != nil)
                #expect(meeting.endIfIdle())
            }
        }
    }
}
