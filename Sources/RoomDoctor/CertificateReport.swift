/// A certificate, and this machine's verdict on it.
package struct CertificateReport: Sendable, Hashable {
    package enum Verdict: Sendable, Hashable {
        case trusted
        /// The certificate, or one that signed it, has expired.
        case expired
        case notYetValid
        case wrongName
        /// The reason, in OpenSSL's words.
        case untrusted(String)
    }
    package var verdict: Verdict
    /// The names, such as `DNS:example.org, IP Address:192.0.2.1`.
    package var names: String
    package var issuer: String
    /// The start of the validity, in seconds since 1970.
    package var from: Double
    /// The end of the validity, in seconds since 1970.
    package var until: Double

    func isValid(at time: Double) -> Bool { from <= time && time <= until }
}
