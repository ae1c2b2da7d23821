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
    private let engine: any RoomEngine
    private let hub: RoomHub

    init(name: String, _ engine: any RoomEngine) {
        self.name = name
        self.engine = engine
        hub = engine.hub
    }

    // MARK: State

    /// This participant, or nil before the room is joined.
    public var selfID: ParticipantID? { hub.snapshot().selfID }

    /// The other participants that are in the room now.
    public var participants: [RoomParticipant] { hub.snapshot().participants }

    /// Whether this participant is the room's host.
    public var isHost: Bool { hub.snapshot().isHost }

    /// The room's attributes, as its host has set them.
    public var attributes: [String: String] { hub.snapshot().attributes }

    /// The current status of the connection to the room server.
    public var signalingStatus: SignalingStatus { hub.snapshot().signaling }

    /// The events of the room. Statuses are coalesced: only the latest is kept for a reader that is behind. Of all
    /// other events the last 4096 are kept. For one consuming task; ends after `.left`.
    public var events: RoomEvents { RoomEvents(mailbox: hub.events) }

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

    /// Sends to everybody in the room, or to one participant. Returns the number of participants for which it was
    /// accepted.
    ///
    /// Waits until the room is joined. A message to everybody is for the participants that are in the room at that
    /// moment. Those whose connection is still being made are included: on `.reliable` and `.unordered` the message
    /// waits for the connection. In an empty room the result is 0.
    ///
    /// A message is accepted when it is in the bounded buffers. On `.reliable` it then arrives exactly once and in
    /// order; when the receiver has left permanently, an `.undelivered` event has the number of messages that did not
    /// arrive. `send` waits while the buffer of a connected receiver is full. A broadcast does not wait for a
    /// participant whose connection is broken: over the limit its messages are dropped and counted. On `.lossy` nothing
    /// is accepted for a participant that is not connected, or whose buffer is full.
    ///
    /// Throws `.left`, `.peerNotFound`, `.messageTooLarge`, `.cancelled` (the message was then not sent to participants
    /// whose buffer was still full), or the reason why the room could not be joined (`.refused`).
    @discardableResult
    public nonisolated(nonsending) func send(
        _ bytes: UnsafeRawBufferPointer, isText: Bool = false, to participant: ParticipantID? = nil,
        channel: RoomChannel = .reliable
    ) async throws(RoomError) -> Int {
        if let participant {
            var link = try hub.link(to: participant)
            if link == nil {
                try await engine.waitUntilJoined(within: nil)
                link = try hub.link(to: participant)
            }
            guard let link else { throw Self.peerNotFound(participant) }
            return try await send(bytes, isText, link, channel, mayDrop: false) ? 1 : 0
        }
        var links = try hub.links()
        if links == nil {
            try await engine.waitUntilJoined(within: nil)
            links = try hub.links()
        }
        var count = 0
        for link in links ?? [] {
            do throws(RoomError) {
                if try await send(bytes, isText, link, channel, mayDrop: true) { count += 1 }
            } catch {
                // A participant that left meanwhile is no reason to fail for the others.
                if error.code != .peerNotFound { throw error }
            }
        }
        return count
    }

    /// Sends a payload as `send(_:isText:to:channel:)` sends bytes.
    @discardableResult
    public nonisolated(nonsending) func send(
        _ payload: Payload, isText: Bool = false, to participant: ParticipantID? = nil, channel: RoomChannel = .reliable
    ) async throws(RoomError) -> Int {
        // The storage is immutable and kept alive by `payload`; the pointer does not leave this call.
        let bytes = payload.withUnsafeBytes { $0 }
        defer { withExtendedLifetime(payload) {} }
        return try await send(bytes, isText: isText, to: participant, channel: channel)
    }

    /// Sends text as `send(_:isText:to:channel:)` sends bytes.
    @discardableResult
    public nonisolated(nonsending) func send(
        _ text: String, to participant: ParticipantID? = nil, channel: RoomChannel = .reliable
    ) async throws(RoomError) -> Int {
        try await send(Payload(text), isText: true, to: participant, channel: channel)
    }

    /// Sends to one participant without waiting. Throws `.wouldBlock`, and takes nothing, while its buffer is full or
    /// the room is not joined yet. For `onMessage` handlers and other code that cannot wait.
    public func trySend(
        _ bytes: UnsafeRawBufferPointer, isText: Bool = false, to participant: ParticipantID,
        channel: RoomChannel = .reliable
    ) throws(RoomError) {
        guard let link = try hub.link(to: participant) else {
            throw RoomError(.wouldBlock, "the room '\(name)' is not joined yet", isRetryable: true)
        }
        switch link.send(bytes, isText: isText, channel: channel) {
        case .accepted, .dropped: return
        case .full: throw RoomError(.wouldBlock, "the buffer towards \(participant) is full", isRetryable: true)
        case .gone: throw Self.peerNotFound(participant)
        case .tooLarge(let limit): throw Self.tooLarge(bytes.count, limit, participant)
        }
    }

    /// Sends to one participant. Returns false when the message was dropped.
    private nonisolated(nonsending) func send(
        _ bytes: UnsafeRawBufferPointer, _ isText: Bool, _ link: PeerLink, _ channel: RoomChannel, mayDrop: Bool
    ) async throws(RoomError) -> Bool {
        while true {
            switch link.send(bytes, isText: isText, channel: channel, mayDrop: mayDrop) {
            case .accepted: return true
            case .dropped: return false
            case .gone: throw Self.peerNotFound(link.participant)
            case .tooLarge(let limit): throw Self.tooLarge(bytes.count, limit, link.participant)
            case .full:
                await link.waitForCredit(channel.delivery, mayDrop: mayDrop)
                if Task.isCancelled {
                    throw RoomError(
                        .cancelled, "sending to \(link.participant) was cancelled while its buffer was full")
                }
            }
        }
    }

    /// Returns when everything accepted before the call has arrived, except at participants that left.
    ///
    /// Messages on `.reliable` have then been acknowledged by their receivers, and those on `.unordered` (to a plain
    /// member also on `.reliable`) by the receivers' transports. Messages on `.lossy` have gone out.
    ///
    /// Throws `.timedOut`, naming the participants that did not answer within `deadline`, or `.cancelled`.
    public nonisolated(nonsending) func flush(within deadline: Duration = .seconds(30)) async throws(RoomError) {
        let links = (try? hub.links()) ?? nil ?? []
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
    public func restartPaths(to participant: ParticipantID? = nil) { engine.restartPaths(to: participant) }

    /// Replaces the metadata that the others see.
    public func update(metadata: [String: String]) { engine.update(metadata: metadata) }

    /// Replaces the room's attributes, which everybody in it sees: at most 16 entries, keys of 64 bytes, values of
    /// 1024, 4096 in all. For hosts; others get an `.error` event with `not_host`. They outlive a server that loses its
    /// state, and a host that leaves; they end with the room.
    public func update(attributes: [String: String]) { engine.update(attributes: attributes) }

    /// Removes a participant permanently. For hosts; others get an `.error` event with `not_host`.
    public func kick(_ participant: ParticipantID, reason: String = "") { engine.kick(participant, reason: reason) }

    /// Ends the room for everybody. For hosts; others get an `.error` event with `not_host`.
    public func close(reason: String = "") { engine.close(reason: reason) }

    /// Returns the certificates of the connection to a participant, and the code by which two people can compare them.
    /// Nil before the first connection, and where the transport has no certificates.
    public func security(of participant: ParticipantID) -> PeerSecurity? { hub.snapshot().security[participant] }

    /// Returns counters of the connections to all participants.
    public func statistics() async -> [ParticipantID: PeerConnectionStatistics] { await engine.statistics() }

    // MARK: For the runtime

    func networkChanged(addresses: Set<String>) { engine.networkChanged(addresses: addresses) }

    /// Reports that this machine has slept. On the loop.
    func woke(after sleep: Duration) { engine.woke(after: sleep) }

    nonisolated(nonsending) func start() async { await engine.start() }

    nonisolated(nonsending) func join(within deadline: Duration) async throws(RoomError) {
        await engine.start()
        try await engine.waitUntilJoined(within: deadline)
    }

    nonisolated(nonsending) func abandon() async { await engine.leave() }

    private static func peerNotFound(_ participant: ParticipantID) -> RoomError {
        RoomError(.peerNotFound, "\(participant) is not in the room (any more)")
    }

    private static func tooLarge(_ count: Int, _ limit: Int, _ participant: ParticipantID) -> RoomError {
        RoomError(
            .messageTooLarge,
            "a message of \(count) bytes is over the limit of \(limit) towards \(participant): split it")
    }
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

/// The events of a room.
public struct RoomEvents: AsyncSequence, Sendable {
    public typealias Element = RoomEvent
    public typealias Failure = Never
    let mailbox: Mailbox<RoomEvent>

    public struct AsyncIterator: AsyncIteratorProtocol {
        let mailbox: Mailbox<RoomEvent>
        var rest: ArraySlice<RoomEvent> = []

        public mutating func next() async -> RoomEvent? { await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async -> RoomEvent? {
            if let event = rest.popFirst() { return event }
            guard let batch = await mailbox.takeAll() else { return nil }
            rest = batch[...]
            return rest.popFirst()
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(mailbox: mailbox) }
}
