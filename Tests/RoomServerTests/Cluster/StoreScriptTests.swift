import Logging
import NIOCore
import RoomProtocol
import Testing
import TransportValues

@testable import RoomCluster
@testable import RoomServer

/// The scripts against their model, on a real server.
@Suite("Store scripts", .enabled(if: RedisProcess.isInstalled), .timeLimit(.minutes(1)))
struct StoreScriptTests {
    private static let store = RedisStore(cluster: "test")

    private static let lease = NodeLease(node: NodeID("a"), incarnation: Incarnation(1), address: "x")
    private static let room = RoomName("r")
    /// The lease's node takes the room.
    private static let claim = RoomClaim(room: room, node: lease.node, incarnation: lease.incarnation, seen: 0)

    private func withStore(
        isolation: isolated (any Actor)? = #isolation, _ body: (RedisProbe) async throws -> Void
    ) async throws {
        let redis = try RedisProcess.started()
        try await RedisProbe.with(redis.url) { probe in
            try await probe.wait(until: true)
            try await body(probe)
        }
    }

    private func ask(_ request: StoreRequest, _ probe: RedisProbe, _ store: RedisStore = store) async throws
        -> StoreReply
    {
        let call = store.call(for: request)
        return try RedisStore.reply(await probe.run(call.script, keys: call.keys, call.arguments).get())
    }

    /// Requests of few nodes about few rooms, so that they meet.
    private struct Requests {
        var random: SeededGenerator
        /// The highest fence that a reply has contained.
        var fence: Fence = 0

        mutating func next() -> StoreRequest {
            let node = NodeID("n\(Int.random(in: 1...3, using: &random))")
            let incarnation = Incarnation(UInt64.random(in: 1...3, using: &random) + 1_764_000_000_000_000)
            let room = RoomName("röm \(Int.random(in: 1...4, using: &random))}")
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<5:
                var lease = NodeLease(node: node, incarnation: incarnation, address: "room://\(node)")
                lease.isDraining = Bool.random(using: &random)
                return .renewLease(
                    lease, milliseconds: 3_600_000, isFirst: Bool.random(using: &random),
                    number: UInt64.random(in: 1...9, using: &random))
            case 5: return .dropLease(node, incarnation)
            case 6..<12:
                let gone = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                    GoneNode(
                        node: NodeID("n\(Int.random(in: 1...3, using: &random))"),
                        incarnation: Incarnation(UInt64.random(in: 1...3, using: &random) + 1_764_000_000_000_000),
                        renewals: UInt64.random(in: 1...3, using: &random))
                }
                return .claim(
                    RoomClaim(room: room, node: node, incarnation: incarnation, seen: someFence(), gone: gone))
            case 12: return .readRoom(room)
            case 13: return .readNodes
            case 14..<17:
                let assertions = (0..<Int.random(in: 1...3, using: &random)).map { number in
                    Assertion(room: RoomName("röm \(number)}"), fence: someFence())
                }
                return .reassert(node, incarnation, assertions)
            case 17: return .release(room, node, incarnation, someFence())
            default:
                let marks = (0..<Int.random(in: 1...3, using: &random)).map { number in
                    let facts: [Mark] = [
                        .closed(7), .kicked(SessionID("s\(number)")), .kickedName("n:ame"), .left(SessionID("l")),
                    ]
                    // Seconds apart, so that the order of their ends does not depend on how fast the test runs.
                    return TimedMark(
                        mark: facts[Int.random(in: 0..<4, using: &random)], room: room,
                        milliseconds: max(0, Int.random(in: -300_000...1_000_000, using: &random)) * 1000,
                        fence: someFence())
                }
                return .writeMarks(marks)
            }
        }

        private mutating func someFence() -> Fence {
            switch Int.random(in: 0..<8, using: &random) {
            case 0: 0
            case 1: 1 << 50
            default: fence - min(fence, Fence.random(in: 0...2, using: &random))
            }
        }

        mutating func note(_ reply: StoreReply) {
            switch reply {
            case .claimed(let fence, _, _): self.fence = fence
            case .owner(let record, _): fence = record.fence
            default: break
            }
        }
    }

    @Test func scriptsDoWhatTheModelDoes() async throws {
        try await withStore { probe in
            var kinds: Set<String> = []
            for seed in 1...20 as ClosedRange<UInt64> {
                // A cluster for each seed: they share the server without touching each other.
                let store = RedisStore(cluster: "c\(seed)")
                var model = StoreModel()
                var requests = Requests(random: SeededGenerator(seed: seed))
                var time = Timestamp(nanoseconds: 1_764_000_000_000_000_000)
                for step in 1...300 {
                    let request = requests.next()
                    time = time + .milliseconds(1)
                    let expected = model.apply(request, at: time)
                    let reply = try await ask(request, probe, store)
                    try #require(reply == expected, "seed \(seed), step \(step): \(request)")
                    requests.note(reply)
                    kinds.insert("\(reply)".prefix { $0 != "(" }.description)
                }
            }
            #expect(
                kinds == ["renewed", "superseded", "claimed", "owner", "free", "nodes", "noLease", "asserted", "done"])
        }
    }

    @Test func leasesAndMarksEnd() async throws {
        try await withStore { probe in
            #expect(
                try await ask(.renewLease(Self.lease, milliseconds: 60_000, isFirst: true), probe)
                    == .renewed(wasHeld: false, losses: 0, birth: 0))
            let marks = [
                TimedMark(mark: .closed(7), room: Self.room, milliseconds: 1),
                TimedMark(mark: .left(SessionID("s")), room: Self.room, milliseconds: 60_000),
            ]
            #expect(try await ask(.writeMarks(marks), probe) == .done)
            var reply = try await ask(.claim(Self.claim), probe)
            while reply == .claimed(8, [.left(SessionID("s")), .closed(7)], previous: nil) {
                reply = try await ask(.claim(Self.claim), probe)
            }
            #expect(reply == .claimed(8, [.left(SessionID("s"))], previous: nil))
            #expect(
                try await ask(.renewLease(Self.lease, milliseconds: 1, isFirst: false), probe)
                    == .renewed(wasHeld: true, losses: 0, birth: 0))
            var owner = try await ask(.readRoom(Self.room), probe)
            while owner != .free { owner = try await ask(.readRoom(Self.room), probe) }
            #expect(try await ask(.claim(Self.claim), probe) == .noLease)
        }
    }

    @Test func onlyTheLatestMarksOfARoomAreKept() async throws {
        try await withStore { probe in
            _ = try await ask(.renewLease(Self.lease, milliseconds: 60_000, isFirst: true), probe)
            let marks = (0..<(Mark.limit + 10)).map { number in
                TimedMark(
                    mark: .left(SessionID("s\(number)")), room: Self.room, milliseconds: 60_000 + number * 100_000)
            }
            for start in stride(from: 0, to: marks.count, by: 64) {
                _ = try await ask(.writeMarks(Array(marks[start..<min(start + 64, marks.count)])), probe)
            }
            let reply = try await ask(.claim(Self.claim), probe)
            #expect(reply == .claimed(1, marks.reversed().prefix(Mark.limit).map(\.mark), previous: nil))
        }
    }

    @Test func keysHaveOneSlotAndAnEnd() async throws {
        try await withStore { probe in
            _ = try await ask(.renewLease(Self.lease, milliseconds: 60_000, isFirst: true), probe)
            _ = try await ask(.claim(Self.claim), probe)
            _ = try await ask(.writeMarks([TimedMark(mark: .closed(7), room: Self.room, milliseconds: 60_000)]), probe)
            guard case .success(let keys) = try await probe.send("KEYS", "*") else {
                throw TestFailure(message: "no keys")
            }
            let names = (keys.elements ?? []).compactMap(\.text).sorted()
            #expect(names == ["{test}:fence", "{test}:marks:r", "{test}:node:a", "{test}:nodes", "{test}:room:r"])
            for name in names {
                guard case .success(let life) = try await probe.send("PTTL", name), let life = life.integer else {
                    throw TestFailure(message: "no life of \(name)")
                }
                #expect(name == "{test}:fence" ? life == -1 : life > 0)
            }
        }
    }

    @Test func replyThatNoScriptGivesIsAFailure() {
        for value: RESPValue in [
            .null, .integer(1), .array([]), .array([.string(Array("owner".utf8))]),
            .array([.string(Array("claimed".utf8)), .integer(-1), .array([]), .array([])]),
            .array([.string(Array("asserted".utf8)), .array([.array([.string(Array("kept".utf8))])])]),
        ] { #expect(RedisStore.reply(value) == .failed) }
    }
}

/// SplitMix64.
private struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
