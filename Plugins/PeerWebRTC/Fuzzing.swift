internal import TransportPluginAPI

/// Decoders of the other side's input, for fuzzing from outside of the module. Each returns whether the input was
/// accepted, and traps on nothing.
@_spi(Fuzzing) public enum WebRTCDecoders {
    /// Reads an offer. One that is accepted must be answerable, and the answer readable.
    public static func description(_ text: String) -> Bool {
        guard let offer = try? DataDescription(parsing: SessionDescription(kind: .offer, text: text)) else {
            return false
        }
        let writer = DescriptionWriter(
            sessionID: 1, version: 1,
            fingerprint: Fingerprint(algorithm: .sha256, bytes: [UInt8](repeating: 0, count: 32)),
            sctpPort: 5000, maximumMessageSize: 65_536)
        let ours = ICECredentials(usernameFragment: "fuzz", password: "fuzzfuzzfuzzfuzzfuzzfuzz")
        let answer = writer.answer(to: offer, ours, setup: .active)
        precondition((try? DataDescription(parsing: answer)) != nil, "an answer that cannot be read")
        return true
    }

    public static func candidate(_ text: String) -> Bool { (try? CandidateText(parsing: text)) != nil }

    /// A message of the data channel establishment protocol (RFC 8832).
    public static func establishment(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let message = try? DCEP.decode(bytes) else { return false }
        let encoded = DCEP.encode(message)
        precondition((try? encoded.withUnsafeBytes { try DCEP.decode($0) }) == message, "not what was written")
        return true
    }
}
