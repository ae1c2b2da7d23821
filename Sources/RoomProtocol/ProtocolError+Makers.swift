extension ProtocolError {
    /// The text is not a message of this protocol: the connection ends.
    public static func malformed(_ message: String, sequence: SequenceNumber? = nil) -> ProtocolError {
        ProtocolError(code: .malformed, message: message, isRetryable: false, isFatal: true, sequence: sequence)
    }

    /// A field is over its limit: the message has no effect, and the connection continues (after the hello).
    public static func limitExceeded(_ message: String) -> ProtocolError {
        ProtocolError(code: .limitExceeded, message: message, isRetryable: false, isFatal: false)
    }

    /// A message of an unknown type: it has no effect, and the connection continues (after the hello).
    public static func unknownType(_ message: String) -> ProtocolError {
        ProtocolError(code: .unknownType, message: message, isRetryable: false, isFatal: false)
    }

    /// A name has a character that no name may have.
    static func invalidName(_ field: String, _ scalar: Unicode.Scalar) -> ProtocolError {
        let digits = String(scalar.value, radix: 16, uppercase: true)
        let code = String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
        return ProtocolError(
            code: .invalidName,
            message:
                "The field \(field) has the character U+\(code). A name has no control characters, line ends, "
                + "invisible or zero-width characters, and none that change the direction of text.",
            isRetryable: false, isFatal: false)
    }

    static func versionMismatch(from lowest: UInt64, to highest: UInt64) -> ProtocolError {
        let asked = lowest == highest ? "\(highest)" : "\(lowest) to \(highest)"
        return ProtocolError(
            code: .versionMismatch,
            message: "This side speaks version \(protocolVersion) of the room protocol, the other side \(asked).",
            isRetryable: false, isFatal: true)
    }
}
