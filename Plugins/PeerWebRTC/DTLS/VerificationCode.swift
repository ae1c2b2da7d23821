internal import COpenSSL

/// The code by which two people check that nobody intercepts their connection. The article *Wire protocol* describes
/// it.
enum VerificationCode {
    /// Six groups of five digits, the same on both sides. Both fingerprints are SHA-256.
    static func text(_ one: Fingerprint, _ other: Fingerprint) -> String {
        let fingerprints = [one.text, other.text].sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let message = Array("room verification 1\n\(fingerprints[0])\n\(fingerprints[1])\n".utf8)
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        guard EVP_Digest(message, message.count, &digest, nil, EVP_sha256(), nil) == 1 else { return "" }
        return (0..<6).map { group in
            let value = digest[(group * 5)..<(group * 5 + 5)].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            let digits = String(value % 100_000)
            return String(repeating: "0", count: 5 - digits.count) + digits
        }.joined(separator: " ")
    }
}
