import Foundation
import Logging
import RoomProtocol
import Testing

@testable import RoomServer

@Suite("TLS", .timeLimit(.minutes(1)))
struct TLSTests {
    /// A folder that is removed at the end.
    private final class Folder {
        let path = FileManager.default.temporaryDirectory.appending(path: "room-tls-\(UUID().uuidString)").path
        init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
        deinit { try? FileManager.default.removeItem(atPath: path) }

        /// The certificate and key of a certificate that signs itself, in one file of the state directory.
        func certificate(_ names: [String] = ["localhost", "127.0.0.1", "::1"]) throws -> SelfSignedCertificate {
            try .persistent(for: names, in: ["XDG_STATE_HOME": path], TLSTests.logger)
        }
        var file: String { path + "/room/tls.pem" }
    }

    private static let logger: Logger = {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }()

    /// Runs `openssl s_client` with this input, until the server closes, and returns what the server has sent and what
    /// the command says about the connection.
    private func client(
        _ server: RoomServer, _ folder: Folder, _ input: [UInt8], _ arguments: [String] = []
    ) async throws -> (output: String, report: String, status: Int32) {
        let address = try await server.address
        let openssl = Process()
        openssl.executableURL = URL(filePath: "/usr/bin/env")
        openssl.arguments =
            ["openssl", "s_client", "-connect", "127.0.0.1:\(address.port)", "-servername", "localhost"]
            + ["-verify_hostname", "localhost", "-verify_return_error", "-CAfile", folder.file, "-ign_eof"] + arguments
        let (stdin, stdout, stderr) = (Pipe(), Pipe(), Pipe())
        (openssl.standardInput, openssl.standardOutput, openssl.standardError) = (stdin, stdout, stderr)
        try openssl.run()
        try stdin.fileHandleForWriting.write(contentsOf: Data(input))
        return await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                let output = stdout.fileHandleForReading.readDataToEndOfFile()
                let report = stderr.fileHandleForReading.readDataToEndOfFile()
                openssl.waitUntilExit()
                withExtendedLifetime(stdin) {}
                continuation.resume(
                    returning: (
                        String(decoding: output, as: UTF8.self), String(decoding: report, as: UTF8.self),
                        openssl.terminationStatus
                    ))
            }
        }
    }

    private static let get = Array("GET /page/page.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".utf8)

    /// Runs a server that has the page, over TLS with the folder's certificate.
    private func withPage(
        isolation: isolated (any Actor)? = #isolation, _ body: (RoomServer, Folder) async throws -> Void
    ) async throws {
        let folder = try Folder()
        let certificate = try folder.certificate()
        try await withServer {
            $0.tls = .init(certificate)
            $0.servesPage = true
        } _: {
            try await body($0, folder)
        }
    }

    @Test(arguments: ["-tls1_2", "-tls1_3"])
    func clientThatVerifiesTheCertificateGetsThePage(_ version: String) async throws {
        try await withPage { server, folder in
            #expect(try await server.address.url.hasPrefix("wss://127.0.0.1:"))
            let (output, _, status) = try await client(server, folder, Self.get, [version, "-alpn", "h2,http/1.1"])
            #expect(status == 0)
            #expect(output.contains("HTTP/1.1 200 OK\r\n") && output.contains("ALPN protocol: http/1.1"))
            // Longer than a record: it comes whole.
            let page = try #require(PageFile.all["page/page.js"])
            #expect(page.plain.bytes.count > 16_384)
            #expect(output.contains(String(decoding: page.plain.bytes, as: UTF8.self)))
        }
    }

    @Test func clientJoinsARoom() async throws {
        let folder = try Folder()
        _ = try folder.certificate()
        try await withServer {
            $0.tls = .init(certificateChainFile: folder.file, privateKeyFile: folder.file)
        } _: { server in
            // Rooms of all threads: the session moves along.
            for number in 0..<6 {
                let hello = Hello(room: RoomName("room \(number)"), role: .host, name: "ann")
                let input =
                    Array(TestClient.handshake.utf8)
                    + TestClient.frame(1, RoomProtocolCodec.encode(Envelope(.hello(hello))))
                    // The server closes: text that is not UTF-8.
                    + TestClient.frame(1, [0xFF])
                let (output, _, _) = try await client(server, folder, input, ["-quiet"])
                #expect(output.contains("HTTP/1.1 101 ") && output.contains(#""type":"joined""#))
            }
        }
    }

    /// A client that does not speak TLS is dropped, and nobody else is disturbed.
    @Test func clientWithoutTLSIsDropped() async throws {
        try await withPage { server, folder in
            let plain = try await TestClient.dial(server)
            try await plain.send(raw: TestClient.handshake)
            #expect(await plain.isClosedByServer())
            let (output, _, _) = try await client(server, folder, Self.get)
            #expect(output.contains("HTTP/1.1 200 OK\r\n"))
        }
    }

    @Test func clientThatDoesNotKnowTheCertificateIsWarned() async throws {
        let (folder, other) = (try Folder(), try Folder())
        let certificate = try folder.certificate()
        _ = try other.certificate()
        try await withServer {
            $0.tls = .init(certificate)
        } _: { server in
            let (_, _, status) = try await client(server, other, Self.get)
            #expect(status != 0)
        }
    }

    @Test func certificateIsKept() throws {
        let folder = try Folder()
        let first = try folder.certificate()
        #expect(try folder.certificate().fingerprint == first.fingerprint)
        #expect(first.fingerprint.split(separator: ":").count == 32)
        #expect(try FileManager.default.attributesOfItem(atPath: folder.file)[.posixPermissions] as? Int == 0o600)
        // A damaged one is replaced.
        try Data("nonsense".utf8).write(to: URL(filePath: folder.file))
        #expect(chmod(folder.file, 0o600) == 0)
        let second = try folder.certificate()
        #expect(second.fingerprint != first.fingerprint)
        #expect(try folder.certificate().fingerprint == second.fingerprint)
    }

    @Test func unusableCertificateIsAnErrorThatNamesTheFile() async throws {
        var configuration = RoomServerConfiguration()
        configuration.tls = .init(certificateChainFile: "/nowhere/chain.pem", privateKeyFile: "/nowhere/key.pem")
        let server = RoomServer(configuration: configuration, logger: Self.logger)
        let error = await #expect(throws: RoomServerError.self) { try await server.run() }
        #expect(error?.message.contains("/nowhere/chain.pem") == true)
    }
}
