import InProcessTransport
import RoomProtocol
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import RoomConnection

private struct Line: Codable, Sendable, Hashable {
    var number: Int
    var text: String
}

private struct Other: Codable, Sendable { var isOther: Bool }

/// Reads a subscription that has begun into a journal.
private func record<Value>(_ messages: TopicMessages<Value>, into journal: Journal<TopicMessage<Value>>) -> Task<
    Void, Never
> {
    Task { for await message in messages { journal.append(message) } }
}

@Suite(.timeLimit(.minutes(1))) struct TopicTests {
    @Test func everySubscriptionGetsEveryMessageInOrder() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let topic = bob.room.topic("chat", of: Line.self)
                let journals = (0..<3).map { _ in Journal<TopicMessage<Line>>() }
                let readers = journals.map { record(topic.messages(), into: $0) }
                let lines = (1...50).map { Line(number: $0, text: "line \($0)") }
                for line in lines {
                    #expect(try await alice.room.topic("chat", of: Line.self).publish(line).acceptedCount == 1)
                }
                for journal in journals {
                    try await journal.wait("all lines") { $0.count == 50 }
                    #expect(journal.entries.map(\.value) == lines)
                    #expect(journal.entries.allSatisfy { $0.from == alice.room.selfID && $0.isText })
                }
                for reader in readers { reader.cancel() }
            }
        }
    }

    @Test func aLossyTopicArrivesAtTheSameSubscription() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let journal = Journal<TopicMessage<Payload>>()
                let reader = record(bob.room.topic("telemetry").messages(), into: journal)
                try await alice.room.topic("telemetry", reliability: .lossy).publish("lossy")
                try await journal.wait("the lossy one") { $0.map(\.text) == ["lossy"] }
                try await alice.room.topic("telemetry").publish(Payload([1]), to: bob.room.selfID)
                try await journal.wait("the reliable one") { $0.last?.value == Payload([1]) }
                reader.cancel()
            }
        }
    }

    @Test func aTopicWithoutSubscriptionNeverWaits() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let topic = alice.room.topic("nobody")
                let body = Payload([UInt8](repeating: 1, count: 50_000))
                for _ in 0..<100 { try await topic.publish(body) }
                // And who subscribes later gets what comes from then on.
                let journal = Journal<TopicMessage<Payload>>()
                try await alice.room.flush()
                let reader = record(bob.room.topic("nobody").messages(), into: journal)
                try await topic.publish("first")
                try await journal.wait("the first one") { $0.map(\.text) == ["first"] }
                reader.cancel()
            }
        }
    }

    /// Publishes 20 messages of 100 kB, and returns when the window is full. `published`: the numbers of those taken.
    private func fillWindow(
        of topic: Topic<Payload>
    ) async throws -> (publisher: Task<Void, any Error>, published: Journal<Int>) {
        let published = Journal<Int>()
        let publisher = Task {
            let body = Payload([UInt8](repeating: 1, count: 100_000))
            for number in 1...20 {
                try await topic.publish(body)
                published.append(number)
            }
        }
        try await published.wait("the window is full") { $0.count == 3 }
        return (publisher, published)
    }

    @Test func aSlowReaderHoldsUpItsTopicAndNothingElse() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let slow = bob.room.topic("slow").messages()
                let (publisher, published) = try await fillWindow(of: alice.room.topic("slow"))
                let quick = Journal<TopicMessage<Payload>>()
                let reader = record(bob.room.topic("quick").messages(), into: quick)
                for number in 1...10 { try await alice.room.topic("quick").publish("\(number)") }
                try await quick.wait("the other topic") { $0.count == 10 }
                try bob.room.handle("echo") { body, _ in body }
                let id = try #require(bob.room.selfID)
                #expect(try await alice.room.request("echo", Payload([7]), to: id) == Payload([7]))
                try await alice.room.send("raw")
                try await bob.messages.wait("a message") { $0.map(\.text) == ["raw"] }
                #expect(published.entries.count == 3, "it waits for its reader")
                // As soon as somebody reads it goes on.
                var count = 0
                for await _ in slow {
                    count += 1
                    if count == 20 { break }
                }
                try await publisher.value
                reader.cancel()
            }
        }
    }

    @Test func aSubscriptionThatEndsHoldsUpNobody() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let body = Payload([UInt8](repeating: 1, count: 100_000))
                let unread = Locked<TopicMessages<Payload>?>(bob.room.topic("t").messages())
                var first = bob.room.topic("t").messages().makeAsyncIterator()
                let publisher = Task { for _ in 1...20 { try await alice.room.topic("t").publish(body) } }
                #expect(await first.next() != nil)
                first = bob.room.topic("other").messages().makeAsyncIterator()
                unread.withLock { $0 = nil }
                try await publisher.value
            }
        }
    }

    @Test func aPublisherThatIsCancelledWhileItWaitsIsToldSo() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let unread = bob.room.topic("t").messages()
                let (publisher, _) = try await fillWindow(of: alice.room.topic("t"))
                publisher.cancel()
                await #expect { try await publisher.value } throws: { ($0 as? RoomError)?.code == .cancelled }
                withExtendedLifetime(unread) {}
            }
        }
    }

    @Test func messagesOfAnotherTypeAreSkipped() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let journal = Journal<TopicMessage<Line>>()
                let reader = record(bob.room.topic("chat", of: Line.self).messages(), into: journal)
                try await alice.room.topic("chat", of: Other.self).publish(Other(isOther: true))
                try await alice.room.topic("chat").publish("no JSON")
                try await alice.room.topic("chat", of: Line.self).publish(Line(number: 1, text: ""))
                try await journal.wait("the line") { $0.map(\.value.number) == [1] }
                reader.cancel()
            }
        }
    }

    @Test func aSubscriptionOutlivesAnOutageAndLosesNothing() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let journal = Journal<TopicMessage<Payload>>()
                let reader = record(bob.room.topic("t").messages(), into: journal)
                try await alice.room.topic("t").publish("1")
                world.peers.cut(newPathsToo: true)
                for number in 2...20 { try await alice.room.topic("t").publish("\(number)") }
                world.peers.restore()
                try await journal.wait("all of them") { $0.count == 20 }
                #expect(journal.entries.map(\.text) == (1...20).map { "\($0)" })
                reader.cancel()
            }
        }
    }

    @Test func namesAreLimitedAndTopicsToo() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                for name in ["", String(repeating: "a", count: 65)] {
                    await #expect { try await alice.room.topic(name).publish("x") } throws: {
                        ($0 as? RoomError)?.code == .configuration
                    }
                }
                for number in 1...256 { try await alice.room.topic("\(number)").publish("x") }
                await #expect { try await alice.room.topic("another").publish("x", to: bob.room.selfID) } throws: {
                    ($0 as? RoomError)?.code == .configuration
                }
            }
        }
    }

    @Test func aSubscriptionEndsWithTheRoom() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let messages = bob.room.topic("t").messages()
                try await alice.room.topic("t").publish("last")
                try await alice.room.flush()
                await bob.room.leave()
                var texts: [String?] = []
                for await message in messages { texts.append(message.text) }
                #expect(texts == ["last"])
                for await _ in bob.room.topic("t").messages() { Issue.record("the room has ended") }
            }
        }
    }
}
