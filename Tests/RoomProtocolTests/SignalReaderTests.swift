import Testing
import TransportValues

@testable import RoomProtocol

/// The short way in which signals are read gives what the long one does, or leaves the text to it.
@Suite struct SignalReaderTests {
    private static func outcome(
        _ bytes: [UInt8], _ decode: (UnsafeRawBufferPointer) throws(ProtocolError) -> Envelope<ClientMessage>
    ) -> Result<Envelope<ClientMessage>, ProtocolError> {
        bytes.withUnsafeBytes { bytes in
            do throws(ProtocolError) { return .success(try decode(bytes)) } catch { return .failure(error) }
        }
    }

    /// Returns whether the short way was taken.
    @discardableResult
    private static func compare(_ bytes: [UInt8], _ sourceLocation: SourceLocation = #_sourceLocation) -> Bool {
        let long = outcome(bytes, RoomProtocolCodec.decodeAnyClientMessage)
        if outcome(bytes, RoomProtocolCodec.decodeClientMessage) != long {
            Issue.record("\(String(decoding: bytes, as: UTF8.self)): not \(long)", sourceLocation: sourceLocation)
        }
        return bytes.withUnsafeBytes { SignalReader.read($0) } != nil
    }

    @Test(arguments: RoundTripTests.signals)
    func everySignalIsReadAsItWasWritten(_ signal: Signal) {
        for (sequence, ack) in [(nil, nil), (1, nil), (nil, 0), (987_654_321, 12)] as [(UInt64?, UInt64?)] {
            let envelope = Envelope(sequence: sequence, ack: ack, ClientMessage.signal(signal))
            let isShort = Self.compare(RoomProtocolCodec.encode(envelope))
            switch signal.body {
            case .description, .candidate, .endOfCandidates: #expect(isShort)
            case .restartRequest, .rebuildRequest: #expect(!isShort)
            }
        }
    }

    private static let candidate = """
        {"type":"signal","seq":12,"ack":7,"peer":"p-2","session":"s_2","connection":"c9","negotiation":4,"candidate":\
        {"candidate":"candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host","sdpMid":"0","sdpMLineIndex":0,\
        "usernameFragment":"ab+/"}}
        """
    private static let description = #"""
        {"type":"signal","peer":"p-2","session":"s_2","connection":"c9","negotiation":4,"description":\#
        {"type":"offer","sdp":"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\na=x:\"\\\/\t\"\r\n"},"seq":3}
        """#

    @Test func textsThatAreCutOrHaveAnotherByteAreReadAsTheLongWayDoes() {
        for text in [Self.candidate, Self.description] {
            let bytes = Array(text.utf8)
            #expect(Self.compare(bytes))
            let others = Array(#"{",\ 0un"#.utf8) + [0x0A, 0x7F, 0x80, 0xC3]
            for place in bytes.indices {
                Self.compare(Array(bytes[..<place]))
                Self.compare(Array(bytes[..<place] + bytes[(place + 1)...]))
                Self.compare(Array(bytes[...place] + bytes[place...]))
                for other in others {
                    var changed = bytes
                    changed[place] = other
                    Self.compare(changed)
                }
            }
        }
    }

    @Test(arguments: [
        (#""seq":12"#, #""seq":0"#), (#""seq":12"#, #""seq":012"#), (#""seq":12"#, #""seq":1e1"#),
        (#""seq":12"#, #""seq":12.0"#), (#""seq":12"#, #""seq":null"#), (#""seq":12"#, #""seq":-1"#),
        (#""seq":12"#, #""seq":18446744073709551615"#), (#""seq":12"#, #""seq":18446744073709551616"#),
        (#""seq":12"#, #""seq":9999999999999999999"#), (#""seq":12"#, #""seq":1234567890123456789"#),
        (#""ack":7"#, #""ack":7,"ack":7"#), (#""ack":7"#, #""other":{"deep":[1,{}]}"#), (#""ack":7"#, #""ack" : 7"#),
        (#""p-2""#, #""""#), (#""p-2""#, #""p 2""#), (#""p-2""#, #""p\/2""#), (#""p-2""#, #""\u0070""#),
        (#""p-2""#, #""\#(String(repeating: "p", count: 64))""#),
        (#""p-2""#, #""\#(String(repeating: "p", count: 65))""#),
        (#""0""#, #"null"#), (#""0""#, #""\#(String(repeating: "0", count: 65))""#), (#""0""#, #""é""#),
        (#""0""#, #""\"\\\/""#), (#""0""#, #""\n""#), (#""0""#, #""\u00e9""#),
        (#":0,"#, #":65535,"#), (#":0,"#, #":65536,"#), (#":0,"#, #":null,"#), (#":0,"#, #":"0","#),
        ("ab+/", "a b"), ("ab+/", #"a\"b"#), ("ab+/", String(repeating: "x", count: 257)),
        ("candidate:1", String(repeating: "x", count: 2048)), ("candidate:1 1", "end\\r\\n"),
        (#","candidate":{"#, #","endOfCandidates":{"usernameFragment":"x"},"candidate":{"#),
        (#"{"candidate":"#, #"{"unknown":1,"candidate":"#), (#"{"candidate":"#, #"{"candidate":"","candidate":"#),
    ])
    func fieldsOfOtherFormsAreReadAsTheLongWayDoes(_ before: String, _ after: String) throws {
        var text = Self.candidate
        text.replaceSubrange(try #require(text.firstRange(of: before)), with: after)
        Self.compare(Array(text.utf8))
    }

    @Test(arguments: [0, 1, 65_535, 65_536, 65_537])
    func descriptionsUpToTheirLimitAreReadTheShortWay(_ count: Int) {
        // Of which each line end counts once, however it is escaped.
        let text = String(repeating: "\n", count: count)
        let signal = RoundTripTests.signal(.description(.init(kind: .answer, text: text)))
        let isShort = Self.compare(RoomProtocolCodec.encode(Envelope(sequence: 1, ClientMessage.signal(signal))))
        #expect(isShort == (1...Limits.sdp).contains(count))
    }
}
