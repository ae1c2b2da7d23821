import RoomProtocol
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import RoomConnection

/// A message to everybody: who gets it, who does not, and that nobody waits for another one's buffer.
@Suite(.timeLimit(.minutes(1))) struct BroadcastTests {
    /// Longer than what is left in a buffer that `fill` has filled.
    private static let text = String(repeating: "to all ", count: 3000)

    private static func small(_ configuration: inout RoomConfiguration) {
        configuration.sendLimit = 1 << 16
        configuration.receiveLimit = 1 << 16
        configuration.maximumMessageSize = 1 << 16
    }

    /// Runs `body` with a host and two guests, of which bob does not read.
    private func three(
        _ change: (inout RoomConfiguration) -> Void = small,
        _ body: (_ alice: Member, _ bob: Member, _ carol: Member) async throws -> Void
    ) async throws {
        try await World.run { world in
            try await world.pair(change, bobReads: false) { alice, bob in
                try await world.member("carol", change) { carol in
                    try await alice.waitUntilConnected(to: 2)
                    try await carol.waitUntilConnected(to: 2)
                    try await body(alice, bob, carol)
                }
            }
        }
    }

    /// Sends to one member until its buffer is full, and stays so while the loop goes round: what it has got is
    /// acknowledged at once, so that nothing becomes free later.
    private func fill(_ room: Room, to receiver: Room) async throws -> Int {
        let (sender, id) = (try #require(room.selfID), try #require(receiver.selfID))
        var count = 0
        var quietRounds = 0
        while quietRounds < 20, count < 10_000 {
            quietRounds += 1
            while (try? room.trySend([UInt8](repeating: 1, count: 10_000), to: id)) != nil {
                count += 1
                quietRounds = 0
            }
            _ = await room.hub.exchange.loop.runUnlessEnded { try? receiver.hub.link(to: sender)?.sendAcks() }
        }
        return count
    }

    @Test func aFullBufferDoesNotDelayTheOthers() async throws {
        try await three { alice, bob, carol in
            let id = try #require(bob.room.selfID)
            let count = try await fill(alice.room, to: bob.room)
            async let sending = alice.room.send(Self.text)
            try await carol.messages.wait("the message") { $0.map(\.text) == [Self.text] }
            // Only now.
            var messages = bob.room.messages().makeAsyncIterator()
            for _ in 0..<count { _ = await messages.next() }
            #expect(await messages.next()?.text == Self.text)
            let report = try await sending
            #expect(report.isComplete && report.acceptedCount == 2)
            #expect(Set(report.accepted) == [id, try #require(carol.room.selfID)])
        }
    }

    @Test func aCancelledBroadcastSaysWhoGotIt() async throws {
        try await three { alice, bob, carol in
            let id = try #require(bob.room.selfID)
            _ = try await fill(alice.room, to: bob.room)
            let sending = Task { () -> RoomError? in
                do throws(RoomError) {
                    try await alice.room.send(Self.text)
                    return nil
                } catch {
                    return error
                }
            }
            try await carol.messages.wait("the message") { $0.map(\.text) == [Self.text] }
            sending.cancel()
            let error = try #require(await sending.value)
            #expect(error.code == .cancelled)
            let report = try #require(error.report)
            #expect(report.accepted == [try #require(carol.room.selfID)])
            #expect(report.missed.map(\.participant) == [id] && report.missed.map(\.reason) == [.cancelled])
        }
    }

    @Test func aMessageThatIsTooLargeForOneReachesTheOthers() async throws {
        try await World.run { world in
            try await world.member("alice", host: true) { alice in
                try await world.member("bob", Self.small) { bob in
                    try await world.member("carol") { carol in
                        try await alice.waitUntilConnected(to: 2)
                        let id = try #require(bob.room.selfID)
                        let report = try await alice.room.send([UInt8](repeating: 1, count: 100_000))
                        #expect(report.missed.map(\.participant) == [id])
                        #expect(report.missed.map(\.reason) == [.tooLarge(limit: 1 << 16)])
                        try await carol.messages.wait("the message") { $0.map(\.payload.count) == [100_000] }
                        do throws(RoomError) {
                            try await alice.room.send([UInt8](repeating: 1, count: 5 << 20))
                            Issue.record("taken")
                        } catch {
                            #expect(error.code == .messageTooLarge && error.report?.acceptedCount == 0)
                        }
                    }
                }
            }
        }
    }

    @Test func aLossyMessageIsForThoseThatAreThere() async throws {
        try await three { alice, bob, carol in
            let id = try #require(bob.room.selfID)
            var report = try await alice.room.send("now", channel: .lossy)
            #expect(report.isComplete && report.acceptedCount == 2)
            alice.room.kick(id)
            try await alice.events.wait("bob's leave") { Member.left($0) == 1 }
            report = try await alice.room.send("then", channel: .lossy)
            #expect(report.accepted == [try #require(carol.room.selfID)])
        }
    }

    @Test func bytesAreSentInEveryForm() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let bytes: [UInt8] = Array("a message of some length".utf8)
                let id = try #require(bob.room.selfID)
                try await alice.room.send(bytes)
                try await alice.room.send(bytes.span)
                try await alice.room.send(bytes.span.bytes)
                try await alice.room.send(Payload(bytes))
                try await alice.room.send("a message of some length")
                try alice.room.trySend(bytes, to: id)
                try alice.room.trySend(bytes.span, to: id)
                try alice.room.trySend(bytes.span.bytes, to: id)
                try alice.room.trySend(Payload(bytes), to: id)
                try alice.room.trySend("a message of some length", to: id)
                try await bob.messages.wait("all") { $0.count == 10 }
                #expect(bob.messages.entries.allSatisfy { $0.payload == Payload(bytes) })
                #expect(bob.messages.entries.map(\.isText) == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1].map { $0 == 1 })
                try await alice.room.send([])
                try await bob.messages.wait("the empty one") { $0.last?.payload.count == 0 }
            }
        }
    }

    @Test func aReportSaysInOneLineWhoGotIt() {
        let (a, b, c) = (ParticipantID("a"), ParticipantID("b"), ParticipantID("c"))
        #expect("\(SendReport(to: a))" == "accepted for a")
        #expect("\(SendReport(to: [], missed: []))" == "nobody else is in the room")
        #expect(
            "\(SendReport(to: a, missed: .tooLarge(limit: 10)))" == "not accepted for a (it takes at most 10 bytes)")
        #expect(
            "\(SendReport(to: [a, b, c], missed: [.init(b, .left), .init(c, .dropped)]))"
                == "accepted for a; not for b (it has left), c (it is not connected, or the buffer for it is full)")
    }
}
