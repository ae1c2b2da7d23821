#if NIO
    import NIOCore
    import Testing
    import TransportPluginAPI

    @testable import SignalingNIO

    @Suite struct FrameWriterTests {
        /// The frame's first byte and its payload without the mask; checks the length's encoding.
        private func open(_ buffer: ByteBuffer) throws -> (first: UInt8, mask: [UInt8], payload: [UInt8]) {
            let bytes = Array(buffer.readableBytesView)
            try #require(bytes.count >= 6 && bytes[1] & 0x80 != 0)
            var length = Int(bytes[1] & 0x7F)
            var start = 2
            if length >= 126 {
                let least = length == 126 ? 126 : 65_536
                start += length == 126 ? 2 : 8
                length = bytes[2..<start].reduce(0) { $0 << 8 | Int($1) }
                #expect(length >= least)
            }
            try #require(bytes.count == start + 4 + length)
            let mask = Array(bytes[start..<start + 4])
            return (bytes[0], mask, bytes[(start + 4)...].enumerated().map { $1 ^ mask[$0 & 3] })
        }

        @Test(arguments: [0, 1, 2, 3, 7, 8, 9, 125, 126, 65_535, 65_536, 70_001])
        func aPayloadOfEveryLengthIsMaskedAndWhole(_ length: Int) throws {
            let payload = (0..<length).map { UInt8($0 % 251) }
            var writer = FrameWriter()
            var buffer = ByteBuffer()
            writer.write(.binary(Payload(payload)), to: &buffer)
            let frame = try open(buffer)
            #expect(frame.first == 0x82)
            #expect(frame.payload == payload)
            var text = ByteBuffer()
            writer.write(.text(Payload(payload)), to: &text)
            #expect(try open(text).first == 0x81)
        }

        @Test func everyFrameHasAnotherMask() throws {
            var writer = FrameWriter()
            var masks: Set<[UInt8]> = []
            for _ in 0..<1000 {
                var buffer = ByteBuffer()
                writer.write(.text(Payload("x")), to: &buffer)
                masks.insert(try open(buffer).mask)
            }
            // Two of 1,000 random ones are alike once in 8,600 runs; three pairs never.
            #expect(masks.count > 997)
        }

        @Test func aCloseFrameHasCodeAndAReasonThatFits() throws {
            var writer = FrameWriter()
            var buffer = ByteBuffer()
            let reason = String(repeating: "ü", count: 100)
            writer.writeClose(SignalingClose(code: 4001, reason: reason), to: &buffer)
            let frame = try open(buffer)
            #expect(frame.first == 0x88)
            #expect(frame.payload == [0x0F, 0xA1] + Array(String(repeating: "ü", count: 61).utf8))
            var empty = ByteBuffer()
            writer.writeClose(SignalingClose(code: 1005), to: &empty)
            #expect(try open(empty).payload.isEmpty)
        }
    }
#endif
