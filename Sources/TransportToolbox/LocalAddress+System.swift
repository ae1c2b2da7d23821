internal import CLinux
internal import Glibc
public import TransportValues

extension LocalAddress {
    /// Returns the addresses of all interfaces that are up and have a carrier, in the system's order.
    ///
    /// When netlink sockets are refused (`RestrictAddressFamilies=` of systemd, some containers), reads them from the
    /// interfaces and `/proc` instead. When that fails too, returns only the source addresses of packets to other
    /// networks. Empty: there is none.
    public static func all() -> [LocalAddress] {
        var addresses = readByNetlink()
        if !addresses.isEmpty {
            // Properties that getifaddrs does not report.
            let states = Dictionary(ipv6Table().map { ("\($0.address) \($0.interface)", $0) }) { first, _ in first }
            for index in addresses.indices where addresses[index].isIPv6 {
                let state = states["\(addresses[index].address) \(addresses[index].interface)"]
                if let state { addresses[index].copyState(from: state) }
            }
            return addresses
        }
        addresses = readByRequests() + ipv6Table().filter { isRunning(CLinux_interface_flags($0.interface)) }
        for text in preferred() where !addresses.contains(where: { $0.address == text }) {
            if let address = LocalAddress(text, interface: "") { addresses.append(address) }
        }
        return addresses
    }

    /// Returns the source addresses of packets to other networks, at most one of each family. Sends nothing.
    public static func preferred() -> [String] {
        // Addresses for documentation (RFC 5737, RFC 3849): only the default route leads to them.
        ["192.0.2.1", "2001:db8::1"].compactMap { text in
            guard let target = SocketAddress(text, port: 9) else { return nil }
            let descriptor = socket(target.family, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else { return nil }
            defer { close(descriptor) }
            guard target.connect(descriptor) == 0, let local = SocketAddress.local(of: descriptor) else { return nil }
            return String(local.prefix { $0 != "%" })
        }
    }

    /// Returns the reason why the system refuses netlink sockets to this process, which report addresses and their
    /// changes. Nil if it does not refuse them.
    public static func netlinkRefusal() -> String? {
        let descriptor = socket(AF_NETLINK, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor < 0 else {
            close(descriptor)
            return nil
        }
        return String(cString: strerror(errno))
    }

    private static func isRunning(_ flags: UInt32) -> Bool {
        let needed = UInt32(IFF_UP) | UInt32(IFF_RUNNING)
        return flags & needed == needed
    }

    private mutating func copyState(from other: LocalAddress) {
        isTentative = other.isTentative
        isDeprecated = other.isDeprecated
        isTemporary = other.isTemporary
    }

    private static func readByNetlink() -> [LocalAddress] {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&first) == 0 else { return [] }
        defer { freeifaddrs(first) }
        var found: Set<LocalAddress> = []
        var addresses: [LocalAddress] = []
        var indices: [String: UInt32] = [:]
        var next = first
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard isRunning(entry.ifa_flags), let raw = entry.ifa_addr, let bytes = bytes(of: raw) else { continue }
            // An alias ("eth0:1") is a name of the address, not of its interface.
            let name = String(String(cString: entry.ifa_name).prefix { $0 != ":" })
            let index = indices[name] ?? if_nametoindex(name)
            indices[name] = index
            let mask = entry.ifa_netmask.flatMap { Self.bytes(of: $0) }
            let address = LocalAddress(
                bytes, interface: name, interfaceIndex: index,
                prefixLength: mask?.reduce(0) { $0 + $1.nonzeroBitCount })
            if let address, found.insert(address).inserted { addresses.append(address) }
        }
        return addresses
    }

    private static func bytes(of address: UnsafePointer<sockaddr>) -> [UInt8]? {
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { address in
                withUnsafeBytes(of: address.pointee.sin_addr) { Array($0) }
            }
        case AF_INET6:
            address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { address in
                withUnsafeBytes(of: address.pointee.sin6_addr) { Array($0) }
            }
        default: nil
        }
    }

    /// Returns the IPv4 addresses, by ioctl requests to any socket.
    private static func readByRequests() -> [LocalAddress] {
        withUnsafeTemporaryAllocation(of: CLinux_ipv4_address.self, capacity: 512) { list in
            let count = CLinux_ipv4_addresses(list.baseAddress, Int32(list.count))
            return list.prefix(max(0, Int(count))).compactMap { entry in
                guard isRunning(entry.flags) else { return nil }
                let name = withUnsafeBytes(of: entry.interface) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                let interface = String(name.prefix { $0 != ":" })
                return LocalAddress(
                    withUnsafeBytes(of: entry.address) { Array($0) }, interface: interface,
                    interfaceIndex: if_nametoindex(interface),
                    prefixLength: entry.prefix_length >= 0 ? Int(entry.prefix_length) : nil)
            }
        }
    }

    private static func ipv6Table() -> [LocalAddress] {
        ipv6Addresses(ofTable: SystemFile.text(of: "/proc/net/if_inet6"))
    }

    /// Returns the addresses in the text of `/proc/net/if_inet6`, also those of interfaces that are down. Each line has
    /// the address, the interface's index, the prefix length, the scope, flags and the interface.
    static func ipv6Addresses(ofTable text: String) -> [LocalAddress] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count >= 6, fields[0].utf8.count == 32, let index = UInt32(fields[1], radix: 16),
                let length = Int(fields[2], radix: 16), let flags = UInt32(fields[4], radix: 16)
            else { return nil }
            let digits = Array(fields[0].utf8)
            let bytes = stride(from: 0, to: 32, by: 2).compactMap {
                UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16)
            }
            var address = LocalAddress(
                bytes, interface: String(fields[5]), interfaceIndex: index, prefixLength: length)
            // linux/if_addr.h: IFA_F_TEMPORARY 0x01, OPTIMISTIC 0x04, DADFAILED 0x08, DEPRECATED 0x20, TENTATIVE 0x40.
            address?.isTemporary = flags & 0x01 != 0
            address?.isDeprecated = flags & 0x20 != 0
            address?.isTentative = flags & 0x08 != 0 || (flags & 0x40 != 0 && flags & 0x04 == 0)
            return address
        }
    }
}

/// The text files of the kernel, below `/proc` and `/sys`.
public enum SystemFile {
    /// Returns at most 64 KiB of a file, or an empty text when it cannot be read. Blocks as long as the kernel needs to
    /// write the text.
    public static func text(of path: String) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 65_536)
        var length = 0
        while length < bytes.count {
            let count = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress! + length, $0.count - length) }
            guard count > 0 else { break }
            length += count
        }
        return String(decoding: bytes[..<length], as: UTF8.self)
    }
}
