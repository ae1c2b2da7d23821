internal import Glibc
internal import TransportPluginAPI

extension NetworkSnapshot {
    /// Returns the network as it is now. Unreadable parts are left out.
    package static func current() -> NetworkSnapshot {
        NetworkSnapshot(
            addresses: addresses(includingIgnored: false),
            defaultRoutes: defaultRoutes(ofIPv4Table: text(of: "/proc/net/route"))
                .union(defaultRoutes(ofIPv6Table: text(of: "/proc/net/ipv6_route"))))
    }

    /// Returns all addresses of interfaces that are up, also those that a snapshot leaves out: a connection may leave
    /// from any.
    package static func usableAddresses() -> Set<String> { addresses(includingIgnored: true) }

    private static func addresses(includingIgnored: Bool) -> Set<String> {
        let all = LocalAddress.all()
        return Set(includingIgnored ? all.map(\.address) : counted(of: all))
    }

    /// Returns at most 64 KiB of a file of the system.
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
