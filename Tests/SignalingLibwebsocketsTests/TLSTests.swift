#if Libwebsockets
    import SignalingLibwebsockets
    import TLSTestSupport
    import Testing
    import TransportPluginAPI
    import TransportTestKit

    @Suite(.enabled(if: TestAuthority.shared != nil, "needs the openssl command"))
    struct LibwebsocketsTLS {
        static let subject = TestAuthority.subject(capabilities: [.tls, .proxy]) { try LibwebsocketsSignaling() }

        @Test(arguments: SignalingConformance.clauses(of: subject))
        func keepsTheContractOverTLS(_ clause: ConformanceClause) async throws { try await clause.run() }

        @Test(arguments: SignalingConformance.adviceClauses(of: subject))
        func keepsTheAdvice(_ clause: ConformanceClause) async throws { try await clause.run() }

        @Test(arguments: TLSRule.all)
        func keeps(_ rule: TLSRule) async throws { try await rule.run { try LibwebsocketsSignaling() } }
    }
#endif
