import Glibc
import Testing
import WebSocketWire

/// The rules of RFC 6455 for what each side sends. Autobahn's suite checks them in its cases 1 to 7 and 10.
@Suite struct FrameParserTests {
    /// An event with a copy of its message.
    enum Read: Equatable {
        case text([UInt8])
        case binary([UInt8])
        case fragment
        case ping([UInt8])
        case pong([UInt8])
        case close(CloseReason)

        init(_ event: FrameParser.Event) {
            switch event {
            case .message(let message): self = message.isText ? .text(message.array()) : .binary(message.array())
            case .fragment: self = .fragment
            case .ping(let payload): self = .ping(payload)
            case .pong(let payload): self = .pong(payload)
            case .close(let reason): self = .close(reason)
            }
        }
    }

    private static let senders: [FrameParser.Sender] = [.client, .server]

    /// The outcome of the bytes, fed in pieces of `step`.
    private func parse(
        _ bytes: [UInt8], from sender: FrameParser.Sender, step: Int = .max, limit: Int = 1 << 20,
        emptyFragments: Int = .max
    ) -> (events: [Read], violation: FrameViolation?) {
        var parser = FrameParser(
            framesFrom: sender, maximumMessageSize: limit, maximumEmptyFragments: emptyFragments)
        var events: [Read] = []
        var index = 0
        while index < bytes.count {
            let end = step > bytes.count - index ? bytes.count : index + step
            let violation = bytes[index..<end].withUnsafeBytes { piece -> FrameViolation? in
                var input = piece
                do throws(FrameViolation) {
                    while let event = try parser.next(&input) { events.append(Read(event)) }
                    #expect(input.isEmpty)
                    return nil
                } catch { return error }
            }
            if let violation { return (events, violation) }
            index = end
        }
        #expect(parser.heldBytes < max(2 * bytes.count, 1 << 17))
        return (events, nil)
    }

    /// A frame as `sender` writes it, or the other side.
    private static func frame(
        _ opcode: UInt8, _ payload: [UInt8], from sender: FrameParser.Sender, isFinal: Bool = true, reserved: UInt8 = 0
    ) -> [UInt8] {
        let masked: UInt8 = sender == .client ? 0x80 : 0
        var bytes = [(isFinal ? 0x80 : 0) | reserved << 4 | opcode]
        switch payload.count {
        case ..<126: bytes.append(masked | UInt8(payload.count))
        case ...0xFFFF: bytes += [masked | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        default:
            bytes.append(masked | 127)
            for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(payload.count >> shift & 0xFF)) }
        }
        guard sender == .client else { return bytes + payload }
        let key: [UInt8] = [0xA1, 0x32, 0x07, 0xFE]
        return bytes + key + payload.enumerated().map { $1 ^ key[$0 & 3] }
    }

    @Test(arguments: senders)
    func payloadOfEveryLengthComesWhole(_ sender: FrameParser.Sender) {
        for length in [0, 1, 7, 8, 9, 124, 125, 126, 127, 128, 65_535, 65_536, 70_000] {
            let payload = (0..<length).map { UInt8($0 % 251 & 0x7F) }
            for step in [1, 7, .max] {
                #expect(
                    parse(Self.frame(1, payload, from: sender), from: sender, step: step).events == [.text(payload)])
                #expect(
                    parse(Self.frame(2, payload, from: sender), from: sender, step: step).events == [.binary(payload)])
            }
        }
    }

    @Test(arguments: senders)
    func controlFramesComeBetweenTheFragmentsOfAMessage(_ sender: FrameParser.Sender) {
        let bytes =
            Self.frame(1, Array("one ".utf8), from: sender, isFinal: false) + Self.frame(9, [1, 2], from: sender)
            + Self.frame(0, Array("two ".utf8), from: sender, isFinal: false) + Self.frame(10, [3], from: sender)
            + Self.frame(0, [], from: sender, isFinal: false) + Self.frame(0, Array("three".utf8), from: sender)
            + Self.frame(2, [7], from: sender) + Self.frame(9, [], from: sender)
        for step in [1, 2, 3, .max] {
            #expect(
                parse(bytes, from: sender, step: step).events == [
                    .fragment, .ping([1, 2]), .fragment, .pong([3]), .fragment, .text(Array("one two three".utf8)),
                    .binary([7]), .ping([]),
                ])
        }
    }

    @Test(arguments: senders, 1...7 as ClosedRange<UInt8>)
    func reservedBitsAreRefused(_ sender: FrameParser.Sender, _ bits: UInt8) {
        #expect(parse(Self.frame(1, [], from: sender, reserved: bits), from: sender).violation == .reservedBit)
        // As soon as the first byte is there.
        #expect(parse([0x80 | bits << 4 | 1], from: sender).violation == .reservedBit)
    }

    @Test(arguments: senders, [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] as [UInt8])
    func reservedOpcodesAreRefused(_ sender: FrameParser.Sender, _ opcode: UInt8) {
        #expect(parse(Self.frame(opcode, [], from: sender), from: sender).violation == .reservedOpcode)
        #expect(parse([0x80 | opcode], from: sender).violation == .reservedOpcode)
    }

    private static func broken(_ sender: FrameParser.Sender) -> [([UInt8], FrameViolation)] {
        let mask: UInt8 = sender == .client ? 0x80 : 0
        let other: FrameParser.Sender = sender == .client ? .server : .client
        return [
            (frame(0, [], from: sender), .unexpectedContinuation),
            (frame(1, [], from: sender) + frame(0, [], from: sender), .unexpectedContinuation),
            (frame(1, [], from: sender, isFinal: false) + frame(1, [], from: sender), .unfinishedMessage),
            (frame(1, [], from: sender, isFinal: false) + frame(2, [], from: sender), .unfinishedMessage),
            (frame(9, [], from: sender, isFinal: false), .fragmentedControlFrame),
            (frame(8, [], from: sender, isFinal: false), .fragmentedControlFrame),
            (frame(10, [UInt8](repeating: 0, count: 126), from: sender), .longControlFrame),
            (frame(8, [1], from: sender), .truncatedCloseCode),
            (frame(8, [3, 0xE8, 0xFF], from: sender), .invalidCloseReason),
            (frame(1, [2], from: other), sender == .client ? .unmaskedFrame : .maskedFrame),
            ([0x81, mask | 126, 0, 125, 0, 0, 0, 0, 0, 0, 0, 0], .overlongLength),
            ([0x82, mask | 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0], .overlongLength),
            ([0x82, mask | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0], .lengthOverflow),
            (
                [0x82, mask | 127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0],
                .messageTooLarge(maximum: 1 << 20)
            ),
        ]
    }

    @Test(arguments: senders)
    func aBrokenRuleIsNamed(_ sender: FrameParser.Sender) {
        for (bytes, violation) in Self.broken(sender) {
            for step in [1, 3, .max] { #expect(parse(bytes, from: sender, step: step).violation == violation) }
            let code: UInt16 =
                switch violation {
                case .messageTooLarge: 1009
                case .invalidCloseReason: 1007
                default: 1002
                }
            #expect(violation.closeCode == code)
            // It is a close reason, too.
            #expect((1...123).contains(violation.description.utf8.count))
        }
    }

    @Test(arguments: senders)
    func eventsBeforeAViolationAreDelivered(_ sender: FrameParser.Sender) {
        let bytes =
            Self.frame(1, [0x61], from: sender) + Self.frame(3, [], from: sender) + Self.frame(1, [0x62], from: sender)
        let result = parse(bytes, from: sender)
        #expect(result.events == [.text([0x61])] && result.violation == .reservedOpcode)
    }

    @Test(arguments: senders)
    func nothingIsTakenAfterAViolation(_ sender: FrameParser.Sender) {
        var parser = FrameParser(framesFrom: sender, maximumMessageSize: 100)
        (Self.frame(3, [], from: sender) + Self.frame(1, [0x61], from: sender)).withUnsafeBytes { bytes in
            var input = bytes
            #expect(throws: FrameViolation.reservedOpcode) { _ = try parser.next(&input) }
            let next = try? parser.next(&input)
            #expect(next.map(Read.init) == nil)
            #expect(input.isEmpty)
        }
    }

    @Test(arguments: senders)
    func fewEmptyFragmentsAreTakenAndManyAreAViolation(_ sender: FrameParser.Sender) {
        let empty = Self.frame(0, [], from: sender, isFinal: false)
        let some =
            Self.frame(1, [], from: sender, isFinal: false) + Array(repeatElement(empty, count: 7).joined())
        let end = Self.frame(0, [], from: sender)
        let letter = Self.frame(0, [0x61], from: sender)
        for step in [1, .max] {
            #expect(parse(some + letter, from: sender, step: step, emptyFragments: 8).events.last == .text([0x61]))
            // Each message has its own.
            #expect(parse(some + end + some + end, from: sender, step: step, emptyFragments: 8).violation == nil)
            let many = parse(some + empty + letter, from: sender, step: step, emptyFragments: 8)
            #expect(many.violation == .emptyFragments(maximum: 8) && many.violation?.closeCode == 1008)
            #expect(many.events == Array(repeatElement(.fragment, count: 8)))
        }
    }

    @Test(arguments: senders)
    func aMessageOverTheLimitIsRefusedBeforeItsPayloadComes(_ sender: FrameParser.Sender) {
        func letters(_ opcode: UInt8, _ count: Int, isFinal: Bool = true) -> [UInt8] {
            Self.frame(opcode, [UInt8](repeating: 0x61, count: count), from: sender, isFinal: isFinal)
        }
        func parse(_ bytes: [UInt8]) -> (events: [Read], violation: FrameViolation?) {
            self.parse(bytes, from: sender, limit: 1000)
        }
        #expect(parse(Array(letters(1, 1001).prefix(4))).violation == .messageTooLarge(maximum: 1000))
        let part = letters(1, 600, isFinal: false)
        #expect(parse(part + letters(0, 401).prefix(4)).violation == .messageTooLarge(maximum: 1000))
        #expect(parse(letters(1, 1000)).events.count == 1)
        // Control frames are no part of the message.
        #expect(parse(part + letters(9, 125) + letters(0, 400)).events.count == 3)
    }

    @Test(
        arguments: [
            [0xC0, 0x80], [0xC1, 0xBF], [0x80], [0xBF], [0xFE], [0xFF], [0xE0, 0x80, 0xAF], [0xED, 0xA0, 0x80],
            [0xF0, 0x80, 0x80, 0xAF], [0xF4, 0x90, 0x80, 0x80], [0xF5], [0xF8, 0x88], [0xE2, 0x28], [0x61, 0xCE],
        ] as [[UInt8]], [0, 3, 8, 9, 13, 16])
    func textThatIsNotUTF8IsRefused(_ bytes: [UInt8], behind count: Int) {
        let bytes = [UInt8](repeating: 0x61, count: count) + bytes
        for sender in Self.senders {
            for step in [1, .max] {
                #expect(parse(Self.frame(1, bytes, from: sender), from: sender, step: step).violation == .invalidText)
            }
            // Not in binary messages.
            #expect(parse(Self.frame(2, bytes, from: sender), from: sender).events == [.binary(bytes)])
        }
        #expect(FrameViolation.invalidText.closeCode == 1007)
    }

    @Test(arguments: senders)
    func aWrongByteIsNoticedBeforeTheMessageEnds(_ sender: FrameParser.Sender) {
        // Autobahn 6.4.2
        let fragment = Self.frame(1, [0xCE, 0xBA, 0xF4, 0x90], from: sender, isFinal: false)
        #expect(parse(fragment, from: sender).violation == .invalidText)
        // And before its frame ends: Autobahn 6.4.4.
        let header = sender == .client ? 6 : 2
        let frame = Self.frame(1, [0xCE, 0xBA, 0xF4, 0x90] + [UInt8](repeating: 0x61, count: 100), from: sender)
        #expect(parse(Array(frame.prefix(header + 4)), from: sender).violation == .invalidText)
    }

    @Test(arguments: senders)
    func everyScalarIsAcceptedByteByByteAndAtOnce(_ sender: FrameParser.Sender) {
        for scalar: Unicode.Scalar in [
            "\0", "\u{7F}", "\u{80}", "\u{7FF}", "\u{800}", "\u{D7FF}", "\u{E000}", "\u{FFFD}", "\u{FFFF}", "\u{10000}",
            "\u{10FFFF}",
        ] {
            for count in 0..<9 {
                let bytes = [UInt8](repeating: 0x61, count: count) + Array(String(scalar).utf8)
                for step in [1, .max] {
                    #expect(
                        parse(Self.frame(1, bytes, from: sender), from: sender, step: step).events == [.text(bytes)])
                }
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
        for sender in Self.senders {
            for reason in ["", "später"] {
                let payload = [UInt8(code >> 8), UInt8(code & 0xFF)] + Array(reason.utf8)
                let result = parse(Self.frame(8, payload, from: sender), from: sender)
                if isAllowed {
                    #expect(result.events == [.close(CloseReason(code: code, reason: reason))])
                } else {
                    #expect(result.violation == .invalidCloseCode(code))
                }
            }
        }
    }

    @Test(arguments: senders)
    func aCloseFrameEndsTheStream(_ sender: FrameParser.Sender) {
        let bytes = Self.frame(8, [], from: sender) + Self.frame(1, [0x61], from: sender) + [0xFF, 0xFF]
        let result = parse(bytes, from: sender)
        #expect(result.events == [.close(CloseReason(code: 1005))] && result.violation == nil)
    }

    // MARK: Memory

    /// An announcement of a client costs it its own bytes first.
    @Test func memoryIsTakenForWhatHasCome() throws {
        for (sender, most) in [(FrameParser.Sender.client, 200), (.server, 65_636)] {
            var parser = FrameParser(framesFrom: sender, maximumMessageSize: 1 << 20)
            let frame = Self.frame(2, [UInt8](repeating: 1, count: 1 << 20), from: sender)
            try frame[..<110].withUnsafeBytes { bytes in
                var input = bytes
                let event = try parser.next(&input).map(Read.init)
                #expect(event == nil)
            }
            #expect((90...most).contains(parser.heldBytes))
        }
    }

    /// A message that was put together lies in memory that can be had without a copy; one that lies in the input does
    /// not.
    @Test func memoryOfAMessageIsHandedOverOrFreed() throws {
        let frame = Self.frame(2, [1, 2, 3], from: .server)
        var parser = FrameParser(framesFrom: .server, maximumMessageSize: 100)
        try frame.withUnsafeBytes { bytes in
            var whole = bytes
            _ = try parser.next(&whole)
            #expect(parser.takeMemory() == nil)
            for isTaken in [true, false] {
                for part in [bytes[..<4], bytes[4...]] {
                    var input = UnsafeRawBufferPointer(rebasing: part)
                    let event = try parser.next(&input).map(Read.init)
                    #expect(event == (part.startIndex == 0 ? nil : .binary([1, 2, 3])))
                }
                #expect(parser.heldBytes > 0)
                if isTaken {
                    let taken = parser.takeMemory()
                    let memory = try #require(taken)
                    #expect(Array(memory) == [1, 2, 3])
                    free(UnsafeMutableRawPointer(mutating: memory.baseAddress))
                } else {
                    var nothing = UnsafeRawBufferPointer(start: nil, count: 0)
                    let event = try parser.next(&nothing).map(Read.init)
                    #expect(event == nil)
                }
                #expect(parser.heldBytes == 0)
            }
        }
    }

    // MARK: Pieces

    /// However the bytes come, right or wrong, the same comes of them.
    @Test(arguments: 0..<300) func piecesDoNotMatter(_ seed: Int) {
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
        func random() -> UInt8 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return UInt8(truncatingIfNeeded: state >> 24)
        }
        for sender in Self.senders {
            var bytes: [UInt8] = []
            for _ in 0..<20 {
                let payload = (0..<Int(random())).map { _ in random() & 0x7F }
                bytes += Self.frame(
                    [0, 1, 2, 8, 9, 10][Int(random()) % 6], payload, from: sender, isFinal: random() & 3 > 0)
            }
            for _ in 0..<Int(random() % 4) { bytes[Int(random()) % bytes.count] = random() }
            let whole = parse(bytes, from: sender)
            for step in [1, 3, 17, 100] {
                let cut = parse(bytes, from: sender, step: step)
                #expect(cut.events == whole.events && cut.violation == whole.violation, "seed \(seed), step \(step)")
            }
        }
    }
}
