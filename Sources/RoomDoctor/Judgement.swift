package import TransportPluginAPI

/// Turns measurements into findings. Pure: the probes measure.
package enum Judgement {
    /// Whether a backend can run here.
    /// - Parameters:
    ///   - unavailability: why not; it names the package that brings what is missing.
    ///   - isChosen: the backend is the one that will be used.
    package static func library(of backend: String, unavailability: String?, isChosen: Bool) -> Finding {
        guard let unavailability else { return Finding("libraries", .ok, "\(backend) can run here") }
        return Finding(
            "libraries", isChosen ? .problem : .warning, "\(backend) cannot run here: \(unavailability)",
            cure: isChosen ? "install what is missing, or choose another backend" : nil)
    }

    /// The addresses that the peers of this machine are offered.
    /// - Parameters:
    ///   - all: Every address of an interface that is up and has a carrier.
    ///   - preferred: The source addresses of packets to other networks.
    ///   - netlinkRefusal: The reason why the system gives no netlink sockets, if it does not.
    package static func interfaces(
        _ all: [LocalAddress], preferring preferred: [String], netlinkRefusal: String? = nil
    ) -> Finding {
        let offered = LocalAddress.ranked(all, preferring: preferred)
        let sandbox = netlinkRefusal.map {
            (
                problem: "the system refuses netlink sockets (\($0)), as a sandbox without AF_NETLINK does",
                cure: "allow them: RestrictAddressFamilies=AF_NETLINK AF_INET AF_INET6 AF_UNIX in the service's unit"
            )
        }
        guard !offered.isEmpty else {
            return Finding(
                "interfaces", .problem,
                "this machine has no network address to offer to peers" + (sandbox.map { ": \($0.problem)" } ?? ""),
                cure: sandbox?.cure ?? "bring a network interface up and give it an address (ip address; dhclient)")
        }
        let shown = 16
        let names = offered.prefix(shown).map {
            $0.interface.isEmpty ? $0.address : "\($0.address) (\($0.interface))"
        }
        let more = offered.count > shown ? ", and \(offered.count - shown) more, which are not offered" : ""
        let list = "addresses to offer to peers: \(names.joined(separator: ", "))\(more)"
        if let sandbox {
            return Finding(
                "interfaces", .warning,
                "\(list); \(sandbox.problem): changes of the network are noticed some seconds late, and an address may "
                    + "be missing",
                cure: sandbox.cure)
        }
        if offered.allSatisfy(\.isLinkLocal) {
            return Finding(
                "interfaces", .warning,
                "\(list): link-local ones only, which reach machines on the same cable and no others",
                cure: "if there are others: connect the machine to a network that gives it an address (DHCP)")
        }
        if offered.allSatisfy(\.isVirtual) {
            return Finding(
                "interfaces", .warning,
                "\(list): they may lead to containers and virtual machines on this machine only",
                cure: "if peers are elsewhere: bring up an interface that leads to them")
        }
        return Finding("interfaces", .ok, list)
    }

    /// Judges UDP. `failure` is the reason why a datagram from this machine to itself did not arrive.
    package static func udp(failure: String?) -> Finding {
        guard let failure else { return Finding("udp", .ok, "UDP works on this machine") }
        return Finding(
            "udp", .problem, "a datagram from this machine to itself did not arrive: \(failure)",
            cure: "look for a firewall or sandbox on this machine that forbids UDP")
    }

    /// Judges the receive buffers. `maximum` is net.core.rmem_max in bytes, or nil when it cannot be read.
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

    /// Judges the limit of open descriptors of this process.
    package static func descriptors(limit: UInt64) -> Finding {
        let cure = "ulimit -n 4096, or LimitNOFILE=4096 in the service's unit"
        switch limit {
        case ..<128: return Finding("descriptors", .problem, "only \(limit) descriptors may be open", cure: cure)
        case ..<1024: return Finding("descriptors", .warning, "only \(limit) descriptors may be open", cure: cure)
        default: return Finding("descriptors", .ok, "\(limit) descriptors may be open")
        }
    }

    /// Judges by how much two clocks of this machine diverged while `elapsed` passed, both in seconds.
    package static func clockStability(drift: Double, elapsed: Double) -> Finding {
        // The system slews by at most 0.05 %, and two clocks are not read at the same moment.
        if abs(drift) <= max(0.02, elapsed * 0.01) { return Finding("clock", .ok, "this machine's clock runs evenly") }
        return Finding(
            "clock", .warning, "this machine's clock jumped by \(Int(drift * 1000)) ms while it was watched",
            cure: "check whether two programs set the clock (timedatectl status)")
    }
}
