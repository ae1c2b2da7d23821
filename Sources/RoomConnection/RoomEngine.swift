internal import RoomProtocol
internal import TransportPluginAPI

/// What a `Room` needs of the service behind it, whatever its transports are.
protocol RoomEngine: AnyObject, Sendable {
    var loop: TransportLoop { get }
    var hub: RoomHub { get }

    /// Begins to connect. Once.
    nonisolated(nonsending) func start() async
    /// Throws why the room was not joined; `.timedOut` for everybody who waits when `deadline` has passed. Nil: waits
    /// as long as it takes.
    nonisolated(nonsending) func waitUntilJoined(within deadline: Duration?) async throws(RoomError)
    /// Says goodbye and returns when everything is closed. Idempotent.
    nonisolated(nonsending) func leave() async
    func reconnectNow()
    /// On the loop: the machine's network has changed; the addresses that there are now.
    func networkChanged(addresses: Set<String>)
    /// On the loop: the machine has slept for so long.
    func woke(after sleep: Duration)
    func restartPaths(to participant: ParticipantID?)
    func update(metadata: [String: String])
    func close(reason: String)
    func kick(_ participant: ParticipantID, reason: String)
    nonisolated(nonsending) func statistics() async -> [ParticipantID: PeerConnectionStatistics]
}
