import RoomProtocol
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import RoomConnection

/// How a program says whom a message is for.
@Suite(.timeLimit(.minutes(1))) struct ReceiverTests {
    /// A type of an application.
    private struct Player: ParticipantReference {
        var participantID: ParticipantID
    }

    @Test func anEntryOfTheListIsAsGoodAsAnID() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let receiver = try #require(alice.room.participants.first { $0.name == "bob" })
                try await alice.room.send("to an entry", to: receiver)
                try await alice.room.send("to an id", to: receiver.id)
                try await alice.room.send("to a player", to: Player(participantID: receiver.id))
                try alice.room.trySend("at once", to: receiver)
                try await alice.room.send("to nobody by name", to: nil)
                try await bob.messages.wait("the messages") { $0.count == 5 }
                #expect(
                    bob.messages.entries.map(\.text) == [
                        "to an entry", "to an id", "to a player", "at once", "to nobody by name",
                    ])
                try bob.room.handle("add") { body, _ in body }
                #expect(try await alice.room.request("add", Payload("1"), to: receiver).utf8Text == "1")
                var moves = bob.room.topic("moves").messages().makeAsyncIterator()
                try await alice.room.topic("moves").publish("left", to: receiver)
                #expect(await moves.next()?.text == "left")
                let one = try await alice.room.openStream("one", to: receiver)
                let several = try await alice.room.openStream("several", to: [receiver])
                let byID = try await alice.room.openStream("by id", to: [receiver.id])
                for stream in [one, several, byID] { stream.cancel("enough") }
                #expect(alice.room.security(of: receiver) == alice.room.security(of: receiver.id))
            }
        }
    }
}
