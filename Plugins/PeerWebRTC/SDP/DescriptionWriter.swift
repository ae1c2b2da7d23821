internal import TransportPluginAPI

/// The writer of offers and answers with data channels only, in the form that browsers use (RFC 8829 §5, RFC 8841).
struct DescriptionWriter {
    /// The session's number in `o=`, constant over a connection's life.
    var sessionID: UInt64
    /// Rises with each description (RFC 8866 §5.2).
    var version: UInt64
    var fingerprint: Fingerprint
    var sctpPort: UInt16
    /// Bytes; the largest message that this side accepts.
    var maximumMessageSize: Int

    static let offeredMid = "0"

    func offer(_ credentials: ICECredentials, setup: DTLSSetup) -> SessionDescription {
        var lines = head(bundle: Self.offeredMid)
        lines += dataSection(
            credentials, setup: setup, mid: Self.offeredMid, protocol: "UDP/DTLS/SCTP", isOldForm: false)
        return SessionDescription(kind: .offer, text: Self.text(lines))
    }

    /// Mirrors the offer's sections; all but the data section are refused.
    func answer(to offer: DataDescription, _ credentials: ICECredentials, setup: DTLSSetup) -> SessionDescription {
        var lines = head(bundle: offer.isBundled ? offer.mid : nil)
        for (index, section) in offer.sections.enumerated() {
            if index == offer.mediaIndex {
                lines += dataSection(
                    credentials, setup: setup, mid: section.mid, protocol: section.protocol, isOldForm: offer.isOldForm)
            } else {
                lines += [
                    "m=\(section.kind) 0 \(section.protocol) \(section.format)", "c=IN IP4 0.0.0.0", "a=inactive",
                ]
                if let mid = section.mid { lines.append("a=mid:\(mid)") }
            }
        }
        return SessionDescription(kind: .answer, text: Self.text(lines))
    }

    private func head(bundle mid: String?) -> [String] {
        var lines = ["v=0", "o=- \(sessionID) \(version) IN IP4 127.0.0.1", "s=-", "t=0 0"]
        if let mid { lines.append("a=group:BUNDLE \(mid)") }
        lines.append("a=msid-semantic: WMS")
        return lines
    }

    private func dataSection(
        _ credentials: ICECredentials, setup: DTLSSetup, mid: String?, protocol: String, isOldForm: Bool
    ) -> [String] {
        var lines = ["m=application 9 \(`protocol`) \(isOldForm ? "\(sctpPort)" : "webrtc-datachannel")"]
        lines += [
            "c=IN IP4 0.0.0.0",
            "a=ice-ufrag:\(credentials.usernameFragment)",
            "a=ice-pwd:\(credentials.password)",
            "a=ice-options:trickle",
            "a=fingerprint:\(fingerprint.text)",
            "a=setup:\(setup.rawValue)",
        ]
        if let mid { lines.append("a=mid:\(mid)") }
        lines.append(isOldForm ? "a=sctpmap:\(sctpPort) webrtc-datachannel 1024" : "a=sctp-port:\(sctpPort)")
        lines.append("a=max-message-size:\(maximumMessageSize)")
        return lines
    }

    private static func text(_ lines: [String]) -> String { lines.joined(separator: "\r\n") + "\r\n" }
}
