internal import Glibc

extension NetworkSnapshot {
    /// The network as it is now. What cannot be read is left out.
    package static func current() -> NetworkSnapshot {
        NetworkSnapshot(
            addresses: addresses(includingIgnored: false),
            defaultRoutes: defaultRoutes(ofIPv4Table: text(of: "/proc/net/route"))
                .union(defaultRoutes(ofIPv6Table: text(of: "/proc/net/ipv6_route"))))
    }

    /// All addresses of interfaces that are up, also those that a snapshot leaves out: a connection may leave from any of them.
    package static func usableAddresses() -> Set<String> { addresses(includingIgnored: true) }

    private static func addresses(includingIgnored: Bool) -> Set<String> {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        let needed = UInt32(IFF_UP) | UInt32(IFF_RUNNING)
        var addresses: Set<String> = []
        var next = list
        while let entry = next {
            next = entry.pointee.ifa_next
            guard entry.pointee.ifa_flags & needed == needed, let address = entry.pointee.ifa_addr,
                let text = numeric(address)
            else { continue }
            let isIgnored =
                isIgnored(interface: String(cString: entry.pointee.ifa_name)) || text.hasPrefix("fe80:")
                || text.hasPrefix("169.254.")
            // Without the zone of a link-local address (RFC 4007 §11).
            if includingIgnored || !isIgnored { addresses.insert(String(text.prefix { $0 != "%" })) }
        }
        return addresses
    }

    private static func numeric(_ address: UnsafePointer<sockaddr>) -> String? {
        let family = Int32(address.pointee.sa_family)
        guard family == AF_INET || family == AF_INET6 else { return nil }
        let size = family == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        guard getnameinfo(address, socklen_t(size), &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0 else {
            return nil
        }
        let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// At most 64 KiB of a file of the system.
    private static func text(of path: String) -> String {
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
