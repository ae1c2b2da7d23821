internal import Testing
internal import TransportPluginAPI

@testable internal import PeerWebRTC

/// Session descriptions as others write them, and as we do.
struct DescriptionTests {
    static let fingerprint =
        "4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF"

    static let chromium = """
        v=0
        o=- 4611731400430051336 2 IN IP4 127.0.0.1
        s=-
        t=0 0
        a=group:BUNDLE 0
        a=extmap-allow-mixed
        a=msid-semantic: WMS
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel
        c=IN IP4 0.0.0.0
        a=ice-ufrag:U+xK
        a=ice-pwd:mLq8Xxy7yKqjzIyFQzVVu/3v
        a=ice-options:trickle
        a=fingerprint:sha-256 \(fingerprint)
        a=setup:actpass
        a=mid:0
        a=sctp-port:5000
        a=max-message-size:262144
        """

    static let firefox = """
        v=0
        o=mozilla...THIS_IS_SDPARTA-99.0 6842116521344533322 0 IN IP4 0.0.0.0
        s=-
        t=0 0
        a=sendrecv
        a=fingerprint:sha-256 \(fingerprint)
        a=group:BUNDLE 0
        a=ice-options:trickle
        a=msid-semantic:WMS *
        m=application 49203 UDP/DTLS/SCTP webrtc-datachannel
        c=IN IP4 192.0.2.7
        a=candidate:0 1 UDP 2122252543 192.0.2.7 49203 typ host
        a=candidate:2 1 TCP 2105524479 192.0.2.7 9 typ host tcptype active
        a=sendrecv
        a=end-of-candidates
        a=ice-pwd:3a1b2c3d4e5f60718293a4b5c6d7e8f9
        a=ice-ufrag:8ab1c2d3
        a=mid:0
        a=setup:actpass
        a=sctp-port:5000
        a=max-message-size:1073741823
        """

    static let libdatachannel = """
        v=0
        o=rtc 2890844526 0 IN IP4 127.0.0.1
        s=-
        t=0 0
        a=group:BUNDLE 0
        a=group:LS 0
        a=msid-semantic:WMS *
        a=ice-options:ice2,trickle
        a=fingerprint:sha-256 \(fingerprint)
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel
        c=IN IP4 0.0.0.0
        a=mid:0
        a=sendrecv
        a=sctp-port:5000
        a=max-message-size:262144
        a=setup:active
        a=ice-ufrag:AbCd
        a=ice-pwd:0123456789abcdefghijkl
        """

    static let aiortc = """
        v=0
        o=- 3875000000 3875000000 IN IP4 0.0.0.0
        s=-
        t=0 0
        a=group:BUNDLE 0
        a=msid-semantic:WMS *
        m=application 42183 DTLS/SCTP 5000
        c=IN IP4 192.0.2.9
        a=mid:0
        a=sctpmap:5000 webrtc-datachannel 65535
        a=max-message-size:65536
        a=candidate:9c1f8b 1 udp 2130706431 192.0.2.9 42183 typ host
        a=end-of-candidates
        a=ice-ufrag:qWer
        a=ice-pwd:AbCdEfGhIjKlMnOpQrStUv
        a=fingerprint:sha-256 \(fingerprint)
        a=fingerprint:sha-384 \(fingerprint):00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F
        a=fingerprint:sha-512 \(fingerprint):\(fingerprint)
        a=setup:actpass
        """

    static let withMedia = """
        v=0
        o=- 1 2 IN IP4 127.0.0.1
        s=-
        t=0 0
        a=group:BUNDLE audio data
        m=audio 9 UDP/TLS/RTP/SAVPF 111 63
        c=IN IP4 0.0.0.0
        a=ice-ufrag:shar
        a=ice-pwd:sharedsharedsharedshared
        a=fingerprint:sha-256 \(fingerprint)
        a=setup:actpass
        a=mid:audio
        m=application 0 UDP/DTLS/SCTP webrtc-datachannel
        a=bundle-only
        a=mid:data
        a=sctp-port:5001
        """

    private func parse(_ text: String, _ kind: SessionDescription.Kind = .offer) throws -> DataDescription {
        try DataDescription(parsing: SessionDescription(kind: kind, text: text))
    }

    @Test func chromiumsOfferIsUnderstood() throws {
        let offer = try parse(Self.chromium)
        #expect(offer.credentials.usernameFragment == "U+xK")
        #expect(offer.credentials.password == "mLq8Xxy7yKqjzIyFQzVVu/3v")
        #expect(offer.fingerprints.map(\.text) == ["sha-256 " + Self.fingerprint])
        #expect(offer.setup == .actpass && offer.mid == "0" && offer.isBundled && !offer.isOldForm && !offer.isICELite)
        #expect(offer.sctpPort == 5000 && offer.maximumMessageSize == 262_144)
        #expect(offer.candidates.isEmpty && !offer.hasEndOfCandidates)
    }

    @Test func lineEndsMayBeEither() throws {
        let windows = Self.chromium.split(separator: "\n").joined(separator: "\r\n") + "\r\n"
        #expect(try parse(windows) == parse(Self.chromium))
    }

    @Test func firefoxsOfferWithSessionAttributesAndCandidatesIsUnderstood() throws {
        let offer = try parse(Self.firefox)
        #expect(offer.fingerprints.count == 1 && offer.candidates.count == 2 && offer.hasEndOfCandidates)
        #expect(offer.candidates[0] == "candidate:0 1 UDP 2122252543 192.0.2.7 49203 typ host")
        #expect(offer.maximumMessageSize == 1_073_741_823)
    }

    @Test func libdatachannelsAnswerIsUnderstood() throws {
        let answer = try parse(Self.libdatachannel, .answer)
        #expect(answer.setup == .active && answer.credentials.usernameFragment == "AbCd")
    }

    @Test func olderFormIsUnderstoodAndAnsweredInKind() throws {
        let offer = try parse(Self.aiortc)
        #expect(offer.isOldForm && offer.sctpPort == 5000 && offer.maximumMessageSize == 65_536)
        #expect(offer.fingerprints.map(\.algorithm) == [.sha256, .sha384, .sha512])
        let answer = writer().answer(to: offer, ours, setup: .active)
        #expect(answer.text.contains("m=application 9 DTLS/SCTP 5000\r\n"))
        #expect(answer.text.contains("a=sctpmap:5000 webrtc-datachannel"))
        #expect(!answer.text.contains("sctp-port"))
    }

    @Test func otherMediaIsRefusedPolitely() throws {
        let offer = try parse(Self.withMedia)
        #expect(offer.mediaIndex == 1 && offer.mid == "data" && offer.sctpPort == 5001)
        #expect(offer.credentials.usernameFragment == "shar")
        #expect(offer.maximumMessageSize == 65_536)
        let text = writer().answer(to: offer, ours, setup: .active).text
        let sections = text.split(separator: "m=")
        #expect(text.contains("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n"))
        #expect(text.contains("a=group:BUNDLE data\r\n"))
        #expect(sections.count == 3 && sections[2].contains("a=mid:data"))
    }

    @Test func whatIsWrittenIsWhatIsRead() throws {
        let offer = writer().offer(ours, setup: .actpass)
        let parsed = try parse(offer.text)
        #expect(parsed.credentials == ours && parsed.mid == "0" && parsed.maximumMessageSize == 1234)
        #expect(parsed.fingerprints == [writer().fingerprint])
        let answer = try parse(writer().answer(to: parsed, ours, setup: .active).text, .answer)
        #expect(answer.setup == .active && answer.isBundled)
        for line in offer.text.split(separator: "\r\n") { #expect(!line.contains("\n")) }
    }

    @Test(arguments: [
        ("a=max-message-size:262144", "a=max-message-size:0", Int.max),
        ("a=max-message-size:262144", "a=x", 65_536),
        ("a=max-message-size:262144", "a=max-message-size:99999999999999999999999", Int.max),
    ])
    func maximumMessageSizeIsReadAsTheRFCSays(old: String, new: String, size: Int) throws {
        #expect(try parse(Self.chromium.replacingOccurrence(of: old, with: new)).maximumMessageSize == size)
    }

    @Test(arguments: [
        ("v=0", "v=1"), ("v=0\n", ""), ("a=ice-ufrag:U+xK", "a=x"), ("a=ice-ufrag:U+xK", "a=ice-ufrag:U"),
        ("a=ice-pwd:mLq8Xxy7yKqjzIyFQzVVu/3v", "a=ice-pwd:short"), ("a=ice-ufrag:U+xK", "a=ice-ufrag:U xK"),
        ("a=fingerprint:", "a=x:"), ("a=setup:actpass", "a=setup:hold"), ("a=sctp-port:5000", "a=sctp-port:0"),
        ("a=sctp-port:5000", "a=sctp-port:65536"), ("a=max-message-size:262144", "a=max-message-size:-1"),
        ("m=application 9", "m=application nine"), ("m=application 9", "m=application 65536"), ("t=0 0", "broken"),
        ("a=mid:0", "a=mid:"), ("webrtc-datachannel", ""),
    ])
    func malformedDescriptionsAreRefused(old: String, new: String) {
        expect(.protocolViolation) { _ = try parse(Self.chromium.replacingOccurrence(of: old, with: new)) }
    }

    /// Harmless descriptions of other implementations.
    @Test(arguments: [
        ("a=ice-pwd:mLq8Xxy7yKqjzIyFQzVVu/3v", "a=ice-pwd:mLq8Xxy7yKqjzIyFQzVVug=="),
        ("a=ice-ufrag:U+xK", "a=ice-ufrag:U-_K"), ("a=mid:0", "a=mid:0 "), ("a=sctp-port:5000", "a=sctp-port: 5000"),
        ("a=setup:actpass", "a=setup:ACTPASS"), ("a=max-message-size:262144", "a=max-message-size: 262144"),
        (
            "m=application 9 UDP",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP4 0.0.0.0\na=mid:old\nm=application 9 UDP"
        ),
    ])
    func descriptionsOfOtherImplementationsAreParsed(old: String, new: String) throws {
        let offer = try parse(Self.chromium.replacingOccurrence(of: old, with: new))
        #expect(offer.mid == "0" && offer.sctpPort == 5000 && offer.setup == .actpass)
        #expect(offer.maximumMessageSize == 262_144)
    }

    @Test(arguments: [
        ("m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "m=audio 9 UDP/TLS/RTP/SAVPF 111"),
        ("m=application 9", "m=application 0"), ("a=fingerprint:sha-256", "a=fingerprint:sha-1"),
    ])
    func descriptionsWithoutUsableDataChannelsAreNotSupported(old: String, new: String) {
        expect(.notSupported) { _ = try parse(Self.chromium.replacingOccurrence(of: old, with: new)) }
    }

    @Test func anAnswerMustDecideTheDTLSRole() {
        expect(.protocolViolation) { _ = try parse(Self.chromium, .answer) }
    }

    @Test func hugeDescriptionsAreRefused() {
        let long = Self.chromium + "\na=x:" + String(repeating: "y", count: 5000)
        let many = Self.chromium + String(repeating: "\na=x", count: 3000)
        let huge = Self.chromium + String(repeating: "\nb=x", count: 30_000)
        let media = Self.chromium + String(repeating: "\nm=audio 9 X 1", count: 100)
        for text in [long, many, huge, media] { expect(.protocolViolation) { _ = try parse(text) } }
    }

    @Test func truncatedAndMutatedDescriptionsNeverTrap() {
        var generator = SystemRandomNumberGenerator()
        for text in [Self.chromium, Self.firefox, Self.aiortc, Self.withMedia] {
            let bytes = Array(text.utf8)
            for length in stride(from: 0, to: bytes.count, by: 7) {
                _ = try? parse(String(decoding: bytes.prefix(length), as: UTF8.self))
            }
            for _ in 0..<300 {
                var mutated = bytes
                for _ in 0..<Int.random(in: 1...8) {
                    let index = Int.random(in: 0..<mutated.count, using: &generator)
                    mutated[index] = UInt8.random(in: 0...255, using: &generator)
                }
                guard let offer = try? parse(String(decoding: mutated, as: UTF8.self)) else { continue }
                // What is accepted can be answered, and the answer is well-formed.
                let answer = writer().answer(to: offer, ours, setup: .active)
                #expect((try? SDPText(parsing: answer.text))?.media.count == offer.sections.count)
            }
        }
    }

    @Test func candidateLinesAreChecked() throws {
        let line =
            "candidate:842163049 1 udp 1677729535 198.51.100.1 46154 typ srflx raddr 10.0.0.5 rport 46154 "
            + "generation 0 ufrag EEtu network-id 3"
        let candidate = try CandidateText(parsing: "a=" + line)
        #expect(candidate.line == line && candidate.component == 1 && candidate.usernameFragment == "EEtu")
        #expect(try CandidateText(parsing: "candidate:1 2 tcp 5 a1b2.local 9 typ host").usernameFragment == nil)
        for text in [
            "", "candidate:", "candidate:1 1 udp 1 1.2.3.4 99999999 typ host",
            "candidate:1 1 udp 99999999999999 1.2.3.4 9 typ host",
            "candidate:1 0 udp 1 1.2.3.4 9 typ host", "candidate:1 1 udp 1 1.2.3.4 9 host",
            "candidate:1 1 udp 1 1.2.3.4 9 typ\r\na=x",
            "candidate:1 1 udp 1 1.2.3.4 9", String(repeating: "candidate:1 ", count: 200),
        ] {
            expect(.protocolViolation) { _ = try CandidateText(parsing: text) }
        }
    }

    @Test func fingerprintsOfOtherFormsAreIgnored() {
        #expect(Fingerprint(parsing: "SHA-256 " + Self.fingerprint.lowercased())?.text == "sha-256 " + Self.fingerprint)
        for text in [
            "", "sha-256", "sha-256 AA", "sha-1 AA:BB", "sha-256 +1" + Self.fingerprint.dropFirst(2), "md5 00",
        ] {
            #expect(Fingerprint(parsing: text) == nil)
        }
    }

    private let ours = ICECredentials(usernameFragment: "ours", password: "oursoursoursoursoursours")

    private func writer() -> DescriptionWriter {
        DescriptionWriter(
            sessionID: 7, version: 2,
            fingerprint: Fingerprint(algorithm: .sha256, bytes: [UInt8](repeating: 0xAB, count: 32)),
            sctpPort: 5000, maximumMessageSize: 1234)
    }

    /// WireProtocol.md describes the code; computed there, by hand, of two fingerprints.
    @Test func theVerificationCodeIsMadeAsDocumented() throws {
        let one = try #require(
            Fingerprint(parsing: "sha-256 " + Array(repeating: "0A", count: 32).joined(separator: ":")))
        let other = try #require(
            Fingerprint(parsing: "sha-256 " + Array(repeating: "F0", count: 32).joined(separator: ":")))
        #expect(VerificationCode.text(one, other) == "55202 28504 29632 53695 43336 95221")
        #expect(VerificationCode.text(other, one) == VerificationCode.text(one, other))
    }
}
