internal import CGLib
internal import CNice
internal import Glibc
internal import TransportPluginAPI

extension LibniceProvider.Options {
    /// The maximum number of addresses that an agent binds to.
    private static let maximumAddresses = 16

    /// The addresses that an agent binds to now.
    func localAddresses() -> [LocalAddress] {
        localAddresses(of: LocalAddress.all(), preferring: LocalAddress.preferred(), safe: SafeAddresses())
    }

    /// The most promising of `all`.
    func localAddresses(
        of all: [LocalAddress], preferring preferred: [String], safe: SafeAddresses = SafeAddresses(ofSystem: [])
    ) -> [LocalAddress] {
        var outside = all.filter { !$0.isLoopback }
        if let acceptsAddress { outside = outside.filter { acceptsAddress($0.interface, $0.address) } }
        var chosen = LocalAddress.ranked(outside, preferring: preferred)
        if loopback == .always || (loopback == .alone && chosen.isEmpty) { chosen += all.filter(\.isLoopback) }
        return Array(chosen.lazy.filter(safe.contains).prefix(Self.maximumAddresses))
    }

    /// Returns those of `addresses` that have a free port in the configured range, since libnice fails for all if one
    /// has none. If none of them has one, relays can still be reached from another port. Throws `.resourceExhausted`.
    func withPorts(
        _ addresses: [LocalAddress], hasRelays: Bool
    ) throws(TransportError) -> ([LocalAddress], isRelayOnly: Bool) {
        guard let ports else { return (addresses, false) }
        let usable = addresses.filter { $0.hasFreePort(in: ports) }
        if !usable.isEmpty { return (usable, false) }
        guard hasRelays else {
            throw TransportError(
                .resourceExhausted,
                "no UDP port from \(ports.lowerBound) to \(ports.upperBound) is free; each peer needs one, and two "
                    + "while its path is replaced: widen ice-port-min and ice-port-max", isRetryable: true)
        }
        return (addresses, true)
    }
}

/// The local addresses that libnice can be given.
///
/// libnice 0.1.21 makes the place of an address in its own list of the machine's addresses a part of the candidate's
/// priority, and ends the process where that does not fit 6 bits (`nice_candidate_ice_local_preference_full`). An
/// address that is not in the list counts as behind it.
struct SafeAddresses {
    private let places: [String: Int]
    private let count: Int
    /// Some are left, since addresses may come before the candidate is made.
    private static let limit = 56

    /// Reads the addresses of this machine, as libnice lists them now.
    init() {
        var system: [String] = []
        let list = nice_interfaces_get_local_ips(1)
        var next = list
        while let entry = next {
            if let data = entry.pointee.data {
                system.append(String(cString: data.assumingMemoryBound(to: CChar.self)))
                g_free(data)
            }
            next = entry.pointee.next
        }
        g_list_free(list)
        self.init(ofSystem: system)
    }

    init(ofSystem addresses: [String]) {
        count = addresses.count
        let numbered = addresses.enumerated().map { (String($0.element.prefix { $0 != "%" }), $0.offset) }
        places = Dictionary(numbered) { first, _ in first }
    }

    func contains(_ address: LocalAddress) -> Bool { places[address.address, default: count] < Self.limit }
}

extension LocalAddress {
    /// Returns whether a socket could be bound to one of `ports` now. Begins at a random port, since a range is rarely
    /// full.
    func hasFreePort(in ports: ClosedRange<UInt16>) -> Bool {
        // It is bound together with its zone, which this test does not know.
        if isIPv6, isLinkLocal { return true }
        let start = UInt16.random(in: ports)
        let address = IPAddress(bytes)
        for port in [start...ports.upperBound, ports.lowerBound...start].joined() {
            let descriptor = socket(isIPv6 ? AF_INET6 : AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            // The ports are not the reason.
            guard descriptor >= 0 else { return true }
            defer { close(descriptor) }
            if address.withSocketAddress(port: port, { bind(descriptor, $0, $1) }) == 0 { return true }
        }
        return false
    }

    /// Has `agent` bind to the address. A link-local IPv6 address is bound together with its zone, by which the kernel
    /// then sends to those of others, whose candidates name none.
    func add(to agent: OpaquePointer) {
        guard let native = nice_address_new() else { return }
        defer { nice_address_free(native) }
        guard nice_address_set_from_string(native, address) != 0 else { return }
        if isIPv6, isLinkLocal {
            var scoped = sockaddr_in6()
            scoped.sin6_family = sa_family_t(AF_INET6)
            scoped.sin6_scope_id = interfaceIndex
            withUnsafeMutableBytes(of: &scoped.sin6_addr) { $0.copyBytes(from: bytes) }
            withUnsafePointer(to: scoped) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { nice_address_set_from_sockaddr(native, $0) }
            }
        }
        nice_agent_add_local_address(agent, native)
    }
}
