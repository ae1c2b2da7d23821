internal import Glibc

/// An IP address of an interface of this machine.
public struct LocalAddress: Sendable, Hashable {
    /// The interface's name; empty when only the address is known.
    public var interface: String
    /// The interface's index, which is the zone of a link-local IPv6 address (RFC 4007 §11). 0 when it is not known.
    public var interfaceIndex: UInt32
    /// The address in numeric form, without a zone.
    public var address: String
    /// The address as 4 or 16 bytes in network byte order.
    public let bytes: [UInt8]
    /// The length of the network's prefix in bits. Nil when it is not known.
    public var prefixLength: Int?
    /// Whether nothing can be sent from it yet, or ever, because its uniqueness has not been established (RFC 4862
    /// §5.4).
    public var isTentative = false
    /// Whether new connections should use another address (RFC 4862 §5.5.4).
    public var isDeprecated = false
    /// Whether it is a temporary address, for privacy (RFC 8981).
    public var isTemporary = false

    /// Creates an address without its zone (`fe80::1%eth0`). Nil when `address` is not a numeric IP address.
    public init?(_ address: String, interface: String, interfaceIndex: UInt32 = 0, prefixLength: Int? = nil) {
        let text = String(address.prefix { $0 != "%" })
        guard text.utf8.count < 64 else { return nil }
        var buffer = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &buffer) == 1 {
            buffer.removeLast(12)
        } else if inet_pton(AF_INET6, text, &buffer) != 1 {
            return nil
        }
        self.init(buffer, interface: interface, interfaceIndex: interfaceIndex, prefixLength: prefixLength)
    }

    /// Creates an address from its bytes in network byte order. Nil when there are neither 4 nor 16.
    public init?(_ bytes: [UInt8], interface: String, interfaceIndex: UInt32, prefixLength: Int?) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        var text = [CChar](repeating: 0, count: 64)
        guard inet_ntop(bytes.count == 16 ? AF_INET6 : AF_INET, bytes, &text, 64) != nil else { return nil }
        address = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        self.bytes = bytes
        self.interface = interface
        self.interfaceIndex = interfaceIndex
        self.prefixLength = prefixLength
    }

    /// Whether it is an IPv6 address.
    public var isIPv6: Bool { bytes.count == 16 }

    /// Whether it leads to this machine itself (127.0.0.0/8, ::1).
    public var isLoopback: Bool {
        isIPv6 ? bytes.dropLast().allSatisfy { $0 == 0 } && bytes[15] == 1 : bytes[0] == 127
    }

    /// Whether the address is valid on one link only (RFC 3927, RFC 4291 §2.5.6).
    public var isLinkLocal: Bool {
        isIPv6 ? bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80 : bytes[0] == 169 && bytes[1] == 254
    }

    /// Whether its interface leads to containers and virtual machines on this machine, judged by the interface's name.
    public var isVirtual: Bool { Self.isVirtual(interface: interface) }

    /// Whether interfaces of this name lead to containers and virtual machines on this machine.
    public static func isVirtual(interface: String) -> Bool { virtualPrefixes.contains { interface.hasPrefix($0) } }

    private static let virtualPrefixes = [
        "docker", "br-", "veth", "virbr", "vnet", "vmnet", "vboxnet", "podman", "cni", "flannel", "cali", "cilium",
        "lxc",
        "lxdbr", "incusbr", "weave", "kube-", "nerdctl",
    ]

    /// Whether it is neither unspecified, nor multicast, nor broadcast, nor an IPv4-mapped IPv6 address.
    private var isUnicast: Bool {
        guard isIPv6 else { return bytes[0] != 0 && bytes[0] < 224 }
        let isUnspecified = bytes.allSatisfy { $0 == 0 }
        let isMapped = bytes.prefix(10).allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
        return !isUnspecified && !isMapped && bytes[0] != 0xFF
    }

    private var isUniqueLocal: Bool { isIPv6 && bytes[0] & 0xFE == 0xFC }
}

extension LocalAddress {
    /// Returns the addresses of `all` that peers may be able to reach, the most promising first, so that truncating the
    /// list drops the least useful ones.
    ///
    /// Every interface has its best address in the list before any has its second: the interface of the default route
    /// first, then the others, then the loopback interface (addresses of services) and interfaces of containers and
    /// virtual machines. On one interface, an address with a network precedes a single one (/32), a temporary IPv6
    /// address precedes a permanent one (RFC 6724 §5, rule 7), a global one precedes a unique local one, and deprecated
    /// ones are last.
    ///
    /// Loopback addresses and tentative ones are left out. Link-local IPv4 addresses are last, and only from interfaces
    /// without another IPv4 address. Link-local IPv6 addresses are used only when there is nothing else, except those
    /// of container bridges.
    ///
    /// - Parameters:
    ///   - all: The addresses to choose from, as returned by ``all()``.
    ///   - preferred: The source addresses of packets to other networks, as returned by ``preferred()``.
    public static func ranked(_ all: [LocalAddress], preferring preferred: [String]) -> [LocalAddress] {
        let usable = all.filter { !$0.isLoopback && !$0.isTentative && $0.isUnicast }
        let routable = usable.filter { !$0.isLinkLocal }
        let mainInterfaces = Set(routable.filter { preferred.contains($0.address) && !$0.isVirtual }.map(\.interface))
        let numbered = Set(routable.filter { !$0.isIPv6 }.map(\.interface))
        let linkLocalOnly = usable.filter { $0.isLinkLocal && !$0.isIPv6 && !numbered.contains($0.interface) }
        // A container bridge has an address of this kind that leads nowhere; but it may be all there is.
        let outside = linkLocalOnly.filter { !$0.isVirtual }
        var chosen = routable + (routable.isEmpty && outside.isEmpty ? linkLocalOnly : outside)
        if !chosen.contains(where: { !$0.isVirtual }) {
            chosen += usable.filter { $0.isLinkLocal && $0.isIPv6 && !$0.isVirtual }
        }
        if chosen.isEmpty { chosen = usable }

        var sorting: [(key: [Int], address: LocalAddress)] = []
        let places = Dictionary(grouping: chosen.enumerated()) { "\($0.element.interface) \($0.element.isIPv6)" }
        for candidates in places.values {
            let sorted = candidates.sorted {
                ($0.element.penalty(preferred), $0.offset) < ($1.element.penalty(preferred), $1.offset)
            }
            for (place, (offset, address)) in sorted.enumerated() {
                let isMain = mainInterfaces.contains(address.interface)
                let isLate = address.isDeprecated
                sorting.append(
                    ([address.group, isLate ? 1 : 0, place, isMain ? 0 : 1, address.isIPv6 ? 1 : 0, offset], address))
            }
        }
        return sorting.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.address)
    }

    /// The rank of an address among those of its interface and family; lower is better.
    private func penalty(_ preferred: [String]) -> Int {
        var sum = 0
        if isDeprecated { sum += 16 }
        if isUniqueLocal || (!isIPv6 && prefixLength == 32) { sum += 8 }
        if !preferred.contains(address) { sum += 4 }
        if isIPv6 && !isTemporary { sum += 2 }
        return sum
    }

    /// The rank of an address regardless of its interface; lower is better.
    private var group: Int {
        if isLinkLocal { return 3 }
        if isVirtual { return 2 }
        return interface == "lo" ? 1 : 0
    }
}
