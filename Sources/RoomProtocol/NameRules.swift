extension Unicode.Scalar {
    /// Whether a name of a room or participant must not have it: control characters (C0, DEL, C1), ends of lines, what changes the
    /// direction of the text around it or is not visible (all that Unicode calls default-ignorable: zero-width characters, variation
    /// selectors, tags), and U+FFFD, which stands for what was no text.
    ///
    /// With them a name could look like another one, or change what is shown around it.
    var isForbiddenInNames: Bool {
        switch value {
        case 0x20...0x7E: false
        case 0...0x1F, 0x7F...0x9F, 0x2028, 0x2029, 0xFFF9...0xFFFD: true
        default: properties.isDefaultIgnorableCodePoint
        }
    }
}
