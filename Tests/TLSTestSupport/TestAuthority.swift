internal import Foundation
public import TransportPluginAPI
public import TransportTestKit

/// A certificate authority of the tests, with certificates, made once by the `openssl` command.
public struct TestAuthority: Sendable {
    public let directory: String
    public var file: String { directory + "/ca.pem" }

    /// The authority, or nil without the `openssl` command. The reason is printed.
    public static let shared: TestAuthority? = {
        do { return try TestAuthority() } catch {
            print("SKIPPED: tests of wss: no certificates could be made with the openssl command: \(error)")
            return nil
        }
    }()

    private init() throws {
        directory = FileManager.default.temporaryDirectory.path + "/wss-tests-\(UUID().uuidString)"
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

    public func front(_ certificate: String, backend: UInt16) throws -> TLSFront {
        try TLSFront(
            certificate: "\(directory)/\(certificate).pem", key: "\(directory)/\(certificate).key", backend: backend
        )
    }

    public func endpoint(_ front: TLSFront, host: String = "localhost") throws -> SignalingEndpoint {
        var endpoint = try SignalingEndpoint(url: "wss://\(host):\(front.port)/")
        endpoint.tls.authoritiesFile = file
        return endpoint
    }

    /// The subject of the conformance clauses over TLS: all of their servers are behind a ``TLSFront``.
    public static func subject<Transport: SignalingTransport>(
        capabilities: Capabilities, makeTransport: @escaping @Sendable () throws -> Transport
    ) -> SignalingSubject<Transport> {
        var subject = SignalingSubject(
            capabilities: capabilities, makeTransport: makeTransport,
            front: { port in
                guard let authority = shared else { throw TransportError(.unavailable, "no openssl") }
                let front = try authority.front("good", backend: port)
                return SignalingFront(try authority.endpoint(front)) { front.stop() }
            })
        // OpenSSL's server side in the front keeps some 800 bytes of each connection.
        subject.bytesPerConnection = 2048
        return subject
    }
}
