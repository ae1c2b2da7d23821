#if Libwebsockets
    import Foundation
    import SignalingLibwebsockets
    import TLSTestSupport
    import Testing
    import TransportPluginAPI
    import TransportTestKit

    @Suite(.enabled(if: TestAuthority.shared != nil, "needs the openssl command"))
    struct LibwebsocketsTLS {
        let authority = TestAuthority.shared!

        static let subject = {
            var subject = SignalingSubject(
                capabilities: [.tls, .proxy], makeTransport: { try LibwebsocketsSignaling() },
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

        /// Connects to a front with this certificate; nothing listens behind it, so that a handshake can be told apart.
        private func error(
            certificate: String, host: String = "localhost", _ change: (inout SignalingEndpoint) -> Void = { _ in }
        ) async throws -> (error: TransportError?, front: TLSFront) {
            let front = try authority.front(certificate, backend: 1)
            defer { front.stop() }
            var endpoint = try authority.endpoint(front, host: host)
            // The refusal is the subject, not the pace of a loaded machine.
            endpoint.connectTimeout = .seconds(60)
            change(&endpoint)
            let transport = try LibwebsocketsSignaling()
            var error: TransportError?
            do throws(TransportError) { _ = try await transport.connect(to: endpoint) } catch let caught {
                error = caught
            }
            await transport.shutdown()
            return (error, front)
        }

        @Test func aCertificateForAnotherNameIsRefused() async throws {
            let (error, _) = try await error(certificate: "other")
            #expect(error?.code == .tlsFailed)
            #expect(error?.isRetriable == false)
            #expect(error?.message.contains("hostname mismatch") == true)
        }

        @Test func aCertificateForAnotherAddressIsRefused() async throws {
            let (error, _) = try await error(certificate: "other", host: "127.0.0.1")
            #expect(error?.code == .tlsFailed)
        }

        @Test func aCertificateOfAnUnknownAuthorityIsRefused() async throws {
            let (error, _) = try await error(certificate: "good") { $0.tls.authoritiesFile = nil }
            #expect(error?.code == .tlsFailed)
            #expect(error?.isRetriable == false)
        }

        @Test func aSelfSignedCertificateIsRefused() async throws {
            let (error, _) = try await error(certificate: "self")
            #expect(error?.code == .tlsFailed)
        }

        @Test func anExpiredCertificateIsRefused() async throws {
            let (error, _) = try await error(certificate: "expired")
            #expect(error?.code == .tlsFailed)
            #expect(error?.message.contains("expired") == true)
        }

        @Test func aFileOfAuthoritiesThatCannotBeReadIsNamed() async throws {
            let missing = authority.directory + "/missing.pem"
            let (error, _) = try await error(certificate: "good") { $0.tls.authoritiesFile = missing }
            #expect(error?.code == .tlsFailed)
            #expect(error?.message.contains(missing) == true)
            let noCertificate = authority.directory + "/good.ext"
            let (second, _) = try await self.error(certificate: "good") { $0.tls.authoritiesFile = noCertificate }
            #expect(second?.code == .tlsFailed)
        }

        @Test func theNameToVerifyCanBeGivenApartAndIsSentAsSNI() async throws {
            let (error, front) = try await error(certificate: "other", host: "127.0.0.1") {
                $0.tls.serverName = "other.example"
            }
            // TLS succeeded: what failed is the handshake behind it.
            #expect(error?.code == .handshakeFailed)
            #expect(front.serverNames == ["other.example"])
        }

        @Test func theHostIsSentAsSNI() async throws {
            let (error, front) = try await error(certificate: "good")
            #expect(error?.code == .handshakeFailed)
            #expect(front.serverNames == ["localhost"])
        }

        @Test func aChangedFileOfAuthoritiesTakesEffect() async throws {
            let front = try authority.front("self", backend: 1)
            defer { front.stop() }
            let file = authority.directory + "/changing-\(UUID().uuidString).pem"
            try FileManager.default.copyItem(atPath: authority.file, toPath: file)
            var endpoint = try authority.endpoint(front)
            endpoint.tls.authoritiesFile = file
            endpoint.connectTimeout = .seconds(60)
            let transport = try LibwebsocketsSignaling()
            func code() async -> TransportError.Code? {
                do throws(TransportError) {
                    _ = try await transport.connect(to: endpoint)
                    return nil
                } catch { return error.code }
            }
            let before = await code()
            #expect(before == .tlsFailed)
            try FileManager.default.removeItem(atPath: file)
            try FileManager.default.copyItem(atPath: authority.directory + "/self.pem", toPath: file)
            let after = await code()
            #expect(after == .handshakeFailed)
            await transport.shutdown()
        }
    }
#endif
