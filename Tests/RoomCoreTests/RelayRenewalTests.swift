import RoomProtocol
import RoomValues
import Testing
import TransportValues

@testable import RoomCore

/// Relayed paths that are moved to fresh credentials in time.
@Suite struct RelayRenewalTests {
    @Test func aRelayedPathIsMovedToFreshCredentialsBeforeTheOldOnesExpire() {
        var pair = Pair.connected()
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host)))
        let servers = [ICEServer(urls: ["turn:x"])]
        pair.act(.a) { $0.iceServersChanged(servers, ttl: .seconds(3600), now: $1, using: &$2, &$3) }
        #expect(pair.run(until: 22)[.a]?.restarts == 0)
        pair.now = at(2500)
        pair.act(.a) { $0.iceServersChanged(servers, ttl: .seconds(3600), now: $1, using: &$2, &$3) }
        #expect(pair.run(until: 2502)[.a]?.commands.contains(.restartPath(iceServers: servers)) == true)
    }

    /// The server hands out fresh ones half-way through their life: a path that was made shortly before must not wait
    /// for the next.
    @Test func aRelayedPathThatIsYoungerThanItsCredentialsIsMovedInTime() {
        var pair = Pair.connected()
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host)))
        func fresh(at time: Double) -> Int? {
            pair.run(until: time)
            let servers = [ICEServer(urls: ["turn:x"], credential: "\(time)")]
            pair.act(.a) { $0.iceServersChanged(servers, ttl: .seconds(200), now: $1, using: &$2, &$3) }
            return pair.run(until: time + 2)[.a]?.restarts
        }
        let first = fresh(at: 30)
        #expect(first == 0)
        // A new round, with the credentials of 30 s.
        pair.run(until: 80)
        pair.fact(.a, .state(.disconnected))
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host)))
        pair.fact(.a, .state(.connected))
        let second = fresh(at: 90)
        #expect(second == 1)
    }

    /// A pair over a relay, 50 s after it got credentials that live for 200 s.
    private func makeRelayed() -> Pair {
        var pair = Pair.connected()
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host)))
        pair.run(until: 30)
        pair.act(.a) {
            $0.iceServersChanged([ICEServer(urls: ["turn:x"])], ttl: .seconds(200), now: $1, using: &$2, &$3)
        }
        pair.run(until: 80)
        return pair
    }

    /// A restart that found nothing has not changed what the old path lives on.
    @Test func anOldRelayedPathThatOutlivesANewerRoundIsMovedInTimeAndNotAllTheTime() {
        var pair = makeRelayed()
        pair.fact(.a, .state(.disconnected))
        pair.deliverAll()
        #expect(pair.fact(.a, .state(.connected)).restarts == 0)
        let actions = pair.run(until: 82)
        #expect(actions[.a]?.restarts == 1)
        // No path comes of it either: again after an eighth of their life.
        #expect(pair.run(until: 104.9)[.a]?.restarts == 0)
        #expect(pair.run(until: 107)[.a]?.restarts == 1)
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host)))
        #expect(pair.run(until: 190)[.a]?.restarts == 0)
    }

    /// Seed 569627 of the simulation: each interruption delayed the new path by an eighth of the credentials' life,
    /// beyond their end.
    @Test func aPathThatFlapsIsMovedInTimeAllTheSame() {
        var pair = makeRelayed()
        for _ in 0..<6 {
            pair.fact(.a, .liveness(.suspect(since: pair.now)))
            pair.fact(.a, .liveness(.alive))
        }
        #expect(pair.run(until: 82)[.a]?.restarts == 1)
    }

    @Test func aPathThatIsBrokenWhenFreshCredentialsComeIsMovedWhenItIsBack() {
        var pair = Pair.connected()
        pair.fact(.a, .pathChanged(PeerPath(local: .relay, remote: .host)))
        pair.fact(.a, .liveness(.suspect(since: at(20))))
        pair.act(.a) {
            $0.iceServersChanged([ICEServer(urls: ["turn:x"])], ttl: .seconds(60), now: $1, using: &$2, &$3)
        }
        pair.fact(.a, .liveness(.alive))
        #expect(pair.run(until: 22)[.a]?.restarts == 1)
    }
}
