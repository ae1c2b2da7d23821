internal import Foundation
internal import ICELibnice
internal import Testing
internal import TransportPluginAPI

@testable internal import PeerWebRTC

/// Descriptions and candidates that browsers and other stacks send: recorded by `Tests/Interop/record_corpus.py`, those
/// of former years written by hand.
struct CorpusTests {
    struct Entry: Decodable, Sendable, CustomTestStringConvertible {
        struct Candidate: Decodable, Sendable {
            var candidate: String
            var usernameFragment: String?
        }

        var stack, from, what, kind, sdp: String
        var candidates: [Candidate]?

        var testDescription: String { "\(from): \(what), \(kind)" }
        var description: SessionDescription { SessionDescription(kind: kind == "offer" ? .offer : .answer, text: sdp) }
        var lines: [Substring] { sdp.split(whereSeparator: \.isNewline) }
        var hasData: Bool { lines.contains { $0.hasPrefix("m=application") } }

        /// The values of an attribute, in the whole text.
        func values(_ name: String) -> [Substring] {
            lines.filter { $0.hasPrefix("a=\(name):") }.map { $0.dropFirst(name.utf8.count + 3) }
        }
    }

    static let entries: [Entry] = {
        let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        guard let data = try? Data(contentsOf: tests.appending(path: "Interop/corpus.json")),
            let entries = try? JSONDecoder().decode([Entry].self, from: data)
        else { return [] }
        return entries
    }()
    static let withData = entries.filter(\.hasData)
    /// One offer of each source, for variants.
    static let offers = withData.filter { $0.kind == "offer" && ($0.what == "data" || $0.stack == "by hand") }

    @Test func everyStackIsInTheCorpus() {
        let stacks = ["chromium", "firefox", "aiortc", "libdatachannel", "libwebrtc", "pion", "by hand"]
        #expect(Set(Self.entries.map(\.stack)).isSuperset(of: stacks))
        #expect(Self.withData.count >= 60 && Self.offers.count >= 10)
    }

    @Test(arguments: withData) func recordedDescriptionsAreUnderstood(entry: Entry) throws {
        let parsed = try DataDescription(parsing: entry.description)
        #expect(entry.values("ice-ufrag").contains { $0 == parsed.credentials.usernameFragment })
        #expect(entry.values("ice-pwd").contains { $0 == parsed.credentials.password })
        #expect(!parsed.fingerprints.isEmpty)
        for fingerprint in parsed.fingerprints {
            #expect(entry.values("fingerprint").contains { $0.lowercased() == fingerprint.text.lowercased() })
        }
        #expect(parsed.sctpPort == 5000)
        let sizes = entry.values("max-message-size").compactMap { Int($0) }
        let size = sizes.last ?? DataDescription.defaultMaximumMessageSize
        #expect(parsed.maximumMessageSize == (size == 0 ? Int.max : size))
        #expect(parsed.sections.count == entry.lines.count { $0.hasPrefix("m=") })
        #expect(parsed.mid.map { mid in entry.values("mid").contains { $0 == mid } } ?? entry.values("mid").isEmpty)
        #expect(parsed.isICELite == entry.lines.contains("a=ice-lite"))
        for candidate in parsed.candidates { try checkCandidate(candidate, nil) }
        try checkAnswer(to: parsed)
    }

    @Test(arguments: entries.filter { !$0.hasData }) func descriptionsWithoutDataChannelsAreNotSupported(entry: Entry) {
        expect(.notSupported) { _ = try DataDescription(parsing: entry.description) }
    }

    @Test(arguments: withData.filter { $0.candidates != nil }) func recordedCandidatesAreUnderstood(entry: Entry) throws
    {
        for candidate in entry.candidates ?? [] where !candidate.candidate.isEmpty {
            try checkCandidate(candidate.candidate, candidate.usernameFragment)
        }
    }

    private func checkCandidate(_ text: String, _ usernameFragment: String?) throws {
        let parsed = try CandidateText(parsing: text)
        if let usernameFragment, let named = parsed.usernameFragment { #expect(named == usernameFragment) }
        let line = try CandidateLine(parsed.line)
        #expect(line.component == parsed.component)
        // Names of mDNS are resolved elsewhere or not at all; the agent gets no name.
        #expect(line.isUsable == (line.component == 1 && !line.address.hasSuffix(".local")), "\(text)")
    }

    // MARK: Dangerous variants

    typealias Variant = (name: String, change: @Sendable (Entry) -> String)

    /// Each must be refused, in whatever text of the corpus.
    static let refused: [Variant] = [
        ("no fingerprint", { $0.without("a=fingerprint:") }),
        ("only a weak fingerprint", { $0.replacing("a=fingerprint:", with: "a=fingerprint:sha-1 \(hex(20))") }),
        (
            "a fingerprint that is too short",
            { $0.replacing("a=fingerprint:", with: "a=fingerprint:sha-256 \(hex(31))") }
        ),
        (
            "a fingerprint that is too long",
            { $0.replacing("a=fingerprint:", with: "a=fingerprint:sha-256 \(hex(33))") }
        ),
        ("no user name fragment", { $0.without("a=ice-ufrag:") }),
        ("no password", { $0.without("a=ice-pwd:") }),
        ("a short user name fragment", { $0.replacing("a=ice-ufrag:", with: "a=ice-ufrag:abc") }),
        ("a short password", { $0.replacing("a=ice-pwd:", with: "a=ice-pwd:\(String(repeating: "p", count: 21))") }),
        ("a long password", { $0.replacing("a=ice-pwd:", with: "a=ice-pwd:\(String(repeating: "p", count: 257))") }),
        ("a blank in the password", { $0.replacing("a=ice-pwd:", with: "a=ice-pwd:0123456789 abcdefghijkl") }),
        (
            "a control character in the password",
            { $0.replacing("a=ice-pwd:", with: "a=ice-pwd:0123456789\u{1B}bcdefghijkl") }
        ),
        ("NUL in the user name fragment", { $0.replacing("a=ice-ufrag:", with: "a=ice-ufrag:ab\0cd") }),
        ("an unknown role", { $0.replacing("a=setup:", with: "a=setup:holdconn") }),
        ("NUL in the identification", { $0.replacing("a=mid:", with: "a=mid:0\0") }),
        ("a tab in the identification", { $0.replacing("a=mid:", with: "a=mid:0\t1") }),
        ("a long identification", { $0.replacing("a=mid:", with: "a=mid:\(String(repeating: "m", count: 257))") }),
        ("a negative size", { $0.replacing("a=max-message-size:", with: "a=max-message-size:-1") }),
        ("a size that is no number", { $0.replacing("a=max-message-size:", with: "a=max-message-size:1e9") }),
        ("SCTP port 0", { $0.replacing("a=sctp-port:", with: "a=sctp-port:0") }),
        ("SCTP port 65536", { $0.replacing("a=sctp-port:", with: "a=sctp-port:65536") }),
        (
            "media port 65536",
            { $0.replacing("m=application", with: "m=application 65536 UDP/DTLS/SCTP webrtc-datachannel") }
        ),
        (
            "a negative media port",
            { $0.replacing("m=application", with: "m=application -9 UDP/DTLS/SCTP webrtc-datachannel") }
        ),
        ("a media line that ends early", { $0.replacing("m=application", with: "m=application 9 UDP/DTLS/SCTP") }),
        ("another version", { $0.replacing("v=0", with: "v=1") }),
        ("no version", { $0.without("v=0") }),
        ("a line without an equals sign", { $0.sdp + "x\r\n" }),
        ("a line that is too long", { $0.sdp + "a=x:" + String(repeating: "y", count: 5000) + "\r\n" }),
        ("too many attributes", { $0.sdp + String(repeating: "a=x\r\n", count: 3000) }),
        ("too many media sections", { $0.sdp + String(repeating: "m=audio 9 X 1\r\n", count: 100) }),
        ("too long in all", { $0.sdp + String(repeating: "b=x\r\n", count: 20_000) }),
    ]

    @Test(arguments: refused.indices) func dangerousVariantsAreRefused(index: Int) {
        let (name, change) = Self.refused[index]
        var count = 0
        for entry in Self.offers {
            let text = change(entry)
            guard text != entry.sdp else { continue }
            count += 1
            #expect(throws: TransportError.self, "\(name): \(entry.testDescription)") {
                _ = try DataDescription(parsing: SessionDescription(kind: .offer, text: text))
            }
        }
        #expect(count >= 5, "\(name) changes too few texts of the corpus")
    }

    /// An answer repeats some words of the offer. None of them may bring a line, or a character that the room server
    /// refuses.
    @Test func answersRepeatNothingDangerous() throws {
        for line in [
            "m=audio\u{7F} 9 UDP/TLS/RTP/SAVPF 111",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111\ra=candidate:1 1 udp 1 192.0.2.66 9 typ host",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:x\u{85}y", "m=audio 9 UDP/TLS/RTP/SAVPF\u{1B}[2J 111",
            "m=audio 9 UDP/TLS\0/RTP 111", "m=audio 9 UDP/TLS/RTP/SAVPF 11\u{B}1",
        ] {
            try checkAnswer(toOffersWith: line)
        }
    }

    private func checkAnswer(toOffersWith line: String) throws {
        for entry in Self.offers {
            let text = entry.sdp + line + "\r\n"
            let description = SessionDescription(kind: .offer, text: text)
            guard let offer = try? DataDescription(parsing: description) else { continue }
            try checkAnswer(to: offer)
        }
    }

    private static let dangerousCandidates = [
        "candidate:1 0 UDP 1 192.0.2.1 5000 typ host", "candidate:1 257 UDP 1 192.0.2.1 5000 typ host",
        "candidate:1 1 UDP 4294967296 192.0.2.1 5000 typ host", "candidate:1 1 UDP -1 192.0.2.1 5000 typ host",
        "candidate:1 1 UDP 1 192.0.2.1 65536 typ host", "candidate:1 1 UDP 1 192.0.2.1 5000",
        "candidate:1 1 UDP 1 192.0.2.1 5000 typ host\r\na=ice-lite", "candidate:1 1 UDP 1 192.0.2.1\0 5000 typ host",
        "candidate:1 1 UDP 1 192.0.2.1 0 typ host", "candidate:1 1 UDP 1 0.0.0.0 5000 typ host",
        "candidate:1 1 UDP 1 255.255.255.255 5000 typ host", "candidate:1 1 UDP 1 224.0.0.251 5353 typ host",
        "candidate:1 1 UDP 1 ff02::fb 5353 typ host", "candidate:1 1 UDP 1 :: 5000 typ host",
        "candidate:1 1 UDP 1 example.org 5000 typ host", "candidate:1 1 UDP 1 192.0.2 5000 typ host",
        "candidate:1 1 UDP 1 0xC0000201 5000 typ host", "candidate:1 1 UDP 1 192.0.2.1 5000 typ unknown",
        "candidate:1 1 SCTP 1 192.0.2.1 5000 typ host", "candidate:1 1 UDP 1 \u{661}92.0.2.1 5000 typ host",
        "candidate:\(String(repeating: "1", count: 33)) 1 UDP 1 192.0.2.1 5000 typ host",
        "candidate:1 1 UDP 1 192.0.2.1 5000 typ host \(String(repeating: "x", count: 1024)) 1", "end-of-candidates", "",
    ]

    @Test func dangerousCandidatesAreNeverChecked() {
        for text in Self.dangerousCandidates {
            guard let parsed = try? CandidateText(parsing: text), let line = try? CandidateLine(parsed.line) else {
                continue
            }
            #expect(!line.isUsable, "\(text)")
        }
    }

    private func checkAnswer(to offer: DataDescription) throws {
        let writer = DescriptionWriter(
            sessionID: 7, version: 2,
            fingerprint: Fingerprint(algorithm: .sha256, bytes: [UInt8](repeating: 0xAB, count: 32)), sctpPort: 5000,
            maximumMessageSize: 262_144)
        let ours = ICECredentials(usernameFragment: "ours", password: "oursoursoursoursoursours")
        let text = writer.answer(to: offer, ours, setup: .active).text
        let isPlain = text.utf8.allSatisfy { (32...126).contains($0) || $0 == 13 || $0 == 10 }
        #expect(isPlain)
        let answer = try DataDescription(parsing: SessionDescription(kind: .answer, text: text))
        #expect(answer.credentials == ours && answer.candidates.isEmpty && answer.mid == offer.mid)
        #expect(answer.sections.map(\.kind) == offer.sections.map(\.kind))
    }

    private static func hex(_ count: Int) -> String { Array(repeating: "AB", count: count).joined(separator: ":") }
}

extension CorpusTests.Entry {
    /// The text without the lines that begin like this.
    fileprivate func without(_ prefix: String) -> String {
        lines.filter { !$0.hasPrefix(prefix) }.joined(separator: "\r\n") + "\r\n"
    }

    /// The text with another line in place of those that begin like this.
    fileprivate func replacing(_ prefix: String, with line: String) -> String {
        lines.map { $0.hasPrefix(prefix) ? line[...] : $0 }.joined(separator: "\r\n") + "\r\n"
    }
}
