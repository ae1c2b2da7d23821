internal import TransportPluginAPI

/// The `a=setup` of a description (RFC 8842, RFC 4145): which side begins the DTLS handshake.
enum DTLSSetup: String {
    case actpass, active, passive
}

/// The data section of the other side's offer or answer (RFC 8839, RFC 8841, RFC 8842).
struct DataDescription: Equatable {
    /// RFC 8841 §6.1: the limit where `a=max-message-size` is missing.
    static let defaultMaximumMessageSize = 65_536

    var credentials: ICECredentials
    var isICELite: Bool
    /// The fingerprints with accepted hash functions.
    var fingerprints: [Fingerprint]
    var setup: DTLSSetup
    /// The identification of the data section; nil when the other side uses none.
    var mid: String?
    /// The index of the data section among the `m=` lines.
    var mediaIndex: Int
    var isBundled: Bool
    var sctpPort: UInt16
    /// Bytes; `Int.max` for "any" (0 in the text).
    var maximumMessageSize: Int
    /// `m=application 9 DTLS/SCTP 5000` with `a=sctpmap`, as before RFC 8841.
    var isOldForm: Bool
    var `protocol`: String
    /// Candidates in the text itself, as lines without `a=`.
    var candidates: [String]
    var hasEndOfCandidates: Bool
    /// Every `m=` line with its identification, for an answer that mirrors the offer.
    var sections: [Section]

    struct Section: Equatable {
        var kind: String
        var `protocol`: String
        var format: String
        var mid: String?
    }

    static let protocols: Set<String> = ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"]
    private static let maximumCandidates = 64
    private static let maximumFingerprints = 16

    /// Throws `.protocolViolation` for malformed text, `.notSupported` for one without an acceptable data section.
    init(parsing description: SessionDescription) throws(TransportError) {
        let text = try SDPText(parsing: description.text)
        let sections = text.media.indices.filter {
            text.media[$0].kind == "application" && Self.protocols.contains(text.media[$0].protocol.uppercased())
        }
        guard !sections.isEmpty else {
            throw TransportError(.notSupported, "the \(description.kind) has no data channels")
        }
        // One that was refused or has ended keeps its place, with port 0 (RFC 8829 §5.2.2); RFC 9143 §6 has live ones
        // with port 0 too.
        let live = sections.first { text.media[$0].port != 0 || text.media[$0].attributes.has("bundle-only") }
        guard let index = live else {
            throw TransportError(.notSupported, "the \(description.kind) refuses data channels")
        }
        let media = text.media[index]
        mediaIndex = index
        `protocol` = try Self.token(media.protocol, "the protocol") ?? ""
        mid = try Self.token(media.attributes["mid"], "the media identification")
        self.sections = try text.media.map { media throws(TransportError) in
            Section(
                kind: try Self.token(media.kind, "the kind of a media section") ?? "",
                protocol: try Self.token(media.protocol, "the protocol of a media section") ?? "",
                format: try Self.token(media.formats.first, "the format of a media section") ?? "0",
                mid: try Self.token(media.attributes["mid"], "a media identification"))
        }
        let group = text.attributes.values("group").first { $0.hasPrefix("BUNDLE") }
        let bundle = group?.split(separator: " ").dropFirst().map { String($0) } ?? []
        isBundled = mid.map { bundle.contains($0) } ?? false

        // An attribute of the section itself, else of the section that carries the bundle's transport, else of the
        // session.
        var scopes = [media.attributes]
        if isBundled, let tag = bundle.first, let tagged = text.media.first(where: { $0.attributes["mid"] == tag }) {
            scopes.append(tagged.attributes)
        }
        scopes.append(text.attributes)
        func value(_ name: String) -> String? {
            for scope in scopes { if let value = scope[name] { return value } }
            return nil
        }

        credentials = try Self.credentials(value("ice-ufrag"), value("ice-pwd"))
        isICELite = text.attributes.has("ice-lite")
        let announced = scopes.lazy.map { $0.values("fingerprint") }.first { !$0.isEmpty } ?? []
        fingerprints = announced.prefix(Self.maximumFingerprints).compactMap { Fingerprint(parsing: $0) }
        guard !announced.isEmpty else { throw SDPText.malformed("there is no fingerprint") }
        guard !fingerprints.isEmpty else {
            throw TransportError(
                .notSupported, "no fingerprint uses an acceptable hash function (sha-256, sha-384, sha-512)")
        }
        setup = try Self.setup(value("setup"), of: description.kind)

        (sctpPort, isOldForm) = try Self.port(of: media)
        switch media.attributes["max-message-size"] {
        case nil: maximumMessageSize = Self.defaultMaximumMessageSize
        case let text?:
            // Digits only; more than an Int can hold counts as "any".
            guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) else {
                throw SDPText.malformed("max-message-size is not a number")
            }
            let size = Int(text) ?? Int.max
            maximumMessageSize = size == 0 ? Int.max : size
        }
        candidates = media.attributes.values("candidate").prefix(Self.maximumCandidates).map { "candidate:" + $0 }
        hasEndOfCandidates = media.attributes.has("end-of-candidates") || text.attributes.has("end-of-candidates")
    }

    /// Reads ICE credentials (RFC 8839 §5.4). Any visible ASCII is accepted, since not all implementations use only
    /// ice-chars.
    private static func credentials(_ fragment: String?, _ password: String?) throws(TransportError) -> ICECredentials {
        guard let fragment, let password else { throw SDPText.malformed("there are no ICE credentials") }
        guard (4...256).contains(fragment.utf8.count), (22...256).contains(password.utf8.count),
            fragment.utf8.allSatisfy({ (33...126).contains($0) }), password.utf8.allSatisfy({ (33...126).contains($0) })
        else { throw SDPText.malformed("unusable ICE credentials") }
        return ICECredentials(usernameFragment: fragment, password: password)
    }

    private static func setup(
        _ text: String?, of kind: SessionDescription.Kind
    ) throws(TransportError) -> DTLSSetup {
        // RFC 8842 §5.3: an answer decides; an offer without the attribute is taken as one that leaves the choice.
        guard let text else { return kind == .offer ? .actpass : .active }
        guard let setup = DTLSSetup(rawValue: text.lowercased()) else {
            throw SDPText.malformed("a=setup has an unknown value")
        }
        if kind == .answer, setup == .actpass { throw SDPText.malformed("an answer with a=setup:actpass") }
        return setup
    }

    /// `a=sctp-port` (RFC 8841 §5), or the older `a=sctpmap:5000 webrtc-datachannel 1024`.
    private static func port(of media: SDPText.Media) throws(TransportError) -> (UInt16, isOldForm: Bool) {
        if let text = media.attributes["sctp-port"] {
            guard let port = UInt16(text), port != 0 else { throw SDPText.malformed("unusable sctp-port") }
            return (port, false)
        }
        if let map = media.attributes["sctpmap"] {
            guard let word = map.split(separator: " ").first, let port = UInt16(word), port != 0 else {
                throw SDPText.malformed("unusable sctpmap")
            }
            return (port, true)
        }
        if let word = media.formats.first, let port = UInt16(word), port != 0 { return (port, true) }
        throw SDPText.malformed("there is no SCTP port")
    }

    /// Checks a text that will be part of an answer: it must not contain anything that ends a line or a word.
    private static func token(_ text: String?, _ name: String) throws(TransportError) -> String? {
        guard let text else { return nil }
        guard (1...256).contains(text.utf8.count), text.utf8.allSatisfy({ (33...126).contains($0) }) else {
            throw SDPText.malformed("\(name) is unusable")
        }
        return text
    }
}
