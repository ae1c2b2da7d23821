internal import RoomCore
internal import RoomProtocol
internal import TransportPluginAPI

/// Topics and requests with one participant's session. It lives as long as the link, and ends with it.
///
/// What comes is handled on the loop, sending is possible from any thread. The machines decide under the lock; messages
/// are sent and tasks resumed outside of it.
///
/// SAFETY of `@unchecked Sendable`: `state` is behind its lock; `timer` is touched only on the loop.
final class PeerExchange: @unchecked Sendable {
    struct State {
        var budget = ReceiveWindow.Budget()
        var isClosed = false

        // Topics
        var topicSender = TopicSender()
        var topicReceiver = TopicReceiver()
        /// In the order of the receiver's numbers; nil: nobody has subscribed yet.
        var inboxes: [TopicInbox?] = []
        /// The tasks that wait for the window of a topic.
        var publishers = Waiters()

        // Requests
        var outgoing = OutgoingRequests()
        var callers: [UInt64: Caller] = [:]
        var incoming = IncomingRequests()
        var handlers: [UInt64: Task<Void, Never>] = [:]
        /// Requests whose handler may be about to be registered.
        var early: [EarlyRequest] = []
        /// For when the timer is set.
        var timerDeadline: Timestamp?
    }

    let link: PeerLink
    let room: RoomExchange
    let state: Locked<State>
    private var timer: LoopTimer?

    /// `record`: of the topics and requests before, which ended for this side only. On the loop.
    init(_ link: PeerLink, room: RoomExchange, record: ExchangeRecord) {
        self.link = link
        self.room = room
        var record = record
        var initial = State()
        // The other side may still have requests of an earlier link in the same sessions.
        let base = room.nextRequestBase()
        let restart = record.restart(firstRequest: base + 1, &initial.budget)
        initial.outgoing = OutgoingRequests(after: base)
        initial.incoming = IncomingRequests(after: record.lastRequest)
        initial.topicSender = record.topicSender
        initial.topicReceiver = record.topicReceiver
        state = Locked(initial)
        for message in restart { sendControl(message) }
    }

    var isSupported: Bool { link.level == .exchange }

    // MARK: What comes, on the loop

    func received(_ bytes: UnsafeRawBufferPointer, on channel: DeliveryChannel) {
        guard let message = ExchangeMessage(bytes) else { return room.metrics.ignored() }
        switch (message, channel) {
        case (.topicMessage(let name, let isText, let body), .reliable):
            topicMessage(name, isText: isText, body: body, bytes)
        case (.topicMessage(let name, let isText, let body), .topics):
            lossyTopicMessage(name, isText: isText, body: body, bytes)
        case (.topicWindow(let name, let limit), .reliable):
            topicWindow(ByteText(name.text(in: bytes)), limit: limit)
        case (.topicPosition(let name, let sent), .reliable): topicPosition(name, sent: sent, bytes)
        case (.request(let id, let timeout, let method, let isText, let body), .reliable):
            let payload = Payload(copying: UnsafeRawBufferPointer(rebasing: bytes[body...]))
            requested(id, timeout: timeout, method: ByteText(method.text(in: bytes)), payload, isText: isText)
        case (.answer(let id, let isText, let body), .reliable):
            let payload = Payload(copying: UnsafeRawBufferPointer(rebasing: bytes[body...]))
            answered(id, .answer(payload, isText: isText))
        case (.failure(let id, let code, let message), .reliable):
            answered(id, .failure(code: code, message: message))
        case (.cancel(let id), .reliable): cancelledByCaller(id)
        case (.requestRestart(let first, let last), .reliable): requestsRestarted(first: first, last: last)
        case (.open, _), (.data, _), (.end, _), (.reset, _), (.window, _), (.stop, _), (.finished, _), (.restart, _):
            if link.streams?.received(message, bytes, on: channel) != true { room.metrics.ignored() }
        case (.topicMessage, _), (.topicWindow, _), (.topicPosition, _), (.request, _), (.answer, _), (.failure, _),
            (.cancel, _), (.requestRestart, _):
            room.metrics.ignored()
        }
    }

    // MARK: Sending, from any thread

    /// Sends a message that is small, and of which there are only so many: the buffer takes it above its limit.
    func sendControl(_ message: [UInt8]) {
        message.withUnsafeBytes {
            _ = link.send(exchange: $0, UnsafeRawBufferPointer(start: nil, count: 0), on: .reliable, isUrgent: true)
        }
    }

    // MARK: Time

    /// Looks at the deadlines at `deadline` at the latest. From any thread.
    func arm(_ deadline: Timestamp) {
        let mustSchedule = state.withLock { state -> Bool in
            if state.isClosed { return false }
            if let present = state.timerDeadline, present <= deadline { return false }
            state.timerDeadline = deadline
            return true
        }
        guard mustSchedule else { return }
        if room.loop.isCurrent { schedule() } else { room.loop.execute { self.schedule() } }
    }

    private func schedule() {
        timer?.cancel()
        timer = nil
        guard let deadline = state.withLock({ $0.timerDeadline }) else { return }
        timer = room.loop.schedule(at: deadline) { [weak self] in self?.timerFired() }
    }

    private func timerFired() {
        let now = room.loop.turnTime
        timer = nil
        state.withLock { $0.timerDeadline = nil }
        requestsLate(now: now)
        let next = state.withLock { state in
            [state.outgoing.nextDeadline, state.incoming.nextDeadline, state.early.map(\.graceEnd).min()]
                .compactMap(\.self).min()
        }
        if let next { arm(next) }
    }

    // MARK: The end, on the loop

    /// The participant has left, or its session or ours is another one: nothing comes any more. Returns what is to be
    /// remembered if it comes back.
    func close() -> ExchangeRecord {
        timer?.cancel()
        timer = nil
        let (record, publishers, callers, handlers) = state.withLock { state in
            let record = ExchangeRecord(state.topicSender, state.topicReceiver, state.outgoing, state.incoming)
            state.isClosed = true
            state.outgoing.close()
            state.early = []
            state.timerDeadline = nil
            var callers: [UnsafeContinuation<Resolution, Never>] = []
            for id in state.callers.keys {
                if let continuation = state.callers[id]?.resolve(.gone) { callers.append(continuation) }
            }
            defer { state.handlers = [:] }
            for id in state.handlers.keys { _ = state.incoming.cancelled(id) }
            return (record, state.publishers.removeAll(), callers, Array(state.handlers.values))
        }
        for publisher in publishers { publisher.resume() }
        for caller in callers { caller.resume(returning: .gone) }
        for handler in handlers { handler.cancel() }
        return record
    }
}
