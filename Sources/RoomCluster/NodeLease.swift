/// The record of a node, which stands as long as its lease.
package struct NodeLease: Sendable, Hashable {
    package var node: NodeID
    package var incarnation: Incarnation
    /// Where other nodes connect to.
    package var address: String
    package var isDraining = false
    /// Counts the renewals of this incarnation; set by the store.
    package var renewals: UInt64 = 0

    package init(node: NodeID, incarnation: Incarnation, address: String) {
        self.node = node
        self.incarnation = incarnation
        self.address = address
    }
}
