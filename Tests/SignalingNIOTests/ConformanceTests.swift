#if NIO
    import SignalingNIO
    import Testing
    import TransportTestKit

    @Suite struct NIOConformance {
        static let subject = SignalingSubject(NIOSignaling.plugin()) { try NIOSignaling() }

        @Test(arguments: SignalingConformance.clauses(of: subject))
        func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }

        @Test(arguments: SignalingConformance.adviceClauses(of: subject))
        func keepsTheAdvice(_ clause: ConformanceClause) async throws { try await clause.run() }
    }
#endif
