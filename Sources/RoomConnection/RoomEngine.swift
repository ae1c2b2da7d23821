internal import RoomProtocol
internal import TransportPluginAPI

/// The service behind a `Room`, independent of its transports.
protocol RoomEngine: AnyObject, Sendable {
    var loop: TransportLoop { get }
    var hub: RoomHub { get }

    /// Starts to connect. Once. `onEnd` is called when the room has ended and everything of it is closed.
    nonisolated(nonsending) func start(onEnd: @escaping @Sendable () -> Void) async
    /// Waits for the join. Throws the reason when the room was not joined, and `.timedOut` when `deadline` has passed.
    /// Nil: waits without limit.
    nonisolated(nonsending) func waitUntilJoined(within deadline: Duration?) async throws(RoomError)
    /// Leaves the room, and returns when everything is closed. Idempotent.
    nonisolated(nonsending) func leave() async
    func reconnectNow()
    /// Reports that the machine's network has changed, with the current addresses. On the loop.
    func networkChanged(addresses: Set<String>)
    /// Reports that the machine has slept. On the loop.
    func woke(after sleep: Duration)
    func restartPaths(to participant: ParticipantID?)
    func update(metadata: [String: String])
    func update(attributes: [String: String])
    func close(reason: String)
    func kick(_ participant: ParticipantID, reason: String)
    nonisolated(nonsending) func statistics() async -> [ParticipantID: PeerConnectionStatistics]
}
