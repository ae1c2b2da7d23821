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

    /// `failure`: why a datagram from this machine to itself did not arrive.
    package static func udp(failure: String?) -> Finding {
        guard let failure else { return Finding("udp", .ok, "UDP works on this machine") }
        return Finding(
            "udp", .problem, "a datagram from this machine to itself did not arrive: \(failure)",
            cure: "look for a firewall or sandbox on this machine that forbids UDP")
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
        case ..<128: return Finding("descriptors", .problem, "only \(limit) descriptors may be open", cure: cure)
        case ..<1024: return Finding("descriptors", .warning, "only \(limit) descriptors may be open", cure: cure)
        default: return Finding("descriptors", .ok, "\(limit) descriptors may be open")
        }
    }

    /// How far two clocks of this machine went apart while `elapsed` passed, both in seconds.
    package static func steadiness(drift: Double, elapsed: Double) -> Finding {
        // The system slews by 0.05 % at most; reading two clocks is not done at one moment.
        if abs(drift) <= max(0.02, elapsed * 0.01) { return Finding("clock", .ok, "this machine's clock runs evenly") }
        return Finding(
            "clock", .warning, "this machine's clock was moved by \(Int(drift * 1000)) ms while it was watched",
            cure: "look for two programs that set the clock (timedatectl status)")
    }
}
