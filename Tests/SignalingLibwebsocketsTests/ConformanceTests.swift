#if Libwebsockets
    import SignalingLibwebsockets
    import Testing
    import TransportTestKit

    @Suite struct LibwebsocketsConformance {
        static let subject = SignalingSubject(LibwebsocketsSignaling.plugin()) { try LibwebsocketsSignaling() }

        @Test(arguments: SignalingConformance.clauses(of: subject))
        func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }

        @Test(arguments: SignalingConformance.adviceClauses(of: subject))
        func keepsTheAdvice(_ clause: ConformanceClause) async throws { try await clause.run() }
    }
#endif
