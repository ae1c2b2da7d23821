import InProcessTransport
import Testing
import TransportPluginAPI
import TransportTestKit

/// Transports that break the contract in one way each: the kit must notice, at the clauses that they break and at no
/// other.
@Suite(.serialized) struct TheKit {
    @Test(arguments: BrokenSignaling.Fault.allCases.filter { $0 != .leaksMemory || ProcessResources.countsMemory })
    func failsASignalingTransportThat(_ fault: BrokenSignaling.Fault) async throws {
        // The longest clause runs only for those that break it.
        let attempts = BrokenSignaling.Attempts()
        defer { attempts.end() }
        let clauses = SignalingConformance.clauses(of: Self.subject(fault, attempts)).filter {
            $0.id != "signaling.life.04" || fault == .leaksMemory
        }
        let failed = try await Self.failures(of: clauses)
        #expect(failed == fault.breaks)
    }

    /// A subject with all that one with its own server can supply: every clause that is not about WebSocket applies.
    private static func subject(
        _ fault: BrokenSignaling.Fault?, _ attempts: BrokenSignaling.Attempts
    ) -> SignalingSubject<BrokenSignaling> {
        let network = InProcessSignalingNetwork()
        var subject = SignalingSubject(
            capabilities: [],
            makeTransport: { BrokenSignaling(network: network, fault: fault, allAttempts: attempts) },
            startServer: { try InProcessTestServer(network: network, behaviour: $0) })
        subject.silentEndpoint = {
            SignalingFront(try SignalingEndpoint(url: "ws://\(BrokenSignaling.silentHost)/"))
        }
        subject.resolvesNames = true
        subject.startUncheckedServer = {
            try InProcessTestServer(network: network, behaviour: .echo, saying: $0)
        }
        return subject
    }

    @Test func passesTheSameTransportWithoutAFault() async throws {
        let attempts = BrokenSignaling.Attempts()
        defer { attempts.end() }
        let clauses = SignalingConformance.clauses(of: Self.subject(nil, attempts))
        #expect(clauses.count == 35)
        for clause in clauses { try await clause.run() }
    }

    @Test(arguments: BrokenPeers.Fault.allCases.filter { $0 != .leaksMemory || ProcessResources.countsMemory })
    func failsAPeerTransportThat(_ fault: BrokenPeers.Fault) async throws {
        let subject = PeerSubject(
            capabilities: [.pathRestart],
            makeTransports: {
                let network = InProcessPeerNetwork(loop: try TransportLoop(name: "peers"))
                let pairs = BrokenPeers.Pairs()
                return (
                    BrokenPeers(base: InProcessPeerTransport(network: network), fault: fault, pairs: pairs),
                    BrokenPeers(base: InProcessPeerTransport(network: network), fault: fault, pairs: pairs)
                )
            },
            setPath: { isUp, left, _ in
                let network = left.base.network
                if isUp { network.restore() } else { network.cut() }
                await left.loop.run {}
            },
            tearDown: { left, _ in await left.loop.shutdown() })
        let failed = try await Self.failures(of: PeerConformance.clauses(of: subject))
        #expect(failed == fault.breaks)
    }

    private static func failures(of clauses: [ConformanceClause]) async throws -> Set<String> {
        // Clauses that look for leaks run first, one after the other. The others may run side by side.
        let counting = ["connect.07", "connect.08", "connect.09", "life.", "peer."]
        let isCounting = { (clause: ConformanceClause) in counting.contains { clause.id.contains($0) } }
        var failed: Set<String> = []
        for clause in clauses where isCounting(clause) {
            if let id = try await failure(of: clause) { failed.insert(id) }
        }
        try await withThrowingTaskGroup(of: String?.self) { group in
            for clause in clauses where !isCounting(clause) { group.addTask { try await failure(of: clause) } }
            for try await case let id? in group { failed.insert(id) }
        }
        return failed
    }

    private static func failure(of clause: ConformanceClause) async throws -> String? {
        do { try await clause.run() } catch is ConformanceFailure { return clause.id }
        return nil
    }

    @Test func givesEachClauseAnIdentifierOfItsOwn() {
        let signaling = SignalingSubject(
            capabilities: [],
            makeTransport: { InProcessSignalingTransport(network: InProcessSignalingNetwork()) })
        let peers = PeerSubject(
            capabilities: [],
            makeTransports: {
                let network = InProcessPeerNetwork(loop: try TransportLoop(name: "unused"))
                return (InProcessPeerTransport(network: network), InProcessPeerTransport(network: network))
            })
        let clauses = SignalingConformance.allClauses(of: signaling) + PeerConformance.allClauses(of: peers)
        let identifiers = clauses.map(\.id)
        #expect(Set(identifiers).count == identifiers.count && identifiers.count > 92)
    }

    @Test func saysWhyAClauseDoesNotApply() async throws {
        let subject = PeerSubject(
            capabilities: [],
            makeTransports: {
                let network = InProcessPeerNetwork(loop: try TransportLoop(name: "unused"))
                return (InProcessPeerTransport(network: network), InProcessPeerTransport(network: network))
            })
        let omitted = PeerConformance.allClauses(of: subject).filter { $0.omission != nil }
        #expect(omitted.first { $0.id == "peer.restart.01" }?.omission == "path restart is not declared")
        #expect(omitted.first { $0.id == "peer.path.03" }?.omission == "partial reliability is not declared")
        #expect(omitted.contains { $0.id == "peer.path.01" })
        #expect(PeerConformance.clauses(of: subject).allSatisfy { $0.omission == nil })
        // Nothing is run, and nothing fails.
        for clause in omitted { try await clause.run() }
    }
}

/// The judgement of memory that is measured while other parts of the process allocate and free some.
struct MemoryGrowthTests {
    /// Judges quarters that grow evenly, but for memory that is given back within one batch.
    private func isLeak(_ quarters: [Int], givenBack: [Int: Int] = [:]) -> (isLeak: Bool?, after: Int) {
        var growth = MemoryGrowth(limit: 10)
        for (number, quarter) in quarters.enumerated() where growth.isLeak == nil {
            var batches = Array(repeating: quarter / 10, count: 10)
            batches[number % 10] += quarter % 10 - givenBack[number, default: 0]
            growth.batches += batches
        }
        return (growth.isLeak, growth.quarters.count)
    }

    @Test func aLeakIsFoundAlthoughOthersFreeMemory() {
        let leaking = Array(repeating: 1000, count: 16)
        #expect(isLeak(leaking) == (true, 16))
        // Threads that end give their caches back.
        for first in 0..<12 {
            let givenBack = [first: 500_000, first + 2: 500_000]
            #expect(isLeak(leaking, givenBack: givenBack) == (true, 16), "freed in quarters \(givenBack.keys)")
        }
    }

    @Test func aLeakIsFoundAlthoughWhatOthersFreeMakesUpForIt() {
        let leaking = Array(repeating: 1000, count: 16)
        #expect(isLeak(leaking, givenBack: [0: 1000, 1: 1000, 2: 1000]) == (true, 16))
        #expect(isLeak(leaking, givenBack: [4: 950, 5: 1100, 6: 1000, 7: 2000, 8: 1000]) == (true, 16))
    }

    @Test func cachesThatFillUpAreNoLeak() {
        #expect(isLeak([0, 0, 0, 0]) == (false, 4))
        #expect(isLeak([5000, 0, 100, -30]) == (false, 4))
        #expect(isLeak([5000, 4000, 3000, 2000, 1000, 500, 50, 0, 1000, 0]) == (false, 10))
        #expect(isLeak(Array(repeating: 1000, count: 12) + [1000, 0, 1000, 0]) == (false, 16))
    }

    @Test func memoryThatIsFreedNowAndThenIsNoLeak() {
        let sawtooth = Array(repeating: 1000, count: 16)
        let givenBack = Dictionary(uniqueKeysWithValues: (0..<16).map { ($0, 1000) })
        #expect(isLeak(sawtooth, givenBack: givenBack) == (false, 16))
    }
}
