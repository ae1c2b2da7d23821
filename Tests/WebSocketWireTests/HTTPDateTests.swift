import Testing
import WebSocketWire

@Suite struct HTTPDateTests {
    private static let now = 1_800_000_000  // Fri, 15 Jan 2027 08:00:00 GMT

    @Test(
        arguments: [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777), ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777), ("Sun Nov 16 08:49:37 1994", 784_975_777),
            ("Thu, 29 Feb 2024 23:59:60 GMT", 1_709_251_200), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Saturday, 15-Jan-77 00:00:00 GMT", 3_377_894_400), ("Sunday, 15-Jan-78 00:00:00 GMT", 253_670_400),
            ("Sun, 06 Nov 1994 08:49:37 +0000", nil), ("Sun, 06 Nov 94 08:49:37 GMT", nil),
            ("1994-11-06T08:49:37Z", nil),
            ("Sun, 06 Nob 1994 08:49:37 GMT", nil), ("Sun, 32 Nov 1994 08:49:37 GMT", nil), ("", nil), (", : : :", nil),
            ("Sun, 06 Nov 1994 24:00:00 GMT", nil), ("Sun, 06 Nov 99999 08:49:37 GMT", nil),
        ] as [(String, Int?)])
    func timesAreReadInTheThreeFormats(_ text: String, _ seconds: Int?) {
        #expect(HTTPDate.parse(text, now: Self.now) == seconds)
    }

    @Test(arguments: [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (1_704_067_199, "Sun, 31 Dec 2023 23:59:59 GMT"),
        (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"), (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
    ])
    func dateIsWrittenLikeMail(_ seconds: Int, _ text: String) {
        #expect(HTTPDate.text(seconds) == text)
        #expect(HTTPDate.parse(text, now: 0) == seconds)
    }

    @Test func everyDayIsReadAsItWasWritten() {
        for day in 0..<24_000 {
            let time = day * 86_400 + day % 86_400
            #expect(HTTPDate.parse(HTTPDate.text(time), now: 0) == time)
        }
    }
}
