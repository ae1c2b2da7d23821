/// What a check of this machine came to.
package struct Finding: Sendable, Hashable {
    package enum Status: String, Sendable {
        case ok
        /// Connecting works, but not as well as it could.
        case warning
        /// Something would stop this machine from connecting.
        case problem
    }
    /// `libraries`, `interfaces`, `udp`, `buffers`, `descriptors`, `clock`, `name`, `health`, `handshake`, `stun`, `turn`.
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

/// Judges what was measured. Pure: the probes measure.
package enum Judgement {
    package static func interfaces(_ addresses: [MachineAddress]) -> Finding {
        let usable = addresses.filter { !$0.isLoopback && !$0.isVirtual && !$0.isLinkLocal }
        if !usable.isEmpty {
            let list = usable.map { "\($0.address) (\($0.interface))" }.joined(separator: ", ")
            return Finding("interfaces", .ok, "addresses to offer to peers: \(list)")
        }
        let virtual = addresses.filter(\.isVirtual)
        if !virtual.isEmpty {
            let names = Set(virtual.map(\.interface)).sorted().joined(separator: ", ")
            return Finding(
                "interfaces", .problem, "the only addresses are on \(names), which libnice ignores",
                cure:
                    "connect the machine to a network, or rename the interface: veth*, docker*, virbr* and vnet* count as internal"
            )
        }
        return Finding(
            "interfaces", .problem, "this machine has no network address to offer to peers",
            cure: "bring a network interface up and give it an address (ip address; dhclient)")
    }

    /// `maximum` in bytes: net.core.rmem_max; nil when it cannot be read.
    package static func receiveBuffers(maximum: Int?) -> Finding {
        guard let maximum else {
            return Finding(
                "buffers", .warning, "/proc/sys/net/core/rmem_max cannot be read: the limit of UDP buffers is unknown")
        }
        let wanted = 4 << 20
        if maximum >= wanted { return Finding("buffers", .ok, "UDP buffers of \(maximum >> 10) KiB are allowed") }
        return Finding(
            "buffers", .warning,
            "UDP buffers are limited to \(maximum >> 10) KiB: bursts of large messages may lose datagrams and be slow",
            cure: "sysctl -w net.core.rmem_max=\(wanted) net.core.wmem_max=\(wanted)")
    }

    /// `limit`: descriptors that the process may have open.
    package static func descriptors(limit: UInt64) -> Finding {
        let cure = "ulimit -n 4096, or LimitNOFILE=4096 in the service's unit"
        switch limit {
        case ..<64: return Finding("descriptors", .problem, "only \(limit) descriptors may be open", cure: cure)
        case ..<1024: return Finding("descriptors", .warning, "only \(limit) descriptors may be open", cure: cure)
        default: return Finding("descriptors", .ok, "\(limit) descriptors may be open")
        }
    }

    /// Seconds by which this machine's clock is ahead of the server's; `precision`: how exactly that is known.
    package static func clock(ahead: Double, precision: Double = 1.5) -> Finding {
        let distance = max(0, abs(ahead) - precision)
        let side = ahead > 0 ? "ahead of" : "behind"
        let text = "this machine's clock is \(Int(abs(ahead).rounded())) s \(side) the server's"
        let cure = "set the clock, and keep it right (timedatectl set-ntp true)"
        switch distance {
        case ...5: return Finding("clock", .ok, "this machine's clock and the server's agree")
        case ...60: return Finding("clock", .warning, text, cure: cure)
        default:
            return Finding(
                "clock", .problem, text + ": tokens, TURN credentials and certificates seem expired or not yet valid",
                cure: cure)
        }
    }

    /// How far two clocks of this machine went apart while `elapsed` passed, both in seconds.
    package static func steadiness(drift: Double, elapsed: Double) -> Finding {
        if abs(drift) <= max(0.02, elapsed * 0.01) { return Finding("clock", .ok, "this machine's clock runs evenly") }
        return Finding(
            "clock", .warning, "this machine's clock was moved by \(Int(drift * 1000)) ms while it was watched",
            cure: "look for two programs that set the clock (timedatectl status)")
    }

    package static func health(status: Int?, url: String) -> Finding {
        switch status {
        case 200?: return Finding("health", .ok, "\(url) says that the server is well")
        case 503?:
            return Finding(
                "health", .problem, "\(url) says 503: the server is ending, or full",
                cure: "wait, or look at the server's log")
        case let status?:
            return Finding(
                "health", .warning, "\(url) says \(status): what listens there may be no room server",
                cure: "compare the address with what `room serve` prints")
        case nil:
            return Finding(
                "health", .warning, "\(url) gave no HTTP answer",
                cure: "compare the address with what `room serve` prints")
        }
    }

    /// The outcome of a real TURN allocation.
    package static func turn(hasRelay: Bool, server: String, isComplete: Bool) -> Finding {
        if hasRelay { return Finding("turn", .ok, "\(server) gave a relayed address") }
        return Finding(
            "turn", .problem,
            isComplete ? "\(server) gave no relayed address" : "\(server) did not answer in time",
            cure:
                "check its address, that UDP to it is let through, and the username and credential: they may have expired"
        )
    }
}
