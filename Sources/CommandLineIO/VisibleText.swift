/// Makes text from others safe to print: a terminal shows it and never obeys it.
package enum VisibleText {
    /// The prefix of each further line of a text with several lines, so that no text can look like a line of its own.
    package static let continuation = "\n          | "

    /// Returns `text` with every character that a terminal would obey, or that is invisible, as an escape like
    /// `\u{1B}`.
    ///
    /// Escapes control characters (C0, DEL, C1), characters that change the direction of text, zero-width and other
    /// invisible characters, and Unicode's line and paragraph separators. Keeps tabs. A line end, LF or CRLF, becomes
    /// `continuation`. Joiners and variation selectors are kept where emoji and the scripts of Arabic and India need
    /// them.
    package static func escaping(_ text: String) -> String {
        if text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) { return text }
        var visible = ""
        var previous: Unicode.Scalar?
        var scalars = text.unicodeScalars.makeIterator()
        var next = scalars.next()
        while let scalar = next {
            next = scalars.next()
            defer { previous = scalar }
            switch scalar {
            case "\n": visible += continuation
            case "\r" where next == "\n": break
            case "\t": visible.unicodeScalars.append(scalar)
            case _ where isHidden(scalar) && !isNeeded(scalar, between: previous, and: next):
                visible += "\\u{" + String(scalar.value, radix: 16, uppercase: true) + "}"
            default: visible.unicodeScalars.append(scalar)
            }
        }
        return visible
    }

    private static func isHidden(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.value < 0x80 { return scalar.value < 0x20 || scalar.value == 0x7F }
        let properties = scalar.properties
        return switch properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator: true
        // Interlinear annotation characters hide the text between them.
        default: properties.isDefaultIgnorableCodePoint || (0xFFF9...0xFFFB).contains(scalar.value)
        }
    }

    private static func isNeeded(
        _ scalar: Unicode.Scalar, between previous: Unicode.Scalar?, and next: Unicode.Scalar?
    ) -> Bool {
        guard let previous else { return false }
        switch scalar.value {
        // Variation selectors for text and for emoji.
        case 0xFE0E, 0xFE0F: return previous.properties.isEmoji
        // ZERO WIDTH NON-JOINER, ZERO WIDTH JOINER.
        case 0x200C, 0x200D:
            guard let next else { return false }
            let scripts: ClosedRange<UInt32> = 0x0600...0x0DFF
            if scripts.contains(previous.value), scripts.contains(next.value) { return true }
            let isAfterEmoji = previous.value == 0xFE0F || previous.value > 0xFF && previous.properties.isEmoji
            return scalar.value == 0x200D && isAfterEmoji && next.value > 0xFF && next.properties.isEmoji
        default: return false
        }
    }
}
