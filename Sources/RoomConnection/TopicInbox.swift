internal import DequeModule
internal import RoomProtocol
internal import TransportPluginAPI

/// The messages of one topic, from all participants, for all subscriptions: each message is kept once, until every
/// subscription has read it.
///
/// It needs no limit of its own for reliable messages: each sender's window is one. Of lossy messages only the newest
/// are kept.
final class TopicInbox: Sendable {
    /// The cost of lossy messages that are kept.
    static let lossyLimit = 262_144
    /// A reader gets at most so many messages at once. They count as consumed.
    private static let batch = 64

    struct Message: Sendable {
        let from: ParticipantID
        let isText: Bool
        let payload: Payload
        let cost: Int
        /// Its window, and the number of the topic there; nil: it is lossy.
        let source: (exchange: PeerExchange, topic: Int)?
    }

    enum Arrival {
        /// Nobody subscribes.
        case unwanted
        /// Everybody has read it already.
        case consumed
        /// It waits for its readers, which tell its window.
        case kept
    }

    private struct Reader {
        /// The number of the next message that it reads.
        var next: UInt64
        /// Waits only when it has read everything.
        var waiter: UnsafeContinuation<[Message]?, Never>?
    }

    private struct State {
        var messages: Deque<Message> = []
        /// The number of the first one.
        var first: UInt64 = 0
        var readers: [UInt64: Reader] = [:]
        var lastReader: UInt64 = 0
        var lossyCost = 0
        var isFinished = false
        var isRetired = false

        var end: UInt64 { first + UInt64(messages.count) }

        /// Removes the messages that every reader has read.
        mutating func trim() -> [Message] {
            let least = readers.values.map(\.next).min() ?? end
            guard least > first else { return [] }
            var read: [Message] = []
            read.reserveCapacity(Int(least - first))
            while first < least, let message = messages.popFirst() {
                first += 1
                if message.source == nil { lossyCost -= message.cost }
                read.append(message)
            }
            return read
        }

        mutating func removeFirst() {
            guard let message = messages.popFirst() else { return }
            first += 1
            lossyCost -= message.cost
            for id in readers.keys where readers[id].map({ $0.next < first }) ?? false { readers[id]?.next = first }
        }

        mutating func take(_ id: UInt64, limit: Int) -> [Message] {
            guard let reader = readers[id] else { return [] }
            let start = Int(reader.next - first)
            let batch = Array(messages[start..<min(messages.count, start + limit)])
            readers[id]?.next += UInt64(batch.count)
            return batch
        }
    }

    private let state = Locked(State())

    // MARK: Messages

    /// Adds a message that is made when somebody subscribes. On the loop.
    func append(_ make: () -> Message) -> Arrival {
        var waiting: [(UnsafeContinuation<[Message]?, Never>, [Message])] = []
        let arrival = state.withLock { state -> Arrival in
            guard !state.readers.isEmpty, !state.isFinished else { return .unwanted }
            let message = make()
            if message.source == nil {
                while state.lossyCost + message.cost > Self.lossyLimit, state.messages.first?.source == nil,
                    !state.messages.isEmpty
                {
                    state.removeFirst()
                }
                // Reliable messages of the same topic stand before it.
                if state.lossyCost + message.cost > Self.lossyLimit, state.lossyCost > 0 { return .unwanted }
                state.lossyCost += message.cost
            }
            state.messages.append(message)
            for id in state.readers.keys {
                if let waiter = state.readers[id]?.waiter.take() {
                    waiting.append((waiter, state.take(id, limit: Self.batch)))
                }
            }
            guard !waiting.isEmpty else { return .kept }
            return state.trim().isEmpty ? .kept : .consumed
        }
        for (waiter, batch) in waiting { waiter.resume(returning: batch) }
        return arrival
    }

    /// No more messages come; those that have come can still be read.
    func finish() {
        let waiting = state.withLock { state -> [UnsafeContinuation<[Message]?, Never>] in
            state.isFinished = true
            return state.readers.keys.compactMap { state.readers[$0]?.waiter.take() }
        }
        for waiter in waiting { waiter.resume(returning: nil) }
    }

    // MARK: Readers

    /// A subscription begins with the next message. Nil: the last one has ended, and another inbox takes this one's
    /// place.
    func addReader() -> UInt64? {
        state.withLock { state in
            guard !state.isRetired else { return nil }
            state.lastReader += 1
            state.readers[state.lastReader] = Reader(next: state.end)
            return state.lastReader
        }
    }

    /// A subscription has ended. True: it was the last one, and the inbox takes nothing any more.
    func removeReader(_ id: UInt64) -> Bool {
        let (read, waiter, isLast) = state.withLock { state in
            let waiter = state.readers.removeValue(forKey: id)?.waiter
            if state.readers.isEmpty { state.isRetired = true }
            return (state.trim(), waiter, state.isRetired)
        }
        waiter?.resume(returning: nil)
        Self.consumed(read)
        return isLast
    }

    /// Returns the next messages of a subscription, or nil at the end and when the task is cancelled. Suspends while
    /// there are none.
    nonisolated(nonsending) func next(_ id: UInt64) async -> [Message]? {
        let (batch, read, isFinished) = take(id)
        if !batch.isEmpty {
            Self.consumed(read)
            return batch
        }
        if isFinished { return nil }
        return await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                let (batch, read, isWaiting) = state.withLock { state -> ([Message], [Message], Bool) in
                    let batch = state.take(id, limit: Self.batch)
                    guard batch.isEmpty, !state.isFinished, state.readers[id] != nil, !Task.isCancelled else {
                        return (batch, state.trim(), false)
                    }
                    precondition(state.readers[id]?.waiter == nil, "two tasks iterate over one subscription")
                    state.readers[id]?.waiter = continuation
                    return ([], [], true)
                }
                Self.consumed(read)
                if !isWaiting { continuation.resume(returning: batch.isEmpty ? nil : batch) }
            }
        } onCancel: {
            state.withLock { $0.readers[id]?.waiter.take() }?.resume(returning: nil)
        }
    }

    private func take(_ id: UInt64) -> (batch: [Message], read: [Message], isFinished: Bool) {
        state.withLock { state in
            let batch = state.take(id, limit: Self.batch)
            return (batch, batch.isEmpty ? [] : state.trim(), state.isFinished || state.readers[id] == nil)
        }
    }

    /// Tells the windows, once for messages in sequence of the same one.
    private static func consumed(_ messages: [Message]) {
        var index = 0
        while index < messages.count {
            let source = messages[index].source
            var cost = 0
            while index < messages.count, messages[index].source?.exchange === source?.exchange {
                cost += messages[index].cost
                index += 1
            }
            if let source { source.exchange.topicConsumed(source.topic, cost: cost) }
        }
    }
}

/// One subscription. It ends when it is destroyed.
final class TopicSubscription: Sendable {
    private let inbox: TopicInbox
    private let reader: UInt64
    private let onLast: @Sendable () -> Void

    init(inbox: TopicInbox, reader: UInt64, onLast: @escaping @Sendable () -> Void) {
        self.inbox = inbox
        self.reader = reader
        self.onLast = onLast
    }

    deinit { if inbox.removeReader(reader) { onLast() } }

    nonisolated(nonsending) func next() async -> [TopicInbox.Message]? { await inbox.next(reader) }
}
