internal import RoomCore
public import RoomProtocol
public import TransportPluginAPI

/// A room that this program is in: sends, receives, and reports who is there. Recovery needs nothing from the
/// application.
///
/// All methods may be called from any task. A room comes from `TransportRuntime.connect(toRoom:as:host:)` and ends with
/// `leave()`, with a terminal refusal by the server (kicked, room closed), or with its runtime.
public final class Room: Sendable {
    /// The room's name.
    public let name: String
    let engine: any RoomEngine
    let hub: RoomHub

    init(name: String, _ engine: any RoomEngine) {
        self.name = name
        self.engine = engine
        hub = engine.hub
    }

    // MARK: State

    /// This participant, or nil before the room is joined.
    public var selfID: ParticipantID? { hub.feed.present.selfID }

    /// The other participants that are in the room now.
    public var participants: [RoomParticipant] { hub.feed.present.members.map(\.participant) }

    /// Whether this participant is the room's host.
    public var isHost: Bool { hub.feed.present.isHost }

    /// The room's attributes, as its host has set them.
    public var attributes: [String: String] { hub.feed.present.attributes }

    /// The current status of the connection to the room server.
    public var signalingStatus: SignalingStatus { hub.feed.present.signaling }

    /// Why the room has ended, or nil while it goes on.
    ///
    /// The sequences of a room end in the same way however it ends, and do not throw: a loop over messages is the
    /// ordinary place to be when the application itself leaves, and an error there would have to be told apart from a
    /// failure. When a loop has ended, look here; `endReason?.error` is nil when this participant has left by itself.
    public var endReason: EndReason? { hub.feed.present.endReason }

    /// The present state of the room as one value.
    public var snapshot: RoomSnapshot { hub.feed.present }

    /// The states of the room, each as one value: the present one at once, then the newest whenever it has changed. For
    /// user interfaces; any number of consumers.
    public var snapshots: RoomSnapshots { RoomSnapshots(feed: hub.feed) }

    /// The events of the room, for any number of consumers: each access makes a sequence with a queue of its own.
    ///
    /// The first sequence has all events from the beginning. Each later one begins with the events that lead to the
    /// present state: `.signaling`, `.joined`, then `.peerJoined` for each participant, their `.peer` and `.stalled`,
    /// and `.left` when the room has ended. Statuses are coalesced: only the latest is kept for a consumer that is
    /// behind; of `.signaling` the latest loss and the latest return. Of all other events the last 4096 are kept. Ends
    /// after `.left`.
    public var events: RoomEvents { RoomEvents(hub.feed) }

    // MARK: Receiving

    /// The executor of the thread on which messages arrive. A task that prefers it reads `messages` and sends without a
    /// thread hop.
    ///
    /// ```swift
    /// Task(executorPreference: room.executor) { for await message in room.messages() { … } }
    /// ```
    /// For consumers that count microseconds. Everything else on the loop waits while such a task computes, so keep its
    /// steps short and never block in them.
    public var executor: any TaskExecutor { engine.loop.taskExecutor }

    /// Returns the messages of one channel, for one consuming task.
    ///
    /// Senders are held back while you do not read: nothing is lost on `.reliable` and `.unordered`; on `.lossy` the
    /// newest messages are dropped when the buffer is full. Ends when the room is left.
    public func messages(on channel: RoomChannel = .reliable) -> RoomMessages {
        RoomMessages(batches: RoomMessageBatches(mailbox: hub.inboxes[channel.index]))
    }

    /// Returns the messages of one channel in batches: all that have arrived since the last read at once.
    public func messageBatches(on channel: RoomChannel = .reliable) -> RoomMessageBatches {
        RoomMessageBatches(mailbox: hub.inboxes[channel.index])
    }

    /// Calls `handler` for every message of every channel, on the transport's loop, with the bytes in place: no thread
    /// hop, no copy.
    ///
    /// The handler must be quick and must not block: everything on the loop waits for it. It may call `trySend`, whose
    /// message then goes out at once. Messages that have arrived before are handed over first. From then on the
    /// sequences get nothing.
    public func onMessage(_ handler: @escaping @Sendable (borrowing BorrowedMessage) -> Void) async {
        _ = await engine.loop.runUnlessEnded { [hub] in hub.setHandler(handler) }
    }

    /// Removes the `onMessage` handler: messages go to the sequences again.
    public func clearMessageHandler() async {
        _ = await engine.loop.runUnlessEnded { [hub] in hub.setHandler(nil) }
    }

    // MARK: Sending

    /// Returns when everything accepted before the call has arrived, except at participants that left.
    ///
    /// Messages on `.reliable` have then been acknowledged by their receivers, and those on `.unordered` (to a plain
    /// member also on `.reliable`) by the receivers' transports. Messages on `.lossy` have gone out.
    ///
    /// Throws `.timedOut`, naming the participants that did not answer within `deadline`, or `.cancelled`.
    public nonisolated(nonsending) func flush(within deadline: Duration = .seconds(30)) async throws(RoomError) {
        let links = ((try? hub.receivers()) ?? nil)?.links ?? []
        let waiting = Locked(Set(links.map(\.participant)))
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                await withTaskGroup(of: Void.self) { flushes in
                    for link in links {
                        flushes.addTask {
                            let isDone = await link.flush()
                            if isDone || link.isGone { waiting.withLock { _ = $0.remove(link.participant) } }
                        }
                    }
                }
                return true
            }
            group.addTask {
                try? await Task.sleep(for: deadline)
                return false
            }
            _ = await group.next()
            group.cancelAll()
        }
        if Task.isCancelled { throw RoomError(.cancelled, "the flush was cancelled") }
        let late = waiting.withLock { $0 }
        guard late.isEmpty else {
            let names = late.map(\.rawValue).sorted().prefix(8).joined(separator: ", ")
            throw RoomError(.timedOut, "no acknowledgement from \(names) within \(deadline)", isRetryable: true)
        }
    }

    // MARK: Control

    /// Leaves the room: flushes within `deadline`, notifies the others, and closes all connections. Idempotent.
    public nonisolated(nonsending) func leave(within deadline: Duration = .seconds(5)) async {
        try? await flush(within: deadline)
        await engine.leave()
    }

    /// Reports that the network may have changed: a waiting attempt is made now, and every connection is probed.
    public func reconnectNow() { engine.reconnectNow() }

    /// Requests a new path to one participant, or to all, as the room does by itself when a path fails.
    public func restartPaths(to participant: (any ParticipantReference)? = nil) {
        engine.restartPaths(to: participant?.participantID)
    }

    /// Replaces the metadata that the others see.
    public func update(metadata: [String: String]) { engine.update(metadata: metadata) }

    /// Replaces the room's attributes, which everybody in it sees: at most 16 entries, keys of 64 bytes, values of
    /// 1024, 4096 in all. For hosts; others get an `.error` event with `not_host`. They outlive a server that loses its
    /// state, and a host that leaves; they end with the room.
    public func update(attributes: [String: String]) { engine.update(attributes: attributes) }

    /// Removes a participant permanently. For hosts; others get an `.error` event with `not_host`.
    public func kick(_ participant: any ParticipantReference, reason: String = "") {
        engine.kick(participant.participantID, reason: reason)
    }

    /// Ends the room for everybody. For hosts; others get an `.error` event with `not_host`.
    public func close(reason: String = "") { engine.close(reason: reason) }

    /// Returns the certificates of the connection to a participant, and the code by which two people can compare them.
    /// Nil before the first connection, and where the transport has no certificates.
    public func security(of participant: any ParticipantReference) -> PeerSecurity? {
        hub.security(of: participant.participantID)
    }

    /// Returns counters of the connections to all participants.
    public func statistics() async -> [ParticipantID: PeerConnectionStatistics] { await engine.statistics() }

    // MARK: For the runtime

    func networkChanged(addresses: Set<String>) { engine.networkChanged(addresses: addresses) }

    /// Reports that this machine has slept. On the loop.
    func woke(after sleep: Duration) { engine.woke(after: sleep) }

    nonisolated(nonsending) func start(onEnd: @escaping @Sendable () -> Void) async {
        await engine.start(onEnd: onEnd)
    }

    nonisolated(nonsending) func join(within deadline: Duration) async throws(RoomError) {
        try await engine.waitUntilJoined(within: deadline)
    }

    nonisolated(nonsending) func abandon() async { await engine.leave() }
}

/// The messages of one channel, one by one.
public struct RoomMessages: AsyncSequence, Sendable {
    public typealias Element = RoomMessage
    public typealias Failure = Never
    let batches: RoomMessageBatches

    public struct AsyncIterator: AsyncIteratorProtocol {
        var batches: RoomMessageBatches.AsyncIterator
        var rest: ArraySlice<RoomMessage> = []

        public mutating func next() async -> RoomMessage? { await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async -> RoomMessage? {
            if let message = rest.popFirst() { return message }
            guard let batch = await batches.next(isolation: actor) else { return nil }
            rest = batch[...]
            return rest.popFirst()
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(batches: batches.makeAsyncIterator()) }
}

/// The messages of one channel in batches: all that have arrived since the last read at once.
public struct RoomMessageBatches: AsyncSequence, Sendable {
    public typealias Element = [RoomMessage]
    public typealias Failure = Never
    let mailbox: Mailbox<RoomMessage>

    public struct AsyncIterator: AsyncIteratorProtocol {
        let mailbox: Mailbox<RoomMessage>

        public mutating func next() async -> [RoomMessage]? { await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async -> [RoomMessage]? {
            await mailbox.takeAll()
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(mailbox: mailbox) }
}
