internal import COpenSSL

/// The public key of a signature algorithm, or a private key with its public one. The kind of the key decides the
/// algorithm (RFC 8725 §3.1).
package final class SignatureKey: Sendable {
    package enum Algorithm: String, Sendable, CaseIterable {
        /// Ed25519 (RFC 8037).
        case ed25519 = "EdDSA"
        /// RSASSA-PKCS1-v1_5 with SHA-256 and a key of at least 2048 bits (RFC 7518 §3.3).
        case rsa = "RS256"
        /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
        case p256 = "ES256"
    }

    /// The reason why a key is not usable.
    package enum Flaw: Error, Sendable, Hashable {
        case malformed
        case unsupported
        /// An RSA key of fewer bits than `minimumBits`.
        case tooShort(bits: Int)
    }

    package static let minimumBits = 2048
    /// More only makes each signature slower.
    private static let maximumBits = 8192

    package let algorithm: Algorithm
    package let isPrivate: Bool
    // SAFETY of `nonisolated(unsafe)`: written in `init` only. OpenSSL reads it from any thread, and counts references
    // atomically.
    nonisolated(unsafe) private let key: OpaquePointer

    /// Takes over the reference.
    private init(owning key: OpaquePointer?, isPrivate: Bool) throws(Flaw) {
        defer { ERR_clear_error() }
        guard let key else { throw .malformed }
        do throws(Flaw) {
            algorithm = try Self.algorithm(of: key)
        } catch {
            EVP_PKEY_free(key)
            throw error
        }
        self.key = key
        self.isPrivate = isPrivate
    }

    deinit { EVP_PKEY_free(key) }

    private static func algorithm(of key: OpaquePointer) throws(Flaw) -> Algorithm {
        if EVP_PKEY_is_a(key, "ED25519") == 1 { return .ed25519 }
        if EVP_PKEY_is_a(key, "RSA") == 1 {
            let bits = Int(EVP_PKEY_get_bits(key))
            guard bits >= minimumBits else { throw .tooShort(bits: bits) }
            guard bits <= maximumBits else { throw .unsupported }
            return .rsa
        }
        var group = [CChar](repeating: 0, count: 80)
        guard EVP_PKEY_is_a(key, "EC") == 1, EVP_PKEY_get_group_name(key, &group, group.count, nil) == 1,
            group.withUnsafeBufferPointer({ $0.baseAddress.map { String(cString: $0) } }) == "prime256v1"
        else { throw .unsupported }
        return .p256
    }

    // MARK: Keys from elsewhere

    /// Reads a SubjectPublicKeyInfo (RFC 5280 §4.1).
    package convenience init(publicKeyInfo bytes: [UInt8]) throws(Flaw) {
        let key = bytes.withUnsafeBufferPointer { bytes -> OpaquePointer? in
            var position = bytes.baseAddress
            guard let key = d2i_PUBKEY(nil, &position, bytes.count) else { return nil }
            guard position == bytes.baseAddress?.advanced(by: bytes.count) else {
                EVP_PKEY_free(key)
                return nil
            }
            return key
        }
        try self.init(owning: key, isPrivate: false)
    }

    /// Reads a private key: PKCS #8 (RFC 5958), or the older form of RSA and EC keys.
    package convenience init(privateKeyInfo bytes: [UInt8]) throws(Flaw) {
        let key = bytes.withUnsafeBufferPointer { bytes -> OpaquePointer? in
            var position = bytes.baseAddress
            return d2i_AutoPrivateKey(nil, &position, bytes.count)
        }
        try self.init(owning: key, isPrivate: true)
    }

    /// Reads the public key of Ed25519: 32 bytes.
    package convenience init(ed25519 bytes: [UInt8]) throws(Flaw) {
        guard bytes.count == 32 else { throw .malformed }
        // RFC 8410 §4.
        try self.init(publicKeyInfo: [0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00] + bytes)
    }

    /// Reads a point of P-256: two coordinates of 32 bytes.
    package convenience init(p256 x: [UInt8], _ y: [UInt8]) throws(Flaw) {
        guard x.count == 32, y.count == 32 else { throw .malformed }
        // RFC 5480 §2.
        let head: [UInt8] = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48,
            0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
        ]
        try self.init(publicKeyInfo: head + x + y)
    }

    /// Reads an RSA key: its numbers, the most significant byte first.
    package convenience init(rsaModulus modulus: [UInt8], exponent: [UInt8]) throws(Flaw) {
        guard modulus.count <= Self.maximumBits / 8 + 1, exponent.count <= 8, exponent.last.map({ $0 & 1 == 1 }) == true
        else { throw .malformed }
        // RFC 8017 §A.1.1, in RFC 3279 §2.3.1.
        let numbers = Self.der(0x30, Self.der(0x02, Self.number(modulus)) + Self.der(0x02, Self.number(exponent)))
        let algorithm: [UInt8] = [
            0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00,
        ]
        try self.init(publicKeyInfo: Self.der(0x30, algorithm + Self.der(0x03, [0] + numbers)))
    }

    /// The content of an INTEGER that is not negative.
    private static func number(_ bytes: [UInt8]) -> [UInt8] {
        let digits = bytes.drop { $0 == 0 }
        return digits.first.map { $0 >= 0x80 } ?? true ? [0] + digits : Array(digits)
    }

    private static func der(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        switch content.count {
        case ..<0x80: [tag, UInt8(content.count)] + content
        case ..<0x100: [tag, 0x81, UInt8(content.count)] + content
        default:
            [tag, 0x82, UInt8(truncatingIfNeeded: content.count >> 8), UInt8(truncatingIfNeeded: content.count)]
                + content
        }
    }

    // MARK: New keys

    /// Makes a key pair of Ed25519. Nil for lack of memory or randomness.
    package static func makeEd25519() -> SignatureKey? {
        guard let context = EVP_PKEY_CTX_new_from_name(nil, "ED25519", nil) else { return nil }
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) == 1, EVP_PKEY_keygen(context, &key) == 1 else { return nil }
        return try? SignatureKey(owning: key, isPrivate: true)
    }

    /// The public key as PEM (RFC 7468 §13).
    package var publicPEM: String? { pem { PEM_write_bio_PUBKEY($0, key) } }

    /// The private key as PEM (RFC 7468 §10), not encrypted. Nil for a public key.
    package var privatePEM: String? {
        isPrivate ? pem { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) } : nil
    }

    private func pem(_ write: (OpaquePointer) -> Int32) -> String? {
        guard let output = BIO_new(BIO_s_mem()) else { return nil }
        defer { BIO_free(output) }
        guard write(output) == 1 else { return nil }
        let count = Int(BIO_ctrl_pending(output))
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, length in
            length = max(0, Int(BIO_read(output, buffer.baseAddress, Int32(count))))
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    // MARK: Signatures

    /// Returns whether the signature, in the form of RFC 7518 or RFC 8037, is of this message.
    package func verify(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        defer { ERR_clear_error() }
        var signature = signature
        if algorithm == .p256 {
            guard let encoded = Self.encodedECDSA(signature) else { return false }
            signature = encoded
        }
        guard let context = EVP_MD_CTX_new() else { return false }
        defer { EVP_MD_CTX_free(context) }
        return EVP_DigestVerifyInit(context, nil, digest, nil, key) == 1
            && EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
    }

    /// Returns the signature of a message. Nil for a public key.
    package func sign(_ message: [UInt8]) -> [UInt8]? {
        guard isPrivate, let context = EVP_MD_CTX_new() else { return nil }
        defer {
            EVP_MD_CTX_free(context)
            ERR_clear_error()
        }
        var length = 0
        guard EVP_DigestSignInit(context, nil, digest, nil, key) == 1,
            EVP_DigestSign(context, nil, &length, message, message.count) == 1
        else { return nil }
        var signature = [UInt8](repeating: 0, count: length)
        guard EVP_DigestSign(context, &signature, &length, message, message.count) == 1 else { return nil }
        signature.removeLast(signature.count - length)
        return algorithm == .p256 ? Self.plainECDSA(signature) : signature
    }

    /// Ed25519 has a hash of its own.
    private var digest: OpaquePointer? { algorithm == .ed25519 ? nil : EVP_sha256() }

    /// Returns the two numbers of RFC 7518 §3.4 in the form in which OpenSSL reads them. Nil for another length.
    private static func encodedECDSA(_ signature: [UInt8]) -> [UInt8]? {
        guard signature.count == 64 else { return nil }
        return der(0x30, der(0x02, number(Array(signature[..<32]))) + der(0x02, number(Array(signature[32...]))))
    }

    /// The reverse.
    private static func plainECDSA(_ encoded: [UInt8]) -> [UInt8]? {
        encoded.withUnsafeBufferPointer { bytes -> [UInt8]? in
            var position = bytes.baseAddress
            guard let signature = d2i_ECDSA_SIG(nil, &position, bytes.count) else { return nil }
            defer { ECDSA_SIG_free(signature) }
            var plain = [UInt8](repeating: 0, count: 64)
            let isWhole = plain.withUnsafeMutableBufferPointer { buffer in
                BN_bn2binpad(ECDSA_SIG_get0_r(signature), buffer.baseAddress, 32) == 32
                    && BN_bn2binpad(ECDSA_SIG_get0_s(signature), buffer.baseAddress?.advanced(by: 32), 32) == 32
            }
            return isWhole ? plain : nil
        }
    }
}
