import RoomProtocol
import Testing

private func error(room: String = "r", name: String = "n") -> ProtocolError? {
    let hello = Hello(room: RoomName(room), role: .guest, name: name)
    do throws(ProtocolError) {
        _ = try RoomProtocolCodec.decodeClientMessage(RoomProtocolCodec.encode(Envelope(.hello(hello))))
        return nil
    } catch {
        return error
    }
}

@Suite("Names of rooms and participants")
struct NameTests {
    @Test(arguments: [
        0x00 as UInt32, 0x0A, 0x1B, 0x7F, 0x80, 0x9B, 0x9F, 0xAD, 0x034F, 0x061C, 0x115F, 0x180E, 0x200B, 0x200D,
        0x200E, 0x200F, 0x2028, 0x2029,
        0x202A, 0x202E, 0x2060, 0x2066, 0x2069, 0x3164, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF9, 0xFFFD, 0xE0001, 0xE007F,
    ])
    func controlBidirectionalAndInvisibleCharactersAreRefusedByATypedErrorThatNamesThem(_ code: UInt32) throws {
        let text = "a\(Unicode.Scalar(code).map(String.init) ?? "")b"
        for error in [error(room: text), error(name: text)] {
            let error = try #require(error)
            #expect(error.code == .invalidName && !error.isRetryable && !error.isFatal)
            #expect(error.message.contains(String(code, radix: 16, uppercase: true) + "."))
            #expect(
                !error.message.unicodeScalars.contains { $0.value == code }
                    && error.message.utf8.count <= Limits.errorMessage)
        }
    }

    @Test(arguments: [
        "Ann", "Zoë", "e\u{301}", "李明", "Пётр", "محمد", "नमस्ते", "😀", "a b", "O'Neil (2)", "~", "\u{A0}",
    ])
    func namesOfAllScriptsAreTaken(_ text: String) {
        #expect(error(room: text) == nil && error(name: text) == nil)
    }

    /// A browser turns half a surrogate pair into the one or the other, however it sends it.
    @Test(arguments: [#"cut \ud83d"#, "cut \u{FFFD}"])
    func halfASurrogatePairIsNoName(_ text: String) throws {
        let bytes = Array(#"{"type":"hello","version":1,"room":"r","role":"guest","name":"\#(text)"}"#.utf8)
        let error = #expect(throws: ProtocolError.self) { try RoomProtocolCodec.decodeClientMessage(bytes) }
        #expect(error?.code == .invalidName)
    }

    /// Comparing canonically equivalent texts takes time that grows with the square of the number of their marks.
    @Test func namesAreTheSameWhereTheirBytesAre() {
        let (composed, decomposed) = ("\u{E9}", "e\u{301}")
        #expect(composed == decomposed)
        #expect(RoomName(composed) != RoomName(decomposed))
        #expect(Set([RoomName(composed), RoomName(decomposed), RoomName("\u{E9}")]).count == 2)
        func participant(_ name: String, _ value: String) -> Participant {
            Participant(
                id: ParticipantID("p"), session: SessionID("s"), epoch: 1, name: name, isHost: false,
                metadata: ["k": value])
        }
        #expect(participant(composed, "") != participant(decomposed, ""))
        #expect(participant("n", composed) != participant("n", decomposed))
        #expect(participant("n", composed) == participant("n", composed))
    }

    @Test func membersOfAnObjectAreToldApartByTheirBytes() throws {
        let text = Array(#"{"type":"ping","id":1,"\u00e9":1,"e\u0301":2}"#.utf8)
        #expect(try RoomProtocolCodec.decodeClientMessage(text).message == .ping(id: 1))
    }
}
