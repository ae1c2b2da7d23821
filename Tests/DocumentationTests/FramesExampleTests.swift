import Testing
import WebSocketWire

/// The code of the article of WebSocketWire reads a message.
@Suite struct FramesExampleTests {
    @Test func theArticlesParserDeliversAMessage() throws {
        var texts: [String] = []
        var pongs = 0
        var isClosed = false
        func deliver(_ bytes: [UInt8], isText: Bool) {
            if isText { texts.append(String(decoding: bytes, as: UTF8.self)) }
        }
        func send(_ frame: [UInt8]) { pongs += frame.isEmpty ? 0 : 1 }
        func closed(_ reason: CloseReason) { isClosed = true }
        func nextKey() -> UInt32 { 1 }

        var parser = FrameParser(framesFrom: .server, maximumMessageSize: 1 << 20)

        func received(_ bytes: UnsafeRawBufferPointer) throws(FrameViolation) {
            var rest = bytes
            while let event = try parser.next(&rest) {
                switch event {
                case .message(let message): deliver(message.array(), isText: message.isText)
                case .ping(let payload): send(FrameWriter.control(.pong, payload, key: nextKey()))
                case .fragment, .pong: break
                case .close(let reason): closed(reason)
                }
            }
        }

        // A text, a ping without a payload, and a close frame without a code.
        let frames: [UInt8] = [0x81, 0x02, 0x68, 0x69, 0x89, 0x00, 0x88, 0x00]
        try frames.withUnsafeBytes { try received($0) }
        #expect(texts == ["hi"])
        #expect(pongs == 1)
        #expect(isClosed)
    }
}
