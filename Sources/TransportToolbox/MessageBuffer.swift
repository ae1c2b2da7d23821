internal import DequeModule
public import TransportValues

/// A bounded first-in-first-out buffer of WebSocket messages, for one direction of one connection: the part of a
/// signaling backend that suspends, wakes and cancels.
///
/// A sender waits in `append` while the buffer is at its limit; a receiver waits in `next`. The side that drives a
/// socket uses `appendNow` and `popFirst`, which never wait. All methods may be called from any thread or task.
///
/// The cost of a message is its size and 64 bytes more, so that empty ones are bounded too. One message always fits
/// into an empty buffer, whatever the limit.
public final class MessageBuffer: Sendable {
    private struct Sender {
        let id: UInt64
        let message: SignalingMessage
        let continuation: CheckedContinuation<TransportError?, Never>
    }

    private enum Received: Sendable {
        case message(SignalingMessage)
        case end
        case failure(TransportError)
    }

    private struct Receiver {
        let id: UInt64
        let continuation: CheckedContinuation<Received, Never>
    }

    private struct State {
        var messages: Deque<SignalingMessage> = []
        /// The number of messages that were taken out since the buffer was empty.
        var taken = 0
        var cost = 0
        var senders: [Sender] = []
        var receiver: Receiver?
        var nextID: UInt64 = 0
        var end: Received?
        var wasFull = false
    }

    private let limit: Int
    private let state = Locked(State())
    private let onMessage: (@Sendable () -> Void)?
    private let onRoom: (@Sendable () -> Void)?

    /// - Parameters:
    ///   - limit: The limit in bytes.
    ///   - onMessage: Called after an `append`, outside the lock: there is something for `popFirst`.
    ///   - onRoom: Called when `next` has emptied a full buffer to half of its limit: `appendNow` may continue.
    public init(limit: Int, onMessage: (@Sendable () -> Void)? = nil, onRoom: (@Sendable () -> Void)? = nil) {
        self.limit = max(1, limit)
        self.onMessage = onMessage
        self.onRoom = onRoom
    }

    // MARK: Putting in

    /// Appends a message, waiting while the buffer is full. Senders are served in the order of their calls. Throws the
    /// error of `finish`, `.closed` after a normal end, or `.cancelled`; the message was then not accepted.
    public nonisolated(nonsending) func append(_ message: SignalingMessage) async throws(TransportError) {
        enum Step: Sendable { case taken(Receiver?), mustWait(UInt64), ended(TransportError) }
        if Task.isCancelled { throw Self.cancelled }
        let step = state.withLock { state -> Step in
            if let error = Self.sendError(state) { return .ended(error) }
            if state.senders.isEmpty, fits(message, state) { return .taken(push(message, &state)) }
            state.nextID += 1
            return .mustWait(state.nextID)
        }
        switch step {
        case .taken(let receiver): deliver(message, to: receiver)
        case .ended(let error): throw error
        case .mustWait(let id):
            let error = await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    wait(Sender(id: id, message: message, continuation: continuation))
                }
            } onCancel: {
                let sender = state.withLock { state -> Sender? in
                    guard let index = state.senders.firstIndex(where: { $0.id == id }) else { return nil }
                    return state.senders.remove(at: index)
                }
                sender?.continuation.resume(returning: Self.cancelled)
            }
            if let error { throw error }
        }
    }

    private func wait(_ sender: Sender) {
        // Cancelled before the waiter was in the queue: the flag is set before the handler runs.
        let isCancelled = Task.isCancelled
        enum Step: Sendable { case waits, taken(Receiver?), ended(TransportError) }
        let step = state.withLock { state -> Step in
            if let error = Self.sendError(state) { return .ended(error) }
            if isCancelled { return .ended(Self.cancelled) }
            if state.senders.isEmpty, fits(sender.message, state) { return .taken(push(sender.message, &state)) }
            state.senders.append(sender)
            return .waits
        }
        switch step {
        case .waits: break
        case .taken(let receiver):
            deliver(sender.message, to: receiver)
            sender.continuation.resume(returning: nil)
        case .ended(let error): sender.continuation.resume(returning: error)
        }
    }

    private func deliver(_ message: SignalingMessage, to receiver: Receiver?) {
        if let receiver { receiver.continuation.resume(returning: .message(message)) } else { onMessage?() }
    }

    /// Appends a message without waiting, whatever the limit. Returns whether there is room for more: when there is
    /// none, stop reading until `onRoom`. After the end the message is dropped.
    public func appendNow(_ message: SignalingMessage) -> Bool {
        let (receiver, hasRoom) = state.withLock { state -> (Receiver?, Bool) in
            guard state.end == nil else { return (nil, false) }
            if let receiver = push(message, &state) { return (receiver, true) }
            let hasRoom = state.cost < limit
            if !hasRoom { state.wasFull = true }
            return (nil, hasRoom)
        }
        receiver?.continuation.resume(returning: .message(message))
        return hasRoom
    }

    // MARK: Taking out

    /// Returns the next message, waiting for it, or nil at a normal end. Throws the error of `finish`, `.cancelled`, or
    /// `.invalidState` when another task is waiting already.
    public nonisolated(nonsending) func next() async throws(TransportError) -> SignalingMessage? {
        enum Step: Sendable { case got(Received), mustWait(UInt64) }
        if Task.isCancelled { throw Self.cancelled }
        let (step, admitted, hasRoom) = state.withLock { state -> (Step, [Sender], Bool) in
            if let message = pop(&state) {
                let admitted = admit(&state)
                return (.got(.message(message)), admitted, hasNewRoom(&state))
            }
            if let end = state.end { return (.got(end), [], false) }
            if state.receiver != nil { return (.got(.failure(Self.concurrentReceive)), [], false) }
            state.nextID += 1
            return (.mustWait(state.nextID), [], false)
        }
        for sender in admitted { sender.continuation.resume(returning: nil) }
        if hasRoom { onRoom?() }
        let received: Received
        switch step {
        case .got(let result): received = result
        case .mustWait(let id):
            received = await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in wait(Receiver(id: id, continuation: continuation)) }
            } onCancel: {
                let receiver = state.withLock { state -> Receiver? in
                    guard let receiver = state.receiver, receiver.id == id else { return nil }
                    state.receiver = nil
                    return receiver
                }
                receiver?.continuation.resume(returning: .failure(Self.cancelled))
            }
            // ThreadSanitizer does not see the ordering of a continuation that was resumed before it was awaited (the
            // concurrency library is not instrumented). It sees this lock, which the sender held after making the
            // message.
            state.withLock { _ in }
        }
        switch received {
        case .message(let message): return message
        case .end: return nil
        case .failure(let error): throw error
        }
    }

    private func wait(_ receiver: Receiver) {
        let isCancelled = Task.isCancelled
        let (received, admitted, hasRoom) = state.withLock { state -> (Received?, [Sender], Bool) in
            if let message = pop(&state) { return (.message(message), admit(&state), hasNewRoom(&state)) }
            if let end = state.end { return (end, [], false) }
            if isCancelled { return (.failure(Self.cancelled), [], false) }
            if state.receiver != nil { return (.failure(Self.concurrentReceive), [], false) }
            state.receiver = receiver
            return (nil, [], false)
        }
        for sender in admitted { sender.continuation.resume(returning: nil) }
        if hasRoom { onRoom?() }
        if let received { receiver.continuation.resume(returning: received) }
    }

    /// Removes and returns the next message, or nil when there is none now.
    public func popFirst() -> SignalingMessage? {
        let (message, admitted) = state.withLock { state -> (SignalingMessage?, [Sender]) in
            let message = pop(&state)
            return (message, message == nil ? [] : admit(&state))
        }
        for sender in admitted { sender.continuation.resume(returning: nil) }
        return message
    }

    /// Whether no message waits now.
    public var isEmpty: Bool { state.withLock { $0.messages.isEmpty } }

    /// The cost of the waiting messages in bytes, 64 per message included.
    public var cost: Int { state.withLock { $0.cost } }

    // MARK: The end

    /// Ends the buffer: it accepts no more messages, waiting senders get `error` (`.closed` when it is nil), and
    /// receivers get the remaining messages, then nil or `error`. Only the first call has an effect.
    /// - Parameter discarding: Whether to drop the remaining messages.
    public func finish(_ error: TransportError? = nil, discarding: Bool = false) {
        let (senders, receiver) = state.withLock { state -> ([Sender], Receiver?) in
            if discarding {
                state.messages = []
                state.cost = 0
            }
            guard state.end == nil else { return ([], nil) }
            state.end = error.map(Received.failure) ?? .end
            defer {
                state.senders = []
                state.receiver = nil
            }
            return (state.senders, state.receiver)
        }
        for sender in senders { sender.continuation.resume(returning: error ?? Self.closed) }
        receiver?.continuation.resume(returning: error.map(Received.failure) ?? .end)
    }

    // MARK: Under the lock

    private func fits(_ message: SignalingMessage, _ state: State) -> Bool {
        state.receiver != nil || state.cost == 0 || state.cost + Self.cost(message) <= limit
    }

    /// Returns the receiver to pass the message to, or nil when the message was added to the buffer.
    private func push(_ message: SignalingMessage, _ state: inout State) -> Receiver? {
        if let receiver = state.receiver {
            state.receiver = nil
            return receiver
        }
        state.messages.append(message)
        state.cost += Self.cost(message)
        return nil
    }

    private func pop(_ state: inout State) -> SignalingMessage? {
        guard let message = state.messages.popFirst() else { return nil }
        state.taken += 1
        state.cost -= Self.cost(message)
        if state.messages.isEmpty {
            // Frees the memory that only a burst needed.
            if state.taken > 64 { state.messages = [] }
            state.taken = 0
        }
        return message
    }

    private func admit(_ state: inout State) -> [Sender] {
        var count = 0
        while count < state.senders.count, fits(state.senders[count].message, state) {
            _ = push(state.senders[count].message, &state)
            count += 1
        }
        guard count > 0 else { return [] }
        let admitted = Array(state.senders[..<count])
        state.senders.removeFirst(count)
        return admitted
    }

    private func hasNewRoom(_ state: inout State) -> Bool {
        guard state.wasFull, state.cost <= limit / 2 else { return false }
        state.wasFull = false
        return true
    }

    private static func cost(_ message: SignalingMessage) -> Int { message.payload.count + 64 }

    private static func sendError(_ state: State) -> TransportError? {
        switch state.end {
        case nil: nil
        case .failure(let error): error
        case .end, .message: closed
        }
    }

    private static let cancelled = TransportError(.cancelled, "the waiting task was cancelled")
    static let closed = TransportError(.closed, "the connection is closed")
    private static let concurrentReceive = TransportError(.invalidState, "another task is already waiting in receive()")
}
