/// What a check of this machine came to.
package struct Finding: Sendable, Hashable {
    package enum Status: String, Sendable {
        case ok
        /// Connecting works, but not as well as it could.
        case warning
        /// Something would stop this machine from connecting.
        case problem
    }
    /// `libraries`, `interfaces`, `udp`, `buffers`, `descriptors`, `clock`, `name`, `port`, `tls`, `certificate`, `health`,
    /// `handshake`, `stun`, `turn`.
    package var check: String
    package var status: Status
    package var message: String
    /// What to do about it.
    package var cure: String?

    package init(_ check: String, _ status: Status, _ message: String, cure: String? = nil) {
        self.check = check
        self.status = status
        self.message = message
        self.cure = cure
    }
}

/// An address of this machine.
package struct MachineAddress: Sendable, Hashable {
    package var interface: String
    package var address: String
    package var isLoopback: Bool

    package init(interface: String, address: String, isLoopback: Bool) {
        self.interface = interface
        self.address = address
        self.isLoopback = isLoopback
    }

    /// libnice offers no address of these: they lead to containers and virtual machines on this machine only.
    var isVirtual: Bool { ["docker", "veth", "virbr", "vnet"].contains { interface.hasPrefix($0) } }

    /// IPv4 and IPv6 addresses that the system gives itself when nobody else does (RFC 3927, RFC 4291 §2.5.6).
    var isLinkLocal: Bool { address.hasPrefix("169.254.") || address.lowercased().hasPrefix("fe80:") }
}
