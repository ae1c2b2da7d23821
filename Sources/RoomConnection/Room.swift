public import RoomProtocol
public import TransportPluginAPI

/// A room that this program is in: send, receive, and watch who is there. It heals itself; the application has no part in that.
///
/// All methods may be called from any task. A room comes from `TransportRuntime.connect(toRoom:as:host:)` and ends with `leave()`,
/// with a terminal refusal by the server (kicked, room closed), or with its runtime.
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

    /// This participant, once joined.
    public var selfID: ParticipantID? { hub.snapshot().selfID }

    /// The others who are in the room now.
    public var participants: [RoomParticipant] { hub.snapshot().participants }

    /// Whether this participant is the room's host.
    public var isHost: Bool { hub.snapshot().isHost }

    /// What is known of the connection to the room server now.
    public var signalingStatus: SignalingStatus { hub.snapshot().signaling }

    /// What happens to the room. States of which only the last counts (a status that was followed by another before you looked)
    /// are coalesced; of everything else the last 4096 are kept for a late reader. For one consuming task; ends after `.left`.
    public var events: RoomEvents { RoomEvents(mailbox: hub.events) }

    // MARK: Receiving

    /// The thread that messages arrive on, as a task executor: a task that prefers it reads `messages` and sends without a thread hop.
    ///
    /// ```swift
    /// Task(executorPreference: room.executor) { for await message in room.messages() { … } }
    /// ```
    /// For consumers that count microseconds. Everything else on the loop waits while such a task computes, so keep its steps short and never
    /// block in them.
    public var executor: any TaskExecutor { engine.loop.taskExecutor }

    /// The messages of one channel, for one consuming task. Senders are held back while you do not read: nothing is lost on
    /// `.reliable` and `.unordered`; on `.lossy` the newest are dropped when the buffer is full. Ends when the room is left.
    public func messages(on channel: RoomChannel = .reliable) -> RoomMessages {
        RoomMessages(batches: RoomMessageBatches(mailbox: hub.inboxes[channel.index]))
    }

    /// As `messages(on:)`, all that has come since the last look at once.
    public func messageBatches(on channel: RoomChannel = .reliable) -> RoomMessageBatches {
        RoomMessageBatches(mailbox: hub.inboxes[channel.index])
    }

    /// Calls `handler` for every message of every channel, on the transport's loop, with the bytes in place: no thread hop, no copy.
    ///
    /// The handler must be quick and must not block: everything on the loop waits for it. It may call `trySend`, which then goes out
    /// at once. Messages that came before are handed over first. The sequences get nothing from then on.
    public func onMessage(_ handler: @escaping @Sendable (borrowing BorrowedMessage) -> Void) async {
        _ = await engine.loop.runUnlessEnded { [hub] in hub.setHandler(handler) }
    }

    /// Takes the `onMessage` handler away: messages go to the sequences again.
    public func clearMessageHandler() async {
        _ = await engine.loop.runUnlessEnded { [hub] in hub.setHandler(nil) }
    }

    // MARK: Sending

    /// Sends to everybody in the room, or to one participant. Returns how many participants it was accepted for.
    ///
    /// Waits until the room is joined. A message to everybody is for those that are in the room then, also for those whose connection is
    /// still being made: on `.reliable` and `.unordered` it waits for the connection. In an empty room it is for nobody: the result is 0.
    ///
    /// Accepted is a message that is in the bounded buffers: on `.reliable` it then arrives exactly once and in order, or, when the
    /// receiver is gone for good, an `.undelivered` event tells how many did not. Waits while the buffer of a connected receiver is full. A
    /// broadcast does not wait for a participant whose connection is broken: over the limit its messages are dropped and counted. On
    /// `.lossy` nothing is accepted for a participant that is not connected, or whose buffer is full.
    ///
    /// Throws `.left`, `.peerNotFound`, `.messageTooLarge`, `.cancelled` (then it was not sent to those that were still full), and why the
    /// room could not be joined (`.refused`).
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
                // Somebody who left meanwhile is no reason to fail the others.
                if error.code != .peerNotFound { throw error }
            }
        }
        return count
    }

    /// As `send` of bytes, for a payload.
    @discardableResult
    public nonisolated(nonsending) func send(
        _ payload: Payload, isText: Bool = false, to participant: ParticipantID? = nil, channel: RoomChannel = .reliable
    ) async throws(RoomError) -> Int {
        // The storage is immutable and kept alive by `payload`; the pointer does not leave this call.
        let bytes = payload.withUnsafeBytes { $0 }
        defer { withExtendedLifetime(payload) {} }
        return try await send(bytes, isText: isText, to: participant, channel: channel)
    }

    /// As `send` of bytes, for text.
    @discardableResult
    public nonisolated(nonsending) func send(
        _ text: String, to participant: ParticipantID? = nil, channel: RoomChannel = .reliable
    ) async throws(RoomError) -> Int {
        try await send(Payload(text), isText: true, to: participant, channel: channel)
    }

    /// As `send` to one participant, without waiting: throws `.wouldBlock`, and takes nothing, while its buffer is full or the room is not
    /// joined yet. For `onMessage` handlers and other places that cannot wait.
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

    /// False: it was dropped.
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
                await link.waitForCredit(channel, mayDrop: mayDrop)
                if Task.isCancelled {
                    throw RoomError(
                        .cancelled, "sending to \(link.participant) was cancelled while its buffer was full")
                }
            }
        }
    }

    /// Returns when everything accepted before the call has arrived, except at participants that left: what was sent on `.reliable` is
    /// acknowledged by its receivers, what was sent on `.unordered` (towards a plain member also on `.reliable`) by their transports;
    /// what was sent on `.lossy` has gone out.
    ///
    /// Throws `.timedOut` naming those that did not answer within `deadline`, `.cancelled`.
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

    /// Leaves the room: flushes within `deadline`, tells the others, and ends all connections. Idempotent.
    public nonisolated(nonsending) func leave(within deadline: Duration = .seconds(5)) async {
        try? await flush(within: deadline)
        await engine.leave()
    }

    /// Tells that the network may have changed: an attempt that waits is made now, and every connection is probed.
    public func reconnectNow() { engine.reconnectNow() }

    /// Asks for a new path to one participant, or to all: what the room does by itself when a path fails.
    public func restartPaths(to participant: ParticipantID? = nil) { engine.restartPaths(to: participant) }

    /// Replaces the metadata that the others see.
    public func update(metadata: [String: String]) { engine.update(metadata: metadata) }

    /// Removes a participant for good. For hosts; others get an `.error` event with `not_host`.
    public func kick(_ participant: ParticipantID, reason: String = "") { engine.kick(participant, reason: reason) }

    /// Ends the room for everybody. For hosts; others get an `.error` event with `not_host`.
    public func close(reason: String = "") { engine.close(reason: reason) }

    /// The certificates of the connection to a participant, and the code by which two people can compare them. Nil while there has been
    /// no connection, and where the transport has no certificates.
    public func security(of participant: ParticipantID) -> PeerSecurity? { hub.snapshot().security[participant] }

    /// Counters of the connections to all participants.
    public func statistics() async -> [ParticipantID: PeerConnectionStatistics] { await engine.statistics() }

    // MARK: For the runtime

    func networkChanged(addresses: Set<String>) { engine.networkChanged(addresses: addresses) }

    /// On the loop.
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

/// The messages of one channel, all that have come since the last look at once.
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

/// What happens to a room.
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
