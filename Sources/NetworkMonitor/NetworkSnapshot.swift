package import TransportPluginAPI

/// The part of this machine's network that matters to connections: the addresses that packets can leave from, and the
/// default routes.
///
/// Interfaces that are down or without a carrier are left out, as are addresses that peers are not offered. Interfaces
/// of containers and virtual machines come and go without any effect on the connections of this process; they count
/// only when there is nothing else.
package struct NetworkSnapshot: Sendable, Hashable {
    /// The addresses, in numeric form.
    package var addresses: Set<String> = []
    /// The interface and gateway of each route, as the system writes them.
    package var defaultRoutes: Set<String> = []

    package init(addresses: Set<String> = [], defaultRoutes: Set<String> = []) {
        self.addresses = addresses
        self.defaultRoutes = defaultRoutes
    }

    /// Returns the addresses of `all` that count.
    package static func counted(of all: [LocalAddress]) -> [String] {
        let offered = LocalAddress.ranked(all, preferring: [])
        let real = offered.filter { !$0.isVirtual }
        return (all.filter(\.isLoopback) + (real.isEmpty ? offered : real)).map(\.address)
    }

    /// Returns the default routes in the text of `/proc/net/route` (IPv4): destination and mask are zero, the route is
    /// up.
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

    /// Returns the default routes in the text of `/proc/net/ipv6_route`: a prefix of length zero, up, and not a reject
    /// route.
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
