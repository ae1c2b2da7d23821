import InProcessTransport
import Testing
import TransportPluginAPI
import TransportTestKit

/// Transports that break the contract in one way each: the kit must notice, at the clauses that they break and at no other.
@Suite(.serialized) struct TheKit {
    @Test(arguments: BrokenSignaling.Fault.allCases.filter { $0 != .leaksMemory || ProcessResources.countsMemory })
    func failsASignalingTransportThat(_ fault: BrokenSignaling.Fault) async throws {
        let network = InProcessSignalingNetwork()
        let subject = SignalingSubject(
            capabilities: [],
            makeTransport: { BrokenSignaling(network: network, fault: fault) },
            startServer: { try InProcessTestServer(network: network, behaviour: $0) })
        let failed = try await Self.failures(of: SignalingConformance.clauses(of: subject))
        #expect(failed == fault.breaks)
    }

    @Test(arguments: BrokenPeers.Fault.allCases.filter { $0 != .leaksMemory || ProcessResources.countsMemory })
    func failsAPeerTransportThat(_ fault: BrokenPeers.Fault) async throws {
        let subject = PeerSubject(
            capabilities: [.pathRestart],
            makeTransports: {
                let network = InProcessPeerNetwork(loop: try TransportLoop(name: "peers"))
                return (
                    BrokenPeers(base: InProcessPeerTransport(network: network), fault: fault),
                    BrokenPeers(base: InProcessPeerTransport(network: network), fault: fault)
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
        var failed: Set<String> = []
        for clause in clauses {
            do { try await clause.run() } catch is ConformanceFailure { failed.insert(clause.id) }
        }
        return failed
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
        #expect(Set(identifiers).count == identifiers.count && identifiers.count > 85)
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
