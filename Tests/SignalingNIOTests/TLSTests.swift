#if NIO && NIOSSL
    import SignalingNIO
    import TLSTestSupport
    import Testing
    import TransportPluginAPI
    import TransportTestKit

    @Suite(.enabled(if: TestAuthority.shared != nil, "needs the openssl command"))
    struct NIOTLSConformance {
        static let subject = TestAuthority.subject(capabilities: [.tls, .proxy]) { try NIOSignaling() }

        @Test(arguments: SignalingConformance.clauses(of: subject))
        func keepsTheContractOverTLS(_ clause: ConformanceClause) async throws { try await clause.run() }

        @Test(arguments: SignalingConformance.adviceClauses(of: subject))
        func keepsTheAdvice(_ clause: ConformanceClause) async throws { try await clause.run() }

        @Test(arguments: TLSRule.all + [TLSRule.addressesAreNoNames])
        func keeps(_ rule: TLSRule) async throws { try await rule.run { try NIOSignaling() } }
    }
#endif
