#if Libwebsockets
    import SignalingLibwebsockets
    import Testing
    import TransportPluginAPI
    import TransportTestKit

    @Suite struct LibwebsocketsConformance {
        static let subject = SignalingSubject(
            capabilities: LibwebsocketsSignaling.plugin().descriptor.capabilities,
            makeTransport: { try LibwebsocketsSignaling() })

        @Test(arguments: SignalingConformance.clauses(of: subject))
        func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }
    }
#endif
