import RoomProtocol
import Testing
import TransportValues

@testable import RoomCluster

@Suite struct StoreModelTests {
    @Test func aClaimIsIdempotent() {
        var store = StoreModel()
        let lease = NodeLease(node: NodeID("a"), incarnation: Incarnation(1), address: "a:1")
        let claim = RoomClaim(room: RoomName("r"), node: NodeID("a"), incarnation: Incarnation(1), seen: 0)
        #expect(store.apply(.claim(claim), at: .zero) == .noLease)
        #expect(
            store.apply(.renewLease(lease, milliseconds: 15_000, isFirst: true), at: .zero)
                == .renewed(wasHeld: false, losses: 0, birth: 0))
        #expect(store.apply(.claim(claim), at: .zero) == .claimed(1, [], previous: nil))
        #expect(store.apply(.claim(claim), at: .zero) == .claimed(1, [], previous: nil))
    }
}
