import COpenSSL
import Foundation
import Logging
import Testing

@testable import RoomServer

/// Certificates that change, and sessions of TLS that survive that.
@Suite("TLS of a server, reloaded", .timeLimit(.minutes(1)))
struct TLSReloadTests {
    /// Two files with a certificate and its key, replaced as programs do: a new file takes the name.
    private final class Files {
        private let folder = FileManager.default.temporaryDirectory.appending(path: "room-pair-\(UUID().uuidString)")
            .path
        var chain: String { folder + "/chain.pem" }
        var key: String { folder + "/key.pem" }
        var configuration: RoomServerConfiguration.TLS { .init(certificateChainFile: chain, privateKeyFile: key) }

        init() throws { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) }
        deinit { try? FileManager.default.removeItem(atPath: folder) }

        /// Writes a new certificate, and its key unless `keepsKey`. Returns its fingerprint.
        @discardableResult
        func renew(keepsKey: Bool = false) throws -> String {
            let state = folder + "/\(UUID().uuidString)"
            let certificate = try SelfSignedCertificate.persistent(
                for: ["localhost"], in: ["STATE_DIRECTORY": state], .init(label: "test"))
            let pem = try Data(contentsOf: URL(filePath: state + "/tls.pem"))
            try pem.write(to: URL(filePath: chain), options: .atomic)
            if !keepsKey { try pem.write(to: URL(filePath: key), options: .atomic) }
            return certificate.fingerprint
        }
    }

    private static func server(_ files: Files, _ tickets: TicketKeys = TicketKeys(secrets: [[1]])) throws -> ServerTLS {
        try ServerTLS(files.configuration, tickets: tickets)
    }

    private static func fingerprint(_ server: ServerTLS) throws -> String? {
        let client = try TLSMemoryClient()
        return try client.connects(to: server) ? client.fingerprint : nil
    }

    @Test func newCertificateIsUsedOnceItsFilesHaveSettled() throws {
        let files = try Files()
        let first = try files.renew()
        let server = try Self.server(files)
        #expect(try !server.reloadIfChanged())
        let second = try files.renew()
        // The first look finds files that may still be changing.
        #expect(try !server.reloadIfChanged() && Self.fingerprint(server) == first)
        #expect(try server.reloadIfChanged() && Self.fingerprint(server) == second)
        #expect(try !server.reloadIfChanged())
    }

    @Test func brokenPairIsReportedOnceAndTheOldOneStays() throws {
        let files = try Files()
        let first = try files.renew()
        let server = try Self.server(files)
        try files.renew(keepsKey: true)
        #expect(try !server.reloadIfChanged())
        let error = #expect(throws: RoomServerError.self) { try server.reloadIfChanged() }
        #expect(error?.message.contains(files.chain) == true)
        #expect(try !server.reloadIfChanged() && Self.fingerprint(server) == first)
        // Missing files are no certificate either.
        try FileManager.default.removeItem(atPath: files.key)
        #expect(try !server.reloadIfChanged())
        #expect(throws: RoomServerError.self) { try server.reloadIfChanged() }
        // On request, too.
        #expect(throws: RoomServerError.self) { try server.reload() }
        #expect(try Self.fingerprint(server) == first)
        let third = try files.renew()
        #expect(try !server.reloadIfChanged())
        #expect(try server.reloadIfChanged() && Self.fingerprint(server) == third)
    }

    @Test func otherFilesCanBeNamed() throws {
        let (files, others) = (try Files(), try Files())
        try files.renew()
        let other = try others.renew()
        let server = try Self.server(files)
        try server.reload(others.configuration)
        #expect(try Self.fingerprint(server) == other)
        // Those are looked at from then on.
        let next = try others.renew()
        _ = try server.reloadIfChanged()
        #expect(try server.reloadIfChanged() && Self.fingerprint(server) == next)
    }

    @Test func openConnectionOutlivesTheCertificate() async throws {
        let files = try Files()
        try files.renew()
        try await withServer {
            $0.tls = files.configuration
        } _: { server in
            var configuration = RoomServerConfiguration()
            configuration.tls = files.configuration
            let port = try await server.address.port
            let client = try #require(TLSSocket(port: port))
            let before = try #require(client.fingerprint)
            let after = try files.renew()
            try await server.reload(configuration)
            #expect(before != after && TLSSocket(port: port)?.fingerprint == after)
            let answer = client.get("/health")
            #expect(answer.contains("200 OK"))
            // What cannot be used changes nothing.
            configuration.tls?.privateKeyFile = "/nowhere"
            configuration.allowedOrigins = []
            await #expect(throws: RoomServerError.self) { try await server.reload(configuration) }
            #expect(TLSSocket(port: port)?.fingerprint == after)
            configuration.tls = nil
            await #expect(throws: RoomServerError.self) { try await server.reload(configuration) }
        }
    }

    @Test func sessionIsResumedAfterAReloadAndARestart() throws {
        let files = try Files()
        try files.renew()
        let server = try Self.server(files)
        let first = try TLSMemoryClient()
        #expect(try first.connects(to: server) && !first.hasResumed)
        let session = first.session
        try files.renew()
        try server.reload()
        let second = try TLSMemoryClient(resuming: session)
        #expect(try second.connects(to: server) && second.hasResumed)
        // The same secret: another process, or another server.
        let third = try TLSMemoryClient(resuming: second.session)
        #expect(try third.connects(to: Self.server(files)) && third.hasResumed)
        // Another secret.
        let stranger = try TLSMemoryClient(resuming: third.session)
        #expect(try stranger.connects(to: Self.server(files, TicketKeys(secrets: [[2]]))) && !stranger.hasResumed)
    }

    /// A ticket serves once, so a client that resumes gets the next one.
    @Test func everyHandshakeGivesATicket() throws {
        let files = try Files()
        try files.renew()
        let server = try Self.server(files)
        // All are kept: OpenSSL resumes no session whose connection was freed without an end.
        var clients: [TLSMemoryClient] = []
        for number in 1...4 {
            let client = try TLSMemoryClient(resuming: clients.last?.session)
            #expect(try client.connects(to: server) && client.hasResumed == (number > 1))
            clients.append(client)
        }
        #expect(Set(clients.compactMap { $0.session?.ticket }).count == 4)
    }

    /// One key an hour: a ticket serves for two hours at least, not for four, and not where the clock is far behind.
    @Test(arguments: [(0, true), (3599, true), (7200, true), (-3600, true), (-7200, false), (4 * 3600, false)])
    func ticketKeysRotate(_ seconds: Int, _ isResumed: Bool) throws {
        let files = try Files()
        try files.renew()
        let server = try Self.server(files, TicketKeys(secrets: [[1]]) { 1_000_000 })
        let first = try TLSMemoryClient()
        #expect(try first.connects(to: server))
        let later = try Self.server(files, TicketKeys(secrets: [[1]]) { 1_000_000 + seconds })
        let second = try TLSMemoryClient(resuming: first.session)
        #expect(try second.connects(to: later) && second.hasResumed == isResumed)
    }

    @Test func withoutASecretTicketsAreForThisServerOnly() throws {
        let files = try Files()
        try files.renew()
        let server = try Self.server(files, TicketKeys(secrets: []))
        let first = try TLSMemoryClient()
        #expect(try first.connects(to: server))
        let second = try TLSMemoryClient(resuming: first.session)
        #expect(try second.connects(to: server) && second.hasResumed)
        let stranger = try TLSMemoryClient(resuming: second.session)
        #expect(try stranger.connects(to: Self.server(files, TicketKeys(secrets: []))) && !stranger.hasResumed)
        server.tickets.replace(secrets: [])
        let third = try TLSMemoryClient(resuming: second.session)
        #expect(try third.connects(to: server) && !third.hasResumed)
    }

    @Test func ticketsOfAnEarlierSecretAreGoodUntilItIsDropped() throws {
        let files = try Files()
        try files.renew()
        let tickets = TicketKeys(secrets: [[1]])
        let server = try Self.server(files, tickets)
        let first = try TLSMemoryClient()
        #expect(try first.connects(to: server))
        tickets.replace(secrets: [[2], [1]])
        let second = try TLSMemoryClient(resuming: first.session)
        #expect(try second.connects(to: server) && second.hasResumed)
        tickets.replace(secrets: [[2]])
        let third = try TLSMemoryClient(resuming: second.session)
        #expect(try third.connects(to: server) && third.hasResumed)
        let late = try TLSMemoryClient(resuming: first.session)
        #expect(try late.connects(to: server) && !late.hasResumed)
    }

    @Test func onlyTLS12And13AreSpokenAndTickets13Only() throws {
        let files = try Files()
        try files.renew()
        let server = try Self.server(files)
        for version in [TLS1_VERSION, TLS1_1_VERSION] {
            #expect(try !TLSMemoryClient(version: version).connects(to: server))
        }
        let old = try TLSMemoryClient(version: TLS1_2_VERSION)
        #expect(try old.connects(to: server) && old.session?.hasTicket == false)
        let new = try TLSMemoryClient(version: TLS1_3_VERSION)
        #expect(try new.connects(to: server) && new.session?.hasTicket == true)
    }

    @Test(arguments: [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], nil), ([], nil)])
    func http11IsChosen(_ offered: [String], _ chosen: String?) throws {
        let files = try Files()
        try files.renew()
        let client = try TLSMemoryClient(protocols: offered)
        #expect(try client.connects(to: Self.server(files)) && client.chosenProtocol == chosen)
    }
}

/// A TLS connection to 127.0.0.1, which trusts every certificate. Blocks.
private final class TLSSocket {
    private let context = SSL_CTX_new(TLS_client_method())
    private let ssl: OpaquePointer
    private let connection: OpaquePointer

    init?(port: Int) {
        guard let bio = BIO_new_ssl_connect(context) else { return nil }
        var pointer: OpaquePointer?
        BIO_ctrl(bio, BIO_C_GET_SSL, 0, &pointer)
        _ = "127.0.0.1:\(port)".withCString {
            BIO_ctrl(bio, BIO_C_SET_CONNECT, 0, UnsafeMutableRawPointer(mutating: $0))
        }
        guard let pointer, BIO_ctrl(bio, BIO_C_DO_STATE_MACHINE, 0, nil) == 1 else {
            BIO_free_all(bio)
            return nil
        }
        ssl = pointer
        connection = bio
    }

    deinit {
        BIO_free_all(connection)
        SSL_CTX_free(context)
    }

    var fingerprint: String? {
        guard let certificate = SSL_get0_peer_certificate(ssl) else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        X509_digest(certificate, EVP_sha256(), &bytes, &count)
        return bytes.prefix(Int(count)).map { String(format: "%02X", $0) }.joined(separator: ":")
    }

    /// Returns the beginning of the answer.
    func get(_ path: String) -> String {
        let request = Array("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)
        guard BIO_write(connection, request, Int32(request.count)) == request.count else { return "" }
        var answer = [UInt8](repeating: 0, count: 4096)
        let count = BIO_read(connection, &answer, Int32(answer.count))
        return String(decoding: answer.prefix(max(0, Int(count))), as: UTF8.self)
    }
}
