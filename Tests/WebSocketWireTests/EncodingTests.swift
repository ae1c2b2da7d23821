import Testing

@testable import WebSocketWire

@Suite struct EncodingTests {
    /// FIPS 180-4's examples, and lengths around the padding's borders.
    @Test(
        arguments: [
            ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
            ),
            (String(repeating: "a", count: 55), "c1c8bbdc22796e28c0e15163d20899b65621d65a"),
            (String(repeating: "a", count: 56), "c2db330f6083854c99d4b5bfb6e8f29f201be699"),
            (String(repeating: "a", count: 64), "0098ba824b5c16427bd7a1122a5a442a25ec644d"),
            (String(repeating: "a", count: 1_000_000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
        ])
    func digestsAreThoseOfTheStandard(_ message: String, _ digest: String) {
        let bytes = SHA1.digest(of: message.utf8)
        #expect(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() == digest)
    }

    /// RFC 4648 §10.
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ])
    func base64IsThatOfTheStandard(_ text: String, _ encoded: String) {
        #expect(Base64.encode(Array(text.utf8)) == encoded)
        #expect(Base64.decode(encoded) == Array(text.utf8))
        #expect(Base64.decodeURL(Base64.encodeURL(Array(text.utf8))) == Array(text.utf8))
    }

    @Test(arguments: ["Zg", "Zg=", "Zh==", "Z", "Zg===", "Zm9v\n", "Zm-v", "===="])
    func nonCanonicalBase64IsRefused(_ text: String) { #expect(Base64.decode(text) == nil) }

    @Test func base64ForURLsHasItsOwnAlphabetAndNoPadding() {
        #expect(Base64.encode([0xFB, 0xFF]) == "+/8=")
        #expect(Base64.encodeURL([0xFB, 0xFF]) == "-_8")
        #expect(Base64.decodeURL("-_8") == [0xFB, 0xFF])
        for text in ["-_8=", "+/8", "-_9"] { #expect(Base64.decodeURL(text) == nil) }
    }

    /// RFC 6455 §1.3.
    @Test func theProofIsThatOfTheStandard() {
        #expect(HandshakeKey.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    }

    // MARK: UTF-8

    /// All texts of one to three bytes, and of four from a few: as the standard library says, at once, byte by byte,
    /// and masked.
    @Test func utf8IsWhatTheStandardLibraryTakesForIt() {
        let some: [UInt8] = [
            0, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC,
        ]
        let more: [UInt8] = [0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]
        let bytes = some + more
        let mask = Mask(0x8142_C3E4)
        for a in bytes {
            for b in bytes {
                for c in bytes {
                    for text in [[a, b, c], [a, b, c, 0x80], [a, b, c, 0xBF, 0x41], [0xF0, a, b, c]] {
                        let isValid = String(validating: text, as: UTF8.self) != nil
                        let masked = text.indices.map { text[$0] ^ mask.byte(at: $0) }
                        #expect(isUTF8(text, pieces: text.count, .none) == isValid, "\(text)")
                        #expect(isUTF8(text, pieces: 1, .none) == isValid, "\(text)")
                        #expect(isUTF8(masked, pieces: 3, mask) == isValid, "\(text)")
                    }
                }
            }
        }
    }

    private func isUTF8(_ text: [UInt8], pieces: Int, _ mask: Mask) -> Bool {
        var validator = UTF8Validator()
        for start in stride(from: 0, to: text.count, by: pieces) {
            let isGood = text[start..<min(start + pieces, text.count)].withUnsafeBytes {
                validator.append($0, masked: mask.advanced(by: start))
            }
            guard isGood else { return false }
        }
        return validator.isComplete
    }

    @Test(arguments: 0..<9) func asciiInFrontMakesNoDifference(_ count: Int) {
        for end in ["é", "🌍", "a"] {
            let text = Array((String(repeating: "x", count: count) + end).utf8)
            let mask = Mask(0x0102_0304, offset: count)
            #expect(isUTF8(text, pieces: text.count, .none))
            #expect(isUTF8(text.indices.map { text[$0] ^ mask.byte(at: $0) }, pieces: text.count, mask))
            #expect(!isUTF8(Array((text + [0xFF])), pieces: text.count + 1, .none))
        }
    }
}
