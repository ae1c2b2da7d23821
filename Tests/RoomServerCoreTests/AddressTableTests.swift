import RoomProtocol
import Testing
import TransportValues
import WebSocketWire

@testable import RoomServerCore

@Suite("Limits per address")
struct AddressTableTests {
    private static let start = Timestamp(nanoseconds: 1_000_000_000)

    /// A table with small limits and a clock.
    private struct Bench {
        var table: AddressTable
        var now = AddressTableTests.start

        init(_ configure: (inout AddressLimits) -> Void = { _ in }) {
            var limits = AddressLimits()
            configure(&limits)
            table = AddressTable(limits)
        }

        mutating func open(_ address: String) -> AddressTable.Admission {
            table.opened(NetworkAddress(address) ?? NetworkAddress(ipv4: 0), at: now)
        }

        /// Opens sockets until one is refused, at most `most`. Returns the places of those that were admitted.
        mutating func flood(_ address: String, _ most: Int = 10_000) -> [AddressTable.Place] {
            var places: [AddressTable.Place] = []
            while places.count < most, case .admitted(let place) = open(address) { places.append(place) }
            return places
        }
    }

    @Test(arguments: [("192.0.2.1", "192.0.2.2"), ("2001:db8:0:1::1", "2001:db8:0:2::1")])
    func oneAddressHasItsConnectionsAndAnotherOneItsOwn(_ bad: String, _ good: String) {
        var bench = Bench {
            $0.connections = 8
            $0.networkFactor = 2
        }
        let places = bench.flood(bad)
        #expect(places.count == 8)
        #expect(bench.open(bad) == .refused)
        #expect(bench.flood(good).count == 8)
        if let place = places.first {
            bench.table.handshakeEnded(place)
            bench.table.closed(place)
        }
        #expect(bench.flood(bad).count == 1)
    }

    @Test func handshakesUnderWayAreFewerThanConnections() throws {
        var bench = Bench { $0.handshakes = 4 }
        let places = bench.flood("192.0.2.1")
        #expect(places.count == 4)
        let first = try #require(places.first)
        bench.table.handshakeEnded(first)
        #expect(bench.flood("192.0.2.1").count == 1)
        #expect(bench.table.handshakeBegan(first) == false)
        bench.table.handshakeEnded(first)
        #expect(bench.table.handshakeBegan(first) == true)
    }

    @Test func theAddressesOfOneIPv6ClientCountTogetherAndSoDoItsNetworks() {
        var bench = Bench {
            $0.connections = 8
            $0.networkFactor = 2
        }
        #expect(bench.flood("2001:db8:0:1::1", 5).count == 5)
        #expect(bench.flood("2001:db8:0:1:ffff::9").count == 3)
        #expect(bench.flood("2001:db8:0:2::1").count == 8)
        #expect(bench.open("2001:db8:0:3::1") == .refused)
        #expect(bench.flood("2001:db8:1::1").count == 8)
    }

    @Test func newSocketsHaveARateAndThoseOverItAreToldSoAFewTimes() throws {
        var bench = Bench {
            $0.connectionsPerSecond = 10
            $0.connectionBurst = 20
            $0.answersPerSecond = 1
            $0.answerBurst = 2
        }
        #expect(bench.flood("192.0.2.1").count == 20)
        // The flood ended with the first polite refusal.
        guard case .refusedPolitely(_, let delay) = bench.open("192.0.2.1") else {
            Issue.record("not told")
            return
        }
        #expect(delay == .milliseconds(100))
        #expect(bench.open("192.0.2.1") == .refused)
        bench.now = bench.now + .seconds(1)
        #expect(bench.flood("192.0.2.1").count == 10)
    }

    @Test func roomsAreCountedUntilTheyEndAndHaveARate() throws {
        let address = NetworkAddress(ipv4: 7)
        var bench = Bench {
            $0.rooms = 3
            $0.roomsPerSecond = 1
            $0.roomBurst = 4
        }
        let places = try (0..<3).map { _ in try bench.table.openRoom(address, at: bench.now).get() }
        #expect(bench.table.openRoom(address, at: bench.now) == .failure(.init(delay: nil)))
        for place in places { bench.table.roomEnded(place) }
        _ = try bench.table.openRoom(address, at: bench.now).get()
        #expect(bench.table.openRoom(address, at: bench.now) == .failure(.init(delay: .seconds(1))))
        _ = try bench.table.openRoom(address, at: bench.now + .seconds(1)).get()
    }

    @Test func invalidTokensAreCounted() {
        var bench = Bench {
            $0.failuresPerSecond = 1
            $0.failureBurst = 5
        }
        let address = NetworkAddress(ipv4: 7)
        for _ in 0..<5 {
            #expect(bench.table.delayOfCredentials(address, at: bench.now) == nil)
            bench.table.credentialFailed(address, at: bench.now)
        }
        #expect(bench.table.delayOfCredentials(address, at: bench.now) == .seconds(1))
        #expect(bench.table.delayOfCredentials(address, at: bench.now + .seconds(1)) == nil)
        #expect(bench.table.delayOfCredentials(NetworkAddress(ipv4: 8), at: bench.now) == nil)
    }

    @Test func zeroIsNoLimit() {
        var bench = Bench {
            $0.connections = 0
            $0.handshakes = 0
            $0.connectionsPerSecond = 0
        }
        #expect(bench.flood("192.0.2.1", 5000).count == 5000)
    }

    // MARK: Bounds

    @Test func addressesThatUseNothingAreForgottenWhenThereAreTooMany() {
        var bench = Bench { $0.remembered = 64 }
        for number in 0..<1000 {
            if case .admitted(let place) = bench.table.opened(NetworkAddress(ipv4: UInt32(number)), at: bench.now) {
                bench.table.handshakeEnded(place)
                bench.table.closed(place)
            }
            bench.now = bench.now + .seconds(200)
            #expect(bench.table.count <= 65)
        }
    }

    /// Nobody can make the table forget its debts by coming from many addresses: these share a limit then.
    @Test func whenTheTableIsFullNewAddressesShareTheLimitsOfTheirNetwork() {
        var bench = Bench {
            $0.remembered = 64
            $0.connections = 2
        }
        for number in 0..<48 { #expect(bench.flood("192.0.2.\(number)").count == 2) }
        // 203.0.0.0/16 is counted as one, with four times the limit.
        #expect((0..<20).reduce(0) { count, number in count + bench.flood("203.0.113.\(number)").count } == 8)
        #expect(bench.flood("198.51.100.1").count == 8)
        #expect(bench.open("192.0.2.1") == .refused)
        #expect(bench.table.count <= 65)
    }

    @Test func whenTheTableIsFullOfNetworksTheRestIsOne() {
        var bench = Bench {
            $0.remembered = 8
            $0.connections = 1
            $0.networkFactor = 2
        }
        var admitted = 0
        for number in 0..<100 { admitted += bench.flood("10.\(number).0.1").count }
        // Six addresses, two networks with two each, and four for all others.
        #expect(admitted == 6 + 4 + 4)
        #expect(bench.table.count == 9)
    }

    /// The counts return to zero when everything has ended.
    @Test(arguments: 1...20)
    func whatIsGivenBackIsWhatWasTaken(_ seed: UInt64) {
        var random = ServerHarness.Generator(state: seed)
        var bench = Bench {
            $0.remembered = 16
            $0.connectionsPerSecond = 0
            $0.roomsPerSecond = 0
        }
        var sockets: [AddressTable.Place] = []
        var rooms: [AddressTable.Place] = []
        for _ in 0..<2000 {
            bench.now = bench.now + .seconds(Int(random.next() >> 40 % 50))
            let address = NetworkAddress(ipv4: UInt32(random.next() >> 40 % 40) << 12)
            switch random.next() >> 40 % 4 {
            case 0:
                if case .admitted(let place) = bench.table.opened(address, at: bench.now) { sockets.append(place) }
            case 1:
                guard let place = sockets.popLast() else { continue }
                bench.table.handshakeEnded(place)
                bench.table.closed(place)
            case 2: if let place = try? bench.table.openRoom(address, at: bench.now).get() { rooms.append(place) }
            default: if let place = rooms.popLast() { bench.table.roomEnded(place) }
            }
        }
        for place in sockets {
            bench.table.handshakeEnded(place)
            bench.table.closed(place)
        }
        for place in rooms { bench.table.roomEnded(place) }
        bench.now = bench.now + .seconds(1000)
        for number in 0..<20 { _ = bench.table.opened(NetworkAddress(ipv4: UInt32(number) << 16 | 1), at: bench.now) }
        #expect(bench.table.isUnused(except: 20), "seed \(seed)")
    }
}

@Suite("What a hello costs its address")
struct AddressAccountsTests {
    /// A table that a machine asks.
    private final class Accounts: AddressAuthority, @unchecked Sendable {
        // SAFETY: used by one test, which is on one thread.
        private var table: AddressTable

        init(_ limits: AddressLimits) { table = AddressTable(limits) }

        func openRoom(
            _ address: NetworkAddress, at now: Timestamp
        ) -> Result<AddressTable.Place, AddressTable.RoomRefusal> { table.openRoom(address, at: now) }
        func roomEnded(_ place: AddressTable.Place) { table.roomEnded(place) }
        func delayOfCredentials(_ address: NetworkAddress, at now: Timestamp) -> Duration? {
            table.delayOfCredentials(address, at: now)
        }
        func joined(withToken token: String, at now: Timestamp) -> Duration? {
            table.joined(withToken: token, at: now)
        }
        func credentialFailed(_ address: NetworkAddress, at now: Timestamp) {
            table.credentialFailed(address, at: now)
        }
    }

    private static let bad = NetworkAddress(ipv4: 1)
    private static let good = NetworkAddress(ipv4: 2)

    private func server(
        authority: TrustingAuthority = TrustingAuthority(), _ configure: (inout AddressLimits) -> Void
    ) -> ServerHarness {
        var limits = AddressLimits()
        configure(&limits)
        return ServerHarness(authority: authority, addresses: Accounts(limits))
    }

    @Test func roomsOfOneAddressLeaveTheOthersAlone() {
        let server = server { $0.rooms = 2 }
        for number in 0..<3 { server.join("x\(number)", .host, room: "squat\(number)", from: Self.bad) }
        let error = server.lastError("x2")
        #expect(error?.code == .tooManyRequests && error?.retryAfter != nil)
        server.join("me", .host, room: "mine", from: Self.good)
        #expect(server.joined("me") != nil)
        // A guest opens none.
        server.join("guest", room: "mine", from: Self.bad)
        #expect(server.joined("guest") != nil)
    }

    @Test func aRoomCountsUntilItIsRemoved() {
        let server = server { $0.rooms = 1 }
        server.join("ann", .host, room: "one", from: Self.bad)
        server.drop("ann")
        server.join("bob", .host, room: "two", from: Self.bad)
        #expect(server.lastError("bob")?.code == .tooManyRequests)
        // Grace, and then the time of an empty room.
        server.pass(.seconds(61))
        server.join("bob", .host, room: "two", from: Self.bad)
        #expect(server.joined("bob") != nil)
        server.sayNumbered(.closeRoom(reason: ""), as: "bob")
        server.join("cat", .host, room: "three", from: Self.bad)
        #expect(server.joined("cat") != nil)
    }

    @Test func afterTooManyInvalidTokensNoFurtherOneIsLookedAt() {
        var authority = TrustingAuthority()
        authority.invalidTokens = ["forged"]
        let server = server(authority: authority) { $0.failureBurst = 3 }
        server.join("ann", .host, token: "good", from: Self.bad)
        for _ in 0..<3 {
            server.join("x", token: "forged", from: Self.bad)
            #expect(server.lastError("x")?.code == .unauthorized)
        }
        server.join("bob", token: "good", from: Self.bad)
        #expect(server.lastError("bob")?.code == .tooManyRequests)
        // Others, and whoever returns, are not affected.
        server.join("cat", token: "good", from: Self.good)
        #expect(server.joined("cat") != nil)
        server.drop("ann")
        server.comeBack("ann", from: Self.bad)
        #expect(server.joined("ann")?.isResumed == true)
        server.pass(.seconds(1))
        server.join("bob", token: "good", from: Self.bad)
        #expect(server.joined("bob") != nil)
    }

    @Test func oneTokenCannotBeUsedWithoutEndFromManyAddresses() {
        let server = server { $0.tokenJoinBurst = 3 }
        server.join("ann", .host, token: "host", from: Self.good)
        for number in 1...4 {
            server.join("x", token: "leaked", from: NetworkAddress(ipv4: UInt32(number)))
            if number <= 3 { server.say(.leave, as: "x") }
        }
        #expect(server.lastError("x")?.code == .tooManyRequests)
        server.join("bob", token: "own", from: Self.bad)
        #expect(server.joined("bob") != nil)
        server.pass(.seconds(1))
        server.join("x", token: "leaked", from: Self.bad)
        #expect(server.joined("x") != nil && server.lastError("x") == nil)
    }
}
