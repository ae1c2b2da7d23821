/// The characters of hosts and paths: one rule for URLs and for endpoints that were made by hand.
extension SignalingEndpoint {
    /// Returns what is wrong with a host name (RFC 3986 §3.2.2, without percent-encoding), as the end of a sentence.
    /// Nil: nothing.
    public static func fault(inHostName name: some Sequence<UInt8>) -> String? {
        guard let byte = name.first(where: { !isUnreserved($0) }) else { return nil }
        return "has \(text(of: byte)), which no host name has: write letters, digits, '-' and '.'"
    }

    /// Returns what is wrong with a path and query (RFC 3986 §3.3 and §3.4), as the end of a sentence. Nil: nothing.
    public static func fault(inPath path: some Collection<UInt8>) -> String? {
        var rest = path[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%") {
                guard rest.prefix(2).count == 2, rest.prefix(2).allSatisfy(isHexDigit) else {
                    return "has '%' without two hexadecimal digits behind it: write %25 for the character itself"
                }
            } else if !isUnreserved(byte), !"!$&'()*+,;=:@/?".utf8.contains(byte) {
                return "has \(text(of: byte)): write \(percentEncoded(byte)) instead"
            }
        }
        return nil
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte | 0x20) || "-._~".utf8.contains(byte)
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte | 0x20)
    }

    private static func percentEncoded(_ byte: UInt8) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return "%" + (digits.count == 1 ? "0" : "") + digits
    }

    private static func text(of byte: UInt8) -> String {
        switch byte {
        case 0x20: "a blank"
        case ..<0x20, 0x7F: "a control character"
        case 0x80...: "a character that is not ASCII"
        default: "the character \(Unicode.Scalar(byte))"
        }
    }
}
