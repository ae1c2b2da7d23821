internal import Hashing

/// A secret that two people pass to each other, and the name of the room that it leads to.
///
/// Written as seven groups of four characters: 26 of Crockford's base 32, which are 130 random bits, and two that tell
/// a mistyped code before anything starts. The secret itself stays on the two machines: the room server sees only the
/// name of a room, from which the secret cannot be computed.
package struct TransferCode: Sendable, Hashable {
    /// Why a text is no code.
    package enum Malformed: Error, Hashable {
        /// A character that no code has.
        case character(Character)
        /// The number of characters that there are, instead of 28.
        case length(Int)
        /// Some character is another than it was.
        case mistyped

        package var message: String {
            switch self {
            case .character(let character):
                "a code has letters and digits, in groups of four; '\(character)' is neither"
            case .length(let count): "a code has 28 characters, in seven groups of four; this one has \(count)"
            case .mistyped: "the code is mistyped: compare it with the one that the sender sees"
            }
        }
    }

    /// Without I, L, O and U (Crockford).
    private static let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    private static let secretLength = 26
    private static let length = 28
    /// The largest prime that two characters can hold: a single wrong character, or two that have changed places, never
    /// have the same remainder.
    private static let modulus = 1021

    private let symbols: [Int]

    /// A new secret.
    package init() {
        var generator = SystemRandomNumberGenerator()
        self.init(using: &generator)
    }

    /// A new secret from a generator, which must be unpredictable.
    init(using generator: inout some RandomNumberGenerator) {
        symbols = (0..<Self.secretLength).map { _ in Int.random(in: 0..<32, using: &generator) }
    }

    /// Reads a code as people type it: small letters, other groups, blanks, O for 0, I and L for 1.
    package init(_ text: String) throws(Malformed) {
        var symbols: [Int] = []
        for character in text where character != "-" && !character.isWhitespace {
            guard let symbol = Self.symbol(character) else { throw .character(character) }
            symbols.append(symbol)
        }
        guard symbols.count == Self.length else { throw .length(symbols.count) }
        self.symbols = Array(symbols.prefix(Self.secretLength))
        guard Array(symbols.suffix(2)) == Self.check(self.symbols) else { throw .mistyped }
    }

    private static func symbol(_ character: Character) -> Int? {
        switch character {
        case "o", "O": 0
        case "i", "I", "l", "L": 1
        default: alphabet.firstIndex { $0 == character || $0.lowercased() == String(character) }
        }
    }

    private static func check(_ symbols: [Int]) -> [Int] {
        let remainder = symbols.reduce(0) { ($0 * 32 + $1) % modulus }
        return [remainder / 32, remainder % 32]
    }

    /// The code as it is shown.
    package var text: String {
        let all = (symbols + Self.check(symbols)).map { Self.alphabet[$0] }
        return stride(from: 0, to: all.count, by: 4).map { String(all[$0..<($0 + 4)]) }.joined(separator: "-")
    }

    private var secret: [UInt8] { symbols.map { UInt8($0) } }

    /// The name of the room in which the two meet. It is public; the secret does not follow from it.
    package var roomName: String {
        let digest = Crypto.hmac(.sha256, key: secret, Array("room file transfer v1: name of the room".utf8))
        return "send-" + Self.base32(digest.prefix(20))
    }

    /// The key for proofs that a side has this code.
    var proofKey: [UInt8] { Crypto.hmac(.sha256, key: secret, Array("room file transfer v1: key of the proofs".utf8)) }

    /// Eight characters for each five bytes.
    static func base32(_ bytes: some Sequence<UInt8>) -> String {
        var text = ""
        var (bits, count) = (0, 0)
        for byte in bytes {
            bits = (bits & 0x1F) << 8 | Int(byte)
            count += 8
            while count >= 5 {
                count -= 5
                text.append(alphabet[bits >> count & 31])
            }
        }
        return text.lowercased()
    }
}
