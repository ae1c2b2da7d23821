import TCPPeers
import Testing
import TransportPluginAPI
import TransportTestKit

@Suite struct Conformance {
    static let subject = PeerSubject(
        capabilities: TCPPeerTransport.plugin().descriptor.capabilities,
        makeTransports: { (try TCPPeerTransport(), try TCPPeerTransport()) })

    @Test(arguments: PeerConformance.clauses(of: subject))
    func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }
}
