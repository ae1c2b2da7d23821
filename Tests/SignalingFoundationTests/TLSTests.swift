#if OpenSSL
    import SignalingFoundation
    import TLSTestSupport
    import Testing
    import TransportPluginAPI
    import TransportTestKit

    @Suite(.enabled(if: TestAuthority.shared != nil, "needs the openssl command"))
    struct FoundationTLS {
        static let subject = {
            var subject = SignalingSubject(
                capabilities: FoundationSignaling.plugin().descriptor.capabilities,
                makeTransport: { try FoundationSignaling() },
                front: { port in
                    guard let authority = TestAuthority.shared else { throw TransportError(.unavailable, "no openssl") }
                    let front = try authority.front("good", backend: port)
                    return SignalingFront(try authority.endpoint(front)) { front.stop() }
                })
            // OpenSSL's server side in the front keeps some 800 bytes of each connection.
            subject.bytesPerConnection = 2048
            return subject
        }()

        @Test(arguments: SignalingConformance.clauses(of: subject))
        func keepsTheContractOverTLS(_ clause: ConformanceClause) async throws { try await clause.run() }

        @Test(arguments: TLSRule.all + [TLSRule.addressesAreNoNames])
        func keeps(_ rule: TLSRule) async throws { try await rule.run { try FoundationSignaling() } }
    }
#endif
