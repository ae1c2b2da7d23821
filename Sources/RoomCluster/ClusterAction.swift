package import RoomProtocol

/// An action of the machine for its shell, which performs actions in order.
package enum ClusterAction: Sendable, Hashable {
    /// Send the request to the store, behind those that were sent before. Its reply is handed to `replied`. Requests
    /// that were sent before `storeDisconnected` get no reply.
    case send(StoreRequest, RequestID)
    /// Close the connection to the store, and open a new one: it does not answer. The machine already counts it as
    /// disconnected; `storeDisconnected` is not needed.
    case reconnectStore
    /// The answer to `resolve`. Each waiter gets one, unless it was cancelled.
    case route(Waiter, Route)
    /// The room belongs to this node, with this fence, from now on; or it did already and has a new fence. Session
    /// tokens that are signed from now on carry it. The marks hold in addition to those that the room's machine knows.
    /// Always before the `.here` of the first waiter.
    case own(RoomName, Fence, [Mark])
    /// The room does not belong to this node any longer. Its members are told `goingAway` with an immediate return,
    /// and the room is removed without a mark: they rebuild it at its owner. `roomEnded` is not needed.
    case yield(RoomName, YieldReason)
    /// Tell the node over its link, which is up, that the room has this fence at this node. It is handed to `fenceSeen`
    /// there.
    case tell(NodeID, RoomName, Fence)
    /// Open a link to the node. Ends with `linkUp` or `linkDown`, within 3 seconds or so.
    case dial(NodeID, address: String)
    /// Close the link: it leads to an earlier process of the node. `linkDown` is not needed.
    case hangUp(NodeID)
    /// The node has no rooms and no lease any longer: the process can exit.
    case drained
    /// A later process runs under this node's name: this one must exit. Its rooms have been yielded.
    case superseded
}

/// Where a hello goes.
package enum Route: Sendable, Hashable {
    /// To this node's own rooms.
    case here(Fence)
    /// To the node, over the link, which is up. For a relayed hello: to nobody; the answer is `notOwner` with this node
    /// and fence.
    case there(NodeID, address: String, Fence)
    /// To nobody: a retryable error, with the time to return. A relayed hello is answered in the same way.
    case refused(RetryWindow, RouteRefusal)
}

package enum RouteRefusal: String, Sendable, Hashable, CaseIterable {
    /// The store does not answer, and the room has no owner here.
    case storeAway
    /// The owner cannot be reached, and its lease stands.
    case ownerUnreachable
    /// The owner has changed too often meanwhile.
    case unsettled
    /// This node drains, and the room has no owner elsewhere.
    case draining
    /// Too many hellos wait.
    case overloaded
}

package enum YieldReason: Sendable, Hashable {
    /// Another node owns the room with this fence.
    case fenced(Fence)
    /// This node drains.
    case draining
}

/// The end of a link, or of an attempt to open one.
package enum LinkFailure: String, Sendable, Hashable, CaseIterable {
    /// The other machine has refused the connection: nothing listens there.
    case refused
    /// The connection was reset, or has ended without a word.
    case reset
    /// Nothing came for too long, or the attempt took too long, or the address has no route.
    case silent
    /// The other side has closed the link in good order.
    case closed
}
