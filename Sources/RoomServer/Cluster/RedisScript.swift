internal import COpenSSL

/// A Lua script, which servers know by its hash.
struct RedisScript: Sendable, Hashable {
    let text: [UInt8]
    /// SHA-1, in hexadecimal.
    let hash: [UInt8]

    init(_ text: String) {
        self.text = Array(text.utf8)
        var digest = [UInt8](repeating: 0, count: 20)
        EVP_Digest(self.text, self.text.count, &digest, nil, EVP_sha1(), nil)
        let digits = Array("0123456789abcdef".utf8)
        hash = digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    }
}
