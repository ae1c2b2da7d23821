#if NIOSSL
    import Foundation
    import Logging
    import NIOCore
    import NIOSSL
    import RoomProtocol
    import RoomServer
    import Testing

    @Suite("TLS", .timeLimit(.minutes(1)))
    struct TLSTests {
        /// A certificate for localhost that signs itself, made by the command `openssl`.
        private struct Certificate {
            let folder = FileManager.default.temporaryDirectory.appending(path: "room-tls-\(UUID().uuidString)")
            var chain: String { folder.appending(path: "chain.pem").path }
            var key: String { folder.appending(path: "key.pem").path }

            init() throws {
                try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
                let openssl = Process()
                openssl.executableURL = URL(filePath: "/usr/bin/env")
                openssl.arguments = [
                    "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout",
                    key, "-out", chain, "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost",
                ]
                openssl.standardError = FileHandle.nullDevice
                try openssl.run()
                openssl.waitUntilExit()
                try #require(openssl.terminationStatus == 0, "the command openssl is missing or has failed")
            }

            func remove() { try? FileManager.default.removeItem(at: folder) }
        }

        @Test func clientThatVerifiesTheCertificateJoins() async throws {
            let certificate = try Certificate()
            defer { certificate.remove() }
            try await withServer {
                $0.tls = .init(certificateChainFile: certificate.chain, privateKeyFile: certificate.key)
            } _: { server in
                #expect(try await server.address.url.hasPrefix("wss://127.0.0.1:"))
                var configuration = TLSConfiguration.makeClientConfiguration()
                configuration.trustRoots = .file(certificate.chain)
                let context = try NIOSSLContext(configuration: configuration)
                let client = try await TestClient.dial(server) { channel in
                    try channel.pipeline.syncOperations.addHandler(
                        NIOSSLClientHandler(context: context, serverHostname: "localhost"))
                }
                try await client.upgrade()
                try await client.say(.hello(Hello(room: RoomName("lobby"), role: .host, name: "ann")))
                guard case .joined = try await client.next() else {
                    Issue.record("not joined")
                    return
                }
                try await client.send(TestClient.frame(1, [0xFF]))
                #expect(await client.closeCode() == 1007)
                #expect(await client.isClosedByServer())
                // A client that does not speak TLS is dropped, and nobody else is disturbed.
                let plain = try await TestClient.dial(server)
                try await plain.send(raw: TestClient.handshake)
                #expect(await plain.isClosedByServer())
            }
        }

        @Test func unusableCertificateIsAnErrorThatNamesTheFile() async throws {
            var configuration = RoomServerConfiguration()
            configuration.tls = .init(certificateChainFile: "/nowhere/chain.pem", privateKeyFile: "/nowhere/key.pem")
            let server = RoomServer(configuration: configuration, logger: Logger(label: "test"))
            let error = await #expect(throws: RoomServerError.self) { try await server.run() }
            #expect(error?.message.contains("/nowhere/chain.pem") == true)
        }
    }
#endif
