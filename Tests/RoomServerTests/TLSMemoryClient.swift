import COpenSSL
import NIOCore
import NIOEmbedded
import Testing

@testable import RoomServer

/// A client of OpenSSL over memory, for a server in an embedded channel.
final class TLSMemoryClient {
    private let context = SSL_CTX_new(TLS_client_method())
    let ssl: OpaquePointer
    private let incoming = BIO_new(BIO_s_mem())
    private let outgoing = BIO_new(BIO_s_mem())

    /// - Parameters:
    ///   - version: The only version that the client speaks. Nil: all that OpenSSL has.
    ///   - protocols: The protocols that it offers by ALPN.
    init(version: Int32? = nil, resuming session: TLSMemorySession? = nil, protocols: [String] = []) throws {
        ssl = try #require(SSL_new(context))
        SSL_set_bio(ssl, incoming, outgoing)
        SSL_set_connect_state(ssl)
        if let version {
            // SSL_set_min_proto_version(3) and SSL_set_max_proto_version(3), which are macros.
            SSL_ctrl(ssl, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(version), nil)
            SSL_ctrl(ssl, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(version), nil)
        }
        if let session { try #require(SSL_set_session(ssl, session.pointer) == 1) }
        let offer = protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        if !offer.isEmpty { try #require(SSL_set_alpn_protos(ssl, offer, UInt32(offer.count)) == 0) }
    }

    deinit {
        SSL_free(ssl)
        SSL_CTX_free(context)
    }

    /// Carries what each side has written to the other one.
    func exchange(with channel: EmbeddedChannel) throws {
        let count = Int(BIO_ctrl_pending(outgoing))
        if count > 0 {
            var bytes = ByteBuffer()
            bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: count) {
                max(0, Int(BIO_read(outgoing, $0.baseAddress, Int32(count))))
            }
            try channel.writeInbound(bytes)
        }
        while let bytes = try channel.readOutbound(as: ByteBuffer.self) {
            _ = bytes.withUnsafeReadableBytes { BIO_write(incoming, $0.baseAddress, Int32($0.count)) }
        }
    }

    /// Makes a handshake with the server in a new channel, and reads its tickets. Returns whether it succeeds.
    func connects(to server: ServerTLS) throws -> Bool {
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        try channel.pipeline.syncOperations.addHandler(server.makeHandler())
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        for _ in 0..<5 where SSL_do_handshake(ssl) != 1 { try? exchange(with: channel) }
        guard SSL_is_init_finished(ssl) == 1 else {
            ERR_clear_error()
            return false
        }
        try exchange(with: channel)
        var byte: UInt8 = 0
        _ = SSL_read(ssl, &byte, 1)
        return channel.isActive
    }

    /// Whether the latest handshake resumed a session.
    var hasResumed: Bool { SSL_session_reused(ssl) == 1 }

    /// The session with the latest ticket.
    var session: TLSMemorySession? { SSL_get1_session(ssl).map(TLSMemorySession.init) }

    /// The protocol that the server has chosen.
    var chosenProtocol: String? {
        var start: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &start, &count)
        return start.map { String(decoding: UnsafeBufferPointer(start: $0, count: Int(count)), as: UTF8.self) }
    }

    /// The SHA-256 of the server's certificate, as `SelfSignedCertificate.fingerprint`.
    var fingerprint: String? {
        guard let certificate = SSL_get0_peer_certificate(ssl) else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        X509_digest(certificate, EVP_sha256(), &bytes, &count)
        return bytes.prefix(Int(count)).map { format(byte: $0) }.joined(separator: ":")
    }

    private func format(byte: UInt8) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return digits.count == 1 ? "0" + digits : digits
    }
}

/// A session of a `TLSMemoryClient`.
final class TLSMemorySession {
    let pointer: OpaquePointer
    init(_ pointer: OpaquePointer) { self.pointer = pointer }
    deinit { SSL_SESSION_free(pointer) }

    var ticket: [UInt8] {
        var start: UnsafePointer<UInt8>?
        var count = 0
        SSL_SESSION_get0_ticket(pointer, &start, &count)
        return Array(UnsafeBufferPointer(start: start, count: count))
    }

    var hasTicket: Bool { SSL_SESSION_has_ticket(pointer) == 1 }
}
