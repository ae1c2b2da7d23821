import CommandLineIO
import Testing

@Suite("The line that is being typed")
struct LineEditorTests {
    private func type(_ keys: String..., limit: Int = 1000) -> (LineEditor, [LineEditor.Event]) {
        var editor = LineEditor(limit: limit)
        let events = keys.flatMap { editor.receive($0.utf8) }.filter { $0 != .changed }
        return (editor, events)
    }

    @Test func enterCompletesALine() {
        let (editor, events) = type("hello", "\r", "wörld 😀\n")
        #expect(events == [.line("hello"), .line("wörld 😀")] && editor.text.isEmpty)
    }

    @Test func charactersMayComeInPieces() {
        var editor = LineEditor(limit: 100)
        for byte in "é😀\u{1B}[D!".utf8 { _ = editor.receive([byte]) }
        #expect(String(editor.text) == "é!😀" && editor.cursor == 2)
    }

    @Test(arguments: [
        ("ab\u{1B}[Dx", "axb"), ("ab\u{1}x", "xab"), ("ab\u{1}\u{5}x", "abx"), ("ab\u{7F}", "a"),
        ("ab\u{1B}[H\u{1B}[3~", "b"),
        ("one two\u{17}", "one "), ("one two\u{15}", ""), ("ab\u{2}\u{B}", "a"), ("a\u{1B}[5~b", "ab"),
        ("e\u{301}", "é"),
        ("a\tb", "a b"), ("ab\u{1B}OD\u{1B}OCx", "abx"), ("\u{7F}\u{1B}[D\u{1B}[3~", ""), ("a\u{1B}[1;5Cb", "ab"),
    ])
    func keysEdit(_ keys: String, _ text: String) { #expect(String(type(keys).0.text) == text) }

    @Test func theLinesOfBeforeComeBack() {
        #expect(String(type("one\r", "two\r", "dra", "\u{1B}[A").0.text) == "two")
        #expect(String(type("one\r", "two\r", "dra", "\u{1B}[A\u{1B}[A\u{1B}[A").0.text) == "one")
        #expect(String(type("one\r", "two\r", "dra", "\u{1B}[A\u{1B}[B").0.text) == "dra")
    }

    @Test func endOfInputIsCtrlDOnAnEmptyLine() {
        #expect(type("\u{4}").1 == [.endOfInput])
        let (editor, events) = type("ab\u{1}\u{4}")
        #expect(events.isEmpty && String(editor.text) == "b")
    }

    @Test func nothingIsTakenOverTheLimitAndNothingThatIsNoText() {
        #expect(String(type("abcdef", limit: 4).0.text) == "abcd")
        var editor = LineEditor(limit: 100)
        _ = editor.receive([0xFF, 0xC3, 0x28, UInt8(ascii: "a")])
        #expect(String(editor.text) == "(a")
        _ = editor.receive([0x1B, UInt8(ascii: "[")] + [UInt8](repeating: UInt8(ascii: "1"), count: 1000))
        _ = editor.receive("b".utf8)
        #expect(editor.text.count < 100)
        _ = editor.receive("\r\u{1B}[Dc".utf8)
        #expect(editor.text.last == "c", "a key that never ends is given up")
    }
}

/// A terminal of a few rows that understands what `TerminalScreen` writes.
private struct Terminal {
    var rows: [[Character]] = [[]]
    var row = 0
    var column = 0
    var isColoured = false

    var text: [String] { rows.map { String($0) } }

    mutating func write(_ text: String) {
        var rest = Substring(text)
        // CR LF is one character.
        while let character = rest.unicodeScalars.first {
            rest = Substring(rest.unicodeScalars.dropFirst())
            switch character {
            case "\r": column = 0
            case "\n":
                row += 1
                while rows.count <= row { rows.append([]) }
            case "\u{1B}":
                let end = rest.firstIndex { $0.isLetter } ?? rest.startIndex
                let number = Int(rest[..<end].dropFirst()) ?? 1
                switch rest[end] {
                case "A": row -= number
                case "C": column += number
                case "J":
                    rows[row].removeSubrange(min(column, rows[row].count)...)
                    rows.removeSubrange((row + 1)...)
                default: break
                }
                rest = rest[rest.index(after: end)...]
            default:
                while rows[row].count <= column { rows[row].append(" ") }
                rows[row][column] = Character(character)
                column += 1
            }
        }
    }
}

@Suite("The screen of a conversation")
struct TerminalScreenTests {
    @Test func whatComesInDoesNotTearWhatIsBeingTyped() {
        var screen = TerminalScreen(width: 40)
        var terminal = Terminal()
        terminal.write(screen.show(prompt: "> ", text: Array("hel"), cursor: 3))
        terminal.write(screen.print(["bob: hi", "bob: there"]))
        #expect(terminal.text == ["bob: hi", "bob: there", "> hel"])
        #expect(terminal.row == 2 && terminal.column == 5)
        terminal.write(screen.show(prompt: "> ", text: Array("hello"), cursor: 1))
        #expect(terminal.text.last == "> hello" && terminal.column == 3)
    }

    @Test func anOutageIsOneLineThatIsRewritten() {
        var screen = TerminalScreen(width: 20)
        var terminal = Terminal()
        terminal.write(screen.show(prompt: "> ", text: [], cursor: 0))
        for attempt in 1...5 { terminal.write(screen.show(status: "reconnecting, attempt \(attempt)")) }
        #expect(terminal.text == ["reconnecting, attem", "> "], "cut at the terminal's width")
        terminal.write(screen.print(["bob: hi"]))
        #expect(terminal.text == ["bob: hi", "reconnecting, attem", "> "])
        terminal.write(screen.show(status: nil))
        #expect(terminal.text == ["bob: hi", "> "])
        terminal.write(screen.close())
        #expect(terminal.text == ["bob: hi", ""])
    }

    @Test func aLongLineIsShownAroundTheCursor() {
        var screen = TerminalScreen(width: 12)
        var terminal = Terminal()
        terminal.write(screen.show(prompt: "> ", text: Array("0123456789abcdef"), cursor: 16))
        #expect(terminal.text == ["> 89abcdef"] && terminal.column == 10)
        terminal.write(screen.show(prompt: "> ", text: Array("0123456789abcdef"), cursor: 0))
        #expect(terminal.text == ["> 012345678"] && terminal.column == 2)
    }
}
