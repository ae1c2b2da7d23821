import Testing
import WebSocketWire

@Suite struct FrameWriterTests {
    /// The frame's first byte and its payload without the mask; checks the length's encoding.
    private func open(_ bytes: [UInt8], isMasked: Bool) throws -> (first: UInt8, payload: [UInt8]) {
        try #require(bytes.count >= 2 && (bytes[1] & 0x80 != 0) == isMasked)
        var length = Int(bytes[1] & 0x7F)
        var start = 2
        if length >= 126 {
            let least = length == 126 ? 126 : 65_536
            start += length == 126 ? 2 : 8
            length = bytes[2..<start].reduce(0) { $0 << 8 | Int($1) }
            #expect(length >= least)
        }
        let key = isMasked ? Array(bytes[start..<start + 4]) : [0, 0, 0, 0]
        if isMasked { start += 4 }
        try #require(bytes.count == start + length)
        return (bytes[0], bytes[start...].enumerated().map { $1 ^ key[$0 & 3] })
    }

    @Test(
        arguments: [0, 1, 2, 3, 5, 7, 8, 9, 125, 126, 127, 65_535, 65_536, 70_001], [nil, 0xA1B2_C3D4, 0] as [UInt32?])
    func aPayloadOfEveryLengthIsWhole(_ length: Int, _ key: UInt32?) throws {
        let payload = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let frame = [UInt8](unsafeUninitializedCapacity: length + FrameWriter.maximumHeader) { buffer, count in
            let target = UnsafeMutableRawPointer(buffer.baseAddress!)
            payload.withUnsafeBytes { count = FrameWriter.write(.text, $0, key: key, to: target) }
        }
        let back = try open(frame, isMasked: key != nil)
        #expect(back.first == 0x81 && back.payload == payload)
        let header = frame.count - length
        #expect(header <= (key == nil ? FrameWriter.maximumUnmaskedHeader : FrameWriter.maximumHeader))
    }

    @Test(arguments: [0, 1, 5, 8, 125, 126, 127, 65_535, 65_536, 70_001], [1, 3, 4, 7, 64, 1 << 20])
    func aFrameMaskedInPartsIsWhatItWas(_ length: Int, _ part: Int) throws {
        let payload = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let key: UInt32 = 0xA1B2_C3D4
        let frame = [UInt8](unsafeUninitializedCapacity: length + FrameWriter.maximumHeader) { buffer, count in
            let target = UnsafeMutableRawPointer(buffer.baseAddress!)
            count = FrameWriter.writeHeader(.binary, length: length, key: key, to: target)
            payload.withUnsafeBytes { bytes in
                for start in stride(from: 0, to: length, by: part) {
                    let end = min(length, start + part)
                    let part = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                    FrameWriter.copy(part, to: target + count, key: key, offset: start)
                    count += end - start
                }
            }
        }
        let back = try open(frame, isMasked: true)
        #expect(back.first == 0x82 && back.payload == payload)
    }

    @Test func aControlFrameHoldsAtMost125Bytes() throws {
        let back = try open(FrameWriter.control(.ping, [UInt8](repeating: 7, count: 300), key: 99), isMasked: true)
        #expect(back.first == 0x89 && back.payload == [UInt8](repeating: 7, count: 125))
        #expect(FrameWriter.control(.pong, [1, 2], key: nil) == [0x8A, 2, 1, 2])
    }

    @Test func aReasonIsCutAtACharactersBorder() {
        let close = CloseReason(code: 4000, reason: String(repeating: "ä", count: 100))
        #expect(close.payload == [0x0F, 0xA0] + Array(String(repeating: "ä", count: 61).utf8))
        #expect(CloseReason(code: 1005, reason: "x").payload.isEmpty)
        #expect(CloseReason(code: 1000).payload == [3, 232])
    }

    @Test func keysAreDrawn64AtATime() {
        var keys = MaskingKeys()
        var calls = 0
        let drawn = (0..<129).map { _ in
            keys.next { memory in
                calls += 1
                for index in memory.indices { memory[index] = UInt8(truncatingIfNeeded: index &+ calls) }
            }
        }
        #expect(calls == 3 && Set(drawn[..<64]).count == 64)
    }

    /// One side reads the frames of the other.
    @Test(arguments: [0, 125, 126, 65_536]) func writtenFramesAreParsed(_ length: Int) throws {
        let payload = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        for key: UInt32? in [nil, 0x0102_0304] {
            var parser = FrameParser(framesFrom: key == nil ? .server : .client, maximumMessageSize: 1 << 20)
            let frame = [UInt8](unsafeUninitializedCapacity: length + FrameWriter.maximumHeader) { buffer, count in
                let target = UnsafeMutableRawPointer(buffer.baseAddress!)
                payload.withUnsafeBytes { count = FrameWriter.write(.binary, $0, key: key, to: target) }
            }
            try frame.withUnsafeBytes { bytes in
                var input = bytes
                guard case .message(let message)? = try parser.next(&input) else {
                    Issue.record("no message")
                    return
                }
                #expect(!message.isText && message.array() == payload && input.isEmpty)
            }
        }
    }
}
