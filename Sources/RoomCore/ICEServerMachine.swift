package import RoomProtocol
package import RoomValues
package import TransportValues

/// The ICE servers of the configuration, the room server and the application's provider, and the times at which fresh
/// ones are fetched.
///
/// No source waits for another, and nothing waits for any of them: a connection is made with the servers that are
/// known. Servers that cannot be used are left out.
package struct ICEServerMachine: Sendable {
    package enum Action: Sendable, Hashable {
        /// All of them. `ttl`: how long all of them can be used.
        case changed([ICEServer], ttl: Duration?)
        /// The room server's are about to expire: only a `joined` brings fresh ones.
        case refreshFromServer
        /// Answered by `provided` or `providerFailed`.
        case requestFromProvider
        /// The first failure in a row. The servers that are known are kept.
        case providerFailed(SignalingFailure)
        /// Something is left out, or nothing is left.
        case unusable(ICEServerFault)
    }

    private struct Source: Sendable {
        var servers: [ICEServer] = []
        var ttl: Duration?
        /// When fresh ones are fetched.
        var refreshAt: Timestamp?
        /// When half of their life is over: a reconnection after that fetches fresh ones.
        var agedAt: Timestamp?

        mutating func take(_ servers: [ICEServer], ttl: Duration?, fraction: Double, now: Timestamp) {
            self.servers = servers
            self.ttl = ttl
            // A very short ttl must not lead to questions without pause.
            func share(_ fraction: Double) -> Timestamp? {
                ttl.map { ttl in
                    let seconds = min(max(ttl.inSeconds, 0), 1e8) * fraction
                    return now + max(.milliseconds(Int64(seconds * 1000)), .seconds(20))
                }
            }
            refreshAt = share(fraction)
            agedAt = share(min(fraction, 0.5))
        }

        mutating func woke(after sleep: Duration) {
            refreshAt = refreshAt.map { $0 - sleep }
            agedAt = agedAt.map { $0 - sleep }
        }
    }

    /// The least time between two questions to the provider.
    private static var spacing: Duration { .seconds(5) }
    private static var longestDelay: Duration { .seconds(60) }

    private let hasProvider: Bool
    private let fraction: Double
    private var selection: ICEServerSelection
    private let fixed: [ICEServer]
    private var server = Source()
    private var provider = Source()
    private var isAsking = false
    /// The room server has sent its list.
    private var isJoined = false
    private var askedAt: Timestamp?
    /// In a row.
    private var failures = 0
    package private(set) var servers: [ICEServer] = []
    /// When the latest came.
    package private(set) var changedAt: Timestamp?

    package init(_ configuration: MachineConfiguration) {
        hasProvider = configuration.hasICEServerProvider
        fraction = configuration.signaling.iceRefreshFraction
        selection = ICEServerSelection(configuration.ice)
        fixed = selection.usable(of: configuration.ice.servers)
        servers = fixed
    }

    /// When `timePassed` wants to be called. Without the room server, only the provider can be asked.
    package func nextDeadline(isConnected: Bool) -> Timestamp? {
        [isConnected ? server.refreshAt : nil, isAsking ? nil : provider.refreshAt].compactMap { $0 }.min()
    }

    /// The room is about to be reached, for the first time or again.
    package mutating func attempted(now: Timestamp, _ actions: inout [Action]) {
        guard hasProvider, !isAsking else { return }
        guard let askedAt else { return askProvider(now: now, &actions) }
        let isAged = provider.agedAt.map { $0 <= now } ?? false
        if failures > 0 || isAged, now - askedAt >= Self.spacing { askProvider(now: now, &actions) }
    }

    private mutating func askProvider(now: Timestamp, _ actions: inout [Action]) {
        isAsking = true
        askedAt = now
        actions.append(.requestFromProvider)
    }

    /// The room server's list.
    package mutating func received(_ list: ICEServerList, now: Timestamp, _ actions: inout [Action]) {
        isJoined = true
        server.take(selection.usable(of: list.servers), ttl: list.ttl, fraction: fraction, now: now)
        merge(now: now, &actions)
        judge(&actions)
    }

    package mutating func provided(
        _ servers: [ICEServer], ttl: Duration?, now: Timestamp, _ actions: inout [Action]
    ) {
        guard isAsking else { return }
        isAsking = false
        failures = 0
        provider.take(selection.usable(of: servers), ttl: ttl, fraction: fraction, now: now)
        merge(now: now, &actions)
        judge(&actions)
    }

    package mutating func providerFailed(_ failure: SignalingFailure, now: Timestamp, _ actions: inout [Action]) {
        guard isAsking else { return }
        isAsking = false
        failures += 1
        provider.refreshAt = now + min(Self.spacing * (1 << min(failures - 1, 6)), Self.longestDelay)
        if failures == 1 { actions.append(.providerFailed(failure)) }
        judge(&actions)
    }

    private mutating func merge(now: Timestamp, _ actions: inout [Action]) {
        var all: [ICEServer] = []
        for server in fixed + server.servers + provider.servers where !all.contains(server) { all.append(server) }
        guard all != servers else { return }
        servers = all
        changedAt = now
        actions.append(.changed(all, ttl: [server.ttl, provider.ttl].compactMap { $0 }.min()))
    }

    /// Says what is left out, and whether something is left. Before the room server's list is here, and while the
    /// provider is asked for the first time, something may still come.
    private mutating func judge(_ actions: inout [Action]) {
        actions += selection.faults().map { .unusable($0) }
        guard isJoined, !hasProvider || failures > 0 || !isAsking else { return }
        if let fault = selection.judge(servers) { actions.append(.unusable(fault)) }
    }

    package mutating func timePassed(isConnected: Bool, now: Timestamp, _ actions: inout [Action]) {
        if isConnected, let refreshAt = server.refreshAt, refreshAt <= now {
            server.refreshAt = nil
            actions.append(.refreshFromServer)
        }
        if !isAsking, let refreshAt = provider.refreshAt, refreshAt <= now {
            provider.refreshAt = nil
            askProvider(now: now, &actions)
        }
    }

    /// This machine has slept for so long, and credentials have aged.
    package mutating func woke(after sleep: Duration) {
        changedAt = changedAt.map { $0 - sleep }
        server.woke(after: sleep)
        provider.woke(after: sleep)
    }
}
