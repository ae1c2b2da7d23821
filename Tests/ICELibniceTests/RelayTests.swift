// In a release build the types of netinet/in.h count as members of this module, which includes it.
import CNice
import Glibc
import TURNTestSupport
import Testing
import TransportPluginAPI

@testable import ICELibnice

extension LibniceAgentTests {
    private static let reason: Comment =
        "SKIPPED: relays are not tested, since /usr/bin/turnserver is missing (apt-get install coturn)"

    @Test(.enabled(if: TurnServer.isInstalled, reason), arguments: ["udp", "tcp"])
    func relayedPairsConnectAndCarryDataBothWays(transport: String) async throws {
        let turn = try TurnServer()
        defer { turn.stop() }
        try await withConnectedPair(servers: [turn.server(transport)], policy: .relay) { a, b in
            for peer in [a, b] {
                #expect(await peer.loop.run { peer.candidates.allSatisfy { $0.contains(" typ relay") } })
                #expect(await peer.loop.run { peer.agent.selectedPath?.local } == .relay)
                #expect(await peer.loop.run { peer.agent.isDirect } == false)
            }
            for (sender, receiver) in [(a, b), (b, a)] {
                await sender.loop.run { sender.send(count: 30, size: 1000) }
                await receiver.wait { $0.received.count == 30 }
            }
        }
    }

    @Test(.enabled(if: TurnServer.isInstalled, reason))
    func aServerReflexiveCandidateComesFromAStunServerGivenByName() async throws {
        let turn = try TurnServer()
        defer { turn.stop() }
        try await withLoops(1) { loops in
            let a = try await TestPeer.make(
                on: loops[0], controlling: true, servers: [ICEServer(urls: ["stun:localhost:\(turn.port)"])])
            try await a.gather()
            // On loopback the reflexive address equals the host's, so none is reported (RFC 8445 §5.1.3): gathering
            // must end.
            #expect(await a.loop.run { a.candidates.contains { $0.contains(" typ host") } })
            await a.close()
        }
    }

    /// The name has an IPv6 address too, where nobody listens.
    @Test(.enabled(if: TurnServer.isInstalled, reason), arguments: ["udp", "tcp"])
    func aRelayGivenByNameIsAskedAtAllItsAddresses(transport: String) async throws {
        let turn = try TurnServer()
        defer { turn.stop() }
        try await withLoops(1) { loops in
            var server = turn.server(transport)
            server.urls = server.urls.map { $0.replacing("127.0.0.1", with: "localhost") }
            let a = try await TestPeer.make(on: loops[0], controlling: true, servers: [server], policy: .relay)
            try await a.gather()
            #expect(await a.loop.run { a.candidates.count { $0.contains(" typ relay") } } == 1)
            await a.close()
        }
    }

    /// The kernel must not give it to the socket for data, which is made about then.
    @Test func theFirstAnswerOfARelayReachesLibnice() async throws {
        let server = try FastTurnServer()
        let run = Task.detached { server.run() }
        let count = 200
        try await withLoops(1) { loops in
            for _ in 0..<count {
                let a = try await TestPeer.make(
                    on: loops[0], controlling: true, servers: [server.server], policy: .relay)
                try await a.gather()
                #expect(await a.loop.run { a.receivedCount } == 0)
                await a.close()
            }
        }
        run.cancel()
        #expect(await run.value >= count)
    }

    /// libnice alone would ask again after 3.5 s at the latest, and then never.
    @Test(.enabled(if: TurnServer.isInstalled, reason))
    func aRelayThatComesBackIsFoundWhileItIsWaitedFor() async throws {
        let port = try freePort()
        try await withLoops(1) { loops in
            let a = try await TestPeer.make(
                on: loops[0], controlling: true, servers: [TurnServer.server("udp", port: port)], policy: .relay)
            try await a.loop.runThrowing { () throws(TransportError) in try a.agent.gather() }
            // The outage itself.
            try await Task.sleep(for: .milliseconds(1800))
            let turn = try TurnServer(port: port)
            defer { turn.stop() }
            let start = Timestamp.now()
            await a.wait { !$0.candidates.isEmpty }
            #expect(Timestamp.now() - start < .milliseconds(1200))
            await a.close()
        }
    }

    @Test(.enabled(if: TurnServer.isInstalled, reason))
    func wrongTurnCredentialsEndInNoCandidateAndNotInAnError() async throws {
        let turn = try TurnServer()
        defer { turn.stop() }
        try await withLoops(1) { loops in
            var server = turn.server("udp")
            server.credential = "wrong"
            let a = try await TestPeer.make(on: loops[0], controlling: true, servers: [server], policy: .relay)
            try await a.gather()
            #expect(await a.loop.run { a.candidates.isEmpty })
            await a.close()
        }
    }

    @Test func aTurnServerThatDoesNotAnswerDelaysNeitherHostCandidatesNorTheEnd() async throws {
        // A socket that never answers.
        let (silent, port) = try bound()
        defer { close(silent) }
        try await withLoops(2) { loops in
            let server = ICEServer(urls: ["turn:127.0.0.1:\(port)"], username: "u", credential: "p")
            let a = try await TestPeer.make(on: loops[0], controlling: true, servers: [server])
            let b = try await TestPeer.make(on: loops[1], controlling: false, servers: [server])
            try await connect(a, b)
            #expect(await a.loop.run { !a.isGatheringDone })
            await a.close()
            await b.close()
            let start = Timestamp.now()
            for loop in loops { await loop.shutdown() }
            #expect(Timestamp.now() - start < .seconds(1))
        }
    }

    /// libnice alone would know of one STUN server, and would drop its answer while it waits for a relay.
    @Test(arguments: ["127.0.0.1", "localhost"])
    func reflexiveCandidatesAreReportedBeforeTheRelayAnswers(host: String) async throws {
        let (silent, silentPort) = try bound()
        defer { close(silent) }
        try await withLoops(1) { loops in
            let stun = try StunServer(loops[0])
            try await loops[0].runThrowing { () throws(TransportError) in try stun.start() }
            let servers = [
                ICEServer(urls: ["turn:127.0.0.1:\(silentPort)"], username: "u", credential: "p"),
                // None of these keeps the last one from being asked.
                ICEServer(urls: ["stun:127.0.0.1:\(silentPort)", "stun:nobody.invalid", "http://garbage", "", "turn:x"]
                ),
                ICEServer(urls: Array(repeating: "stun:\(host):\(stun.port)", count: 100)),
            ]
            var peers: [TestPeer] = []
            for _ in 0..<3 {
                peers.append(try await TestPeer.make(on: loops[0], controlling: true, servers: servers))
            }
            // All in one turn.
            try await loops[0].runThrowing { [peers] () throws(TransportError) in
                for peer in peers { try peer.agent.gather() }
            }
            for peer in peers {
                await peer.wait { $0.isGatheringDone || $0.hasCandidate(" typ srflx") }
                #expect(await peer.loop.run { !peer.isGatheringDone && peer.hasCandidate("203.0.113.9 4660") })
                await peer.close()
            }
            await loops[0].run { stun.stop() }
        }
    }

    @Test func aRelayIsAskedForTheReflexiveAddressTooAndAnswersEndTheGathering() async throws {
        try await withLoops(1) { loops in
            let stun = try StunServer(loops[0])
            try await loops[0].runThrowing { () throws(TransportError) in try stun.start() }
            let a = try await TestPeer.make(
                on: loops[0], controlling: true, servers: [ICEServer(urls: ["stun:127.0.0.1:\(stun.port)"])])
            let start = Timestamp.now()
            try await a.gather()
            #expect(await a.loop.run { a.candidates.count { $0.contains(" typ srflx") } } == 1)
            #expect(Timestamp.now() - start < .seconds(2))
            await a.close()
            // It does not speak TURN, but answers Binding requests.
            let b = try await TestPeer.make(
                on: loops[0], controlling: true,
                servers: [ICEServer(urls: ["turn:127.0.0.1:\(stun.port)"], username: "u", credential: "p")])
            try await b.loop.runThrowing { () throws(TransportError) in try b.agent.gather() }
            await b.wait { $0.isGatheringDone || $0.hasCandidate(" typ srflx") }
            #expect(await b.loop.run { b.hasCandidate("203.0.113.9 4660") })
            await b.close()
            await loops[0].run { stun.stop() }
        }
    }

    @Test(.enabled(if: TurnServer.isInstalled, reason))
    func aRangeOfPortsThatIsTakenCostsOnlyTheCandidatesThatNeedIt() async throws {
        let (taken, port) = try bound()
        defer { close(taken) }
        // Before the first agent, whose sockets are closed some time after it.
        let (other, _) = try bound(IPv6: port)
        defer { if other >= 0 { close(other) } }
        let turn = try TurnServer()
        defer { turn.stop() }
        try await withLoops(1) { loops in
            var options = TestPeer.options
            options.ports = port...port
            options.acceptsAddress = nil
            options.loopback = .always
            // On the loopback there is no port; where there is another address, that one has it.
            let all = options.localAddresses()
            let a = try await TestPeer.make(on: loops[0], controlling: true, options)
            let refusal = await loops[0].run { () -> TransportError? in
                do throws(TransportError) {
                    try a.agent.gather()
                    return nil
                } catch { return error }
            }
            if all.contains(where: { $0.address != "127.0.0.1" && $0.address != "::1" }) {
                #expect(refusal == nil)
                #expect(await loops[0].run { !a.candidates.contains { $0.contains("127.0.0.1") } })
            } else {
                #expect(refusal?.code == .resourceExhausted && refusal?.message.contains("\(port)") == true)
            }
            await a.close()
            options.acceptsAddress = { _, _ in false }
            // Both of the loopback's are taken: nothing is left but a relay.
            let b = try await TestPeer.make(on: loops[0], controlling: true, options, servers: [turn.server("udp")])
            try await loops[0].runThrowing { () throws(TransportError) in try b.agent.gather() }
            await b.wait(until: \.isGatheringDone)
            #expect(await loops[0].run { b.candidates.count == 1 && b.hasCandidate(" typ relay") })
            await b.close()
        }
    }

    @Test func withThePolicyRelayNoStunServerIsAsked() async throws {
        try await withLoops(1) { loops in
            let stun = try StunServer(loops[0])
            try await loops[0].runThrowing { () throws(TransportError) in try stun.start() }
            let a = try await TestPeer.make(
                on: loops[0], controlling: true, servers: [ICEServer(urls: ["stun:127.0.0.1:\(stun.port)"])],
                policy: .relay)
            try await a.gather()
            #expect(await a.loop.run { a.candidates.isEmpty })
            await a.close()
            await loops[0].run { stun.stop() }
        }
    }

    @Test(.enabled(if: TurnServer.isInstalled, reason))
    func aStunServerThatCannotBeAskedDoesNotKeepTheRelayWaitingForEver() async throws {
        let turn = try TurnServer()
        defer { turn.stop() }
        try await withLoops(1) { loops in
            let servers = [ICEServer(urls: ["stun:nobody.invalid"]), turn.server("udp")]
            let a = try await TestPeer.make(on: loops[0], controlling: true, servers: servers)
            try await a.gather()
            #expect(await a.loop.run { a.hasCandidate(" typ relay") })
            await a.close()
        }
    }

    @Test func aNameThatDoesNotResolveEndsInNoCandidate() async throws {
        try await withLoops(1) { loops in
            // RFC 6761 §6.4: never resolves.
            let servers = [
                ICEServer(urls: ["stun:nobody.invalid"]),
                ICEServer(urls: ["turn:nobody.invalid"], username: "u", credential: "p"),
            ]
            let a = try await TestPeer.make(on: loops[0], controlling: true, servers: servers)
            try await a.loop.runThrowing { () throws(TransportError) in try a.agent.gather() }
            await a.wait { !$0.candidates.isEmpty }
            await a.close()
        }
    }

    @Test func unusableServersAreLeftOutAndTheRestIsUsed() {
        let servers = Servers([
            ICEServer(urls: [
                "http://x", "", "stun:", "turn:192.0.2.1", "turns:192.0.2.1", "stuns:a", "stun:b", "stun:b",
            ]),
            ICEServer(urls: ["turn:c", "turn:c", "turns:c", "turn:d?transport=tcp"], username: "u", credential: "p"),
        ])
        #expect(servers.turn.map(\.host) == ["c", "d"])
        #expect(servers.stun.map(\.host) == ["b", "c"])
    }
}

/// A UDP socket on a port of 127.0.0.1 that the kernel chose.
private func bound() throws -> (descriptor: Int32, port: UInt16) {
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
    var address = loopback(0)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    try #require(withUnsafeSockaddr(&address) { bind(descriptor, $0, $1) } == 0)
    _ = withUnsafeSockaddr(&address) { pointer, _ in getsockname(descriptor, pointer, &size) }
    return (descriptor, UInt16(bigEndian: address.sin_port))
}

/// A UDP socket on this port of ::1; -1 where there is no such address.
private func bound(IPv6 port: UInt16) throws -> (descriptor: Int32, port: UInt16) {
    let descriptor = socket(AF_INET6, Int32(SOCK_DGRAM.rawValue), 0)
    guard descriptor >= 0 else { return (-1, port) }
    let address = IPAddress([UInt8](repeating: 0, count: 15) + [1])
    if address.withSocketAddress(port: port, { bind(descriptor, $0, $1) }) != 0 {
        close(descriptor)
        return (-1, port)
    }
    return (descriptor, port)
}

/// Says to every binding request that it came from 203.0.113.9:4660 (RFC 3489 §11.2.1: MAPPED-ADDRESS).
private final class StunServer: @unchecked Sendable {
    // SAFETY: `watch` is touched on the loop only, between `start` and `stop`.
    let port: UInt16
    private let descriptor: Int32
    private let loop: TransportLoop
    private var watch: LoopWatch?

    init(_ loop: TransportLoop) throws {
        (descriptor, port) = try bound()
        self.loop = loop
    }

    func start() throws(TransportError) {
        watch = try loop.watch(descriptor, for: .readable) { [weak self] _ in self?.answer() }
    }

    func stop() {
        watch?.cancel()
        close(descriptor)
    }

    private func answer() {
        answerRequests(at: descriptor) { [1, 1, 0, 12] + $0[4..<20] + [0, 1, 0, 8, 0, 1, 0x12, 0x34, 203, 0, 113, 9] }
    }
}

/// Refuses every request: the first at once, each a little later than the one before.
private final class FastTurnServer: Sendable {
    private let descriptor: Int32
    let server: ICEServer

    init() throws {
        let port: UInt16
        (descriptor, port) = try bound()
        server = ICEServer(urls: ["turn:127.0.0.1:\(port)"], username: "u", credential: "p")
    }

    deinit { close(descriptor) }

    /// Until its task is cancelled. Returns how many it has refused.
    func run() -> Int {
        var count = 0
        while !Task.isCancelled {
            answerRequests(at: descriptor) {
                count += 1
                let due = Timestamp.now() + .microseconds(2 * count)
                while Timestamp.now() < due {}
                // RFC 8489 §5 and §14.8: an error response to an Allocate request, 400.
                return [1, 0x13, 0, 8] + $0[4..<20] + [0, 9, 0, 4, 0, 0, 4, 0]
            }
        }
        return count
    }
}

/// Answers all STUN requests that wait.
private func answerRequests(at descriptor: Int32, _ answer: ([UInt8]) -> [UInt8]) {
    var request = [UInt8](repeating: 0, count: 512)
    var address = sockaddr_in()
    while true {
        let count = withUnsafeSockaddr(&address) { pointer, size in
            var size = size
            return recvfrom(descriptor, &request, request.count, 0, pointer, &size)
        }
        guard count >= 20 else { return }
        let answer = answer(request)
        withUnsafeSockaddr(&address) { _ = sendto(descriptor, answer, answer.count, 0, $0, $1) }
    }
}
