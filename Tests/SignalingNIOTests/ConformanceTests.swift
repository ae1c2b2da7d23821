#if NIO
    import SignalingNIO
    import Testing
    import TransportPluginAPI
    import TransportTestKit

    @Suite struct NIOConformance {
        static let subject = SignalingSubject(
            capabilities: NIOSignaling.plugin().descriptor.capabilities, makeTransport: { try NIOSignaling() })

        @Test(arguments: SignalingConformance.clauses(of: subject))
        func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }
    }
#endif
