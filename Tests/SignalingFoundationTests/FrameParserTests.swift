import Testing
import TransportPluginAPI

@testable import SignalingFoundation

/// The rules of RFC 6455 for what a server sends, on the pure parser.
@Suite struct FrameParserTests {
    /// What comes of the bytes, fed in pieces of `step`.
    private func parse(
        _ bytes: [UInt8], step: Int = .max, limit: Int = 1 << 20
    ) -> (events: [FrameParser.Event], violation: FrameViolation?) {
        var parser = FrameParser(maximumMessageSize: limit)
        var events: [FrameParser.Event] = []
        var index = 0
        while index < bytes.count {
            let end = step > bytes.count - index ? bytes.count : index + step
            let violation = bytes[index..<end].withUnsafeBytes { piece -> FrameViolation? in
                var input = piece
                do throws(FrameViolation) {
                    while !input.isEmpty { if let event = try parser.next(&input) { events.append(event) } }
                    return nil
                } catch { return error }
            }
            if let violation { return (events, violation) }
            index = end
        }
        return (events, nil)
    }

    private static func frame(
        _ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true, reserved: UInt8 = 0
    ) -> [UInt8] {
        var bytes = [(isFinal ? 0x80 : 0) | reserved << 4 | opcode]
        switch payload.count {
        case ..<126: bytes.append(UInt8(payload.count))
        case ...0xFFFF: bytes += [126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        default:
            bytes.append(127)
            for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(payload.count >> shift & 0xFF)) }
        }
        return bytes + payload
    }

    private func text(_ bytes: [UInt8]) -> FrameParser.Event { .message(.text(Payload(bytes))) }
    private func text(_ text: String) -> FrameParser.Event { .message(.text(Payload(text))) }

    @Test(arguments: [0, 1, 7, 8, 9, 124, 125, 126, 127, 128, 65_535, 65_536, 70_000], [1, 7, Int.max])
    func payloadOfEveryLengthComesWhole(_ length: Int, _ step: Int) {
        let payload = (0..<length).map { UInt8($0 % 251 & 0x7F) }
        #expect(parse(Self.frame(1, payload), step: step).events == [text(payload)])
        #expect(parse(Self.frame(2, payload), step: step).events == [.message(.binary(Payload(payload)))])
    }

    @Test func controlFramesComeBetweenTheFragmentsOfAMessage() {
        let bytes =
            Self.frame(1, Array("one ".utf8), isFinal: false) + Self.frame(9, [1, 2])
            + Self.frame(0, Array("two ".utf8), isFinal: false) + Self.frame(10, []) + Self.frame(0, [], isFinal: false)
            + Self.frame(0, Array("three".utf8)) + Self.frame(2, [7]) + Self.frame(9, [])
        for step in [1, 2, 3, .max] {
            #expect(
                parse(bytes, step: step).events == [
                    .ping(Payload([1, 2])), .pong, text("one two three"), .message(.binary(Payload([7]))),
                    .ping(Payload([])),
                ])
        }
    }

    @Test(arguments: 1...7 as ClosedRange<UInt8>)
    func reservedBitsAreRefused(_ bits: UInt8) {
        #expect(parse(Self.frame(1, [], reserved: bits)).violation == .reservedBit)
        // As soon as the first byte is there.
        #expect(parse([0x80 | bits << 4 | 1]).violation == .reservedBit)
    }

    @Test(arguments: [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] as [UInt8])
    func reservedOpcodesAreRefused(_ opcode: UInt8) {
        #expect(parse(Self.frame(opcode, [])).violation == .reservedOpcode)
    }

    private static let broken: [([UInt8], FrameViolation)] = [
        (frame(0, []), .unexpectedContinuation),
        (frame(1, []) + frame(0, []), .unexpectedContinuation),
        (frame(1, [], isFinal: false) + frame(1, []), .unfinishedMessage),
        (frame(1, [], isFinal: false) + frame(2, []), .unfinishedMessage),
        (frame(9, [], isFinal: false), .fragmentedControlFrame),
        (frame(8, [], isFinal: false), .fragmentedControlFrame),
        (frame(10, [UInt8](repeating: 0, count: 126)), .longControlFrame),
        (frame(8, [1]), .truncatedCloseCode),
        (frame(8, [3, 0xE8, 0xFF]), .invalidCloseReason),
        ([0x81, 0x80, 1, 2, 3, 4], .maskedFrame),
        ([0x81, 126, 0, 125, 0, 0, 0, 0, 0, 0, 0, 0], .overlongLength),
        ([0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0], .overlongLength),
        ([0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0], .lengthOverflow),
        ([0x82, 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0], .messageTooLarge(maximum: 1 << 20)),
    ]

    @Test(arguments: broken)
    func aBrokenRuleIsNamed(_ bytes: [UInt8], _ violation: FrameViolation) {
        for step in [1, 3, .max] { #expect(parse(bytes, step: step).violation == violation) }
        let code: UInt16 =
            switch violation {
            case .messageTooLarge: 1009
            case .invalidCloseReason: 1007
            default: 1002
            }
        #expect(violation.closeCode == code)
        #expect(!violation.description.isEmpty)
    }

    @Test func whatCameBeforeAViolationIsDelivered() {
        let result = parse(Self.frame(1, [0x61]) + Self.frame(3, []) + Self.frame(1, [0x62]))
        #expect(result.events == [text([0x61])] && result.violation == .reservedOpcode)
    }

    @Test func nothingIsTakenAfterAViolation() {
        var parser = FrameParser(maximumMessageSize: 100)
        (Self.frame(3, []) + Self.frame(1, [0x61])).withUnsafeBytes { bytes in
            var input = bytes
            #expect(throws: FrameViolation.reservedOpcode) { _ = try parser.next(&input) }
            #expect((try? parser.next(&input)) == .some(nil))
            #expect(input.isEmpty)
        }
    }

    @Test func aMessageOverTheLimitIsRefusedBeforeItsPayloadComes() {
        let whole = Self.frame(1, [UInt8](repeating: 0x61, count: 1001))
        #expect(parse(Array(whole.prefix(4)), limit: 1000).violation == .messageTooLarge(maximum: 1000))
        let part = Self.frame(1, [UInt8](repeating: 0x61, count: 600), isFinal: false)
        let rest = Self.frame(0, [UInt8](repeating: 0x61, count: 401))
        #expect(parse(part + rest.prefix(4), limit: 1000).violation == .messageTooLarge(maximum: 1000))
        #expect(parse(Self.frame(1, [UInt8](repeating: 0x61, count: 1000)), limit: 1000).events.count == 1)
        // Control frames are not part of the message.
        let ping = Self.frame(9, [UInt8](repeating: 0, count: 125))
        #expect(parse(part + ping + Self.frame(0, [UInt8](repeating: 0x61, count: 400)), limit: 1000).events.count == 2)
    }

    @Test(
        arguments: [
            [0xC0, 0x80], [0xC1, 0xBF], [0x80], [0xBF], [0xFE], [0xFF], [0xE0, 0x80, 0xAF], [0xED, 0xA0, 0x80],
            [0xF0, 0x80, 0x80, 0xAF], [0xF4, 0x90, 0x80, 0x80], [0xF5], [0xF8, 0x88], [0xE2, 0x28], [0x61, 0xCE],
        ] as [[UInt8]], [0, 3, 8, 9, 16])
    func textThatIsNotUTF8IsRefused(_ bytes: [UInt8], behind count: Int) {
        let bytes = [UInt8](repeating: 0x61, count: count) + bytes
        for step in [1, .max] { #expect(parse(Self.frame(1, bytes), step: step).violation == .invalidText) }
        // Not in binary messages.
        #expect(parse(Self.frame(2, bytes)).events == [.message(.binary(Payload(bytes)))])
    }

    @Test func aWrongByteIsNoticedBeforeTheMessageEnds() {
        // Autobahn 6.4.2
        #expect(parse(Self.frame(1, [0xCE, 0xBA, 0xF4, 0x90], isFinal: false)).violation == .invalidText)
        // And before its frame ends: Autobahn 6.4.4.
        #expect(parse(Array(Self.frame(1, [0xCE, 0xBA, 0xF4, 0x90, 0x80, 0x80]).prefix(6))).violation == .invalidText)
    }

    @Test func everyScalarIsAcceptedByteByByteAndAtOnce() {
        for scalar: Unicode.Scalar in [
            "\0", "\u{7F}", "\u{80}", "\u{7FF}", "\u{800}", "\u{D7FF}", "\u{E000}", "\u{FFFD}", "\u{FFFF}", "\u{10000}",
            "\u{10FFFF}",
        ] {
            for count in 0..<9 {
                let bytes = [UInt8](repeating: 0x61, count: count) + Array(String(scalar).utf8)
                for step in [1, .max] { #expect(parse(Self.frame(1, bytes), step: step).events == [text(bytes)]) }
            }
        }
    }

    @Test(
        arguments: [
            (1000, true), (1001, true), (1002, true), (1003, true), (1007, true), (1011, true), (1014, true),
            (3000, true), (3999, true), (4000, true), (4999, true), (0, false), (999, false), (1004, false),
            (1005, false), (1006, false), (1015, false), (1016, false), (1100, false), (2000, false), (2999, false),
            (5000, false), (65_535, false),
        ] as [(UInt16, Bool)])
    func closeCodesAreChecked(_ code: UInt16, _ isAllowed: Bool) {
        let result = parse(Self.frame(8, [UInt8(code >> 8), UInt8(code & 0xFF)] + Array("später".utf8)))
        if isAllowed {
            #expect(result.events == [.close(SignalingClose(code: code, reason: "später"))])
        } else {
            #expect(result.violation == .invalidCloseCode(code))
        }
    }

    @Test func aCloseFrameEndsTheStream() {
        let result = parse(Self.frame(8, []) + Self.frame(1, [0x61]) + [0xFF, 0xFF])
        #expect(result.events == [.close(SignalingClose(code: 1005))] && result.violation == nil)
    }

    /// However the bytes come, the same comes of them.
    @Test(arguments: 0..<300) func piecesDoNotMatter(_ seed: Int) {
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
        func random() -> UInt8 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return UInt8(truncatingIfNeeded: state >> 24)
        }
        var bytes: [UInt8] = []
        for _ in 0..<20 {
            let payload = (0..<Int(random())).map { _ in random() & 0x7F }
            bytes += Self.frame([0, 1, 2, 8, 9, 10][Int(random()) % 6], payload, isFinal: random() & 3 > 0)
        }
        for _ in 0..<Int(random() % 4) { bytes[Int(random()) % bytes.count] = random() }
        let whole = parse(bytes)
        for step in [1, 3, 17, 100] {
            let cut = parse(bytes, step: step)
            #expect(cut.events == whole.events && cut.violation == whole.violation, "seed \(seed), step \(step)")
        }
    }
}
