import Glibc
import NetworkMonitor
import Testing
import TransportPluginAPI

@Suite struct NetworkSnapshotTests {
    @Test func defaultRoutesOfIPv4AreThoseWithoutDestinationThatAreUp() {
        let table = """
            Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
            eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
            eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
            wlan0\t00000000\t0100A8C0\t0002\t0\t0\t600\t00000000\t0\t0\t0
            docker0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
            """
        #expect(NetworkSnapshot.defaultRoutes(ofIPv4Table: table) == ["eth0 010011AC"])
    }

    @Test func defaultRoutesOfIPv6AreThoseOfLengthZeroThatDoNotReject() {
        let zero = String(repeating: "0", count: 32)
        let gateway = "fe800000000000000000000000000001"
        let table = """
            \(zero) 00 \(zero) 00 \(gateway) 00000400 00000001 00000000 00000003     eth0
            \(zero) 00 \(zero) 00 \(zero) ffffffff 00000001 00000000 00200200       lo
            20010db8000000000000000000000000 40 \(zero) 00 \(zero) 00000100 00000001 00000000 00000001     eth0
            """
        #expect(NetworkSnapshot.defaultRoutes(ofIPv6Table: table) == ["eth0 \(gateway)"])
    }

    @Test(arguments: ["", "\n", "eth0", "Iface\n\t\t\t", "x y z 1 2 3 4 5 6 7 8 9"])
    func tablesOfAnotherFormHoldNoRoutes(_ text: String) {
        #expect(NetworkSnapshot.defaultRoutes(ofIPv4Table: text).isEmpty)
        #expect(NetworkSnapshot.defaultRoutes(ofIPv6Table: text).isEmpty)
    }

    /// Containers come and go. A machine's only address counts wherever it is, and its arrival is a reason to look.
    @Test func addressesThatPeersAreOfferedCount() throws {
        func address(_ interface: String, _ text: String) throws -> LocalAddress {
            try #require(LocalAddress(text, interface: interface))
        }
        let lone = [
            try address("lo", "127.0.0.1"), try address("docker0", "172.17.0.1"), try address("eth0", "fe80::1"),
        ]
        #expect(NetworkSnapshot.counted(of: lone) == ["127.0.0.1", "fe80::1"])
        let cable = lone + [try address("eth0", "169.254.10.1")]
        #expect(NetworkSnapshot.counted(of: cable) == ["127.0.0.1", "169.254.10.1"])
        #expect(NetworkSnapshot.counted(of: cable + [try address("eth0", "192.0.2.7")]) == ["127.0.0.1", "192.0.2.7"])
    }

    /// A connection from an address that no snapshot has is not lost.
    @Test func usableAddressesIncludeTheIgnoredOnes() {
        #expect(NetworkSnapshot.usableAddresses().isSuperset(of: NetworkSnapshot.current().addresses))
    }

    @Test func thisMachineHasALoopback() { #expect(NetworkSnapshot.current().addresses.contains("127.0.0.1")) }
}

@Suite(.timeLimit(.minutes(1))) struct NetworkMonitorTests {
    /// The network that a monitor sees, set from any thread.
    private final class FakeNetwork: Sendable {
        let snapshot = Locked(NetworkSnapshot(addresses: ["192.0.2.1"]))
    }

    @Test func aMachineThatSaysNothingIsLookedAt() async throws {
        let loop = try TransportLoop(name: "monitor")
        let network = FakeNetwork()
        let (changes, feed) = AsyncStream.makeStream(of: NetworkSnapshot.self)
        let monitor = await loop.run {
            let monitor = NetworkMonitor(
                on: loop, interval: (.milliseconds(20), .milliseconds(20)),
                look: { network.snapshot.withLock { $0 } }, onChange: { feed.yield($0) })
            monitor.start()
            return monitor
        }
        network.snapshot.withLock { $0.addresses = ["192.0.2.2"] }
        var iterator = changes.makeAsyncIterator()
        #expect(await iterator.next()?.addresses == ["192.0.2.2"])
        await loop.run {
            monitor.stop()
            monitor.stop()
        }
        await loop.shutdown()
    }

    @Test func aSleepIsToldOnceWithItsLength() async throws {
        let loop = try TransportLoop(name: "monitor")
        let slept = Locked(Duration.seconds(100))
        let (sleeps, feed) = AsyncStream.makeStream(of: Duration.self)
        let looks = Locked(0)
        let monitor = await loop.run {
            let monitor = NetworkMonitor(
                on: loop, interval: (.milliseconds(10), .milliseconds(10)), look: { NetworkSnapshot() },
                sleptUntilNow: {
                    looks.withLock { $0 += 1 }
                    return slept.withLock { $0 }
                }, onChange: { _ in }, onWake: { feed.yield($0) })
            monitor.start()
            return monitor
        }
        slept.withLock { $0 += .milliseconds(99) }
        var seen = looks.withLock { $0 }
        while looks.withLock({ $0 }) < seen + 2 { await Task.yield() }
        slept.withLock { $0 += .seconds(3600) }
        var iterator = sleeps.makeAsyncIterator()
        #expect(await iterator.next() == .seconds(3600), "99 ms are no sleep")
        seen = looks.withLock { $0 }
        while looks.withLock({ $0 }) < seen + 2 { await Task.yield() }
        slept.withLock { $0 += .seconds(7) }
        #expect(await iterator.next() == .seconds(7))
        await loop.run { monitor.stop() }
        await loop.shutdown()
    }

    @Test func thisMachineTellsOfJumpsOfItsClock() async throws {
        let loop = try TransportLoop(name: "monitor")
        let hasMessages = await loop.run {
            let monitor = NetworkMonitor(on: loop, onChange: { _ in })
            monitor.start()
            defer { monitor.stop() }
            return monitor.hasClockMessages
        }
        #expect(hasMessages)
        #expect(NetworkMonitor.sleptUntilNow() > .milliseconds(-1))
        await loop.shutdown()
    }

    @Test func theKernelsMessagesBringALookAtOnce() async throws {
        guard geteuid() == 0 else { return }
        let loop = try TransportLoop(name: "monitor")
        let (changes, feed) = AsyncStream.makeStream(of: NetworkSnapshot.self)
        let monitor = await loop.run {
            let monitor = NetworkMonitor(on: loop, onChange: { feed.yield($0) })
            monitor.start()
            return monitor
        }
        let hasMessages = await loop.run { monitor.hasMessages }
        // An address of the loopback range, which affects nothing else. It is removed with the test.
        let address = "127.77.\(getpid() % 250).\(getpid() / 250 % 250)"
        func ip(_ verb: String) -> Bool { system("ip address \(verb) \(address)/32 dev lo 2>/dev/null") == 0 }
        if hasMessages, ip("add") {
            let start = Timestamp.now()
            var iterator = changes.makeAsyncIterator()
            while let network = await iterator.next(), !network.addresses.contains(address) {}
            #expect(Timestamp.now() - start < .seconds(2))
            #expect(ip("del"))
            while let network = await iterator.next(), network.addresses.contains(address) {}
        } else {
            print("SKIPPED: the kernel's messages: no netlink, or no right to add an address to lo")
        }
        await loop.run { monitor.stop() }
        await loop.shutdown()
    }
}
