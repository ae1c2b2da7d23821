/// The hash of a certificate, as a session description announces it (RFC 8122 §5).
struct Fingerprint: Equatable, Hashable {
    /// Hash functions that are accepted, weakest first. SHA-1 and MD5 are not (RFC 8122 §5.1).
    enum Algorithm: String, CaseIterable {
        case sha256 = "sha-256"
        case sha384 = "sha-384"
        case sha512 = "sha-512"

        var byteCount: Int {
            switch self {
            case .sha256: 32
            case .sha384: 48
            case .sha512: 64
            }
        }
    }

    var algorithm: Algorithm
    var bytes: [UInt8]

    init(algorithm: Algorithm, bytes: [UInt8]) {
        self.algorithm = algorithm
        self.bytes = bytes
    }

    /// `sha-256 AB:CD:…`; nil for another hash function or malformed text.
    init?(parsing value: String) {
        let words = value.split(separator: " ")
        guard words.count == 2, let algorithm = Algorithm(rawValue: words[0].lowercased()) else { return nil }
        var bytes: [UInt8] = []
        for pair in words[1].split(separator: ":", omittingEmptySubsequences: false) {
            guard pair.utf8.count == 2, pair.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }),
                let byte = UInt8(pair, radix: 16), bytes.count < 64
            else { return nil }
            bytes.append(byte)
        }
        guard bytes.count == algorithm.byteCount else { return nil }
        self.init(algorithm: algorithm, bytes: bytes)
    }

    /// As it stands in a description.
    var text: String {
        let digits = Array("0123456789ABCDEF".utf8)
        var text: [UInt8] = []
        for byte in bytes {
            if !text.isEmpty { text.append(UInt8(ascii: ":")) }
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return algorithm.rawValue + " " + String(decoding: text, as: UTF8.self)
    }
}
