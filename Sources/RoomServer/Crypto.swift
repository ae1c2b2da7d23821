internal import COpenSSL

/// The few things that the server needs of OpenSSL.
enum Crypto {
    enum Hash {
        case sha1
        case sha256
    }

    /// RFC 2104.
    static func hmac(_ hash: Hash, key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        var code = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        let function = hash == .sha1 ? EVP_sha1() : EVP_sha256()
        guard HMAC(function, key, Int32(key.count), message, message.count, &code, &length) != nil else {
            // It cannot fail but for lack of memory. An unpredictable code matches nothing.
            return randomBytes(32)
        }
        return Array(code.prefix(Int(length)))
    }

    static func sha1(_ message: [UInt8]) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 20)
        _ = SHA1(message, message.count, &digest)
        return digest
    }

    /// Compares in a time that does not depend on where they differ.
    static func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.count == right.count && CRYPTO_memcmp(left, right, left.count) == 0
    }

    static func randomBytes(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }
}

/// RFC 4648: base64, and base64url without padding.
enum Base64 {
    private static let common = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8)
    private static let standard = common + Array("+/".utf8)
    private static let url = common + Array("-_".utf8)

    static func encode(_ bytes: [UInt8]) -> String { encode(bytes, standard, pads: true) }
    static func encodeURL(_ bytes: [UInt8]) -> String { encode(bytes, url, pads: false) }

    /// Nil when the text is not exactly what `encode` would write.
    static func decode(_ text: String) -> [UInt8]? { decode(text, standard, pads: true) }
    static func decodeURL(_ text: String) -> [UInt8]? { decode(text, url, pads: false) }

    private static func encode(_ bytes: [UInt8], _ alphabet: [UInt8], pads: Bool) -> String {
        var output: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << (8 * UInt32(3 - group.count))
            for index in 0..<4 where index <= group.count {
                output.append(alphabet[Int(bits >> UInt32(18 - 6 * index)) & 63])
            }
            if pads { output += Array(repeating: UInt8(ascii: "="), count: 3 - group.count) }
        }
        return String(decoding: output, as: UTF8.self)
    }

    private static func decode(_ text: String, _ alphabet: [UInt8], pads: Bool) -> [UInt8]? {
        var output: [UInt8] = []
        var bits: UInt32 = 0
        var count: UInt32 = 0
        for byte in text.utf8 {
            if pads, byte == UInt8(ascii: "=") { break }
            guard let value = alphabet.firstIndex(of: byte) else { return nil }
            bits = (bits << 6 | UInt32(value)) & 0xFFFF
            count += 6
            if count >= 8 {
                count -= 8
                output.append(UInt8(truncatingIfNeeded: bits >> count))
            }
        }
        return encode(output, alphabet, pads: pads) == text ? output : nil
    }
}
