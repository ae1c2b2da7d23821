package import RoomProtocol

extension PeerConnectionID {
    /// 64 random bits in hexadecimal.
    package static func random(using generator: inout SeededGenerator) -> PeerConnectionID {
        let digits = String(generator.next(), radix: 16)
        return PeerConnectionID(String(repeating: "0", count: 16 - digits.count) + digits)
    }
}
