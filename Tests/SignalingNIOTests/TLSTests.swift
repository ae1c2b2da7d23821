#if NIO && NIOSSL
    import Foundation
    import SignalingNIO
    import Testing
    import TransportPluginAPI
    import TransportTestKit

    /// An authority of the tests' own with certificates, made once by the `openssl` command.
    struct TestAuthority {
        let directory: String
        var file: String { directory + "/ca.pem" }

        /// Nil without the command; the reason is printed.
        static let shared: TestAuthority? = {
            do { return try TestAuthority() } catch {
                print("SKIPPED: tests of wss: no certificates could be made with the openssl command: \(error)")
                return nil
            }
        }()

        private init() throws {
            directory = FileManager.default.temporaryDirectory.path + "/nio-wss-tests-\(UUID().uuidString)"
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            try openssl(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=TestAuthority"
                    + " -keyout ca.key -out ca.pem")
            try makeCertificate("good", names: "DNS:localhost,IP:127.0.0.1", days: 2)
            try makeCertificate("other", names: "DNS:other.example", days: 2)
            try makeCertificate("expired", names: "DNS:localhost,IP:127.0.0.1", days: -1)
            try openssl(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
                    + " -addext subjectAltName=DNS:localhost -keyout self.key -out self.pem")
        }

        private func makeCertificate(_ name: String, names: String, days: Int) throws {
            try openssl(
                "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=\(name)"
                    + " -keyout \(name).key -out \(name).csr")
            try "subjectAltName=\(names)\n".write(
                toFile: "\(directory)/\(name).ext", atomically: true, encoding: .utf8)
            try openssl(
                "x509 -req -in \(name).csr -CA ca.pem -CAkey ca.key -CAcreateserial -days \(days)"
                    + " -extfile \(name).ext -out \(name).pem")
        }

        private func openssl(_ arguments: String) throws {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = ["openssl"] + arguments.split(separator: " ").map(String.init)
            process.currentDirectoryURL = URL(fileURLWithPath: directory)
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            guard process.terminationStatus == 0 else {
                throw TransportError(.unavailable, "openssl \(arguments) ended with \(process.terminationStatus)")
            }
        }

        func front(_ certificate: String, backend: UInt16) async throws -> TLSFront {
            try await TLSFront(
                certificate: "\(directory)/\(certificate).pem", key: "\(directory)/\(certificate).key", backend: backend
            )
        }

        func endpoint(_ front: TLSFront, host: String = "localhost") throws -> SignalingEndpoint {
            var endpoint = try SignalingEndpoint(url: "wss://\(host):\(front.port)/")
            endpoint.tls.authoritiesFile = file
            return endpoint
        }
    }

    @Suite(.enabled(if: TestAuthority.shared != nil, "needs the openssl command"))
    struct NIOTLSConformance {
        let authority = TestAuthority.shared!

        static let subject = SignalingSubject(
            capabilities: [.tls, .proxy], makeTransport: { try NIOSignaling() },
            front: { port in
                guard let authority = TestAuthority.shared else { throw TransportError(.unavailable, "no openssl") }
                let front = try await authority.front("good", backend: port)
                return SignalingFront(try authority.endpoint(front)) { front.stop() }
            })

        @Test(arguments: SignalingConformance.clauses(of: subject))
        func keepsTheContractOverTLS(_ clause: ConformanceClause) async throws { try await clause.run() }

        /// Connects to a front with this certificate; nothing listens behind it, so that a handshake can be told apart.
        private func error(
            certificate: String, host: String = "localhost", _ change: (inout SignalingEndpoint) -> Void = { _ in }
        ) async throws -> (error: TransportError?, front: TLSFront) {
            let front = try await authority.front(certificate, backend: 1)
            defer { front.stop() }
            var endpoint = try authority.endpoint(front, host: host)
            // The refusal is the subject, not the pace of a loaded machine.
            endpoint.connectTimeout = .seconds(60)
            change(&endpoint)
            let transport = try NIOSignaling()
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

        @Test func aNumericAddressIsComparedWithTheCertificate() async throws {
            let (error, front) = try await error(certificate: "good", host: "127.0.0.1")
            #expect(error?.code == .handshakeFailed)
            // It is no name for SNI (RFC 6066 §3).
            #expect(front.serverNames == [])
        }

        @Test func theHostIsSentAsSNI() async throws {
            let (error, front) = try await error(certificate: "good")
            #expect(error?.code == .handshakeFailed)
            #expect(front.serverNames == ["localhost"])
        }

        @Test func aChangedFileOfAuthoritiesTakesEffect() async throws {
            let front = try await authority.front("self", backend: 1)
            defer { front.stop() }
            let file = authority.directory + "/changing.pem"
            try FileManager.default.copyItem(atPath: authority.file, toPath: file)
            var endpoint = try authority.endpoint(front)
            endpoint.tls.authoritiesFile = file
            endpoint.connectTimeout = .seconds(60)
            let transport = try NIOSignaling()
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
