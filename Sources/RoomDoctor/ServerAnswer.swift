/// The reason why a server on the network gave no answer.
package enum ProbeFailure: Error, Sendable, Hashable {
    /// Nothing listens there.
    case refused
    case timedOut
    /// Any other reason, in words.
    case failed(String)
}

/// The answer of a server to a request for `/health`, as far as it got.
package struct ServerAnswer: Sendable {
    /// The address that accepted the connection.
    package var address: String?
    /// The certificate. Nil without TLS, or when the handshake got no certificate.
    package var certificate: CertificateReport?
    package var status: Int?
    /// The server's time in whole seconds since 1970, if the answer has it.
    package var date: Double?
    /// This machine's time when the request was sent and when the answer was received, in seconds since 1970.
    package var times: (sent: Double, received: Double) = (0, 0)
    /// The failure that ended the request before there was a status.
    package var failure: ProbeFailure?

    package init() {}

    /// The seconds by which this machine's clock is ahead of the server's, and the precision: the answer was made
    /// between sending and receiving, within the second of its date.
    package var clockOffset: (ahead: Double, precision: Double)? {
        guard let date else { return nil }
        let earliest = times.sent - (date + 1)
        let latest = times.received - date
        return ((earliest + latest) / 2, (latest - earliest) / 2)
    }
}
