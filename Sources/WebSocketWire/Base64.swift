/// RFC 4648: base64, and base64url without padding.
public enum Base64 {
    private static let common = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8)
    private static let standard = common + Array("+/".utf8)
    private static let url = common + Array("-_".utf8)

    /// The bytes in the standard alphabet, with padding (§4).
    public static func encode(_ bytes: [UInt8]) -> String { encode(bytes, standard, pads: true) }
    /// The bytes in the alphabet for URLs, without padding (§5).
    public static func encodeURL(_ bytes: [UInt8]) -> String { encode(bytes, url, pads: false) }

    /// Reads what `encode` writes. Returns nil for any other text.
    public static func decode(_ text: String) -> [UInt8]? { decode(text, standard, pads: true) }
    /// Reads what `encodeURL` writes. Returns nil for any other text.
    public static func decodeURL(_ text: String) -> [UInt8]? { decode(text, url, pads: false) }

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
