extension Unicode.Scalar {
    /// Whether a name of a room or participant must not contain it: control characters (C0, DEL, C1), line ends,
    /// characters that change the direction of the surrounding text or are invisible (all that Unicode calls
    /// default-ignorable: zero-width characters, variation selectors, tags), and U+FFFD, which replaces invalid text.
    ///
    /// With them a name could look like another one, or change the display of the text around it.
    var isForbiddenInNames: Bool {
        switch value {
        case 0x20...0x7E: false
        case 0...0x1F, 0x7F...0x9F, 0x2028, 0x2029, 0xFFF9...0xFFFD: true
        default: properties.isDefaultIgnorableCodePoint
        }
    }
}

/// The rules for names of rooms and participants.
package enum NameRules {
    /// Returns the reason why a text cannot be a name; nil when it can.
    package static func fault(of name: String, limit: Int) -> String? {
        if name.isEmpty { return "is empty" }
        if name.utf8.count > limit { return "has more than \(limit) bytes" }
        guard let scalar = name.unicodeScalars.first(where: \.isForbiddenInNames) else { return nil }
        return "has a character that names must not have: U+" + String(scalar.value, radix: 16, uppercase: true)
    }
}
