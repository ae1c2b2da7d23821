internal import TransportPluginAPI

/// Decides when to request an allocation again while no relay has answered. Pure.
///
/// libnice repeats a request after 0.5, 1.5 and 3.5 s and then gives up. A relay that is just restarting would be found
/// seconds late, or only by the next ICE restart. So new requests start in pairs, 0.25 s apart, one pair a second.
/// Together with libnice's repetitions a relay gets a request every 0.25 s for almost 4 s.
struct RelayRetries {
    private var relays: [Servers.Relay] = []
    private var asked = 0
    private var hasEnded = false

    /// Adds a relay that is about to be given to libnice. Returns false when libnice takes no more.
    mutating func add(_ relay: Servers.Relay) -> Bool {
        guard relays.count + asked < Servers.maximumRelays else { return false }
        relays.append(relay)
        return true
    }

    /// The pause before the next request; nil when there are no relays, one has answered, or libnice takes no more
    /// requests.
    var nextPause: Duration? {
        guard !hasEnded, !relays.isEmpty, relays.count + asked < Servers.maximumRelays else { return nil }
        return .milliseconds(asked.isMultiple(of: 2) ? 250 : 750)
    }

    /// The relay to ask now.
    mutating func next() -> Servers.Relay? {
        guard !hasEnded, !relays.isEmpty else { return nil }
        defer { asked += 1 }
        return relays[asked % relays.count]
    }

    mutating func end() { hasEnded = true }
}
