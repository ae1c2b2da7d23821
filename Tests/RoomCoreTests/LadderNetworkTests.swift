import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// The recovery of a pair when the network of its machine changes.
@Suite struct LadderNetworkTests {
    @Test func aChangeOfTheNetworkProbesAndRestartsWithoutAnAnswerOnly() {
        var alive = Pair.connected()
        #expect(alive.act(.a) { $0.checkPath(.networkChanged, now: $1, using: &$2, &$3) }.probes == 1)
        #expect(alive.machines[.a]?.status == .connected(nil))
        alive.fact(.a, .liveness(.alive))
        #expect(alive.run(until: 30)[.a]?.restarts == 0)
        var silent = Pair.connected()
        silent.act(.a) { $0.checkPath(.networkChanged, now: $1, using: &$2, &$3) }
        #expect(silent.run(until: 20.4)[.a]?.restarts == 0)
        #expect(silent.run(until: 20.5)[.a]?.restarts == 1)
    }

    @Test func aPathWhoseAddressIsGoneIsReplacedAtOnceAndAgainWithTheNextChange() {
        var pair = Pair.connected()
        pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host, localAddress: "192.0.2.1")))
        let other = NetworkChange(addresses: ["192.0.2.1", "192.0.2.9"])
        let actions = pair.act(.a) { $0.networkChanged(other, now: $1, using: &$2, &$3) }
        #expect(actions.probes == 1 && actions.restarts == 0, "the path's address is still there")
        pair.fact(.a, .liveness(.alive))
        let gone = NetworkChange(addresses: [])
        #expect(pair.act(.a) { $0.networkChanged(gone, now: $1, using: &$2, &$3) }.restarts == 1)
        pair.inFlight = [.a: [], .b: []]
        // What was gathered on the old network is of no use on the new one.
        let new = NetworkChange(addresses: ["192.0.2.2"])
        #expect(
            pair.act(.a) { $0.networkChanged(new, now: $1, using: &$2, &$3) }.restarts == 0, "not twice in a moment")
        #expect(pair.run(until: 20.1, delivers: false)[.a]?.restarts == 1)
        pair.run(until: 20.3, delivers: false)
        #expect(pair.act(.a) { $0.networkChanged(gone, now: $1, using: &$2, &$3) }.restarts == 1)
    }

    /// The old address goes and the new one comes a moment later: the other side may have answered in between.
    @Test func anAnswerIsNoPathWhereTheOldOneIsLost() {
        var pair = Pair.connected()
        pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host, localAddress: "192.0.2.1")))
        let actions = pair.act(.a) { $0.networkChanged(.init(addresses: []), now: $1, using: &$2, &$3) }
        #expect(actions.restarts == 1 && actions.probes == 1)
        pair.deliverAll()
        #expect(pair.machines[.a]?.status == .recovering(.restart, attempt: 1, since: at(20)), "nothing works yet")
        #expect(pair.actions[.a]?.incidents.isEmpty == true)
        pair.now = at(20.01)
        pair.act(.a) { $0.networkChanged(.init(addresses: ["192.0.2.2"]), now: $1, using: &$2, &$3) }
        #expect(pair.run(until: 20.2)[.a]?.restarts == 1, "what was gathered in between was of no network")
        pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host, localAddress: "192.0.2.2")))
        pair.fact(.a, .liveness(.alive))
        let incidents = pair.fact(.a, .dataArrived).incidents
        #expect(incidents.map(\.cause) == [.networkChanged])
        #expect(pair.run(until: 60)[.a]?.restarts == 0)
    }

    /// The attempts of a first connection belong to the network that there was.
    @Test func aFirstConnectionBeginsAnewWhenTheAddressesChange() {
        for isOther in [true, false] {
            var pair = Pair()
            pair.act(.b) { $0.begin(now: $1, using: &$2, &$3) }
            pair.act(.a) { $0.begin(now: $1, using: &$2, &$3) }
            pair.run(until: 1)
            pair.act(.a) {
                $0.networkChanged(.init(addresses: ["192.0.2.2"]), isOther: isOther, now: $1, using: &$2, &$3)
            }
            #expect(pair.run(until: 1.4)[.a]?.creations == 0, "it has a moment to come to an end")
            #expect(pair.run(until: 1.5)[.a]?.creations == (isOther ? 1 : 0))
        }
    }

    /// Found by the simulation: it was called connected until the silence was noticed.
    @Test func aPathWhoseAddressIsGoneIsNotConnectedWhileItsStepWaitsForSignaling() {
        var pair = Pair.connected()
        pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host, localAddress: "192.0.2.1")))
        pair.act(.a) { $0.setReachable(false, now: $1, using: &$2, &$3) }
        pair.act(.a) { $0.restart(now: $1, using: &$2, &$3) }
        guard case .connected = pair.machines[.a]?.status else {
            Issue.record("the old path carries until there is a new one")
            return
        }
        pair.act(.a) { $0.networkChanged(.init(addresses: []), now: $1, using: &$2, &$3) }
        if case .connected = pair.machines[.a]?.status { Issue.record("over an address that is gone") }
    }

    @Test func aPathOfThisMachineAloneOutlivesEveryNetwork() {
        var pair = Pair.connected()
        pair.fact(.a, .pathChanged(PeerPath(local: .host, remote: .host, localAddress: "127.0.0.1")))
        #expect(pair.act(.a) { $0.networkChanged(.init(addresses: []), now: $1, using: &$2, &$3) }.restarts == 0)
    }
}
