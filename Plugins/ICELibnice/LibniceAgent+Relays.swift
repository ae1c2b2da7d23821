internal import CGLib
internal import CNice
internal import GLibLoop
internal import TransportPluginAPI

/// When libnice is told of its relays, and when they are asked again.
extension LibniceAgent {
    private static let lookUpTime = Duration.seconds(10)
    private static let stunPatience = Duration.milliseconds(100)

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
            loop.execute { inquirer.take(relay, addresses.compactMap { IPAddress($0) }) }
        }
    }

    private func resolved(_ relay: Servers.Relay, _ addresses: [IPAddress]) {
        guard handler != nil else { return }
        let chosen = [addresses.first { !$0.isIPv6 }, addresses.first { $0.isIPv6 }].compactMap { $0 }
        resolvedRelays.append((relay, chosen))
        if stunTimer == nil { askResolvedRelays() }
    }

    private func askResolvedRelays() {
        guard let agent, handler != nil, !resolvedRelays.isEmpty else { return }
        let mine = options.localAddresses()
        let wasDone = hasGathered
        let mark = newestSource()
        for (relay, addresses) in resolvedRelays {
            for address in addresses where mine.contains(where: { $0.isIPv6 == address.isIPv6 }) {
                ask(relay, at: address, agent)
            }
        }
        // libnice gathers anew, and tells of the end again; if there was nothing that it could ask, it does neither.
        if wasDone { hasGathered = !isAsking(from: mark) }
        pendingRelays -= resolvedRelays.count
        resolvedRelays = []
        context.setNeedsPass()
        if relays.timer == nil { askRelaysAgain() }
        finishGathering()
    }

    /// Has libnice told of a relay only when it has asked the STUN server, or not at all in `stunPatience`.
    ///
    /// libnice 0.1.21 drops a STUN server's answer while a relay on the same socket is before it in its list: the relay's check of the
    /// answer misses RFC 8489's magic cookie, which the question did not have, and the search ends there. Behind the STUN server a
    /// relay does no harm, and a server-reflexive candidate is there after one round trip, not with the relay's after two.
    ///
    /// A numeric server is asked as soon as GLib is run. A name is looked up by libnice itself, which tells nobody; but its first
    /// question makes a source with a name. Where several agents of a loop wait for a name, the first one's source ends all their waits.
    /// Then, and where the name takes too long, the STUN server's answer is dropped, and the relay's has to do.
    func waitForStun(_ server: ICEServerURL, from mark: guint) {
        stunTimer = loop.schedule(after: Self.stunPatience) { [weak self] in self?.stunIsAsked() }
        let isNumeric = IPAddress(server.host) != nil
        // Unowned: `close` takes it back, and comes before the end.
        context.afterPasses(of: self) { [unowned self] in
            if isNumeric || isAsking(from: mark) { stunIsAsked() }
        }
    }

    /// Whether libnice has begun to ask servers since `mark`, as far as can be seen.
    private func isAsking(from mark: guint) -> Bool {
        (mark..<max(mark, newestSource())).contains { isSource($0, named: "Candidate discovery tick") }
    }

    func stunIsAsked() {
        endWaitForStun()
        askResolvedRelays()
    }

    func endWaitForStun() {
        stunTimer?.cancel()
        stunTimer = nil
        context.removeAfterPasses(of: self)
    }

    /// Where the answer of a look-up goes.
    /// SAFETY of `@unchecked Sendable`: `agent` is read on the loop only.
    private final class Inquirer: @unchecked Sendable {
        private weak var agent: LibniceAgent?
        init(_ agent: LibniceAgent) { self.agent = agent }
        func take(_ relay: Servers.Relay, _ addresses: [IPAddress]) { agent?.resolved(relay, addresses) }
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
private func addresses(of name: String, _ deadline: Timestamp) async -> [String] {
    do throws(TransportError) {
        return try await NameResolver.resolve(name, url: name, deadline: deadline)
    } catch { return [] }
}
