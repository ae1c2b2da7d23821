/// Why something on the network gave no answer.
package enum ProbeFailure: Error, Sendable, Hashable {
    /// The machine says that nothing listens there.
    case refused
    case timedOut
    /// Anything else, in words.
    case failed(String)
}

/// A certificate, and what this machine thinks of it.
package struct CertificateReport: Sendable, Hashable {
    package enum Verdict: Sendable, Hashable {
        case trusted
        /// It, or one that signed it.
        case expired
        case notYetValid
        case wrongName
        /// Why, in OpenSSL's words.
        case untrusted(String)
    }
    package var verdict: Verdict
    /// `DNS:example.org, IP Address:192.0.2.1`
    package var names: String
    package var issuer: String
    /// Seconds since 1970.
    package var from: Double
    /// Seconds since 1970.
    package var until: Double

    package init(verdict: Verdict, names: String, issuer: String, from: Double, until: Double) {
        self.verdict = verdict
        self.names = names
        self.issuer = issuer
        self.from = from
        self.until = until
    }

    func isValid(at time: Double) -> Bool { from <= time && time <= until }
}

/// What came of asking a server for `/health`, as far as it went.
package struct ServerAnswer: Sendable {
    /// The address that took the connection.
    package var address: String?
    /// Nil when TLS was not spoken, or did not come to a certificate.
    package var certificate: CertificateReport?
    package var status: Int?
    /// The server's time in whole seconds since 1970, where it tells it.
    package var date: Double?
    /// This machine's time when the request was sent and when the answer was there, in seconds since 1970.
    package var times: (sent: Double, received: Double) = (0, 0)
    /// What ended it before there was a status.
    package var failure: ProbeFailure?

    package init() {}

    /// Seconds by which this machine's clock is ahead of the server's, and how exactly that is known: the answer was made between
    /// sending and receiving, within the second that it tells.
    package var clockOffset: (ahead: Double, precision: Double)? {
        guard let date else { return nil }
        let earliest = times.sent - (date + 1)
        let latest = times.received - date
        return ((earliest + latest) / 2, (latest - earliest) / 2)
    }
}
