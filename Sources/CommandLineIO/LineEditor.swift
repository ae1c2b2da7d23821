/// The line that is being typed on a terminal which hands over single keys (`TerminalMode`).
///
/// Pure: bytes go in, and what they mean comes out. Knows the keys that people expect of a shell: arrows, Home, End,
/// Delete, Backspace, Ctrl-A, -E, -K, -U, -W, -L, -D, and Up and Down for the lines of before.
package struct LineEditor: Sendable {
    package enum Event: Equatable, Sendable {
        /// The text or the cursor has changed: draw the line again.
        case changed
        /// Enter: a line is complete.
        case line(String)
        /// Ctrl-L: draw the whole screen again.
        case clearScreen
        /// Ctrl-D on an empty line.
        case endOfInput
    }

    /// The characters that were typed.
    package private(set) var text: [Character] = []
    /// The position of the cursor in `text`.
    package private(set) var cursor = 0

    private let limit: Int
    /// Bytes of a character or a key that is not complete.
    private var pending: [UInt8] = []
    private var history: [[Character]] = []
    /// The line of the history that is shown; its count: the new line.
    private var position = 0
    /// The new line, while one of the history is shown.
    private var draft: [Character] = []

    /// Lines of the history that are kept.
    private static let historyLimit = 200

    /// - Parameter limit: The number of bytes that a line may have; more are not taken.
    package init(limit: Int) { self.limit = limit }

    /// Takes bytes from the terminal.
    package mutating func receive(_ bytes: some Sequence<UInt8>) -> [Event] {
        pending.append(contentsOf: bytes)
        var events: [Event] = []
        while let key = takeKey() { events += perform(key) }
        return events
    }

    // MARK: Keys

    private enum Key {
        case character(Character)
        case control(UInt8)
        case up, down, left, right, home, end, delete
        case unknown
    }

    /// Takes the first complete key out of `pending`.
    private mutating func takeKey() -> Key? {
        guard let first = pending.first else { return nil }
        if first == 0x1B { return takeEscape() }
        if first < 0x20 || first == 0x7F {
            pending.removeFirst()
            return .control(first)
        }
        let length = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2
        guard pending.count >= length else { return nil }
        let text = String(validating: pending.prefix(length), as: UTF8.self)
        pending.removeFirst(text == nil ? 1 : length)
        return text?.first.map(Key.character) ?? .unknown
    }

    /// ECMA-48 §5.4: ESC [ parameters final. Terminals send ESC O final in another mode.
    private mutating func takeEscape() -> Key? {
        guard pending.count > 1 else { return nil }
        guard pending[1] == UInt8(ascii: "[") || pending[1] == UInt8(ascii: "O") else {
            pending.removeFirst(2)
            return .unknown
        }
        guard let end = pending.dropFirst(2).firstIndex(where: { (0x40...0x7E).contains($0) }) else {
            if pending.count > 32 { pending = [] }
            return nil
        }
        let parameters = pending[2..<end]
        let final = pending[end]
        defer { pending.removeFirst(end + 1) }
        switch (final, parameters.first) {
        case (UInt8(ascii: "A"), _): return .up
        case (UInt8(ascii: "B"), _): return .down
        case (UInt8(ascii: "C"), _): return .right
        case (UInt8(ascii: "D"), _): return .left
        case (UInt8(ascii: "H"), _), (UInt8(ascii: "~"), UInt8(ascii: "1")), (UInt8(ascii: "~"), UInt8(ascii: "7")):
            return .home
        case (UInt8(ascii: "F"), _), (UInt8(ascii: "~"), UInt8(ascii: "4")), (UInt8(ascii: "~"), UInt8(ascii: "8")):
            return .end
        case (UInt8(ascii: "~"), UInt8(ascii: "3")): return .delete
        default: return .unknown
        }
    }

    private mutating func perform(_ key: Key) -> [Event] {
        switch key {
        case .character(let character): insert(character)
        case .control(let code): return perform(control: code)
        case .left: cursor = max(0, cursor - 1)
        case .right: cursor = min(text.count, cursor + 1)
        case .home: cursor = 0
        case .end: cursor = text.count
        case .delete: if cursor < text.count { text.remove(at: cursor) }
        case .up: show(position - 1)
        case .down: show(position + 1)
        case .unknown: return []
        }
        return [.changed]
    }

    private mutating func perform(control code: UInt8) -> [Event] {
        switch code {
        case 0x0A, 0x0D: return [.line(takeLine())]
        case 0x04 where text.isEmpty: return [.endOfInput]
        case 0x04: if cursor < text.count { text.remove(at: cursor) }
        case 0x01: cursor = 0
        case 0x02: cursor = max(0, cursor - 1)
        case 0x05: cursor = text.count
        case 0x06: cursor = min(text.count, cursor + 1)
        case 0x08, 0x7F:
            guard cursor > 0 else { return [] }
            cursor -= 1
            text.remove(at: cursor)
        case 0x09: insert(" ")
        case 0x0B: text.removeSubrange(cursor...)
        case 0x0C: return [.clearScreen]
        case 0x15:
            text.removeSubrange(..<cursor)
            cursor = 0
        case 0x17: deleteWord()
        default: return []
        }
        return [.changed]
    }

    // MARK: The line

    private mutating func insert(_ character: Character) {
        guard text.reduce(0, { $0 + $1.utf8.count }) + character.utf8.count <= limit else { return }
        // A combining character joins the one before it.
        if cursor > 0, case let joined = String(text[cursor - 1]) + String(character), joined.count == 1 {
            text[cursor - 1] = joined[joined.startIndex]
            return
        }
        text.insert(character, at: cursor)
        cursor += 1
    }

    private mutating func deleteWord() {
        let end = cursor
        while cursor > 0, text[cursor - 1] == " " { cursor -= 1 }
        while cursor > 0, text[cursor - 1] != " " { cursor -= 1 }
        text.removeSubrange(cursor..<end)
    }

    private mutating func takeLine() -> String {
        let line = text
        if !line.isEmpty, history.last != line {
            history.append(line)
            if history.count > Self.historyLimit { history.removeFirst() }
        }
        position = history.count
        text = []
        draft = []
        cursor = 0
        return String(line)
    }

    private mutating func show(_ new: Int) {
        guard (0...history.count).contains(new), new != position else { return }
        if position == history.count { draft = text }
        position = new
        text = new == history.count ? draft : history[new]
        cursor = text.count
    }
}
