internal import Glibc

/// An IP address of an interface of this machine.
public struct LocalAddress: Sendable, Hashable {
    /// The interface's name; empty where only the address is known.
    public var interface: String
    /// The interface's number, which is the zone of a link-local IPv6 address here (RFC 4007 §11). 0: not known.
    public var interfaceIndex: UInt32
    /// Numeric, without a zone.
    public var address: String
    /// 4 or 16 bytes in network byte order.
    public let bytes: [UInt8]
    /// The length of the network's prefix in bits. Nil: not known.
    public var prefixLength: Int?
    /// Whether nothing can be sent from it yet, or ever: its uniqueness has not been proved (RFC 4862 §5.4).
    public var isTentative = false
    /// Whether new connections should use another one (RFC 4862 §5.5.4).
    public var isDeprecated = false
    /// Whether it is one that changes for privacy (RFC 8981).
    public var isTemporary = false

    /// Nil: `address` is no numeric IP address. A zone (`fe80::1%eth0`) is left out.
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

    /// An address from its bytes in network byte order. Nil when these are neither 4 nor 16.
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

    /// Whether the system gave it to itself for want of another, or for one link only (RFC 3927, RFC 4291 §2.5.6).
    public var isLinkLocal: Bool {
        isIPv6 ? bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80 : bytes[0] == 169 && bytes[1] == 254
    }

    /// Whether its interface leads to containers and virtual machines on this machine, by its name.
    public var isVirtual: Bool { Self.isVirtual(interface: interface) }

    /// Whether interfaces of that name lead to containers and virtual machines on this machine.
    public static func isVirtual(interface: String) -> Bool { virtualPrefixes.contains { interface.hasPrefix($0) } }

    private static let virtualPrefixes = [
        "docker", "br-", "veth", "virbr", "vnet", "vmnet", "vboxnet", "podman", "cni", "flannel", "cali", "cilium",
        "lxc",
        "lxdbr", "incusbr", "weave", "kube-", "nerdctl",
    ]

    /// Neither unspecified, nor multicast, nor broadcast, nor an IPv4 address in IPv6 clothes.
    private var isUnicast: Bool {
        guard isIPv6 else { return bytes[0] != 0 && bytes[0] < 224 }
        let isUnspecified = bytes.allSatisfy { $0 == 0 }
        let isMapped = bytes.prefix(10).allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
        return !isUnspecified && !isMapped && bytes[0] != 0xFF
    }

    private var isUniqueLocal: Bool { isIPv6 && bytes[0] & 0xFE == 0xFC }
}

extension LocalAddress {
    /// The addresses of `all` that peers may be able to reach, most promising first, so that whoever cuts the list cuts its end.
    ///
    /// Every interface comes with its best address before one comes with its second: the interface of the default route, then the
    /// others; behind them what is on the loopback interface (addresses of services) and interfaces of containers and virtual machines.
    /// On an interface, an address with a network goes before a lone one (/32), a temporary IPv6 address before a lasting one
    /// (RFC 6724 §5, rule 7), a global one before a unique local one, and deprecated ones come last.
    ///
    /// Loopback addresses and tentative ones are left out. Link-local IPv4 addresses come last, and only from interfaces that have no
    /// other IPv4 address; link-local IPv6 addresses only where there is nothing else, containers' bridges excepted.
    ///
    /// - Parameters:
    ///   - all: the addresses to choose from, as ``all()`` finds them.
    ///   - preferred: the addresses that packets to elsewhere leave from, as ``preferred()`` finds them.
    public static func ranked(_ all: [LocalAddress], preferring preferred: [String]) -> [LocalAddress] {
        let usable = all.filter { !$0.isLoopback && !$0.isTentative && $0.isUnicast }
        let routable = usable.filter { !$0.isLinkLocal }
        let mainInterfaces = Set(routable.filter { preferred.contains($0.address) && !$0.isVirtual }.map(\.interface))
        let numbered = Set(routable.filter { !$0.isIPv6 }.map(\.interface))
        let lone = usable.filter { $0.isLinkLocal && !$0.isIPv6 && !numbered.contains($0.interface) }
        // A bridge of containers gives itself an address of that kind that leads nowhere; but it may be all there is.
        let outside = lone.filter { !$0.isVirtual }
        var chosen = routable + (routable.isEmpty && outside.isEmpty ? lone : outside)
        if !chosen.contains(where: { !$0.isVirtual }) {
            chosen += usable.filter { $0.isLinkLocal && $0.isIPv6 && !$0.isVirtual }
        }
        if chosen.isEmpty { chosen = usable }

        var keyed: [(key: [Int], address: LocalAddress)] = []
        let places = Dictionary(grouping: chosen.enumerated()) { "\($0.element.interface) \($0.element.isIPv6)" }
        for candidates in places.values {
            let sorted = candidates.sorted {
                ($0.element.demerits(preferred), $0.offset) < ($1.element.demerits(preferred), $1.offset)
            }
            for (place, (offset, address)) in sorted.enumerated() {
                let isMain = mainInterfaces.contains(address.interface)
                let isLate = address.isDeprecated
                keyed.append(
                    ([address.group, isLate ? 1 : 0, place, isMain ? 0 : 1, address.isIPv6 ? 1 : 0, offset], address))
            }
        }
        return keyed.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.address)
    }

    /// What speaks against an address beside the others of its interface and family.
    private func demerits(_ preferred: [String]) -> Int {
        var sum = 0
        if isDeprecated { sum += 16 }
        if isUniqueLocal || (!isIPv6 && prefixLength == 32) { sum += 8 }
        if !preferred.contains(address) { sum += 4 }
        if isIPv6 && !isTemporary { sum += 2 }
        return sum
    }

    /// What is before what, whatever its interface.
    private var group: Int {
        if isLinkLocal { return 3 }
        if isVirtual { return 2 }
        return interface == "lo" ? 1 : 0
    }
}
