internal import TransportPluginAPI

/// Session descriptions, as the micro-benchmarks measure them.
@_spi(Benchmarks) public enum MeasuredDescriptions {
    /// Reads an offer and writes the answer.
    @inline(never)
    public static func answer(_ offer: String) -> String? {
        guard let offer = try? DataDescription(parsing: SessionDescription(kind: .offer, text: offer)) else {
            return nil
        }
        let writer = DescriptionWriter(
            sessionID: 1, version: 1,
            fingerprint: Fingerprint(algorithm: .sha256, bytes: [UInt8](repeating: 7, count: 32)),
            sctpPort: 5000, maximumMessageSize: 262_144)
        let credentials = ICECredentials(usernameFragment: "abcd", password: "abcdefghijklmnopqrstuvwx")
        return writer.answer(to: offer, credentials, setup: .active).text
    }

    /// Reads an offer; returns whether it was accepted.
    @inline(never)
    public static func parse(_ offer: String) -> Bool {
        (try? DataDescription(parsing: SessionDescription(kind: .offer, text: offer))) != nil
    }
}
