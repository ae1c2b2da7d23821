internal import CGLib
internal import GLibLoop
internal import TransportPluginAPI

/// Has libnice ask the relays of one agent, and ask again while none answers: the shell of `RelayInquiry`.
///
/// libnice is told of relays when it has its sockets and these are split: while a socket is being split, the kernel may
/// give an answer to the wrong one.
final class RelayClient {
    private static let lookUpTime = Duration.seconds(10)

    let relays: [Servers.Relay]
    private let loop: TransportLoop
    private let nice: NiceAgentHandle
    private var inquiry = RelayInquiry()
    private var timer: LoopTimer?
    /// The name of a relay was looked up, or needed no look-up.
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
        if timer == nil { askAgainLater() }
    }

    /// Asks a relay for the first time, at its first address of each family that this machine has. Returns whether
    /// libnice has begun to ask servers because of it.
    ///
    /// libnice 0.1.21 takes names, but of several addresses it asks all but the first at port 0 (`turn_server_copy`).
    /// So the first address of each family is a relay of its own.
    func ask(_ relay: Servers.Relay, at addresses: [IPAddress], from local: [LocalAddress]) -> Bool {
        let mark = nice.newestSource()
        for isIPv6 in [false, true] where local.contains(where: { $0.isIPv6 == isIPv6 }) {
            guard let address = addresses.first(where: { $0.isIPv6 == isIPv6 }) else { continue }
            var relay = relay
            relay.host = address.description
            if inquiry.add(relay) { nice.ask(relay) }
        }
        let isAsking = nice.isAsking(since: mark)
        nice.context.setNeedsPass()
        if timer == nil { askAgainLater() }
        return isAsking
    }

    private func askAgainLater() {
        timer = inquiry.nextPause.map { pause in
            loop.schedule(after: pause) { [weak self] in
                guard let self, let relay = inquiry.next() else { return }
                nice.ask(relay)
                nice.context.setNeedsPass()
                askAgainLater()
            }
        }
    }

    /// Asks no more. Idempotent.
    func stop() {
        inquiry.end()
        timer?.cancel()
        timer = nil
    }
}
