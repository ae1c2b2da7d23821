/// A terminal with a conversation that scrolls, and below it one line of status and the line that is being typed.
///
/// Pure: each call returns the text (ECMA-48) that brings the terminal from the last state to the new one. What comes
/// in never tears what is being typed.
package struct TerminalScreen: Sendable {
    /// Columns of the terminal; may change at any time.
    package var width: Int
    private var status: String?
    private var input: (prompt: String, text: [Character], cursor: Int) = ("", [], 0)
    /// Rows of the last drawing; the cursor is in the last one.
    private var rows = 0

    package init(width: Int) { self.width = width }

    /// Prints lines above the status. `lines` may contain colours; each stands for itself.
    package mutating func print(_ lines: [String]) -> String {
        erase() + lines.map { $0 + "\r\n" }.joined() + draw()
    }

    /// Shows one line of status, or none. It is cut at the width of the terminal, so it has no colours.
    package mutating func show(status: String?) -> String {
        guard status != self.status else { return "" }
        let erased = erase()
        self.status = status
        return erased + draw()
    }

    /// Shows the line that is being typed, with the cursor in it.
    package mutating func show(prompt: String, text: [Character], cursor: Int) -> String {
        let erased = erase()
        input = (prompt, text, cursor)
        return erased + draw()
    }

    /// Clears the terminal and draws the last two lines again.
    package mutating func clear() -> String {
        rows = 0
        return "\u{1B}[H\u{1B}[2J" + draw()
    }

    /// Takes the status and the line away: the terminal is as after the last line that was printed.
    package mutating func close() -> String {
        defer {
            status = nil
            input = ("", [], 0)
        }
        return erase()
    }

    private mutating func erase() -> String {
        defer { rows = 0 }
        guard rows > 0 else { return "" }
        return (rows > 1 ? "\u{1B}[\(rows - 1)A" : "") + "\r\u{1B}[J"
    }

    private mutating func draw() -> String {
        rows = status == nil ? 1 : 2
        var drawing = ""
        if let status { drawing += "\u{1B}[2m" + Self.prefix(of: Array(status), width: width - 1).0 + "\u{1B}[0m\r\n" }
        let (visible, column) = window()
        drawing += input.prompt + visible + "\r"
        let columns = input.prompt.count + column
        return columns > 0 ? drawing + "\u{1B}[\(columns)C" : drawing
    }

    /// The part of the typed line that fits beside the prompt, around the cursor, and the cursor's column in it.
    private func window() -> (String, Int) {
        let space = max(width - input.prompt.count - 1, 1)
        var start = 0
        var column = input.text[..<input.cursor].reduce(0) { $0 + Self.width(of: $1) }
        while column >= space, start < input.cursor {
            column -= Self.width(of: input.text[start])
            start += 1
        }
        return (Self.prefix(of: Array(input.text[start...]), width: space).0, column)
    }

    private static func prefix(of text: [Character], width: Int) -> (String, Int) {
        var columns = 0
        var prefix = ""
        for character in text {
            let own = Self.width(of: character)
            guard columns + own <= width else { break }
            columns += own
            prefix.append(character)
        }
        return (prefix, columns)
    }

    /// Columns that terminals use for a character: two for wide ones (UAX #11) and emoji.
    package static func width(of character: Character) -> Int {
        guard let scalar = character.unicodeScalars.first else { return 0 }
        switch scalar.value {
        case ..<0x1100: return scalar.properties.generalCategory == .nonspacingMark ? 0 : 1
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
            0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F680...0x1F6FF, 0x1F900...0x1F9FF,
            0x20000...0x3FFFD:
            return 2
        default: return 1
        }
    }
}
