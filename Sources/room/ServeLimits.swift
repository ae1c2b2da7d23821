internal import ArgumentParser
internal import RoomServer

/// The limits of `room serve`, and the proxies in front of it that name the addresses of their clients.
struct ServeLimits: ParsableArguments {
    @Option(help: "The maximum number of connections. Default: 10000.") var maximumConnections: Int?
    @Option(help: "The maximum number of rooms. Default: 1000.") var maximumRooms: Int?
    @Option(help: "The maximum number of participants in a room, 2 to 64. Default: 16.") var maximumParticipants: Int?

    @Option(
        help:
            """
            The maximum number of connections from one address: IPv4, or 64 bits of IPv6. 0: no limit. Default: 512.
            """
    )
    var addressConnections: Int?

    @Option(help: "The maximum number of handshakes under way from one address. 0: no limit. Default: 128.")
    var addressHandshakes: Int?

    @Option(help: "New connections per second from one address, ten times as many at once. 0: any. Default: 50.")
    var addressConnectionRate: Int?

    @Option(help: "The maximum number of rooms that were opened from one address. 0: no limit. Default: 200.")
    var addressRooms: Int?

    @Option(help: "Messages per second from one address, five times as many at once. 0: any. Default: 4000.")
    var addressMessageRate: Int?

    @Option(
        help:
            """
            A range of addresses without limits of their own: 10.0.0.0/8, 2001:db8::/32. Repeatable; none: no such \
            range. Default: this machine.
            """
    )
    var unlimitedAddress: [String] = []

    @Option(
        help:
            """
            A range of addresses of proxies in front, which are believed about their clients' addresses: \
            X-Forwarded-For, or --proxy-protocol. Repeatable.
            """
    )
    var trustedProxy: [String] = []

    @Flag(help: "Every connection comes from a trusted proxy, and begins with the PROXY protocol, version 2.")
    var proxyProtocol = false

    /// Applies the flags, or else the environment and the file.
    func apply(to configuration: inout RoomServerConfiguration, _ settings: Settings) throws {
        func set(
            _ limit: WritableKeyPath<RoomServerConfiguration.Limits, Int>, _ key: String, _ range: ClosedRange<Int>,
            _ flag: String, _ given: Int?
        ) throws {
            guard let value = try settings.integer(key, range, flag: flag, given) else { return }
            configuration.limits[keyPath: limit] = value
        }
        let counts = 0...1_000_000
        try set(
            \.connections, "maximumConnections", 1...1_000_000, "--maximum-connections", maximumConnections)
        try set(\.rooms, "maximumRooms", 1...1_000_000, "--maximum-rooms", maximumRooms)
        try set(
            \.participantsPerRoom, "maximumParticipants", 2...64, "--maximum-participants", maximumParticipants)
        try set(
            \.perAddress.connections, "addressConnections", counts, "--address-connections", addressConnections)
        try set(\.perAddress.handshakes, "addressHandshakes", counts, "--address-handshakes", addressHandshakes)
        try set(
            \.perAddress.connectionsPerSecond, "addressConnectionRate", counts, "--address-connection-rate",
            addressConnectionRate)
        configuration.limits.perAddress.connectionBurst = configuration.limits.perAddress.connectionsPerSecond * 10
        try set(\.perAddress.rooms, "addressRooms", counts, "--address-rooms", addressRooms)
        try set(
            \.perAddress.messagesPerSecond, "addressMessageRate", counts, "--address-message-rate", addressMessageRate)
        configuration.limits.perAddress.messageBurst = configuration.limits.perAddress.messagesPerSecond * 5
        let unlimited = try unlimitedAddress.isEmpty ? settings.strings("unlimitedAddresses") : unlimitedAddress
        if !unlimited.isEmpty { configuration.unlimitedAddresses = unlimited == ["none"] ? [] : unlimited }
        configuration.trustedProxies = try trustedProxy + settings.strings("trustedProxies")
        configuration.expectsProxyProtocol = try proxyProtocol || settings.boolean("proxyProtocol") ?? false
    }
}
