import Testing

@testable import RoomServer

/// The rules of RFC 6455 that the Autobahn test suite checks in its cases 1 to 7 and 10, on the pure parser.
@Suite("WebSocket parser")
struct WebSocketParserTests {
    /// Parses the bytes, fed in pieces of `step`.
    private func parse(
        _ bytes: [UInt8], step: Int = .max, limit: Int = 1 << 20
    ) -> (events: [WebSocketParser.Event], code: UInt16?) {
        var parser = WebSocketParser(maximumMessageSize: limit)
        var events: [WebSocketParser.Event] = []
        var index = 0
        while index < bytes.count {
            let end = step > bytes.count - index ? bytes.count : index + step
            let violation = bytes[index..<end].withUnsafeBytes { parser.consume($0, into: &events) }
            if let violation { return (events, violation.code) }
            index = end
        }
        return (events, nil)
    }

    private static func frame(_ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true, reserved: UInt8 = 0) -> [UInt8]
    {
        TestClient.frame(opcode, payload, isFinal: isFinal, reserved: reserved)
    }

    @Test(arguments: [0, 1, 124, 125, 126, 127, 128, 65_535, 65_536, 70_000], [1, 7, Int.max])
    func payloadOfEveryLengthComesWhole(_ length: Int, _ step: Int) {
        let payload = (0..<length).map { UInt8($0 % 251 & 0x7F) }
        #expect(parse(Self.frame(1, payload), step: step).events == [.text(payload)])
        #expect(parse(Self.frame(2, payload), step: step).events == [.binary(payload)])
    }

    @Test func controlFramesComeBetweenTheFragmentsOfAMessage() {
        let bytes =
            Self.frame(1, Array("one ".utf8), isFinal: false) + Self.frame(9, [1, 2])
            + Self.frame(0, Array("two ".utf8), isFinal: false) + Self.frame(10, [])
            + Self.frame(0, Array("three".utf8))
        for step in [1, 2, 3, .max] {
            #expect(
                parse(bytes, step: step).events
                    == [.fragment, .ping([1, 2]), .fragment, .pong([]), .text(Array("one two three".utf8))])
        }
    }

    @Test(arguments: 1...7 as ClosedRange<UInt8>)
    func reservedBitsAreRefused(_ bits: UInt8) { #expect(parse(Self.frame(1, [], reserved: bits)).code == 1002) }

    @Test(arguments: [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] as [UInt8])
    func reservedOpcodesAreRefused(_ opcode: UInt8) { #expect(parse(Self.frame(opcode, [])).code == 1002) }

    @Test(arguments: [
        Self.frame(0, []),
        Self.frame(1, [], isFinal: false) + Self.frame(1, []),
        Self.frame(1, [], isFinal: false) + Self.frame(2, []),
        Self.frame(1, []) + Self.frame(0, []),
        Self.frame(9, [], isFinal: false),
        Self.frame(8, [1]),
        TestClient.frame(1, [], isMasked: false),
        // Lengths in more bytes than needed, and one with its highest bit set.
        [0x81, 0xFE, 0, 125, 0, 0, 0, 0], [0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0],
        [0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ])
    func brokenRuleIsAProtocolError(_ bytes: [UInt8]) {
        #expect(parse(bytes).code == 1002)
        #expect(parse(bytes, step: 1).code == 1002)
    }

    @Test func whatCameBeforeAViolationIsDelivered() {
        let result = parse(Self.frame(1, [0x61]) + Self.frame(3, []) + Self.frame(1, [0x62]))
        #expect(result.events == [.text([0x61])] && result.code == 1002)
    }

    @Test func fewEmptyFragmentsAreTakenAndManyAreAViolation() {
        let empty = Self.frame(0, [], isFinal: false)
        let some = Self.frame(1, [], isFinal: false) + Array(repeatElement(empty, count: 7).joined())
        for step in [1, .max] {
            #expect(parse(some + Self.frame(0, [0x61]), step: step).events.last == .text([0x61]))
            // Each message has its own limit.
            #expect(parse(some + Self.frame(0, []) + some + Self.frame(0, []), step: step).code == nil)
            let many = parse(some + empty + Self.frame(0, [0x61]), step: step)
            #expect(many.code == 1008 && many.events == Array(repeatElement(.fragment, count: 8)))
        }
    }

    @Test func framesOverTheNumberAskedForAreLeft() {
        let bytes = Array(repeatElement(Self.frame(9, [1]), count: 10).joined())
        var parser = WebSocketParser(maximumMessageSize: 1000)
        var events: [WebSocketParser.Event] = []
        bytes.withUnsafeBytes { all in
            var rest = all
            #expect(parser.consume(&rest, into: &events, upTo: 3) == nil)
            #expect(events.count == 3 && rest.count == 7 * all.count / 10)
            #expect(parser.consume(&rest, into: &events, upTo: 100) == nil)
        }
        #expect(events == Array(repeatElement(.ping([1]), count: 10)))
    }

    @Test func messageOverTheLimitIsRefusedBeforeItsPayloadComes() {
        let whole = Self.frame(1, [UInt8](repeating: 0x61, count: 1001))
        #expect(parse(Array(whole.prefix(8)), limit: 1000).code == 1009)
        let part = Self.frame(1, [UInt8](repeating: 0x61, count: 600), isFinal: false)
        let rest = Self.frame(0, [UInt8](repeating: 0x61, count: 401))
        #expect(parse(part + rest.prefix(8), limit: 1000).code == 1009)
        #expect(parse(Self.frame(1, [UInt8](repeating: 0x61, count: 1000)), limit: 1000).events.count == 1)
    }

    @Test(
        arguments: [
            [0xC0, 0x80], [0xC1, 0xBF], [0x80], [0xBF], [0xFE], [0xFF], [0xE0, 0x80, 0xAF], [0xED, 0xA0, 0x80],
            [0xF0, 0x80, 0x80, 0xAF], [0xF4, 0x90, 0x80, 0x80], [0xF5], [0xF8, 0x88], [0xE2, 0x28], [0x61, 0xCE],
        ] as [[UInt8]])
    func textThatIsNotUTF8IsRefused(_ bytes: [UInt8]) {
        for step in [1, .max] { #expect(parse(Self.frame(1, bytes), step: step).code == 1007) }
        // Not in binary messages.
        #expect(parse(Self.frame(2, bytes)).events == [.binary(bytes)])
    }

    @Test func wrongByteIsNoticedBeforeTheMessageEnds() {
        // Autobahn 6.4.2
        let bytes = Self.frame(1, [0xCE, 0xBA, 0xF4, 0x90], isFinal: false)
        #expect(parse(bytes).code == 1007)
    }

    @Test func everyScalarIsAcceptedByteByByte() {
        for scalar: Unicode.Scalar in [
            "\0", "\u{7F}", "\u{80}", "\u{7FF}", "\u{800}", "\u{D7FF}", "\u{E000}", "\u{FFFD}",
            "\u{FFFF}", "\u{10000}", "\u{10FFFF}",
        ] {
            let bytes = Array(String(scalar).utf8)
            #expect(parse(Self.frame(1, bytes), step: 1).events == [.text(bytes)])
        }
    }

    @Test(
        arguments: [
            (1000, true), (1001, true), (1002, true), (1003, true), (1007, true), (1011, true), (1014, true),
            (3000, true),
            (3999, true), (4000, true), (4999, true), (0, false), (999, false), (1004, false), (1005, false),
            (1006, false),
            (1015, false), (1016, false), (1100, false), (2000, false), (2999, false), (5000, false), (65_535, false),
        ] as [(UInt16, Bool)])
    func closeCodesAreChecked(_ code: UInt16, _ isAllowed: Bool) {
        let result = parse(Self.frame(8, [UInt8(code >> 8), UInt8(code & 0xFF)]))
        if isAllowed { #expect(result.events == [.close(code: code)]) } else { #expect(result.code == 1002) }
    }

    @Test func closeEndsTheStream() {
        let result = parse(Self.frame(8, []) + Self.frame(1, [0x61]) + [0xFF, 0xFF])
        #expect(result.events == [.close(code: nil)] && result.code == nil)
        #expect(parse(Self.frame(8, [3, 0xE8, 0xFF])).code == 1007)
    }

    /// Random input: no trap, and the same outcome however it is split.
    @Test(arguments: 0..<50 as Range<UInt64>)
    func randomBytesNeverTrapAndCutsDoNotMatter(_ seed: UInt64) {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        func random() -> UInt8 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return UInt8(truncatingIfNeeded: state >> 24)
        }
        var bytes: [UInt8] = []
        for _ in 0..<20 {
            let payload = (0..<Int(random() & 0x3F)).map { _ in random() & 0x7F }
            bytes += Self.frame([0, 1, 2, 8, 9, 10][Int(random()) % 6], payload, isFinal: random() & 3 > 0)
        }
        for _ in 0..<Int(random() % 4) { bytes[Int(random()) % bytes.count] = random() }
        let whole = parse(bytes)
        for step in [1, 3, 17] {
            let cut = parse(bytes, step: step)
            #expect(cut.events == whole.events && cut.code == whole.code)
        }
    }
}
