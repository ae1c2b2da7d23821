internal import Foundation
public import TransportPluginAPI

/// A rule of TLS that every signaling backend keeps, as a test.
///
/// ```swift
/// @Test(arguments: TLSRule.all)
/// func keeps(_ rule: TLSRule) async throws { try await rule.run { try MySignaling() } }
/// ```
public struct TLSRule: Sendable, CustomStringConvertible {
    public let description: String
    private let check: @Sendable (Attempt) async throws -> Void

    private init(_ description: String, _ check: @escaping @Sendable (Attempt) async throws -> Void) {
        self.description = description
        self.check = check
    }

    /// Throws when the backend breaks the rule.
    public func run(_ makeTransport: @escaping @Sendable () throws -> any SignalingTransport) async throws {
        guard let authority = TestAuthority.shared else { throw Broken(rule: description, message: "no openssl") }
        try await check(Attempt(rule: description, authority: authority, makeTransport: makeTransport))
    }

    public static let all = [
        TLSRule("a certificate for another name is refused") { attempt in
            try await attempt.isRefused("other", message: "hostname mismatch", isRetryable: false)
        },
        TLSRule("a certificate for another address is refused") { attempt in
            try await attempt.isRefused("other", host: "127.0.0.1")
        },
        TLSRule("a certificate of an unknown authority is refused") { attempt in
            try await attempt.isRefused("good", isRetryable: false) { $0.tls.authoritiesFile = nil }
        },
        TLSRule("a self-signed certificate is refused") { attempt in try await attempt.isRefused("self") },
        TLSRule("an expired certificate is refused") { attempt in
            try await attempt.isRefused("expired", message: "expired")
        },
        TLSRule("a file of authorities that cannot be read is named") { attempt in
            let missing = attempt.authority.directory + "/missing.pem"
            try await attempt.isRefused("good", message: missing) { $0.tls.authoritiesFile = missing }
            let noCertificate = attempt.authority.directory + "/good.ext"
            try await attempt.isRefused("good") { $0.tls.authoritiesFile = noCertificate }
        },
        TLSRule("the host is sent as SNI") { attempt in try await attempt.isAccepted("good", names: ["localhost"]) },
        TLSRule("the name to verify can be given apart, and is sent as SNI") { attempt in
            try await attempt.isAccepted("other", host: "127.0.0.1", names: ["other.example"]) {
                $0.tls.serverName = "other.example"
            }
        },
        TLSRule("a numeric address is compared with the certificate") { attempt in
            try await attempt.isAccepted("good", host: "127.0.0.1", names: nil)
        },
        TLSRule("a changed file of authorities takes effect") { try await $0.followsTheFile() },
    ]

    /// RFC 6066 §3. libwebsockets (4.1.6) sends it all the same.
    public static let addressesAreNoNames = TLSRule("a numeric address is not sent as SNI") { attempt in
        try await attempt.isAccepted("good", host: "127.0.0.1", names: [])
    }
}

/// One backend under one rule.
private struct Attempt: Sendable {
    let rule: String
    let authority: TestAuthority
    let makeTransport: @Sendable () throws -> any SignalingTransport

    /// Connects to a front with this certificate. Nothing listens behind it, so that TLS has succeeded when the
    /// handshake behind it fails.
    private func connect(
        _ certificate: String, host: String, _ change: (inout SignalingEndpoint) -> Void
    ) async throws -> (error: TransportError?, names: [String]) {
        let front = try authority.front(certificate, backend: 1)
        defer { front.stop() }
        var endpoint = try authority.endpoint(front, host: host)
        // The refusal is the subject, not the pace of a loaded machine.
        endpoint.connectTimeout = .seconds(60)
        change(&endpoint)
        let transport = try makeTransport()
        let error = await error(of: transport, endpoint)
        await transport.shutdown()
        return (error, front.serverNames.filter { !$0.isEmpty })
    }

    private func error(
        of transport: any SignalingTransport, _ endpoint: SignalingEndpoint
    ) async -> TransportError? {
        do throws(TransportError) {
            _ = try await transport.connect(to: endpoint)
            return nil
        } catch { return error }
    }

    func isRefused(
        _ certificate: String, host: String = "localhost", message: String = "", isRetryable: Bool? = nil,
        _ change: (inout SignalingEndpoint) -> Void = { _ in }
    ) async throws {
        let (error, _) = try await connect(certificate, host: host, change)
        guard let error, error.code == .tlsFailed, message.isEmpty || error.message.contains(message),
            isRetryable == nil || error.isRetryable == isRetryable
        else { throw Broken(rule: rule, message: "\(String(describing: error))") }
    }

    func isAccepted(
        _ certificate: String, host: String = "localhost", names: [String]?,
        _ change: (inout SignalingEndpoint) -> Void = { _ in }
    ) async throws {
        let (error, seen) = try await connect(certificate, host: host, change)
        guard error?.code == .handshakeFailed, names == nil || seen == names else {
            throw Broken(rule: rule, message: "\(String(describing: error)), SNI \(seen)")
        }
    }

    func followsTheFile() async throws {
        let front = try authority.front("self", backend: 1)
        defer { front.stop() }
        let file = authority.directory + "/changing-\(UUID().uuidString).pem"
        try FileManager.default.copyItem(atPath: authority.file, toPath: file)
        var endpoint = try authority.endpoint(front)
        endpoint.tls.authoritiesFile = file
        endpoint.connectTimeout = .seconds(60)
        let transport = try makeTransport()
        let before = await error(of: transport, endpoint)
        try FileManager.default.removeItem(atPath: file)
        try FileManager.default.copyItem(atPath: authority.directory + "/self.pem", toPath: file)
        let after = await error(of: transport, endpoint)
        await transport.shutdown()
        guard before?.code == .tlsFailed, after?.code == .handshakeFailed else {
            throw Broken(rule: rule, message: "\(String(describing: before)), then \(String(describing: after))")
        }
    }
}

private struct Broken: Error, CustomStringConvertible {
    let rule: String
    let message: String
    var description: String { "\(rule): \(message)" }
}
