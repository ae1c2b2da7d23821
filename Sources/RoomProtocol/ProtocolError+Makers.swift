extension ProtocolError {
    /// The text is no message of this protocol: the connection ends.
    public static func malformed(_ message: String, sequence: SequenceNumber? = nil) -> ProtocolError {
        ProtocolError(code: .malformed, message: message, isRetryable: false, isFatal: true, sequence: sequence)
    }

    /// A field is over its limit: the message is not acted upon, the connection goes on (after the hello).
    public static func limitExceeded(_ message: String) -> ProtocolError {
        ProtocolError(code: .limitExceeded, message: message, isRetryable: false, isFatal: false)
    }

    /// A message of a type that this side does not know: not acted upon, the connection goes on (after the hello).
    public static func unknownType(_ message: String) -> ProtocolError {
        ProtocolError(code: .unknownType, message: message, isRetryable: false, isFatal: false)
    }

    static func versionMismatch(from lowest: UInt64, to highest: UInt64) -> ProtocolError {
        let asked = lowest == highest ? "\(highest)" : "\(lowest) to \(highest)"
        return ProtocolError(
            code: .versionMismatch,
            message: "This side speaks version \(protocolVersion) of the room protocol, the other side \(asked).",
            isRetryable: false, isFatal: true)
    }
}
