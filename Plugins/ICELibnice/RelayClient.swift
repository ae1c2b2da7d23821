internal import CGLib
internal import GLibLoop
internal import TransportPluginAPI

/// Has libnice request allocations from the relays of one agent, and again while none answers: the shell of
/// `RelayRetries`.
///
/// libnice gets its relays after it has its sockets and these are split: while a socket is being split, the kernel may
/// hand an answer to the wrong one.
final class RelayClient {
    private static let lookUpTime = Duration.seconds(10)

    let relays: [Servers.Relay]
    private let loop: TransportLoop
    private let nice: NiceAgentHandle
    private var retries = RelayRetries()
    private var timer: LoopTimer?
    /// Called when the addresses of a relay are known.
    var onLookedUp: (Servers.Relay, [IPAddress]) -> Void = { _, _ in }

    init(_ relays: [Servers.Relay], on loop: TransportLoop, nice: NiceAgentHandle) {
        self.relays = relays
        self.loop = loop
        self.nice = nice
    }

    /// Finds the addresses of all relays.
    func begin() {
        for relay in relays {
            if let address = relay.address {
                onLookedUp(relay, [address])
            } else {
                NameLookUp.addresses(of: relay.url.host, within: Self.lookUpTime, on: loop, for: self) {
                    $0.onLookedUp(relay, $1)
                }
            }
        }
        if timer == nil { scheduleRetry() }
    }

    /// Requests the first allocation from a relay, at its first address of each family that this machine has. Returns
    /// whether libnice has begun its discovery.
    ///
    /// libnice 0.1.21 takes names, but of several addresses it asks all but the first at port 0 (`turn_server_copy`).
    /// So the first address of each family is a relay of its own.
    func requestAllocation(from relay: Servers.Relay, at addresses: [IPAddress], using local: [LocalAddress]) -> Bool {
        let mark = nice.newestSource()
        for isIPv6 in [false, true] where local.contains(where: { $0.isIPv6 == isIPv6 }) {
            guard let address = addresses.first(where: { $0.isIPv6 == isIPv6 }) else { continue }
            var relay = relay
            relay.host = address.description
            if retries.add(relay) { nice.requestAllocation(from: relay) }
        }
        let hasBegun = nice.hasBegunDiscovery(since: mark)
        nice.context.setNeedsPass()
        if timer == nil { scheduleRetry() }
        return hasBegun
    }

    private func scheduleRetry() {
        timer = retries.nextPause.map { pause in
            loop.schedule(after: pause) { [weak self] in
                guard let self, let relay = retries.next() else { return }
                nice.requestAllocation(from: relay)
                nice.context.setNeedsPass()
                scheduleRetry()
            }
        }
    }

    /// Sends no further requests. Idempotent.
    func stop() {
        retries.end()
        timer?.cancel()
        timer = nil
    }
}
