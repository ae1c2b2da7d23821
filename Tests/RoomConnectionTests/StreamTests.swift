import InProcessTransport
import RoomCore
import RoomProtocol
import Testing
import TransportPluginAPI
import TransportTestKit

@testable import RoomConnection

/// Streams over the in-process transports.
@Suite(.timeLimit(.minutes(1))) struct StreamTests {
    private static func bytes(_ count: Int, seed: Int = 0) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8 &+ seed) }
    }

    private static func read(_ stream: RoomIncomingStream) async throws -> [UInt8] {
        var all: [UInt8] = []
        for try await chunk in stream { chunk.withUnsafeBytes { all += $0 } }
        return all
    }

    private static func next(_ streams: inout RoomIncomingStreams.AsyncIterator) async throws -> RoomIncomingStream {
        let stream = await streams.next()
        return try #require(stream)
    }

    private func pair(_ body: (_ alice: Member, _ bob: Member) async throws -> Void) async throws {
        try await World.run { world in try await world.pair { alice, bob in try await body(alice, bob) } }
    }

    @Test func aStreamArrivesWholeWithItsNameAndMetadata() async throws {
        try await pair { alice, bob in
            let bobID = try #require(bob.room.selfID)
            let sent = Self.bytes(3_000_000)
            async let received = { () async throws -> ([UInt8], RoomIncomingStream?) in
                for await stream in bob.room.incomingStreams() { return (try await Self.read(stream), stream) }
                return ([], nil)
            }()
            let stream = try await alice.room.openStream(
                "trace.bin", to: bobID, length: UInt64(sent.count), metadata: ["type": "x"])
            let progress = Task { () -> [UInt64] in
                var counts: [UInt64] = []
                for await count in stream.progress { counts.append(count) }
                return counts
            }
            for start in stride(from: 0, to: sent.count, by: 100_000) {
                try await stream.write(Array(sent[start..<min(start + 100_000, sent.count)]))
            }
            try await stream.finish()
            #expect(stream.acknowledgedCount == UInt64(sent.count))
            let (bytes, incoming) = try await received
            #expect(bytes == sent)
            #expect(incoming?.name == "trace.bin" && incoming?.metadata == ["type": "x"])
            #expect(incoming?.length == UInt64(sent.count) && incoming?.from == alice.room.selfID)
            let counts = await progress.value
            #expect(counts == counts.sorted() && counts.last == UInt64(sent.count))
        }
    }

    /// Streams that are opened and given up again do not pile up where nobody takes them.
    @Test func streamsThatNobodyTakesAreRefusedAtALimit() async throws {
        try await pair { alice, bob in
            let bobID = try #require(bob.room.selfID)
            for _ in 0..<StreamLimits.untaken {
                try await alice.room.openStream("given up", to: bobID).cancel("enough", code: "enough")
            }
            let further = try await alice.room.openStream("further", to: bobID)
            let error = await #expect(throws: RoomStreamError.self) { try await further.finish() }
            #expect(error?.code == .busy)
            var streams = bob.room.incomingStreams().makeAsyncIterator()
            for _ in 0..<StreamLimits.untaken { #expect(try await Self.next(&streams).name == "given up") }
            let taken = try await alice.room.openStream("taken", to: bobID)
            #expect(try await Self.next(&streams).name == "taken")
            taken.cancel("enough", code: "enough")
        }
    }

    @Test func anEmptyStreamHasAnEnd() async throws {
        try await pair { alice, bob in
            let stream = try await alice.room.openStream("empty", to: try #require(bob.room.selfID))
            async let finished: Void = stream.finish()
            var streams = bob.room.incomingStreams().makeAsyncIterator()
            let incoming = try await Self.next(&streams)
            #expect(try await Self.read(incoming).isEmpty)
            try await finished
        }
    }

    /// The writer of a stream that nobody reads waits; other streams and messages go on.
    @Test func aSlowReaderStopsOnlyItsStream() async throws {
        try await pair { alice, bob in
            let bobID = try #require(bob.room.selfID)
            let slow = try await alice.room.openStream("slow", to: bobID)
            let written = Locked(0)
            let writer = Task {
                for _ in 0..<100 {
                    try await slow.write(Self.bytes(100_000))
                    written.withLock { $0 += 100_000 }
                }
                try await slow.finish()
            }
            var streams = bob.room.incomingStreams().makeAsyncIterator()
            let slowReader = try await Self.next(&streams)
            let quick = try await alice.room.openStream("quick", to: bobID)
            let quickReader = try await Self.next(&streams)
            async let all = Self.read(quickReader)
            for _ in 0..<20 { try await quick.write(Self.bytes(100_000)) }
            try await quick.finish()
            #expect(try await all.count == 2_000_000)
            try await alice.room.send("and a message")
            try await bob.messages.wait("the message") { $0.map(\.text) == ["and a message"] }
            // What the window and the buffer hold.
            #expect(written.withLock { $0 } < 3_000_000)
            #expect(slow.acknowledgedCount == 0)
            #expect(try await Self.read(slowReader).count == 10_000_000)
            try await writer.value
        }
    }

    @Test func bothSidesCanGiveAStreamUpWithAReason() async throws {
        try await pair { alice, bob in
            let bobID = try #require(bob.room.selfID)
            var streams = bob.room.incomingStreams().makeAsyncIterator()
            let first = try await alice.room.openStream("first", to: bobID)
            try await first.write("some")
            let incoming = try await Self.next(&streams)
            first.cancel("changed my mind", code: "mind")
            let error = await #expect(throws: RoomStreamError.self) { _ = try await Self.read(incoming) }
            #expect(error?.code == .cancelledByPeer && error?.reason == "mind" && error?.message == "changed my mind")
            await #expect(throws: RoomStreamError.self) { try await first.write("more") }

            let second = try await alice.room.openStream("second", to: bobID)
            let stopped = try await Self.next(&streams)
            stopped.cancel("disk full", code: "no_space")
            let answer = await #expect(throws: RoomStreamError.self) {
                while true { try await second.write(Self.bytes(100_000)) }
            }
            #expect(answer?.code == .cancelledByPeer && answer?.reason == "no_space")
            #expect(second.failures[bobID]?.message == "disk full")
        }
    }

    @Test func aStreamThatIsDroppedIsGivenUp() async throws {
        try await pair { alice, bob in
            let bobID = try #require(bob.room.selfID)
            var streams = bob.room.incomingStreams().makeAsyncIterator()
            do { _ = try await alice.room.openStream("dropped", to: bobID) }
            let incoming = try await Self.next(&streams)
            await #expect(throws: RoomStreamError.self) { _ = try await Self.read(incoming) }
            let stream = try await alice.room.openStream("unread", to: bobID)
            do { _ = try await Self.next(&streams) }
            let error = await #expect(throws: RoomStreamError.self) {
                while true { try await stream.write(Self.bytes(100_000)) }
            }
            #expect(error?.code == .cancelledByPeer)
        }
    }

    @Test func theAnnouncedLengthIsKept() async throws {
        try await pair { alice, bob in
            let bobID = try #require(bob.room.selfID)
            let stream = try await alice.room.openStream("ten", to: bobID, length: 10)
            try await stream.write("12345")
            let long = await #expect(throws: RoomStreamError.self) { try await stream.write("6789012") }
            #expect(long?.code == .lengthExceeded)
            let short = await #expect(throws: RoomStreamError.self) { try await stream.finish() }
            #expect(short?.code == .incomplete)
        }
    }

    /// A program that never asks for its streams keeps no more than a bounded number of them.
    @Test func streamsThatNobodyTakesWaitUpToALimit() async throws {
        try await pair { alice, bob in
            let bobID = try #require(bob.room.selfID)
            var open: [RoomOutgoingStream] = []
            for number in 0..<64 { open.append(try await alice.room.openStream("\(number)", to: bobID)) }
            let error = await #expect(throws: RoomError.self) { _ = try await alice.room.openStream("65", to: bobID) }
            #expect(error?.code == .wouldBlock)
            // For the sender it has ended; the receiver has not noticed.
            open[0].cancel()
            var streams = bob.room.incomingStreams().makeAsyncIterator()
            let first = try await Self.next(&streams)
            #expect(first.name == "0")
        }
    }

    @Test func theEndOfASessionEndsItsStreamsOnBothSides() async throws {
        try await World.run { world in
            try await world.member("alice", host: true) { alice in
                let kept = Locked<RoomIncomingStream?>(nil)
                let outgoing = Locked<RoomOutgoingStream?>(nil)
                try await world.member("bob") { bob in
                    try await alice.waitUntilConnected()
                    let toBob = try await alice.room.openStream("to bob", to: try #require(bob.room.selfID))
                    let toAlice = try await bob.room.openStream("to alice", to: try #require(alice.room.selfID))
                    try await toAlice.write("the beginning")
                    var streams = alice.room.incomingStreams().makeAsyncIterator()
                    let stream = await streams.next()
                    kept.withLock { $0 = stream }
                    outgoing.withLock { $0 = toBob }
                }
                let incoming = try #require(kept.withLock { $0 })
                let gone = await #expect(throws: RoomStreamError.self) { _ = try await Self.read(incoming) }
                #expect(gone?.code == .peerGone || gone?.code == .cancelledByPeer)
                let stream = try #require(outgoing.withLock { $0 })
                let error = await #expect(throws: RoomStreamError.self) {
                    while true { try await stream.write(Self.bytes(100_000)) }
                }
                #expect(error?.code == .peerGone)
            }
        }
    }

    @Test func aStreamToEverybodyArrivesAtAllAndOneThatStopsIsTold() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                try await world.member("carol") { carol in
                    try await alice.waitUntilConnected(to: 2)
                    let stream = try await alice.room.openStream("to all")
                    async let bobs = { () async throws -> Int in
                        var streams = bob.room.incomingStreams().makeAsyncIterator()
                        return try await Self.read(try await Self.next(&streams)).count
                    }()
                    var streams = carol.room.incomingStreams().makeAsyncIterator()
                    try await Self.next(&streams).cancel("no")
                    for _ in 0..<20 { try await stream.write(Self.bytes(100_000)) }
                    try await stream.finish()
                    #expect(try await bobs == 2_000_000)
                    let carolID = try #require(carol.room.selfID)
                    #expect(stream.failures.keys.map(\.rawValue) == [carolID.rawValue])
                }
            }
        }
    }

    @Test func aStreamGoesOnOverTheRestartOfTheServer() async throws {
        try await World.run { world in
            try await world.pair { alice, bob in
                let sent = Self.bytes(5_000_000)
                let stream = try await alice.room.openStream("long", to: try #require(bob.room.selfID))
                var streams = bob.room.incomingStreams().makeAsyncIterator()
                let incoming = try await Self.next(&streams)
                async let received = Self.read(incoming)
                try await stream.write(Array(sent[..<1_000_000]))
                await world.killServer()
                try await stream.write(Array(sent[1_000_000..<2_000_000]))
                try world.startServer()
                alice.room.restartPaths()
                try await stream.write(Array(sent[2_000_000...]))
                try await stream.finish()
                #expect(try await received == sent)
            }
        }
    }
}
