/// SHA-1 (FIPS 180-4 §6.1). For the proof in the opening handshake only (RFC 6455 §4.2.2), which needs no collision
/// resistance.
enum SHA1 {
    static func digest(of message: some Collection<UInt8>) -> [UInt8] {
        var padded = Array(message)
        let bits = UInt64(padded.count) * 8
        padded.append(0x80)
        while padded.count % 64 != 56 { padded.append(0) }
        for shift in stride(from: 56, through: 0, by: -8) { padded.append(UInt8(truncatingIfNeeded: bits >> shift)) }

        var hash: [UInt32] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0]
        var words = [UInt32](repeating: 0, count: 80)
        padded.withUnsafeBytes { padded in
            for block in stride(from: 0, to: padded.count, by: 64) {
                for index in 0..<16 {
                    let word = padded.loadUnaligned(fromByteOffset: block + 4 * index, as: UInt32.self)
                    words[index] = UInt32(bigEndian: word)
                }
                for index in 16..<80 {
                    words[index] = rotated(
                        words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16], by: 1)
                }
                mix(words, into: &hash)
            }
        }
        return hash.flatMap { word in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> $0) } }
    }

    private static func mix(_ words: [UInt32], into hash: inout [UInt32]) {
        var (a, b, c, d, e) = (hash[0], hash[1], hash[2], hash[3], hash[4])
        for index in words.indices {
            let (f, k): (UInt32, UInt32) =
                switch index {
                case ..<20: (b & c | ~b & d, 0x5A82_7999)
                case ..<40: (b ^ c ^ d, 0x6ED9_EBA1)
                case ..<60: (b & c | b & d | c & d, 0x8F1B_BCDC)
                default: (b ^ c ^ d, 0xCA62_C1D6)
                }
            (a, b, c, d, e) = (rotated(a, by: 5) &+ f &+ e &+ k &+ words[index], a, rotated(b, by: 30), c, d)
        }
        hash = [hash[0] &+ a, hash[1] &+ b, hash[2] &+ c, hash[3] &+ d, hash[4] &+ e]
    }

    private static func rotated(_ word: UInt32, by count: UInt32) -> UInt32 { word << count | word >> (32 - count) }
}
