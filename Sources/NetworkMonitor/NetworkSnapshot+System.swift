internal import TransportPluginAPI

extension NetworkSnapshot {
    /// Returns the network as it is now. Unreadable parts are left out.
    package static func current() -> NetworkSnapshot {
        NetworkSnapshot(
            addresses: addresses(includingIgnored: false),
            defaultRoutes: defaultRoutes(ofIPv4Table: SystemFile.text(of: "/proc/net/route"))
                .union(defaultRoutes(ofIPv6Table: SystemFile.text(of: "/proc/net/ipv6_route"))))
    }

    /// Returns all addresses of interfaces that are up, also those that a snapshot leaves out: a connection may leave
    /// from any.
    package static func usableAddresses() -> Set<String> { addresses(includingIgnored: true) }

    private static func addresses(includingIgnored: Bool) -> Set<String> {
        let all = LocalAddress.all()
        return Set(includingIgnored ? all.map(\.address) : counted(of: all))
    }
}
