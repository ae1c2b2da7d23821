internal import COpenSSL

/// Digests, authentication codes and random bytes.
package enum Crypto {
    package enum Hash: Sendable {
        case sha1
        case sha256
    }

    package static func sha256(_ bytes: some Sequence<UInt8>) -> Digest {
        var digest = RunningDigest()
        Array(bytes).withUnsafeBytes { digest.update($0) }
        return digest.value
    }

    /// Computes an HMAC (RFC 2104).
    package static func hmac(_ hash: Hash, key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        var code = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        let function = hash == .sha1 ? EVP_sha1() : EVP_sha256()
        guard HMAC(function, key, Int32(key.count), message, message.count, &code, &length) != nil else {
            // It can fail only for lack of memory. An unpredictable code matches nothing.
            return randomBytes(32)
        }
        return Array(code.prefix(Int(length)))
    }

    /// Compares in a time that does not depend on where the arguments differ.
    package static func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.count == right.count && CRYPTO_memcmp(left, right, left.count) == 0
    }

    package static func randomBytes(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }
}
