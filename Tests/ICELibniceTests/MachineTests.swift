import Testing
import TransportPluginAPI

@testable import ICELibnice

/// When an agent has all of its candidates.
@Suite struct GatheringMachineTests {
    @Test func endIsReportedOnceWhenNothingIsWaitedFor() {
        var machine = GatheringMachine()
        #expect(!machine.isBegun && !machine.takeEnd(isSTUNOver: true))
        machine.libniceDone()
        machine.began(relays: 1)
        #expect(machine.isBegun && !machine.isLibniceDone, "what came before the beginning does not count")
        machine.libniceDone()
        #expect(machine.isLibniceDone && !machine.takeEnd(isSTUNOver: true), "not all servers have been asked")
        machine.started()
        #expect(machine.takeEnd(isSTUNOver: true) == false, "a relay is being looked up")
        machine.relayLookedUp(asksAgain: false)
        #expect(machine.takeEnd(isSTUNOver: false) == false)
        #expect(machine.takeEnd(isSTUNOver: true) && machine.isEnded)
        #expect(machine.takeEnd(isSTUNOver: true) == false)
    }

    @Test func libniceThatAsksALateRelayIsWaitedForAgain() {
        var machine = GatheringMachine()
        machine.began(relays: 1)
        machine.started()
        machine.libniceDone()
        machine.relayLookedUp(asksAgain: true)
        #expect(machine.takeEnd(isSTUNOver: true) == false)
        machine.libniceDone()
        #expect(machine.takeEnd(isSTUNOver: true) == true)
    }
}

/// Which candidates of this side are reported.
@Suite struct LocalCandidatesTests {
    private func candidate(
        _ kind: PeerPath.Kind, _ host: String, _ port: Int, priority: UInt32 = 0x7E00_1234, isUDP: Bool = true
    ) -> NiceCandidateValue {
        NiceCandidateValue(
            kind: kind, isUDP: isUDP, priority: priority, host: host, port: port, baseHost: "192.0.2.1")
    }

    private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    @Test func aReflexiveCandidateIsReportedOnceFromSeveralSources() throws {
        var candidates = LocalCandidates()
        let base = IPEndpoint(try address("192.0.2.1"), port: 1000)
        let outside = IPEndpoint(try address("203.0.113.9"), port: 9)
        #expect(candidates.reflexiveLine(0, base: base, seenAt: outside) == nil, "its base is not known")
        #expect(candidates.found(candidate(.host, "192.0.2.1", 1000)) == true)
        #expect(
            candidates.reflexiveLine(0, base: base, seenAt: outside)
                == "candidate:S0 1 UDP 1677726260 203.0.113.9 9 typ srflx raddr 192.0.2.1 rport 1000")
        #expect(candidates.reflexiveLine(0, base: base, seenAt: outside) == nil)
        #expect(candidates.found(candidate(.srflx, "203.0.113.9", 9)) == false, "a relay says the same")
        #expect(candidates.found(candidate(.srflx, "203.0.113.9", 10)) == true)
        // No NAT in between.
        #expect(candidates.reflexiveLine(0, base: base, seenAt: base) == nil)
    }

    @Test func hostCandidateOfTCPIsNoBase() throws {
        var candidates = LocalCandidates()
        #expect(candidates.found(candidate(.host, "192.0.2.1", 1000, isUDP: false)) == true)
        let base = IPEndpoint(try address("192.0.2.1"), port: 1000)
        let outside = IPEndpoint(try address("203.0.113.9"), port: 9)
        #expect(candidates.reflexiveLine(0, base: base, seenAt: outside) == nil)
    }

    @Test func peerReflexiveAddressThatAServerHasShownIsReflexive() throws {
        var candidates = LocalCandidates()
        let remote = candidate(.host, "2001:db8::1", 7)
        let before = candidates.path(local: candidate(.prflx, "203.0.113.9", 9), remote: remote)
        #expect(before.local == .prflx && before.localAddress == "192.0.2.1")
        #expect(before.summary == "udp 203.0.113.9:9 → [2001:db8::1]:7")
        #expect(candidates.found(candidate(.srflx, "203.0.113.9", 9)) == true)
        #expect(candidates.path(local: candidate(.prflx, "203.0.113.9", 9), remote: remote).local == .srflx)
        let relayed = candidates.path(local: candidate(.relay, "198.51.100.1", 5, isUDP: false), remote: remote)
        #expect(relayed.local == .relay && relayed.localAddress == nil && relayed.summary.hasPrefix("tcp "))
    }
}

/// Which state and which path an agent reports.
@Suite struct ConnectivityMachineTests {
    private let path = PeerPath(local: .host, remote: .host, summary: "udp")

    @Test func newChecksBesideAPathAreNoNewState() {
        var machine = ConnectivityMachine()
        #expect(machine.changed(to: .connecting) == .checking)
        #expect(machine.selected(path) && !machine.selected(path))
        #expect(machine.changed(to: .connected) == .connected)
        #expect(!machine.isReady)
        #expect(machine.changed(to: .ready) == nil && machine.isReady)
        #expect(machine.changed(to: .connecting) == nil && !machine.isReady, "a late candidate")
        #expect(machine.changed(to: .ready) == nil)
        #expect(machine.changed(to: .failed) == .failed && machine.changed(to: .failed) == nil)
        #expect(machine.changed(to: .connected) == .connected)
        machine.closed()
        #expect(machine.selectedPath == nil)
    }

    @Test func checksAfterAFailureWithoutAPathAreReported() {
        var machine = ConnectivityMachine()
        #expect(machine.changed(to: .failed) == .failed)
        #expect(machine.changed(to: .connecting) == .checking)
    }
}

/// When silent relays are asked again.
@Suite struct RelayRetriesTests {
    @Test func relaysAreAskedInPairsUntilOneAnswersOrLibniceTakesNoMore() {
        let servers = Servers([ICEServer(urls: ["turn:192.0.2.1", "turn:192.0.2.2"], username: "u", credential: "p")])
        var retries = RelayRetries()
        #expect(retries.nextPause == nil)
        for relay in servers.turn { #expect(retries.add(relay) == true) }
        var pauses: [Duration] = []
        var hosts: [String] = []
        while let pause = retries.nextPause {
            pauses.append(pause)
            hosts.append(retries.next()?.host ?? "")
        }
        #expect(pauses.count == Servers.maximumRelays - 2)
        #expect(pauses.prefix(4) == [.milliseconds(250), .milliseconds(750), .milliseconds(250), .milliseconds(750)])
        #expect(hosts.prefix(3) == ["192.0.2.1", "192.0.2.2", "192.0.2.1"])
        #expect(retries.add(servers.turn[0]) == false)
        retries = RelayRetries()
        #expect(retries.add(servers.turn[0]) == true)
        retries.end()
        #expect(retries.nextPause == nil && retries.next() == nil)
    }
}

/// Which remote candidates are taken at all.
@Suite struct RemoteCandidateTests {
    private func line(_ address: String, _ number: Int = 1) throws -> CandidateLine {
        try CandidateLine("candidate:\(number) 1 UDP \(number) \(address) 5 typ host")
    }

    @Test func candidatesAreLimitedAndLoopbackIsForThisMachine() throws {
        var pacing = CandidatePacing(interval: .milliseconds(5))
        #expect(pacing.append(try line("127.0.0.1"), takesLoopback: false) == false)
        #expect(pacing.append(try line("127.0.0.1"), takesLoopback: true) == true)
        #expect(pacing.append(try line("d3b0.local"), takesLoopback: true) == false, "it cannot be checked")
        for number in 2...CandidatePacing.maximumCount {
            #expect(pacing.append(try line("192.0.2.1", number), takesLoopback: false) == true)
        }
        #expect(pacing.append(try line("192.0.2.1", 65), takesLoopback: false) == false)
        pacing.close()
        #expect(!pacing.isWaiting)
    }
}
