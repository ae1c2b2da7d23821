import CommandLineIO
import Testing

@Suite struct VisibleTextTests {
    @Test(arguments: [
        ("\u{1B}]0;TITLE\u{7}", "\\u{1B}]0;TITLE\\u{7}"), ("\u{0}\u{8}\u{7F}", "\\u{0}\\u{8}\\u{7F}"),
        ("m\u{9B}31m", "m\\u{9B}31m"), ("\u{85}", "\\u{85}"), ("over\rwritten", "over\\u{D}written"),
        ("a\u{2028}b\u{2029}c", "a\\u{2028}b\\u{2029}c"),
    ])
    func terminalControlCharactersAreEscaped(_ text: String, _ visible: String) {
        #expect(VisibleText.escaping(text) == visible)
    }

    @Test(
        arguments: [
            0x061C, 0x200E, 0x200F, 0x202A, 0x202E, 0x2066, 0x2069, 0x200B, 0x2060, 0xFEFF, 0x00AD, 0x034F, 0x3164,
            0xE0041,
            0xE0100,
        ] as [UInt32])
    func invisibleCharactersAreEscaped(_ value: UInt32) throws {
        let scalar = try #require(Unicode.Scalar(value))
        let code = String(value, radix: 16, uppercase: true)
        #expect(VisibleText.escaping("al\(Character(scalar))ice") == "al\\u{\(code)}ice")
    }

    @Test(arguments: [
        "plain text, 100 %", "tab\tstop", "Grüße, 日本語, עברית", "e\u{301}",
        "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}",
        "\u{2764}\u{FE0F}", "\u{0645}\u{06CC}\u{200C}\u{062E}\u{0648}\u{0627}\u{0647}\u{0645}",
    ])
    func textThatPeopleWriteStaysAsItIs(_ text: String) { #expect(VisibleText.escaping(text) == text) }

    @Test(arguments: ["a\u{200D}b", "a\u{200C}b", "\u{200D}\u{1F467}", "9\u{FE0F}9\u{200D}9", "x\u{FE0F}"])
    func joinersBetweenOtherLettersAreShownAsEscapes(_ text: String) {
        #expect(VisibleText.escaping(text).contains("\\u{"))
    }

    @Test func aLineEndNeverBeginsALineOfTheTimeline() {
        let lines = VisibleText.escaping("hi\n   9.999  alice left\r\nend").split(separator: "\n")
        #expect(lines == ["hi", "          |    9.999  alice left", "          | end"])
    }
}
