#if NIO
    import NIOCore
    import Testing
    import TransportPluginAPI
    import WebSocketWire

    @testable import SignalingNIO

    @Suite struct FramesTests {
        @Test func framesOfOneBufferAreReadAsTheyWereWritten() throws {
            var keys = MaskingKeys()
            var buffer = ByteBuffer()
            let payload = (0..<70_001).map { UInt8($0 % 251) }
            buffer.writeFrame(.binary(Payload(payload)), key: keys.next())
            buffer.writeFrame(.text(Payload("é")), key: keys.next())
            buffer.writeFrame(.pong, [1], key: keys.next())
            buffer.writeFrame(.close, SignalingClose(code: 4001, reason: "bye").payload, key: keys.next())
            var parser = FrameParser(framesFrom: .client, maximumMessageSize: 1 << 20)
            try buffer.withUnsafeReadableBytes { bytes in
                var rest = bytes
                guard case .message(let binary)? = try parser.next(&rest),
                    SignalingMessage(binary, in: &parser) == .binary(Payload(payload)),
                    case .message(let text)? = try parser.next(&rest),
                    SignalingMessage(text, in: &parser) == .text(Payload("é")),
                    case .pong([1])? = try parser.next(&rest), case .close(let reason)? = try parser.next(&rest)
                else {
                    Issue.record("other frames came")
                    return
                }
                #expect(reason == CloseReason(code: 4001, reason: "bye") && rest.isEmpty)
            }
        }

        @Test func everyFrameHasAnotherMask() throws {
            var keys = MaskingKeys()
            let drawn = Set((0..<1000).map { _ in keys.next() })
            // Two of 1,000 random ones are alike once in 8,600 runs; three pairs never.
            #expect(drawn.count > 997)
        }
    }
#endif
