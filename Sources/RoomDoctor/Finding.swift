/// The result of a check of this machine.
package struct Finding: Sendable, Hashable {
    package enum Status: String, Sendable {
        case ok
        /// Connecting works, but not as well as it could.
        case warning
        /// Something would stop this machine from connecting.
        case problem
    }
    /// The check's name: `libraries`, `interfaces`, `udp`, `buffers`, `descriptors`, `clock`, `proxy`, `name`, `port`,
    /// `tls`, `certificate`, `health`, `handshake`, `stun`, `turn`, `join`, `ice`, `dtls`, `messages`.
    package var check: String
    package var status: Status
    package var message: String
    /// The advice on what to do about it.
    package var cure: String?

    package init(_ check: String, _ status: Status, _ message: String, cure: String? = nil) {
        self.check = check
        self.status = status
        self.message = message
        self.cure = cure
    }
}
