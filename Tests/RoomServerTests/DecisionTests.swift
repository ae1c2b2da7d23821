import Foundation
import Logging
import NIOCore
import NIOEmbedded
import RoomProtocol
import RoomServerCore
import Testing
import TransportValues

@testable import RoomCluster
@testable import RoomServer

@Suite("Decisions are confirmed when they are kept", .timeLimit(.minutes(1)))
struct DecisionTests {
    private static let token = "0123456789abcdef"

    private func withServer(
        in folder: String, threads: Int = 1, isolation: isolated (any Actor)? = #isolation,
        _ body: (RoomServer, AdminClient) async throws -> Void
    ) async throws {
        try await RoomServerTests.withServer {
            $0.threads = threads
            $0.sessionKey = .file(folder + "/session.key")
            $0.departuresFile = folder + "/departures"
            $0.admin = .init()
            $0.admin?.port = 0
            $0.admin?.token = Array(Self.token.utf8)
        } _: { server in
            try await body(
                server, AdminClient(AdminClient.Address(#require(await server.adminURL)), token: Self.token))
        }
    }

    /// Runs `body` in 20 rooms, each with a host and another participant.
    private func inRooms(
        threads: Int = 1, isolation: isolated (any Actor)? = #isolation,
        _ body: (_ room: String, _ ann: TestClient, _ bob: TestClient, _ folder: String) async throws -> Void
    ) async throws {
        try await withFolder { folder in
            try await withServer(in: folder, threads: threads) { server, _ in
                for number in 0..<20 {
                    let room = "room \(number)"
                    let ann = try await TestClient.join(server, "ann", .host, room: room)
                    let bob = try await TestClient.join(server, "bob", room: room)
                    try await body(room, ann, bob, folder)
                }
            }
        }
    }

    /// The journal at this moment: what a `kill -9` leaves.
    private func holds(_ kind: String, _ room: String, in folder: String) throws -> Bool {
        try String(contentsOfFile: folder + "/departures", encoding: .utf8).split(separator: "\n")
            .contains { $0.contains("\"kind\":\"\(kind)\"") && $0.contains("\"\(room)\"") }
    }

    @Test(arguments: [1, 3])
    func aKickAndTheEndOfARoomAreOnTheDiskWhenTheHostSeesThem(_ threads: Int) async throws {
        try await inRooms(threads: threads) { room, ann, bob, folder in
            guard case .peerJoined = try await ann.next() else { throw TestFailure(message: "no bob") }
            try await ann.sayNumbered(.kick(try #require(bob.joined?.participant), reason: ""))
            guard case .peerLeft(_, _, .kicked) = try await ann.next() else {
                throw TestFailure(message: "no kick")
            }
            #expect(try holds("kicked", room, in: folder) && holds("nameKicked", room, in: folder))
        }
    }

    @Test(arguments: [1, 3])
    func theEndOfARoomIsOnTheDiskWhenTheMembersSeeIt(_ threads: Int) async throws {
        try await inRooms(threads: threads) { room, ann, bob, folder in
            try await ann.sayNumbered(.closeRoom(reason: ""))
            guard case .error(let error)? = try await bob.next() else { throw TestFailure(message: "no end") }
            #expect(error.code == .roomClosed)
            #expect(try holds("roomClosed", room, in: folder))
            #expect(await bob.closeCode() == CloseCode.refused.rawValue)
            #expect(await ann.closeCode() == CloseCode.refused.rawValue)
        }
    }

    /// A host that closes its connection right after a kick learns of it no earlier.
    @Test func whoClosesMeanwhileGetsWhatWaits() async throws {
        try await inRooms { room, ann, bob, folder in
            guard case .peerJoined = try await ann.next() else { throw TestFailure(message: "no bob") }
            let kick = ClientMessage.kick(try #require(bob.joined?.participant), reason: "")
            let text = RoomProtocolCodec.encode(Envelope(sequence: ann.nextSequence, kick))
            try await ann.send(TestClient.frame(1, text) + TestClient.frame(8, []))
            guard case .peerLeft(_, _, .kicked) = try await ann.next() else {
                throw TestFailure(message: "no kick")
            }
            #expect(try holds("nameKicked", room, in: folder))
            #expect(await ann.isClosedByServer())
        }
    }

    @Test func anOperatorIsToldWhetherARestartRemembersIt() async throws {
        try await withFolder { folder in
            try await withServer(in: folder) { server, admin in
                for number in 0..<20 {
                    let room = "room \(number)"
                    let ann = try await TestClient.join(server, "ann", .host, room: room)
                    let id = try #require(ann.joined?.participant.rawValue)
                    let kick = try await admin.request("DELETE", ["rooms", room, "participants", id])
                    #expect(String(decoding: kick.body, as: UTF8.self).contains("\"remembered\":true"))
                    #expect(try holds("kicked", room, in: folder))
                    let close = try await admin.request("DELETE", ["rooms", room])
                    #expect(String(decoding: close.body, as: UTF8.self).contains("\"remembered\":true"))
                    #expect(try holds("roomClosed", room, in: folder))
                }
            }
        }
        try await RoomServerTests.withServer {
            $0.admin = .init()
            $0.admin?.port = 0
            $0.admin?.token = Array(Self.token.utf8)
        } _: { server in
            let admin = try AdminClient(.init(#require(await server.adminURL)), token: Self.token)
            let ann = try await TestClient.join(server, "ann", .host)
            let close = try await admin.request("DELETE", ["rooms", "lobby"])
            #expect(String(decoding: close.body, as: UTF8.self).contains("\"remembered\":false"))
            withExtendedLifetime(ann) {}
        }
    }

    /// Calls of `settle`, as places make them.
    private final class Place {
        var settle: (@Sendable (Bool) -> Void)?
    }

    private func decision(places: Int) -> (loop: EmbeddedEventLoop, [Place], outcome: () -> Bool?) {
        let loop = EmbeddedEventLoop()
        let decision = Decision(on: loop)
        let all = (0..<places).map { _ in Place() }
        for place in all { decision.keep { place.settle = $0 } }
        decision.begin()
        let outcome = NIOLoopBoundBox<Bool?>(nil, eventLoop: loop)
        decision.outcome.whenSuccess { outcome.value = $0 }
        return (loop, all, { outcome.value })
    }

    @Test func aDecisionIsKeptWhenEveryPlaceHasIt() {
        let (loop, places, outcome) = decision(places: 2)
        places[1].settle?(true)
        loop.run()
        #expect(outcome() == nil)
        places[0].settle?(true)
        loop.run()
        #expect(outcome() == true)
    }

    @Test func aPlaceThatFailsOrIsSlowDoesNotHoldADecisionBackForLong() {
        let failed = decision(places: 2)
        failed.1[0].settle?(false)
        failed.loop.run()
        #expect(failed.outcome() == false)
        let slow = decision(places: 1)
        slow.loop.advanceTime(by: .milliseconds(999))
        #expect(slow.outcome() == nil)
        slow.loop.advanceTime(by: .milliseconds(1))
        #expect(slow.outcome() == false)
        slow.1[0].settle?(true)
        slow.loop.run()
        let nowhere = decision(places: 0)
        nowhere.loop.run()
        #expect(nowhere.outcome() == false)
    }

    // MARK: What waits

    @Test func eachDecisionReleasesWhatWasWrittenBeforeTheNextOne() {
        let loop = EmbeddedEventLoop()
        let (first, second) = (Decision(on: loop), Decision(on: loop))
        var (holds, outgoing) = (Holds(), Outgoing())
        outgoing.append([1])
        holds.add(first, upTo: outgoing.position)
        outgoing.append([2])
        holds.add(second, upTo: outgoing.position)
        outgoing.append([3])
        outgoing.append(pong: [])
        #expect(outgoing.take(upTo: holds.end) == nil)
        holds.release(first)
        #expect(outgoing.take(upTo: holds.end) == ByteBuffer(bytes: [1]))
        outgoing.written(1)
        #expect(outgoing.take(upTo: holds.end) == nil && outgoing.count == 2)
        holds.release(second)
        #expect(outgoing.take(upTo: holds.end) == ByteBuffer(bytes: [2, 3, 0x8A, 0]))

        // One that is kept before an earlier one waits for it.
        outgoing.written(4)
        outgoing.append([4])
        holds.add(first, upTo: outgoing.position)
        holds.add(second, upTo: outgoing.position)
        holds.release(second)
        #expect(outgoing.take(upTo: holds.end) == nil)
        holds.release(first)
        #expect(holds.end == nil)
        for decision in [first, second] { decision.begin() }
    }

    private final class Consumer: EventConsumer {
        var types: [String] = []
        func receive(_ id: String, _ type: String, _ json: [UInt8]) { types.append(type) }
    }

    @Test func eventsWaitForTheDecisionThatTheyAreAbout() {
        let loop = EmbeddedEventLoop()
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let hub = EventHub(eventLoop: loop, run: "", totals: WebhookTotals(), logger: logger)
        let consumer = Consumer()
        #expect(hub.add(consumer, after: nil))
        let outbox = EventOutbox(eventLoop: loop, hub: NIOLoopBound(hub, eventLoop: loop))
        let room = RoomName("lobby")
        let decision = Decision(on: loop)
        let place = Place()
        decision.keep { place.settle = $0 }
        decision.begin()
        outbox.record([RoomLifeEvent(.roomOpened, in: room)], after: nil)
        outbox.record([RoomLifeEvent(.roomClosed(by: .host, reason: ""), in: room)], after: decision)
        outbox.record([RoomLifeEvent(.roomOpened, in: room)], after: nil)
        loop.run()
        #expect(consumer.types == ["room.opened"])
        place.settle?(true)
        loop.run()
        #expect(consumer.types == ["room.opened", "room.closed", "room.opened"])
    }

    @Test func whoWaitsForTheStoreIsAlwaysAnswered() {
        let room = RoomName("lobby")
        let marks = ["a", "b", "c", "d"].map { RoomCluster.Mark.kicked(SessionID($0)) }
        var waits = StoreWaits()
        var answers: [String] = []
        func add(_ index: Int, at seconds: Int) {
            waits.add(
                { answers.append("\(index) \($0)") }, for: marks[index], in: room, at: .zero + .seconds(seconds))
        }
        func answered(_ index: Int, _ reply: StoreReply) {
            waits.answered(.writeMarks([TimedMark(mark: marks[index], room: room, milliseconds: 1)]), reply)
        }
        add(0, at: 0)
        add(1, at: 0)
        add(2, at: 0)
        answered(0, .done)
        answered(0, .done)
        answered(1, .failed)
        #expect(answers == ["0 true", "1 false"] && waits.count == 1)
        add(3, at: 1)
        #expect(answers.last == "2 false" && waits.count == 1)
        waits.end()
        #expect(answers.last == "3 false" && waits.count == 0)
        add(0, at: 1)
        #expect(answers.last == "0 false" && waits.count == 0)
        for _ in 0..<2 { answered(3, .done) }
        #expect(answers.count == 5)
    }
}
