import Testing
import TransportValues

@testable import RoomServer

@Suite struct LinkFrameTests {
    private static let frames: [LinkFrame] = [
        .hello(LinkHello(cluster: "c", node: "näme", incarnation: 7, nonce: Array(0..<32))),
        .proof(Array(repeating: 9, count: 32)), .ping(.max), .pong(0),
        .open(3, LinkOpening(fence: 1 << 40, address: "::1", hello: Array("{}".utf8))), .accept(4),
        .refuse(5, .notOwner), .refuse(5, .busy), .text(.max, Array("text".utf8)), .text(1, []), .frame(6),
        .credit(7, 65_536), .close(8, code: 1001), .abort(9), .fence(1 << 50, room: "r"),
    ]

    @Test func framesAreReadInPiecesOfEveryLength() throws {
        let bytes = Self.frames.flatMap(\.encoded)
        for pieces in 1...bytes.count {
            var parser = LinkParser(maximumContent: 1024)
            var frames: [LinkFrame] = []
            for start in stride(from: 0, to: bytes.count, by: pieces) {
                try Array(bytes[start..<min(start + pieces, bytes.count)]).withUnsafeBytes { piece in
                    var rest = piece
                    while let frame = try parser.next(&rest) { frames.append(frame) }
                }
            }
            #expect(frames == Self.frames)
        }
    }

    @Test func shortenedUnknownAndOverlongFramesAreRefused() throws {
        var bad: [[UInt8]] = [[99] + [0, 0, 0, 0] + [0, 0, 0, 0], [8, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF]]
        for frame in Self.frames {
            var bytes = frame.encoded
            switch frame {
            case .text, .open, .fence: continue
            default: break
            }
            let length = UInt32(bytes.count - LinkFrame.headerBytes)
            // One byte less, and one more.
            if length > 0 {
                bytes[8] = UInt8(length - 1)
                bad.append(bytes.dropLast())
            }
            if case .hello = frame { continue }
            bytes = frame.encoded
            bytes[8] = UInt8(length + 1)
            bad.append(bytes + [0])
        }
        for bytes in bad {
            #expect(throws: LinkViolation.self) {
                var parser = LinkParser(maximumContent: 1024)
                try bytes.withUnsafeBytes { bytes in
                    var rest = bytes
                    _ = try parser.next(&rest)
                }
            }
        }
    }
}

@Suite struct LinkMachineTests {
    private typealias Action = LinkMachine.Action

    private static func time(_ milliseconds: Int) -> Timestamp { .zero + .milliseconds(milliseconds) }

    /// Both ends of a link.
    private struct Pair {
        var dialer: LinkMachine
        var acceptor: LinkMachine
        /// The actions of both sides, other than to write, in order.
        var seen: [LinkMachine.Side: [Action]] = [:]

        init(
            keys: ([[UInt8]], [[UInt8]]) = ([[1]], [[1]]), clusters: (String, String) = ("c", "c"),
            names: (String, String) = ("a", "b"), expected: String? = "b"
        ) {
            dialer = LinkMachine(
                .dialer,
                hello: LinkHello(
                    cluster: clusters.0, node: names.0, incarnation: 1, nonce: Array(repeating: 1, count: 32)),
                settings: .init(keys: keys.0, expectedNode: expected))
            acceptor = LinkMachine(
                .acceptor,
                hello: LinkHello(
                    cluster: clusters.1, node: names.1, incarnation: 2, nonce: Array(repeating: 2, count: 32)),
                settings: .init(keys: keys.1))
        }

        mutating func open(bindings: ([UInt8], [UInt8]) = ([5], [5]), at now: Timestamp = time(0)) {
            dialer.connected(at: now)
            acceptor.connected(at: now)
            carry(acceptor.opened(binding: bindings.1, at: now), from: .acceptor, at: now)
            carry(dialer.opened(binding: bindings.0, at: now), from: .dialer, at: now)
        }

        /// Carries what one side writes to the other one, and its answers back.
        mutating func carry(_ actions: [Action], from side: LinkMachine.Side, at now: Timestamp) {
            for action in actions {
                guard case .write(let frame) = action else {
                    seen[side, default: []].append(action)
                    continue
                }
                let other: LinkMachine.Side = side == .dialer ? .acceptor : .dialer
                let answers = frame.encoded.withUnsafeBytes { bytes in
                    side == .dialer ? acceptor.received(bytes, at: now) : dialer.received(bytes, at: now)
                }
                carry(answers, from: other, at: now)
            }
        }

        func ending(of side: LinkMachine.Side) -> String? {
            for case .end(let reason) in seen[side] ?? [] { return reason }
            return nil
        }
    }

    private func openPair() -> Pair {
        var pair = Pair()
        pair.open()
        #expect(pair.dialer.isReady && pair.acceptor.isReady)
        pair.seen = [:]
        return pair
    }

    @Test func nodesOfOneClusterKnowEachOther() {
        var pair = Pair()
        pair.open()
        guard case .ready(let dialer)? = pair.seen[.acceptor]?.first,
            case .ready(let acceptor)? = pair.seen[.dialer]?.first
        else { return #expect(Bool(false), "not ready") }
        #expect(dialer.node == "a" && dialer.incarnation == 1 && acceptor.node == "b" && acceptor.incarnation == 2)
    }

    @Test func strangersAreRefused() {
        var rotated = Pair(keys: ([[3], [1]], [[1]]))
        rotated.open()
        #expect(rotated.dialer.isReady && rotated.acceptor.isReady)

        var otherKey = Pair(keys: ([[1]], [[2]]))
        otherKey.open()
        #expect(otherKey.ending(of: .dialer)?.contains("session key") == true)
        #expect(otherKey.seen[.acceptor] == nil)

        var inTheMiddle = Pair()
        inTheMiddle.open(bindings: ([5], [6]))
        #expect(inTheMiddle.ending(of: .dialer) != nil && !inTheMiddle.acceptor.isReady)

        var otherCluster = Pair(clusters: ("c", "d"))
        otherCluster.open()
        #expect(otherCluster.ending(of: .acceptor) == "the other node belongs to another cluster")

        var otherNode = Pair(expected: "x")
        otherNode.open()
        #expect(otherNode.ending(of: .dialer)?.contains("--advertise") == true)

        var itself = Pair(names: ("b", "b"))
        itself.open()
        #expect(itself.ending(of: .acceptor)?.contains("--node") == true)
    }

    /// An attacker sends a proof back to the side that has made it.
    @Test func ownProofProvesNothing() {
        var pair = Pair()
        pair.dialer.connected(at: Self.time(0))
        _ = pair.dialer.opened(binding: [5], at: Self.time(0))
        pair.acceptor.connected(at: Self.time(0))
        _ = pair.acceptor.opened(binding: [5], at: Self.time(0))
        let hello = LinkFrame.hello(
            LinkHello(cluster: "c", node: "z", incarnation: 1, nonce: Array(repeating: 1, count: 32)))
        let answers = hello.encoded.withUnsafeBytes { pair.acceptor.received($0, at: Self.time(0)) }
        guard case .write(let proof)? = answers.last else { return #expect(Bool(false), "no proof") }
        let actions = proof.encoded.withUnsafeBytes { pair.acceptor.received($0, at: Self.time(0)) }
        #expect(!pair.acceptor.isReady)
        guard case .end? = actions.last else { return #expect(Bool(false), "not ended") }
    }

    @Test func framesBeforeTheHandshakeAndLongOnesEndTheLink() {
        for frame in [LinkFrame.ping(1), .text(1, Array(repeating: 0, count: 2000))] {
            var pair = Pair()
            pair.acceptor.connected(at: Self.time(0))
            _ = pair.acceptor.opened(binding: [5], at: Self.time(0))
            let actions = frame.encoded.withUnsafeBytes { pair.acceptor.received($0, at: Self.time(0)) }
            guard case .end? = actions.first, actions.count == 1 else { return #expect(Bool(false), "not ended") }
        }
        var slow = Pair()
        slow.acceptor.connected(at: Self.time(0))
        #expect(slow.acceptor.timePassed(to: Self.time(3000)) == [.end("the handshake took too long")])
    }

    @Test func clientIsCarriedInBothDirectionsUntilOneSideEndsIt() throws {
        var pair = openPair()
        let now = Self.time(10)
        let opening = LinkOpening(fence: 3, address: "10.0.0.1", hello: [1])
        let opened = pair.dialer.open(opening)
        let (id, actions) = try #require(opened)
        pair.carry(actions, from: .dialer, at: now)
        pair.carry(pair.acceptor.accept(id), from: .acceptor, at: now)
        pair.carry(pair.dialer.text(id, [2]).0, from: .dialer, at: now)
        pair.carry(pair.dialer.frame(id), from: .dialer, at: now)
        pair.carry(pair.acceptor.text(id, [3]).0, from: .acceptor, at: now)
        #expect(pair.seen[.acceptor] == [.deliver(.open(id, opening)), .deliver(.text(id, [2])), .deliver(.frame(id))])
        #expect(pair.seen[.dialer] == [.deliver(.accept(id)), .deliver(.text(id, [3]))])
        pair.seen = [:]
        // Both at once: late frames are dropped, and nothing is left.
        let close = pair.acceptor.close(id, code: 1001)
        let late = pair.dialer.text(id, [4]).0 + pair.dialer.close(id, code: 0)
        pair.carry(close, from: .acceptor, at: now)
        pair.carry(late, from: .dialer, at: now)
        #expect(pair.seen == [:])
        #expect(pair.dialer.streamCount == 0 && pair.acceptor.streamCount == 0)
    }

    @Test func refusedStreamIsGone() throws {
        var pair = openPair()
        let opened = pair.dialer.open(LinkOpening(fence: 0, address: "", hello: []))
        let (id, actions) = try #require(opened)
        pair.carry(actions, from: .dialer, at: Self.time(0))
        pair.carry(pair.acceptor.refuse(id, .notOwner), from: .acceptor, at: Self.time(0))
        #expect(pair.seen[.dialer] == [.deliver(.refuse(id, .notOwner))])
        #expect(pair.dialer.streamCount == 0 && pair.acceptor.streamCount == 0)
    }

    @Test func clientThatWasCarriedBeforeIsRefused() throws {
        var pair = openPair()
        let opened = pair.dialer.open(LinkOpening(hops: 2, fence: 0, address: "", hello: []))
        let (id, actions) = try #require(opened)
        pair.carry(actions, from: .dialer, at: Self.time(0))
        #expect(pair.seen[.dialer] == [.deliver(.refuse(id, .notOwner))])
        #expect(pair.seen[.acceptor] == nil)
    }

    @Test func streamWithoutCreditIsHeldUntilTheOwnerHasTakenItsMessages() throws {
        var pair = openPair()
        let now = Self.time(0)
        let opened = pair.dialer.open(LinkOpening(fence: 0, address: "", hello: []))
        let (id, actions) = try #require(opened)
        pair.carry(actions, from: .dialer, at: now)
        let piece = [UInt8](repeating: 1, count: 20_000)
        for index in 1...4 {
            let (actions, maySendMore) = pair.dialer.text(id, piece)
            #expect(maySendMore == (index < 4))
            pair.carry(actions, from: .dialer, at: now)
        }
        #expect(pair.ending(of: .acceptor) == nil)
        pair.seen = [:]
        pair.carry(pair.acceptor.took(10_000, from: id), from: .acceptor, at: now)
        #expect(pair.seen[.dialer] == nil)
        pair.carry(pair.acceptor.took(10_000, from: id), from: .acceptor, at: now)
        #expect(pair.seen[.dialer] == [.resume(id)])
        // One that sends anyway.
        for _ in 0..<2 { pair.carry([.write(.text(id, piece))], from: .dialer, at: now) }
        #expect(pair.ending(of: .acceptor)?.contains("without credit") == true)
    }

    @Test func creditForNothingEndsTheLink() throws {
        var pair = openPair()
        let opened = pair.dialer.open(LinkOpening(fence: 0, address: "", hello: []))
        let (id, actions) = try #require(opened)
        pair.carry(actions, from: .dialer, at: Self.time(0))
        pair.carry([.write(.credit(id, 1))], from: .acceptor, at: Self.time(0))
        #expect(pair.ending(of: .dialer) != nil)
    }

    @Test func silentLinkEndsAfterFourSeconds() {
        var pair = openPair()
        for second in 1...3 {
            guard case .write(.ping)? = pair.dialer.timePassed(to: Self.time(second * 1000)).first else {
                return #expect(Bool(false), "no ping")
            }
        }
        #expect(pair.dialer.timePassed(to: Self.time(4000)) == [.end("the other node is silent")])
    }

    /// A stopped process has not read its sockets.
    @Test func processThatWasStoppedReadsBeforeItJudges() {
        var pair = openPair()
        guard case .write(let ping)? = pair.dialer.timePassed(to: Self.time(60_000)).first else {
            return #expect(Bool(false), "no ping")
        }
        pair.carry([.write(ping)], from: .dialer, at: Self.time(60_001))
        #expect(pair.dialer.nextDeadline == Self.time(61_000))
        guard case .write? = pair.dialer.timePassed(to: Self.time(61_000)).first else {
            return #expect(Bool(false), "ended")
        }
    }
}
