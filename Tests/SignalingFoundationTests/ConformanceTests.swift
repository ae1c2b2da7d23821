import SignalingFoundation
import Testing
import TransportTestKit

@Suite struct FoundationConformance {
    static let subject = SignalingSubject(FoundationSignaling.plugin()) { try FoundationSignaling() }

    @Test(arguments: SignalingConformance.clauses(of: subject))
    func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }

    @Test(arguments: SignalingConformance.adviceClauses(of: subject))
    func keepsTheAdvice(_ clause: ConformanceClause) async throws { try await clause.run() }
}
