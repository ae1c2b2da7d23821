package import TransportValues
package import WebSocketWire

/// The sockets and rooms of each address at a server, over all of its event loops, and the rates at which they come.
///
/// A pure value that never grows beyond its limit: addresses that use nothing and whose budgets are full again are
/// forgotten; when that does not suffice, new addresses are counted by their network.
package struct AddressTable: Sendable {
    typealias Key = AddressGroup

    private struct Entry {
        var connections = 0
        var handshakes = 0
        var rooms = 0
        var arrivals = TokenBucket()
        var answers = TokenBucket()
        var openings = TokenBucket()
        var failures = TokenBucket()
        var lastUse: Timestamp

        var isIdle: Bool { connections == 0 && rooms == 0 }
    }

    /// The groups in which something was counted, so that it can be given back.
    package struct Place: Sendable, Hashable {
        var keys: [Key]
    }

    /// The answer to a new socket.
    package enum Admission: Sendable, Hashable {
        case admitted(Place)
        /// It is counted, and its request must be refused with the time to return.
        case refusedPolitely(Place, after: Duration)
        case refused
    }

    private let limits: AddressLimits
    private var entries: [Key: Entry] = [:]
    private var networks = 0
    private var nextSweep = Timestamp(nanoseconds: .min)

    package init(_ limits: AddressLimits) { self.limits = limits }

    /// The number of addresses and networks that are remembered.
    package var count: Int { entries.count }

    /// Whether nothing is counted, apart from so many connections.
    func isUnused(except connections: Int) -> Bool {
        entries.values.allSatisfy { $0.rooms == 0 && $0.handshakes == $0.connections && $0.connections >= 0 }
            && entries.values.reduce(0) { $0 + $1.connections } == connections
    }

    // MARK: Sockets

    /// A socket was opened: it counts as a connection, and as a handshake until `handshakeEnded`.
    package mutating func opened(_ address: NetworkAddress, at now: Timestamp) -> Admission {
        let place = place(of: address, at: now)
        let isFree = place.keys.allSatisfy { key in
            guard let entry = entries[key] else { return true }
            return isBelow(entry.connections, limits.connections, key)
                && isBelow(entry.handshakes, limits.handshakes, key)
        }
        guard isFree else { return .refused }
        let delay = take(\.arrivals, limits.connectionsPerSecond, limits.connectionBurst, place, now)
        if delay != nil, take(\.answers, limits.answersPerSecond, limits.answerBurst, place, now) != nil {
            return .refused
        }
        for key in place.keys {
            entries[key]?.connections += 1
            entries[key]?.handshakes += 1
        }
        return delay.map { .refusedPolitely(place, after: $0) } ?? .admitted(place)
    }

    /// The socket has begun another handshake. Returns false, and counts nothing, when there are too many.
    package mutating func handshakeBegan(_ place: Place) -> Bool {
        let isFree = place.keys.allSatisfy { isBelow(entries[$0]?.handshakes ?? 0, limits.handshakes, $0) }
        if isFree { for key in place.keys { entries[key]?.handshakes += 1 } }
        return isFree
    }

    package mutating func handshakeEnded(_ place: Place) {
        for key in place.keys { entries[key]?.handshakes -= 1 }
    }

    /// The socket was closed, after its handshake has ended.
    package mutating func closed(_ place: Place) {
        for key in place.keys { entries[key]?.connections -= 1 }
    }

    // MARK: Rooms

    /// Counts a room that an address opens. Returns the time after which it may try again, if it may not now.
    package mutating func openRoom(_ address: NetworkAddress, at now: Timestamp) -> Result<Place, RoomRefusal> {
        let place = place(of: address, at: now)
        guard place.keys.allSatisfy({ isBelow(entries[$0]?.rooms ?? 0, limits.rooms, $0) }) else {
            return .failure(RoomRefusal(delay: nil))
        }
        if let delay = take(\.openings, limits.roomsPerSecond, limits.roomBurst, place, now) {
            return .failure(RoomRefusal(delay: delay))
        }
        for key in place.keys { entries[key]?.rooms += 1 }
        return .success(place)
    }

    /// The room that was counted there has ended.
    package mutating func roomEnded(_ place: Place) {
        for key in place.keys { entries[key]?.rooms -= 1 }
    }

    // MARK: Credentials

    /// Returns the time after which tokens from the address are looked at again; nil: now.
    package mutating func delayOfCredentials(_ address: NetworkAddress, at now: Timestamp) -> Duration? {
        guard limits.failuresPerSecond > 0 else { return nil }
        var longest = Duration.zero
        for key in place(of: address, at: now).keys {
            let (rate, burst) = (limits.failuresPerSecond * factor(key), max(limits.failureBurst, 1) * factor(key))
            _ = entries[key]?.failures.take(0, rate: rate, burst: burst, now: now)
            longest = max(longest, entries[key]?.failures.delay(of: 1, rate: rate, burst: burst) ?? .zero)
        }
        return longest > .zero ? longest : nil
    }

    /// A token from the address was invalid.
    package mutating func credentialFailed(_ address: NetworkAddress, at now: Timestamp) {
        _ = take(\.failures, limits.failuresPerSecond, limits.failureBurst, place(of: address, at: now), now)
    }

    /// A first join with a valid join token. Returns the time after which it may be used again, if it may not now.
    package mutating func joined(withToken token: String, at now: Timestamp) -> Duration? {
        let key = Key(token: token)
        guard remember(key, at: now) else { return nil }
        let place = Place(keys: [key])
        return take(\.arrivals, limits.tokenJoinsPerSecond, limits.tokenJoinBurst, place, now)
    }

    // MARK: Counting

    private func factor(_ key: Key) -> Int {
        switch key.kind {
        case .address, .token: 1
        case .network: limits.networkFactor
        case .rest: limits.networkFactor * limits.networkFactor
        }
    }

    private func isBelow(_ count: Int, _ limit: Int, _ key: Key) -> Bool { limit == 0 || count < limit * factor(key) }

    /// Takes from the budget of every group. Returns the longest time until that is possible, if it is not.
    private mutating func take(
        _ bucket: WritableKeyPath<Entry, TokenBucket>, _ rate: Int, _ burst: Int, _ place: Place, _ now: Timestamp
    ) -> Duration? {
        guard rate > 0 else { return nil }
        var longest: Duration?
        for key in place.keys {
            guard var entry = entries[key] else { continue }
            let (rate, burst) = (rate * factor(key), max(burst, 1) * factor(key))
            if !entry[keyPath: bucket].take(rate: rate, burst: burst, now: now) {
                longest = max(longest ?? .zero, entry[keyPath: bucket].delay(of: 1, rate: rate, burst: burst))
            }
            entries[key] = entry
        }
        return longest
    }

    // MARK: Remembering

    /// Returns the groups that an address belongs to, which exist now.
    private mutating func place(of address: NetworkAddress, at now: Timestamp) -> Place {
        let own = Key(address)
        let network = Key(networkOf: address)
        var keys: [Key] = []
        if remember(own, at: now) { keys.append(own) }
        if keys.isEmpty || !address.isIPv4 {
            if remember(network, at: now) {
                keys.append(network)
            } else if keys.isEmpty {
                entries[.rest, default: Entry(lastUse: now)].lastUse = now
                keys.append(.rest)
            }
        }
        return Place(keys: keys)
    }

    /// Returns false when there is no place for it.
    private mutating func remember(_ key: Key, at now: Timestamp) -> Bool {
        if entries[key] != nil {
            entries[key]?.lastUse = now
            return true
        }
        if !hasPlace(for: key) { sweep(at: now) }
        guard hasPlace(for: key) else { return false }
        if key.kind == .network { networks += 1 }
        entries[key] = Entry(lastUse: now)
        return true
    }

    /// A quarter of the places is for networks.
    private func hasPlace(for key: Key) -> Bool {
        key.kind == .network
            ? networks < limits.remembered / 4 : entries.count - networks < limits.remembered / 4 * 3
    }

    /// The time in which every budget is full again.
    private var memory: Duration {
        let budgets = [
            (limits.connectionsPerSecond, limits.connectionBurst), (limits.answersPerSecond, limits.answerBurst),
            (limits.roomsPerSecond, limits.roomBurst), (limits.failuresPerSecond, limits.failureBurst),
            (limits.tokenJoinsPerSecond, limits.tokenJoinBurst),
        ]
        return .seconds(budgets.map { rate, burst in rate > 0 ? burst / rate + 1 : 0 }.max() ?? 0)
    }

    /// Forgets the addresses that use nothing and whose budgets are full, at most once a second.
    private mutating func sweep(at now: Timestamp) {
        guard now >= nextSweep else { return }
        nextSweep = now + .seconds(1)
        let memory = memory
        entries = entries.filter { !$0.value.isIdle || now - $0.value.lastUse < memory }
        networks = entries.keys.count { $0.kind == .network }
    }
}

extension AddressTable {
    /// The refusal of a room.
    package struct RoomRefusal: Error, Hashable {
        /// The time until the address may open one again. Nil: unknown, as others must end first.
        package var delay: Duration?
    }
}
