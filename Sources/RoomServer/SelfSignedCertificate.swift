internal import COpenSSL
internal import Glibc
package import Logging

/// A certificate that signs itself, and its key.
package final class SelfSignedCertificate: Sendable, Hashable {
    // SAFETY of `nonisolated(unsafe)`: written in `init` only; OpenSSL locks its reference counts.
    nonisolated(unsafe) let certificate: OpaquePointer
    nonisolated(unsafe) let key: OpaquePointer

    /// iOS takes none that lasts longer than 825 days, and warns less about those below 398.
    private static let lifetime = 397 * 86_400
    /// A kept certificate that ends so soon is replaced.
    private static let renewal = 30 * 86_400
    /// The names that fit into a small file.
    private static let nameLimit = 20

    /// Makes a certificate on P-256.
    /// - Parameter names: The names and numeric addresses that it is for.
    package init(for names: [String]) throws(RoomServerError) {
        guard let key = COpenSSL_generate_p256(), let certificate = X509_new() else { throw Self.failure }
        self.key = key
        self.certificate = certificate
        // A comma would add an entry of its own.
        let usable = names.filter { !$0.isEmpty && $0.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x2C } }
        let alternatives = usable.prefix(Self.nameLimit).map { name in
            let isIPv4 =
                name.split(separator: ".").count == 4 && name.utf8.allSatisfy { $0 == 0x2E || 0x30...0x39 ~= $0 }
            return (name.contains(":") || isIPv4 ? "IP:" : "DNS:") + name
        }
        var serial: UInt64 = 0
        guard X509_set_version(certificate, 2) == 1,
            withUnsafeMutableBytes(of: &serial, { RAND_bytes($0.baseAddress, Int32($0.count)) }) == 1,
            ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1 | 1) == 1,
            X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != nil,
            X509_gmtime_adj(X509_getm_notAfter(certificate), Self.lifetime) != nil,
            let subject = X509_get_subject_name(certificate),
            X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_FLAG | 1, "room server", -1, -1, 0) == 1,
            X509_set_issuer_name(certificate, subject) == 1, X509_set_pubkey(certificate, key) == 1,
            COpenSSL_add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") == 1,
            COpenSSL_add_extension(certificate, NID_key_usage, "critical,digitalSignature") == 1,
            COpenSSL_add_extension(certificate, NID_ext_key_usage, "serverAuth") == 1,
            COpenSSL_add_extension(certificate, NID_subject_alt_name, alternatives.joined(separator: ",")) == 1,
            X509_sign(certificate, key, EVP_sha256()) > 0
        else { throw Self.failure }
    }

    /// Reads what `pem` has written. Returns nil when it is no certificate with its key.
    private init?(pem: [UInt8]) {
        guard let input = BIO_new(BIO_s_mem()) else { return nil }
        defer {
            BIO_free(input)
            ERR_clear_error()
        }
        guard BIO_write(input, pem, Int32(pem.count)) == pem.count else { return nil }
        guard let certificate = PEM_read_bio_X509(input, nil, nil, nil) else { return nil }
        guard let key = PEM_read_bio_PrivateKey(input, nil, nil, nil) else {
            X509_free(certificate)
            return nil
        }
        self.certificate = certificate
        self.key = key
        if X509_check_private_key(certificate, key) != 1 { return nil }
    }

    deinit {
        X509_free(certificate)
        EVP_PKEY_free(key)
    }

    /// Returns the certificate in the state directory of this environment. Makes one when there is none, or the one
    /// that there is ends soon. Throws when it cannot be kept. Blocks for as long as the file system does.
    package static func persistent(
        for names: [String], in environment: [String: String], _ logger: Logger
    ) throws(RoomServerError) -> SelfSignedCertificate {
        let path = try StateDirectory.existing(environment) + "/tls.pem"
        if let kept = Self(pem: try SecretFile.content(path, logger) ?? []), !kept.endsSoon { return kept }
        unlink(path)
        return try SelfSignedCertificate(for: names).kept(at: path, logger)
    }

    private func kept(at path: String, _ logger: Logger) throws(RoomServerError) -> SelfSignedCertificate {
        try SecretFile.make(path, try pem())
        // Another server may have been first.
        guard let kept = Self(pem: try SecretFile.content(path, logger) ?? []) else { throw Self.failure }
        return kept
    }

    private var endsSoon: Bool {
        var limit = time(nil) + Self.renewal
        return X509_cmp_time(X509_get0_notAfter(certificate), &limit) != 1
    }

    /// Certificate and key.
    private func pem() throws(RoomServerError) -> [UInt8] {
        guard let output = BIO_new(BIO_s_mem()) else { throw Self.failure }
        defer { BIO_free(output) }
        guard PEM_write_bio_X509(output, certificate) == 1,
            PEM_write_bio_PrivateKey(output, key, nil, nil, 0, nil, nil) == 1
        else { throw Self.failure }
        let count = Int(BIO_ctrl_pending(output))
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, length in
            length = max(0, Int(BIO_read(output, buffer.baseAddress, Int32(count))))
        }
    }

    /// The SHA-256 of the certificate, as browsers show it.
    package var fingerprint: String {
        var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        X509_digest(certificate, EVP_sha256(), &bytes, &count)
        let digits = Array("0123456789ABCDEF")
        return bytes.prefix(Int(count)).map { "\(digits[Int($0 >> 4)])\(digits[Int($0 & 15)])" }.joined(separator: ":")
    }

    package static func == (left: SelfSignedCertificate, right: SelfSignedCertificate) -> Bool { left === right }
    package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }

    private static let failure = RoomServerError(message: "OpenSSL could not make a certificate.")
}
