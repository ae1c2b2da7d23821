#if NIO
    import Testing
    import TransportPluginAPI

    @testable import SignalingNIO

    /// The rules of RFC 6455 for what a server may send, on the pure reader.
    @Suite struct FrameReaderTests {
        private struct Outcome: Equatable {
            var events: [FrameReader.Event] = []
            var code: UInt16?
        }

        /// What comes of the bytes, fed in pieces of `step`.
        private func read(_ bytes: [UInt8], step: Int = .max, limit: Int = 1 << 20) -> Outcome {
            var reader = FrameReader(maximumMessageSize: limit)
            var outcome = Outcome()
            var index = 0
            while index < bytes.count {
                let end = step > bytes.count - index ? bytes.count : index + step
                bytes[index..<end].withUnsafeBytes { piece in
                    var rest = piece
                    do throws(FrameReader.Violation) {
                        while let event = try reader.next(&rest) { outcome.events.append(event) }
                        #expect(rest.isEmpty)
                    } catch { outcome.code = error.code }
                }
                if outcome.code != nil { return outcome }
                index = end
            }
            return outcome
        }

        private static func frame(
            _ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true, reserved: UInt8 = 0
        ) -> [UInt8] {
            var bytes = [(isFinal ? 0x80 : 0) | reserved << 4 | opcode]
            switch payload.count {
            case ...125: bytes.append(UInt8(payload.count))
            case ...65_535: bytes += [126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
            default: bytes += [127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
            }
            return bytes + payload
        }

        private static func text(_ bytes: [UInt8]) -> FrameReader.Event { .message(.text(Payload(bytes))) }
        private static func binary(_ bytes: [UInt8]) -> FrameReader.Event { .message(.binary(Payload(bytes))) }

        @Test(arguments: [0, 1, 7, 8, 125, 126, 127, 65_535, 65_536, 70_000], [1, 7, Int.max])
        func aPayloadOfEveryLengthComesWhole(_ length: Int, _ step: Int) {
            let payload = (0..<length).map { UInt8($0 % 251 & 0x7F) }
            #expect(read(Self.frame(1, payload), step: step).events == [Self.text(payload)])
            #expect(read(Self.frame(2, payload), step: step).events == [Self.binary(payload)])
        }

        @Test func controlFramesComeBetweenTheFragmentsOfAMessage() {
            let bytes =
                Self.frame(1, Array("one ".utf8), isFinal: false) + Self.frame(9, [1, 2])
                + Self.frame(0, Array("two ".utf8), isFinal: false) + Self.frame(10, [])
                + Self.frame(0, [], isFinal: false) + Self.frame(0, Array("three".utf8)) + Self.frame(2, [5])
            for step in [1, 2, 3, .max] {
                #expect(
                    read(bytes, step: step).events
                        == [.ping([1, 2]), .pong, Self.text(Array("one two three".utf8)), Self.binary([5])])
            }
        }

        @Test(arguments: 1...7 as ClosedRange<UInt8>)
        func reservedBitsAreRefused(_ bits: UInt8) { #expect(read(Self.frame(1, [], reserved: bits)).code == 1002) }

        @Test(arguments: [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] as [UInt8])
        func reservedOpcodesAreRefused(_ opcode: UInt8) { #expect(read([0x80 | opcode]).code == 1002) }

        @Test(arguments: [
            Self.frame(0, []),
            Self.frame(1, [], isFinal: false) + Self.frame(1, []),
            Self.frame(1, [], isFinal: false) + Self.frame(2, []),
            Self.frame(1, []) + Self.frame(0, []),
            Self.frame(9, [], isFinal: false),
            Self.frame(9, [UInt8](repeating: 0, count: 126)),
            Self.frame(8, [1]),
            // Masked, which only a client's frames are.
            [0x81, 0x80, 1, 2, 3, 4],
            // Lengths in more bytes than needed, and one with its highest bit set.
            [0x81, 126, 0, 125], [0x81, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], [0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
        ])
        func aBrokenRuleIsAProtocolError(_ bytes: [UInt8]) {
            for step in [1, .max] { #expect(read(bytes, step: step).code == 1002) }
        }

        @Test func whatCameBeforeAViolationIsDelivered() {
            let outcome = read(Self.frame(1, [0x61]) + Self.frame(3, []) + Self.frame(1, [0x62]))
            #expect(outcome == Outcome(events: [Self.text([0x61])], code: 1002))
        }

        @Test func aMessageOverTheLimitIsRefusedBeforeItsPayloadComes() {
            let whole = Self.frame(1, [UInt8](repeating: 0x61, count: 1001))
            #expect(read(Array(whole.prefix(4)), limit: 1000).code == 1009)
            let part = Self.frame(1, [UInt8](repeating: 0x61, count: 600), isFinal: false)
            let rest = Self.frame(0, [UInt8](repeating: 0x61, count: 401))
            #expect(read(part + rest.prefix(4), limit: 1000).code == 1009)
            #expect(read(Self.frame(1, [UInt8](repeating: 0x61, count: 1000)), limit: 1000).events.count == 1)
        }

        @Test(
            arguments: [
                [0xC0, 0x80], [0xC1, 0xBF], [0x80], [0xBF], [0xFE], [0xFF], [0xE0, 0x80, 0xAF], [0xED, 0xA0, 0x80],
                [0xF0, 0x80, 0x80, 0xAF], [0xF4, 0x90, 0x80, 0x80], [0xF5], [0xF8, 0x88], [0xE2, 0x28], [0x61, 0xCE],
            ] as [[UInt8]])
        func textThatIsNotUTF8IsRefused(_ bytes: [UInt8]) {
            for padding in [0, 8, 13] {
                let bytes = [UInt8](repeating: 0x61, count: padding) + bytes
                for step in [1, .max] { #expect(read(Self.frame(1, bytes), step: step).code == 1007) }
                #expect(read(Self.frame(2, bytes)).events == [Self.binary(bytes)])
            }
        }

        @Test func aWrongByteIsNoticedBeforeItsFrameEnds() {
            // Autobahn 6.4.3: half of a frame.
            let bytes = Self.frame(1, [0xCE, 0xBA, 0xF4, 0x90] + [UInt8](repeating: 0x61, count: 100))
            #expect(read(Array(bytes.prefix(6))).code == 1007)
        }

        @Test func everyScalarIsAcceptedByteByByte() {
            for scalar: Unicode.Scalar in [
                "\0", "\u{7F}", "\u{80}", "\u{7FF}", "\u{800}", "\u{D7FF}", "\u{E000}", "\u{FFFD}", "\u{FFFF}",
                "\u{10000}", "\u{10FFFF}",
            ] {
                let bytes = Array(String(scalar).utf8)
                #expect(read(Self.frame(1, bytes), step: 1).events == [Self.text(bytes)])
            }
        }

        @Test(
            arguments: [
                (1000, true), (1001, true), (1002, true), (1003, true), (1007, true), (1011, true), (1014, true),
                (3000, true), (4999, true), (0, false), (999, false), (1004, false), (1005, false), (1006, false),
                (1015, false), (1016, false), (2999, false), (5000, false), (65_535, false),
            ] as [(UInt16, Bool)])
        func closeCodesAreChecked(_ code: UInt16, _ isAllowed: Bool) {
            let outcome = read(Self.frame(8, [UInt8(code >> 8), UInt8(code & 0xFF)] + Array("ü".utf8)))
            let expected: [FrameReader.Event] = [.close(SignalingClose(code: code, reason: "ü"))]
            #expect(outcome == (isAllowed ? Outcome(events: expected) : Outcome(code: 1002)))
        }

        @Test func aCloseEndsTheStream() {
            let outcome = read(Self.frame(8, []) + Self.frame(1, [0x61]) + [0xFF, 0xFF])
            #expect(outcome == Outcome(events: [.close(SignalingClose(code: 1005))]))
            #expect(read(Self.frame(8, [3, 0xE8, 0xFF])).code == 1007)
        }

        /// Anything at all: no trap, and the same outcome however it is cut.
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
            let whole = read(bytes)
            for step in [1, 3, 17] { #expect(read(bytes, step: step) == whole) }
        }
    }
#endif
