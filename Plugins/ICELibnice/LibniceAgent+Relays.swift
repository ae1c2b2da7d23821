internal import CGLib
internal import CNice
internal import GLibLoop
internal import TransportPluginAPI

/// When relays are asked, and when again.
extension LibniceAgent {
    private static let lookUpTime = Duration.seconds(10)

    /// Asks a relay for the first time.
    func ask(_ relay: Servers.Relay, at address: IPAddress, _ agent: OpaquePointer) {
        var relay = relay
        relay.host = address.description
        if relays.add(relay) { request(relay, agent) }
    }

    private func request(_ relay: Servers.Relay, _ agent: OpaquePointer) {
        nice_agent_set_relay_info(
            agent, stream, Self.component, relay.host, guint(relay.url.port), relay.username, relay.credential,
            relay.url.transport == .udp ? NICE_RELAY_TYPE_TURN_UDP : NICE_RELAY_TYPE_TURN_TCP)
    }

    /// libnice 0.1.21 takes names, but of several addresses it asks all but the first at port 0 (`turn_server_copy`). So the first
    /// address of each family is a relay of its own.
    func lookUp(_ relay: Servers.Relay) {
        if let address = relay.address { return resolved(relay, [address]) }
        let inquirer = Inquirer(self)
        let (loop, deadline) = (loop, Timestamp.now() + Self.lookUpTime)
        Task {
            let addresses = await addresses(of: relay.url.host, deadline)
            loop.execute { inquirer.withAgent { $0.resolved(relay, addresses.compactMap { IPAddress($0) }) } }
        }
    }

    private func resolved(_ relay: Servers.Relay, _ addresses: [IPAddress]) {
        guard let agent, isOpen else { return }
        let mine = options.localAddresses()
        let wasDone = hasGathered
        let mark = newestSource()
        for isIPv6 in [false, true] where mine.contains(where: { $0.isIPv6 == isIPv6 }) {
            if let address = addresses.first(where: { $0.isIPv6 == isIPv6 }) { ask(relay, at: address, agent) }
        }
        // libnice gathers anew, and tells of the end again; if there was nothing that it could ask, it does neither.
        if wasDone { hasGathered = !isAsking(from: mark) }
        pendingRelays -= 1
        context.setNeedsPass()
        if relays.timer == nil { askRelaysAgain() }
        finishGathering()
    }

    /// Whether libnice has begun to ask servers since `mark`, as far as can be seen.
    private func isAsking(from mark: guint) -> Bool {
        (mark..<max(mark, newestSource())).contains { isSource($0, named: "Candidate discovery tick") }
    }

    /// Where the answer of a look-up goes.
    /// SAFETY of `@unchecked Sendable`: `agent` is read on the loop only.
    final class Inquirer: @unchecked Sendable {
        private weak var agent: LibniceAgent?
        init(_ agent: LibniceAgent) { self.agent = agent }
        func withAgent(_ body: (LibniceAgent) -> Void) { if let agent { body(agent) } }
    }

    /// While relays are silent, asks them anew every now and then.
    func askRelaysAgain() {
        guard let pause = relays.nextPause else { return }
        relays.timer = loop.schedule(after: pause) { [weak self] in
            guard let self, let agent, handler != nil, let relay = relays.next() else { return }
            request(relay, agent)
            context.setNeedsPass()
            askRelaysAgain()
        }
    }
}

/// None when the name is not resolved.
func addresses(of name: String, _ deadline: Timestamp) async -> [String] {
    do throws(TransportError) {
        return try await NameResolver.resolve(name, url: name, deadline: deadline)
    } catch { return [] }
}
