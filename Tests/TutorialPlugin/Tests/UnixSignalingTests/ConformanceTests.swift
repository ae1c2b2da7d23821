import Testing
import TransportTestKit
import UnixSignaling

@Suite struct Conformance {
    static let subject = SignalingSubject(
        capabilities: UnixTransport.plugin().descriptor.capabilities,
        makeTransport: { try UnixTransport() },
        startServer: { behaviour in try await UnixServer(behaviour) })

    @Test(arguments: SignalingConformance.clauses(of: subject))
    func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }
}
