internal import TransportPluginAPI

/// Decides when to ask the relays again, as long as none has answered. Pure. libnice repeats an allocation's request
/// after 0.5, 1.5 and 3.5 s and then gives up. A relay that is being restarted would be found seconds late, or only by
/// the next ICE restart. Asked anew in pairs, 0.25 s apart, one pair a second, whose repetitions fall between each
/// other, it hears a request every 0.25 s for almost 4 s.
struct RelayInquiry {
    private var relays: [Servers.Relay] = []
    private var asked = 0
    private var hasEnded = false

    /// Adds a relay that libnice is about to be told of. False when it takes no more.
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
