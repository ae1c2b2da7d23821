import SignalingFoundation
import Testing
import TransportPluginAPI
import TransportTestKit

@Suite struct FoundationConformance {
    static let subject = SignalingSubject(
        capabilities: FoundationSignaling.plugin().descriptor.capabilities,
        makeTransport: { try FoundationSignaling() })

    @Test(arguments: SignalingConformance.clauses(of: subject))
    func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }
}
