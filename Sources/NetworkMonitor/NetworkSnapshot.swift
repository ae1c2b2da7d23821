package import TransportPluginAPI

/// What of this machine's network decides over connections: the addresses that packets can leave from, and the default routes.
///
/// Left out are interfaces that are down or without a carrier, addresses that peers are not offered, and the interfaces of containers and
/// virtual machines, which come and go without any meaning for the connections of this process; unless there is nothing else.
package struct NetworkSnapshot: Sendable, Hashable {
    /// Numeric.
    package var addresses: Set<String> = []
    /// Interface and gateway of each, as the system writes them.
    package var defaultRoutes: Set<String> = []

    package init(addresses: Set<String> = [], defaultRoutes: Set<String> = []) {
        self.addresses = addresses
        self.defaultRoutes = defaultRoutes
    }

    /// The addresses of `all` that count.
    package static func counted(of all: [LocalAddress]) -> [String] {
        let offered = LocalAddress.ranked(all, preferring: [])
        let real = offered.filter { !$0.isVirtual }
        return (all.filter(\.isLoopback) + (real.isEmpty ? offered : real)).map(\.address)
    }

    /// The default routes in the text of `/proc/net/route` (IPv4): destination and mask are zero, the route is up.
    package static func defaultRoutes(ofIPv4Table text: some StringProtocol) -> Set<String> {
        var routes: Set<String> = []
        for line in text.split(separator: "\n").dropFirst() {
            let fields = line.split(whereSeparator: { $0 == "\t" || $0 == " " })
            guard fields.count >= 8, fields[1] == "00000000", fields[7] == "00000000",
                let flags = UInt32(fields[3], radix: 16), flags & 1 != 0,
                !LocalAddress.isVirtual(interface: String(fields[0]))
            else { continue }
            routes.insert("\(fields[0]) \(fields[2])")
        }
        return routes
    }

    /// The default routes in the text of `/proc/net/ipv6_route`: a prefix of length zero, up, and not one that rejects.
    package static func defaultRoutes(ofIPv6Table text: some StringProtocol) -> Set<String> {
        var routes: Set<String> = []
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count >= 10, fields[0].allSatisfy({ $0 == "0" }), fields[1] == "00",
                let flags = UInt32(fields[8], radix: 16), flags & 0x1 != 0, flags & 0x200 == 0, fields[9] != "lo",
                !LocalAddress.isVirtual(interface: String(fields[9]))
            else { continue }
            routes.insert("\(fields[9]) \(fields[4])")
        }
        return routes
    }
}
