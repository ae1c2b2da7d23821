internal import TransportPluginAPI

/// The ends of an association that the other side brings about.
enum AssociationError {
    static let restarted = TransportError(
        .protocolViolation, "the other side began a new SCTP association", isRetryable: true)

    static func aborted(_ cause: UInt16) -> TransportError {
        TransportError(
            .protocolViolation, "the SCTP association was aborted with error cause \(cause)", isRetryable: true)
    }
}
