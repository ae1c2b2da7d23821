import Glibc
import Testing
import TransportPluginAPI

@testable import ICELibnice

// One at a time: descriptors of the whole process are counted, and timings must not be those of a crowd.
@Suite(.serialized, .timeLimit(.minutes(1))) struct LibniceAgentTests {
    @Test(arguments: [1, 2], [22, 200] as [UInt8])
    func twoAgentsConnectAndExchangeBatches(loops count: Int, first: UInt8) async throws {
        try await withConnectedPair(loops: count) { a, b in
            for (sender, receiver) in [(a, b), (b, a)] {
                await sender.loop.run { sender.send(count: 60, size: 1200, first: first) }
                await receiver.wait { $0.received.count == 60 }
                let numbers = await receiver.loop.run { receiver.received.map { number($0) } }
                #expect(numbers == Array(0..<60))
                #expect(await receiver.loop.run { receiver.received.allSatisfy { $0.count == 1200 && $0[0] == first } })
            }
            let path = await a.loop.run { a.agent.selectedPath }
            #expect(path?.local == .host)
            #expect(path?.summary.hasPrefix("udp ") == true)
            #expect(await a.loop.run { a.agent.isDirect })
            #expect(await a.loop.run { a.states } == [.checking, .connected])
        }
    }

    @Test func datagramsOfDifferentSizesKeepTheirBoundaries() async throws {
        try await withConnectedPair(loops: 2) { a, b in
            var sizes: [Int] = []
            for index in 0..<300 { sizes.append([1200, 1200, 700, 1, 1200, 1201, 37, 37, 37, 5][index % 10]) }
            let datagrams = sizes.enumerated().map { index, size in
                [22] + [UInt8](repeating: UInt8(index % 251), count: size - 1)
            }
            await a.loop.run { a.send(datagrams) }
            await b.wait { $0.received.count == 300 }
            #expect(await b.loop.run { b.received } == datagrams)
        }
    }

    @Test func withoutTheDirectPathDataPassesThroughLibnice() async throws {
        var options = TestPeer.options
        options.usesDirectPath = false
        try await withConnectedPair(loops: 2, options) { a, b in
            #expect(await a.loop.run { !a.agent.isDirect })
            await a.loop.run { a.send(count: 20, size: 1000) }
            await b.wait { $0.received.count == 20 }
        }
    }

    /// libnice treats an answer that it does not await as data. Such answers occur: from a TURN server whose first
    /// answer was late.
    @Test(arguments: [true, false])
    func strayStunIsNoData(isDirect: Bool) async throws {
        var options = TestPeer.options
        options.usesDirectPath = isDirect
        try await withConnectedPair(loops: 2, options) { a, b in
            // RFC 8489 §5: an error response to an Allocate request, and a success response to a Binding request.
            let cookie: [UInt8] = [0x21, 0x12, 0xA4, 0x42]
            let strays = [[1, 0x13, 0, 0] + cookie + (1...12), [1, 1, 0, 0] + cookie + (1...12)] as [[UInt8]]
            await a.loop.run { a.send(strays + [[22, 7]]) }
            await b.wait { $0.received.contains([22, 7]) }
            #expect(await b.loop.run { b.received } == [[22, 7]])
        }
    }

    @Test func steadyDataDoesNotRunGLib() async throws {
        try await withConnectedPair(loops: 2) { a, b in
            b.keepsDatagrams = false
            a.keepsDatagrams = false
            await b.loop.run { b.onBatch = { _ in b.send(count: 1, size: 64) } }
            await a.loop.run { a.onBatch = { _ in a.send(count: 1, size: 64) } }
            let before = await (a.loop.run { a.agent.passCount }, b.loop.run { b.agent.passCount })
            await a.loop.run { a.send(count: 1, size: 64) }
            await a.wait { $0.receivedCount > 20_000 }
            let after = await (a.loop.run { a.agent.passCount }, b.loop.run { b.agent.passCount })
            // libnice's timers run on for a moment after the connection.
            #expect(after.0 - before.0 < 400)
            #expect(after.1 - before.1 < 400)
        }
    }

    @Test func candidatesBeforeCredentialsAreKept() async throws {
        try await withPair(loops: 1) { a, b in
            try await a.loop.runThrowing { () throws(TransportError) in
                try a.agent.gather()
                try b.agent.gather()
            }
            await a.wait(until: \.isGatheringDone)
            await b.wait(until: \.isGatheringDone)
            try await a.loop.runThrowing { () throws(TransportError) in
                for candidate in a.candidates { try b.agent.addRemoteCandidate(candidate) }
                for candidate in b.candidates { try a.agent.addRemoteCandidate(candidate) }
                a.agent.endOfRemoteCandidates()
                b.agent.endOfRemoteCandidates()
                try a.agent.setRemoteCredentials(b.agent.localCredentials)
                try b.agent.setRemoteCredentials(a.agent.localCredentials)
            }
            await a.wait(until: \.isConnected)
            await b.wait(until: \.isConnected)
        }
    }

    /// The same that a session description may hold: visible ASCII, of the lengths of RFC 8839 §5.4.
    @Test func credentialsOfOthersMayHaveMoreThanICEChars() async throws {
        try await withLoops(1) { loops in
            for (fragment, password, isTaken) in [
                ("U-_K", "mLq8Xxy7yKqjzIyFQzVVug==", true), ("U xK", "mLq8Xxy7yKqjzIyFQzVVug==", false),
                ("U+x", "mLq8Xxy7yKqjzIyFQzVVug==", false), ("U+xK", "mLq8Xxy7yKqjzIyFQzVVé", false),
            ] {
                let a = try await TestPeer.make(on: loops[0], controlling: true)
                let code = await loops[0].run { () -> TransportError.Code? in
                    do throws(TransportError) {
                        try a.agent.setRemoteCredentials(
                            ICECredentials(usernameFragment: fragment, password: password))
                        return nil
                    } catch { return error.code }
                }
                #expect(code == (isTaken ? nil : .protocolViolation), "\(fragment) \(password)")
                await a.close()
            }
        }
    }

    @Test func oneSidesCandidatesAreEnough() async throws {
        try await withPair(loops: 1) { a, b in
            try await a.loop.runThrowing { () throws(TransportError) in
                try a.agent.gather()
                try b.agent.gather()
                try a.agent.setRemoteCredentials(b.agent.localCredentials)
                try b.agent.setRemoteCredentials(a.agent.localCredentials)
            }
            await b.wait(until: \.isGatheringDone)
            // b never hears of a's candidates: it learns them from a's checks (RFC 8445 §7.3.1.3).
            try await a.loop.runThrowing { () throws(TransportError) in
                for candidate in b.candidates { try a.agent.addRemoteCandidate(candidate) }
            }
            await a.wait(until: \.isConnected)
            await b.wait(until: \.isConnected)
            #expect(await a.loop.run { b.agent.selectedPath?.remote } == .prflx)
            await b.loop.run { b.send(count: 3, size: 100) }
            await a.wait { $0.received.count == 3 }
        }
    }

    /// With such a pause between checks, one that waits for libnice's timer comes too late in any case.
    @Test(arguments: [true, false])
    func aRequestFromAnUnknownAddressIsFollowedByACheckAtOnce(knowsCredentials: Bool) async throws {
        var options = TestPeer.options
        options.pacing = 30_000
        try await withPair(loops: 1, options) { a, b in
            try await a.gather()
            try await b.gather()
            let begin = Timestamp.now()
            let passes = try await a.loop.runThrowing { () throws(TransportError) -> Int in
                if knowsCredentials { try a.agent.setRemoteCredentials(b.agent.localCredentials) }
                try b.agent.setRemoteCredentials(a.agent.localCredentials)
                for candidate in a.candidates { try b.agent.addRemoteCandidate(candidate) }
                return a.agent.passCount
            }
            if !knowsCredentials {
                // Its next pass handles the request.
                await a.wait { $0.agent.passCount > passes }
                try await a.loop.runThrowing { () throws(TransportError) in
                    try a.agent.setRemoteCredentials(b.agent.localCredentials)
                }
            }
            await a.wait(until: \.isConnected)
            #expect(Timestamp.now() - begin < .seconds(20))
        }
    }

    @Test func lateCandidatesAfterAnUnreachableOneConnect() async throws {
        try await withPair(loops: 2) { a, b in
            // Nobody is there.
            try await a.loop.runThrowing { () throws(TransportError) in
                try a.agent.addRemoteCandidate("candidate:9 1 UDP 2130706431 127.0.0.1 9 typ host")
            }
            let credentials = await b.credentials()
            try await a.loop.runThrowing { () throws(TransportError) in
                try a.agent.setRemoteCredentials(credentials)
                try a.agent.gather()
            }
            await a.wait { $0.states.last == .checking }
            let others = await a.credentials()
            try await b.loop.runThrowing { () throws(TransportError) in
                try b.agent.setRemoteCredentials(others)
                b.onCandidate = { candidate in a.loop.execute { try? a.agent.addRemoteCandidate(candidate) } }
                try b.agent.gather()
            }
            await a.wait(until: \.isConnected)
            await b.wait(until: \.isConnected)
        }
    }

    @Test func aWrongPasswordDoesNotConnect() async throws {
        try await withPair(loops: 1) { a, b in
            try await a.loop.runThrowing { () throws(TransportError) in
                try a.agent.gather()
                try b.agent.gather()
                var wrong = b.agent.localCredentials
                wrong.password = String(repeating: "x", count: 22)
                try a.agent.setRemoteCredentials(wrong)
                try b.agent.setRemoteCredentials(a.agent.localCredentials)
                for candidate in b.candidates { try a.agent.addRemoteCandidate(candidate) }
                b.agent.endOfRemoteCandidates()
            }
            await b.wait(until: \.isGatheringDone)
            try await a.loop.runThrowing { () throws(TransportError) in
                for candidate in b.candidates { try a.agent.addRemoteCandidate(candidate) }
                a.agent.endOfRemoteCandidates()
            }
            await a.wait { $0.states.last == .failed }
            #expect(await a.loop.run { a.agent.selectedPath == nil })
        }
    }

    @Test func garbageIsRefusedAndLeavesTheAgentUsable() async throws {
        try await withPair(loops: 1) { a, b in
            await a.loop.run {
                for line in ["", "candidate:", "nonsense", "candidate:1 1 UDP 1 127.0.0.1 99999999 typ host"] {
                    #expect(
                        code { () throws(TransportError) in try a.agent.addRemoteCandidate(line) } == .protocolViolation
                    )
                }
                for credentials in [("", ""), ("abcd", "short"), ("a b c", String(repeating: "x", count: 22))] {
                    let credentials = ICECredentials(usernameFragment: credentials.0, password: credentials.1)
                    #expect(
                        code { () throws(TransportError) in try a.agent.setRemoteCredentials(credentials) }
                            == .protocolViolation)
                }
                // Well-formed and of no use here.
                for line in [
                    "candidate:1 1 UDP 2122260223 d3b0.local 50000 typ host",
                    "candidate:1 2 UDP 1 127.0.0.1 5 typ host",
                    "candidate:1 1 SCTP 1 127.0.0.1 5 typ host", "candidate:1 1 UDP 1 224.0.0.1 5 typ host",
                    "candidate:1 1 UDP 1 127.0.0.1 5 typ quantum", "candidate:1 1 UDP 1 0.0.0.0 5 typ host",
                ] {
                    #expect(code { () throws(TransportError) in try a.agent.addRemoteCandidate(line) } == nil)
                }
            }
            try await connect(a, b)
        }
    }

    @Test func datagramsWithoutAPathAreDropped() async throws {
        try await withLoops(1) { loops in
            let a = try await TestPeer.make(on: loops[0], controlling: true)
            await loops[0].run { a.send(count: 5, size: 100) }
            await a.close()
        }
    }

    @Test func afterCloseNothingIsToldAndEverythingThrowsClosed() async throws {
        try await withConnectedPair(loops: 2) { a, b in
            await a.close()
            await b.loop.run { b.send(count: 10, size: 100) }
            // b hears nothing of a's end: whoever uses it owns liveness.
            #expect(await b.loop.run { b.states.last } == .connected)
            await a.loop.run {
                #expect(code { () throws(TransportError) in try a.agent.gather() } == .closed)
                #expect(
                    code { () throws(TransportError) in
                        try a.agent.addRemoteCandidate("candidate:1 1 UDP 1 127.0.0.1 5 typ host")
                    } == .closed)
                a.agent.endOfRemoteCandidates()
                a.send(count: 1, size: 10)
                a.agent.close()
            }
            await b.close()
            #expect(await a.loop.run { a.eventsAfterClose } == 0)
        }
    }

    @Test func closingInTheMiddleOfThingsIsQuiet() async throws {
        try await withLoops(2) { loops in
            for round in 0..<10 {
                let a = try await TestPeer.make(on: loops[0], controlling: true)
                let b = try await TestPeer.make(on: loops[1], controlling: false)
                if round % 3 > 0 { try await startTrickle(from: a, to: b) }
                if round % 3 > 1 {
                    try await startTrickle(from: b, to: a)
                    await a.wait { $0.states.contains(.checking) }
                }
                await a.close()
                await b.close()
                #expect(await a.loop.run { a.eventsAfterClose } == 0)
                #expect(await b.loop.run { b.eventsAfterClose } == 0)
            }
        }
    }

    @Test func closingFromInsideTheHandlerIsQuiet() async throws {
        try await withConnectedPair(loops: 1) { a, b in
            await withCheckedContinuation { continuation in
                a.loop.execute {
                    a.onBatch = { _ in
                        guard !a.isClosed else { return }
                        a.isClosed = true
                        a.agent.close()
                        continuation.resume()
                    }
                    b.send(count: 50, size: 500)
                }
            }
            await a.close()
            await b.close()
            #expect(await a.loop.run { a.eventsAfterClose } == 0)
        }
    }

    @Test func fiftyPairsLeaveNoDescriptorBehind() async throws {
        try await withLoops(2) { loops in
            var before = 0
            for round in 0..<50 {
                if round == 5 { before = openDescriptors() }
                let a = try await TestPeer.make(on: loops[0], controlling: true)
                let b = try await TestPeer.make(on: loops[1], controlling: false)
                try await connect(a, b)
                await a.close()
                await b.close()
                // Disposal goes on in the background: the loops' next turns.
                for loop in loops { for _ in 0..<3 { await loop.run {} } }
            }
            #expect(openDescriptors() <= before + 4)
        }
    }

    @Test func anOpenAgentEndsWithItsLoop() async throws {
        var before = 0
        for round in 0..<10 {
            if round == 2 { before = openDescriptors() }
            try await withLoops(2) { loops in
                let a = try await TestPeer.make(on: loops[0], controlling: true)
                let b = try await TestPeer.make(on: loops[1], controlling: false)
                try await connect(a, b)
            }
        }
        #expect(openDescriptors() < before + 8)
    }

    @Test func aFreshPairConnectsWhileTheOldOneCarriesData() async throws {
        try await withConnectedPair(loops: 2) { a, b in
            await a.loop.run { a.onBatch = { a.send(count: $0.count, size: 100) } }
            await b.loop.run { b.onBatch = { b.send(count: $0.count, size: 100) } }
            await a.loop.run { a.send(count: 4, size: 100) }
            let c = try await TestPeer.make(on: a.loop, controlling: true)
            let d = try await TestPeer.make(on: b.loop, controlling: false)
            try await connect(c, d)
            let count = await a.loop.run { a.receivedCount }
            await c.loop.run { c.send(count: 10, size: 100) }
            await d.wait { $0.received.count == 10 }
            await a.wait { $0.receivedCount > count + 1000 }
            for peer in [c, d] { await peer.close() }
        }
    }
}

private func number(_ datagram: [UInt8]) -> Int {
    Int(datagram[1]) | Int(datagram[2]) << 8 | Int(datagram[3]) << 16 | Int(datagram[4]) << 24
}

func code(_ body: () throws(TransportError) -> Void) -> TransportError.Code? {
    do throws(TransportError) {
        try body()
        return nil
    } catch { return error.code }
}
