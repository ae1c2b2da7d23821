internal import Testing
internal import TransportPluginAPI

@testable internal import PeerWebRTC

/// How large packets may be: the decisions.
struct PathSizeMachineTests {
    typealias Action = PathSizeMachine.Action
    typealias Size = PathSizeMachine.Size

    private func at(_ milliseconds: Int64) -> Timestamp { Timestamp(nanoseconds: milliseconds * 1_000_000) }

    /// A path that answers heartbeats up to a size after 10 ms. Runs the timer until nothing is asked any more, or
    /// until `end`.
    private func run(
        _ machine: inout PathSizeMachine, _ first: [Action], at start: Int64, carries: (Size, Int64) -> Bool,
        until end: Int64 = 60_000
    ) -> [Action] {
        var log: [Action] = []
        var answers: [(time: Int64, size: Size)] = []
        func send(_ actions: [Action], at now: Int64) {
            for case .probe(let size) in actions where carries(size, now) { answers.append((now + 10, size)) }
        }
        send(first, at: start)
        var steps = 0
        while let deadline = machine.deadline, deadline <= at(end), steps < 1000 {
            steps += 1
            let actions: [Action]
            var now = deadline.nanoseconds / 1_000_000
            if let next = answers.first, next.time <= now {
                answers.removeFirst()
                now = next.time
                actions = machine.answered(next.size, at: at(now), roundTrip: .milliseconds(10))
            } else {
                actions = machine.timerFired(at: deadline)
            }
            send(actions, at: now)
            log += others(actions)
        }
        return log
    }

    /// Those that are not heartbeats.
    private func others(_ actions: [Action]) -> [Action] {
        actions.filter { if case .probe = $0 { false } else { true } }
    }

    private func connected(carries: (Size, Int64) -> Bool) -> (PathSizeMachine, [Action]) {
        var machine = PathSizeMachine(at: at(0), roundTrip: .milliseconds(10))
        let first = machine.pathChanged(at: at(0))
        let log = run(&machine, first, at: 0, carries: carries)
        return (machine, log)
    }

    @Test func chunksAreSmallUntilAHeartbeatOfFullSizeIsAnswered() {
        var machine = PathSizeMachine(at: at(0), roundTrip: .milliseconds(10))
        #expect(machine.pathChanged(at: at(0)) == [.use(chunks: .half, packets: .full), .probe(.full)])
        #expect(machine.answered(.full, at: at(10), roundTrip: nil) == [.use(chunks: .full, packets: .full)])
        #expect(machine.deadline == nil)
        #expect(!machine.isSmall)
    }

    @Test func packetsBecomeSmallWhenOnlySmallHeartbeatsAreAnswered() {
        let (machine, log) = connected { size, _ in size == .half }
        #expect(log == [.use(chunks: .half, packets: .half)])
        #expect(machine.isSmall)
    }

    @Test func aSilentPathIsNotASmallOne() {
        let (machine, log) = connected { _, now in now > 20_000 }
        #expect(log == [.use(chunks: .full, packets: .full)])
        #expect(!machine.isSmall)
        let (silent, nothing) = connected { _, _ in false }
        #expect(nothing == [] && !silent.isSmall)
    }

    @Test(arguments: [1, 2]) func lossesThatMayBeChanceAreNotTakenForALimit(lost: Int) {
        var sent = 0
        let (machine, log) = connected { size, _ in
            guard size == .full else { return true }
            sent += 1
            // The first one is without a control, and does not count.
            return sent > lost + 1
        }
        #expect(log == [.use(chunks: .full, packets: .full)])
        #expect(!machine.isSmall)
    }

    /// The cumulative TSN stands still from 1 s on, while the other side answers.
    private func stall(
        _ machine: inout PathSizeMachine, evidence: Bool, carries: (Size, Int64) -> Bool
    ) -> [(Int64, Action)] {
        var log: [(Int64, Action)] = []
        for now in stride(from: Int64(20_000), through: 30_000, by: 250) {
            let actions = machine.dataIsOutstanding(
                acknowledged: 7, lastEvidence: evidence ? at(now - 10) : at(19_000), at: at(now))
            let done = others(actions)
            log += done.map { (now, $0) }
            if done.contains(.giveUp) { break }
            log += run(&machine, actions, at: now, carries: carries, until: now + 1000).map { (now, $0) }
        }
        return log
    }

    @Test func chunksThatNoLongerPassEndTheConnection() throws {
        var (machine, _) = connected { _, _ in true }
        let log = stall(&machine, evidence: true) { size, _ in size == .half }
        #expect(log.map(\.1) == [.use(chunks: .half, packets: .half), .giveUp])
        #expect(try #require(log.last).0 < 24_000)
        // Also right behind the answer on the first path.
        var (young, _) = connected { _, _ in true }
        #expect(young.dataIsOutstanding(acknowledged: 7, lastEvidence: at(100), at: at(100)) == [])
        #expect(young.dataIsOutstanding(acknowledged: 7, lastEvidence: at(1050), at: at(1100)) == [.probe(.full)])
    }

    @Test func aReaderThatDoesNotReadIsNoSmallPath() {
        var (machine, _) = connected { _, _ in true }
        #expect(stall(&machine, evidence: true) { _, _ in true }.isEmpty)
        #expect(!machine.isSmall)
    }

    @Test func silenceIsNoSmallPath() {
        var (machine, _) = connected { _, _ in true }
        #expect(stall(&machine, evidence: false) { _, _ in false }.isEmpty)
    }

    @Test func aPathThatWasAlwaysSmallIsNotGivenUp() {
        var (machine, _) = connected { size, _ in size == .half }
        #expect(stall(&machine, evidence: true) { size, _ in size == .half }.isEmpty)
    }

    @Test func aNewPathIsAskedAnewAndASmallOneNowAndThen() {
        var (machine, _) = connected { size, _ in size == .half }
        let first = machine.pathChanged(at: at(5000))
        #expect(first == [.use(chunks: .half, packets: .full), .probe(.full)])
        #expect(run(&machine, first, at: 5000) { _, _ in true } == [.use(chunks: .full, packets: .full)])

        (machine, _) = connected { size, _ in size == .half }
        #expect(machine.dataIsOutstanding(acknowledged: 1, lastEvidence: at(30_000), at: at(30_000)) == [])
        let raise = machine.dataIsOutstanding(acknowledged: 2, lastEvidence: at(700_000), at: at(700_000))
        #expect(raise == [.probe(.full)])
        #expect(run(&machine, raise, at: 700_000, carries: { size, _ in size == .half }, until: 800_000) == [])
        #expect(machine.isSmall)
        #expect(machine.dataIsOutstanding(acknowledged: 3, lastEvidence: at(800_000), at: at(800_000)) == [])
    }
}

/// Sizes that follow from the largest datagram, and packets of heartbeats.
struct PacketSizesTests {
    @Test func theDefaultLeavesRoomForATURNChannelOnTheSmallestLinkOfIPv6() {
        let sizes = PacketSizes(maximumDatagram: PacketSizes.defaultMaximumDatagram)
        #expect(PacketSizes.defaultMaximumDatagram == 1225)
        #expect(sizes.packet(.full) == 1188)
        #expect(sizes.datagram(.full) == 1225)
        // ChannelData, UDP, IPv6.
        #expect(sizes.datagram(.full) + 4 + 8 + 40 <= 1280)
    }

    @Test(arguments: 576...1452) func nothingIsLargerThanWhatWasAskedForAndTwoChunksFillAPacket(maximum: Int) {
        let sizes = PacketSizes(maximumDatagram: maximum)
        #expect((maximum - 3...maximum).contains(sizes.datagram(.full)))
        #expect(sizes.packet(.full) % 4 == 0 && sizes.packet(.half) % 4 == 0)
        #expect(sizes.pathMTU(.half) >= 512)
        guard sizes.canHalve else { return }
        let chunk = Int(sizes.chunkPayload(.half)) + 16
        #expect(chunk + 12 == sizes.packet(.half))
        #expect((sizes.packet(.full) - 7...sizes.packet(.full)).contains(2 * chunk + 12))
    }

    @Test func heartbeatsAreReadAsWritten() {
        for size in [28, 600, 1188] {
            var bytes = [UInt8](repeating: 0xAA, count: size)
            bytes.withUnsafeMutableBytes { packet in
                Heartbeat.write(0x0102_0304, header: 0x1122_3344_5566_7788, into: packet)
                #expect(Heartbeat.parse(UnsafeRawBufferPointer(packet)) == .request)
                Heartbeat.makeAnswer(from: packet, header: 1)
                #expect(Heartbeat.parse(UnsafeRawBufferPointer(packet)) == .answer(0x0102_0304))
            }
        }
    }

    @Test(
        arguments: [
            [], [UInt8](repeating: 4, count: 12), [UInt8](repeating: 4, count: 20),
            [UInt8](repeating: 0, count: 12) + [4, 0, 0, 4],
            [UInt8](repeating: 0, count: 12) + [5, 0, 0, 8, 0, 1, 0, 4],
            [UInt8](repeating: 0, count: 12) + [5, 0, 255, 255, 0, 1, 0, 4, 0, 0, 0, 0],
            // A SACK behind it: for usrsctp.
            [UInt8](repeating: 0, count: 12) + [4, 0, 0, 8, 0, 1, 0, 4, 3, 0, 0, 16] + [UInt8](repeating: 0, count: 12),
        ] as [[UInt8]])
    func otherPacketsThanHeartbeatsArePassedToUsrsctp(bytes: [UInt8]) {
        bytes.withUnsafeBytes { #expect(Heartbeat.parse($0) == nil) }
    }

    @Test func onlyHeartbeatsThatWaitAreAnsweredOnceAndTheirMemoryIsBounded() {
        var book = HeartbeatLog()
        let start = Timestamp(nanoseconds: 1_000_000_000)
        let ids = (0..<40).map { _ in book.sent(.full, at: start) }
        #expect(book.answered(ids[0], at: start) == nil)
        #expect(book.answered(99, at: start) == nil)
        #expect(book.answered(ids[39], at: start + .milliseconds(8))?.size == .full)
        #expect(book.answered(ids[39], at: start) == nil)
        #expect(book.roundTrip == .milliseconds(8))
    }
}

/// Paths that drop what is larger than some size: real connections.
@Suite(.timeLimit(.minutes(1)))
struct SmallPathTests {
    @Test func largeMessagesCrossAPathThatDropsLargeDatagrams() async throws {
        let pair = try TestPair()
        try await pair.start { pair in
            pair.network.largest = 1152
            _ = try pair.a.call { try $0.openChannel(ChannelParameters(label: "data")) }
        }
        try #require(await pair.b.wait { $0.channel("data") != nil })
        try #require(await pair.a.wait { $0.channel("data") != nil && $0.isConnected })
        try await pair.on { pair in
            let bytes = [UInt8](repeating: 7, count: 200_000)
            try pair.a.connection.send(bytes, on: try #require(pair.a.channel("data")))
            try pair.b.connection.send(bytes, on: try #require(pair.b.channel("data")))
        }
        #expect(await pair.b.wait(.seconds(10)) { $0.messages.map(\.bytes.count) == [200_000] })
        #expect(await pair.a.wait(.seconds(10)) { $0.messages.map(\.bytes.count) == [200_000] })
        #expect(await pair.a.wait { $0.connection.sctp.monitor.pathSize?.isSmall == true })
        await pair.end()
    }

    @Test func aPathThatCarriesThemGetsFullPackets() async throws {
        try await withFullPackets { pair, ids in
            try await pair.on { pair in
                pair.network.largestSent = 0
                try pair.a.connection.send([UInt8](repeating: 7, count: 100_000), on: ids.a)
            }
            #expect(await pair.b.wait { $0.messages.count == 1 })
            try await pair.on { pair in #expect(pair.network.largestSent == 1225) }
        }
    }

    @Test func aPathThatShrinksUnderDataEndsTheConnectionWithTheCure() async throws {
        try await withFullPackets { pair, ids in
            try await pair.on { pair in
                pair.network.largest = 1152
                try pair.a.connection.send([UInt8](repeating: 7, count: 20_000), on: ids.a)
            }
            #expect(await pair.a.wait(.seconds(15)) { $0.isClosed })
            try await pair.on { pair in
                let closing = try #require(pair.a.closing)
                let error = try #require(closing)
                #expect(error.isRetryable && error.message.contains("max-datagram-size"))
                #expect(error.message.contains("1225"))
            }
        }
    }

    @Test(arguments: [700, 1000]) func aHandshakeFitsASmallPathAfterItsFirstRetransmissions(largest: Int) async throws {
        let pair = try TestPair()
        try await pair.start { pair in
            pair.network.largest = largest
            _ = try pair.a.call { try $0.openChannel(ChannelParameters(label: "data")) }
        }
        #expect(await pair.b.wait(.seconds(5)) { $0.channel("data") != nil })
        await pair.end()
    }

    @Test(arguments: [576, 1000, 1225, 1452]) func noDatagramIsLargerThanTheOptionSays(maximum: Int) async throws {
        var options = WebRTCOptions()
        options.maximumDatagramSize = maximum
        let pair = try TestPair(options: options)
        let ids = try await pair.connect()
        try await pair.on { pair in
            try pair.a.connection.send([UInt8](repeating: 7, count: 100_000), on: ids.a)
        }
        #expect(await pair.b.wait { $0.messages.count == 1 })
        try await pair.on { pair in #expect((maximum - 3...maximum).contains(pair.network.largestSent)) }
        await pair.end()
    }
}

/// Runs `body` with a connected pair whose heartbeat of full size was answered.
private func withFullPackets(
    isolation: isolated (any Actor)? = #isolation,
    _ body: (_ pair: TestPair, _ ids: (a: ChannelID, b: ChannelID)) async throws -> Void
) async throws {
    try await withConnectedPair { pair, ids in
        #expect(
            await pair.a.wait { $0.connection.sctp.monitor.pathSize.map { $0.deadline == nil && !$0.isSmall } == true })
        try await body(pair, ids)
    }
}
