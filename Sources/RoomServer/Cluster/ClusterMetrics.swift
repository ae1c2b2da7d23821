internal import RoomCluster
internal import TransportValues

/// The counters and gauges of a node of a cluster. Its event loop changes them, and a scrape reads them on another
/// thread.
final class ClusterMetrics: Sendable {
    /// A connection to the store is open, and since when it is or is not, in nanoseconds of the clock that counts
    /// suspends.
    let isStoreConnected = Metric(
        "room_server_cluster_store_connected", .gauge, "1 while a connection to the store is open.")
    let storeChangedAt = Count()
    /// The end of the node's lease, by the same clock. 0: it has none.
    let leaseEnd = Count()
    let rooms = Metric("room_server_cluster_rooms", .gauge, "Rooms that this node owns.")
    let waiting = Metric("room_server_cluster_hellos_waiting", .gauge, "Clients that wait for a room's owner.")
    let requests = Metric("room_server_cluster_store_requests", .gauge, "Requests to the store under way.")
    let claims = Metric("room_server_cluster_claims", .counter, "Rooms that this node has claimed.")
    let takeovers = Metric("room_server_cluster_takeovers", .counter, "Claimed rooms whose owner was gone.")
    let conflicts = Metric(
        "room_server_cluster_conflicts", .counter, "Rooms that another node has taken from this one.")
    let refusals = Metric(
        "room_server_cluster_refusals", .counter, "Clients that were told to return since no owner could be found.")
    let renewals = Metric("room_server_cluster_renewals", .counter, "Renewals of the node's lease.")
    let timeouts = Metric(
        "room_server_cluster_store_timeouts", .counter, "Requests that the store did not answer in time.")
    // Links and clients, by the node that has opened the link.
    let dialled = Count()
    let accepted = Count()
    let carriedAway = Count()
    let carriedHere = Count()
    let bytesSent = Metric("room_server_cluster_link_sent_bytes", .counter, "Bytes to other nodes, without TLS.")
    let bytesReceived = Metric(
        "room_server_cluster_link_received_bytes", .counter, "Bytes from other nodes, without TLS.")
    /// Requests of the admin API of other nodes.
    let questions = Metric(
        "room_server_cluster_questions", .counter, "Requests of the admin API that came from other nodes.")

    /// Takes over what the machine tells.
    func update(_ machine: RoomClusterMachine) {
        let isConnected = machine.isStoreConnected ? 1 : 0
        if isStoreConnected.value != isConnected || storeChangedAt.value == 0 {
            isStoreConnected.set(isConnected)
            storeChangedAt.set(Int(Timestamp.bootTime().nanoseconds))
        }
        leaseEnd.set(machine.leaseEnd.map { Int($0.nanoseconds) } ?? 0)
        rooms.set(machine.ownedCount)
        waiting.set(machine.waiterCount)
        requests.set(machine.requestCount)
        let statistics = machine.statistics
        claims.set(Int(clamping: statistics.claims))
        takeovers.set(Int(clamping: statistics.takeovers))
        conflicts.set(Int(clamping: statistics.conflicts))
        refusals.set(Int(clamping: statistics.refusals))
        renewals.set(Int(clamping: statistics.renewals))
        timeouts.set(Int(clamping: statistics.timeouts))
    }

    private func leaseLeft(at now: Timestamp) -> Duration {
        max(.zero, Timestamp(nanoseconds: Int64(leaseEnd.value)) - now)
    }

    var part: ServerReport.Part { ServerReport.Part(families: { self.families() }, state: { self.state() }) }

    /// The state in one line. A store that is away makes no node unready: the rooms that it has go on, and all others
    /// are as well or as badly off.
    func state(at now: Timestamp = .bootTime()) -> String {
        let rooms = "rooms: \(rooms.value), links: \(dialled.value + accepted.value)"
        let since = Timestamp(nanoseconds: Int64(storeChangedAt.value))
        if isStoreConnected.value == 0 {
            let seconds = (now - since).components.seconds
            return "cluster: degraded, the store is away for \(seconds) s: rooms go on, others wait; \(rooms)"
        }
        if leaseLeft(at: now) == .zero { return "cluster: degraded, no lease yet; \(rooms)" }
        return "cluster: \(rooms)"
    }

    private func families() -> [MetricFamily] {
        let left = leaseLeft(at: .bootTime())
        return [
            isStoreConnected.family,
            MetricFamily(
                "room_server_cluster_lease_seconds", .gauge, "The time until the node's lease ends; 0: it has none.",
                left.inSeconds),
            rooms.family,
            waiting.family,
            requests.family,
            claims.family,
            takeovers.family,
            conflicts.family,
            refusals.family,
            renewals.family,
            timeouts.family,
            MetricFamily(
                "room_server_cluster_links", .gauge, "Links to other nodes, by the one that has opened them.",
                by: "opener",
                [("self", dialled.value), ("other", accepted.value)]),
            MetricFamily(
                "room_server_cluster_carried_clients", .gauge,
                "Clients of this node whose rooms are elsewhere, and clients of other nodes.", by: "to",
                [("other", carriedAway.value), ("self", carriedHere.value)]),
            bytesSent.family,
            bytesReceived.family,
            questions.family,
        ]
    }
}
