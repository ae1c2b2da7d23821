package import RoomProtocol

/// The times and limits of a node of a cluster.
package enum ClusterLimits {
    /// The length of the node's lease, from before the request that has prolonged it was sent.
    package static let lease: Duration = .seconds(15)
    /// The time between two renewals.
    package static let renewal: Duration = .seconds(5)
    /// The time after which an unanswered request means that the store's connection is dead.
    package static let requestTimeout: Duration = .seconds(3)
    /// How long a hello waits for its room's owner before it is refused.
    package static let patience: Duration = .seconds(3)
    /// The time until a hello asks again: for an owner that cannot be reached, or after `notOwner`. A random part of
    /// it, at least a third.
    package static let pause: Duration = .milliseconds(750)
    /// The owners that may refuse a hello because they are none, before it is refused to its client.
    package static let misses = 3
    /// Sent with refusals.
    package static let retryAfter: RetryWindow = .milliseconds(200) ... .milliseconds(1500)
    /// The time within which all rooms are asserted after the store was away or may have lost something; a random part.
    package static let reassertWithin: Duration = .seconds(1)
    /// The time between two assertions of all rooms otherwise.
    package static let reassertEvery: Duration = .seconds(30)
    /// Rooms in one assertion, or marks in one request.
    package static let batch = 64
    /// Claims and reads that are under way.
    package static let claims = 64
    /// Hellos that wait.
    package static let waiters = 4096
    /// Owners of other rooms that are remembered.
    package static let routes = 16_384
    /// Marks that are remembered, to be written again when the store may have lost them; and releases that wait.
    package static let memory = 4096
}
