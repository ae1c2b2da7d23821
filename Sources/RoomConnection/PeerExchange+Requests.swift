internal import RoomCore
internal import RoomProtocol
internal import TransportPluginAPI

extension PeerExchange {
    /// The end of a wait for an answer, or its interruption.
    enum Resolution: Sendable {
        case answer(Payload, isText: Bool)
        case failure(code: String, message: String)
        case timedOut
        case cancelled
        case gone
        case tooLarge(limit: Int)
        /// It is its turn.
        case proceed
        /// The buffer is full: wait for credit.
        case bufferFull
    }

    /// A task that waits for an answer.
    struct Caller {
        private var continuation: UnsafeContinuation<Resolution, Never>?
        /// The end, which has come while the task did not wait.
        private var end: Resolution?

        /// Begins to wait. Returns the end when it has come already.
        mutating func wait(_ continuation: UnsafeContinuation<Resolution, Never>) -> Resolution? {
            if end == nil { self.continuation = continuation }
            return end
        }

        /// Ends the wait for good. Returns the task, to be resumed with `end`, when it waits now.
        mutating func resolve(_ end: Resolution) -> UnsafeContinuation<Resolution, Never>? {
            if self.end == nil { self.end = end }
            return continuation.take()
        }

        /// Interrupts the wait. Returns the task when it waits.
        mutating func interrupt() -> UnsafeContinuation<Resolution, Never>? { continuation.take() }
    }

    /// A request that waits for its handler to be registered.
    struct EarlyRequest {
        let id: UInt64
        let method: ByteText
        let payload: Payload
        let isText: Bool
        let graceEnd: Timestamp
    }

    // MARK: Requests to the participant, from any thread

    /// Makes a request, and waits for its answer or the reason why there is none.
    nonisolated(nonsending) func request(
        _ method: String, _ body: Payload, isText: Bool, deadline: Timestamp?
    ) async -> Resolution {
        let id = state.withLock { state -> UInt64? in
            guard !state.isClosed else { return nil }
            let id = state.outgoing.begin(deadline: deadline).id
            state.callers[id] = Caller()
            return id
        }
        guard let id else { return .gone }
        if let deadline { arm(deadline) }
        while true {
            let resolution = await withTaskCancellationHandler {
                await withUnsafeContinuation { continuation in
                    attempt(id, method, body, isText, deadline, continuation)
                }
            } onCancel: {
                giveUp(id, .cancelled)
            }
            switch resolution {
            case .proceed: break
            case .bufferFull: await waitForCredit(id)
            case .answer, .failure, .timedOut, .cancelled, .gone, .tooLarge:
                // It may never have been handed to the channel.
                let end = state.withLock { state in
                    state.callers[id] = nil
                    return state.outgoing.refused(id)
                }
                ended(id, end)
                return resolution
            }
        }
    }

    /// Sends the request when it is its turn. The task waits for what becomes of it.
    private func attempt(
        _ id: UInt64, _ method: String, _ body: Payload, _ isText: Bool, _ deadline: Timestamp?,
        _ continuation: UnsafeContinuation<Resolution, Never>
    ) {
        let (end, isStarted) = state.withLock { state in
            (state.callers[id]?.wait(continuation), state.outgoing.isStarted(id))
        }
        if let end { return continuation.resume(returning: end) }
        guard isStarted else { return }
        let head = ExchangeHead.request(
            id: id, timeout: deadline.map { ($0 - .now()).wireMilliseconds }, method: method, isText: isText)
        let outcome = head.withUnsafeBytes { head in
            body.withUnsafeBytes { link.send(exchange: head, $0, on: .reliable) }
        }
        switch outcome {
        case .accepted:
            if let end = state.withLock({ $0.outgoing.sent(id) }) { ended(id, end) }
        case .full, .dropped:
            state.withLock { $0.callers[id]?.interrupt() }?.resume(returning: .bufferFull)
        case .gone: refused(id, .gone)
        case .tooLarge(let limit): refused(id, .tooLarge(limit: limit))
        }
    }

    private func refused(_ id: UInt64, _ resolution: Resolution) {
        let (end, caller) = state.withLock { state in
            (state.outgoing.refused(id), state.callers[id]?.resolve(resolution))
        }
        ended(id, end)
        caller?.resume(returning: resolution)
    }

    /// Nobody waits for the answer any more.
    private func giveUp(_ id: UInt64, _ resolution: Resolution) {
        let (end, caller) = state.withLock { state -> (OutgoingRequests.End?, UnsafeContinuation<Resolution, Never>?) in
            guard let end = state.outgoing.giveUp(id) else { return (nil, nil) }
            return (end, state.callers[id]?.resolve(resolution))
        }
        if let end { ended(id, end) }
        caller?.resume(returning: resolution)
    }

    /// Tells the participant where it has to know, and lets the next request go out.
    private func ended(_ id: UInt64, _ end: OutgoingRequests.End) {
        if end.mustCancel { sendControl(ExchangeHead.cancel(id: id)) }
        guard let next = end.started else { return }
        state.withLock { $0.callers[next]?.interrupt() }?.resume(returning: .proceed)
    }

    /// Returns when the buffer has room, or the request has ended.
    private nonisolated(nonsending) func waitForCredit(_ id: UInt64) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [link] in await link.waitForCredit(.reliable) }
            group.addTask { await self.waitUntilEnded(id) }
            await group.next()
            group.cancelAll()
        }
    }

    /// Returns when the request has ended, or the task is cancelled.
    private func waitUntilEnded(_ id: UInt64) async {
        _ = await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                let end = state.withLock { Task.isCancelled ? .cancelled : $0.callers[id]?.wait(continuation) }
                if let end { continuation.resume(returning: end) }
            }
        } onCancel: {
            state.withLock { $0.callers[id]?.interrupt() }?.resume(returning: .cancelled)
        }
    }

    // MARK: What comes, on the loop

    /// An answer or a failure.
    func answered(_ id: UInt64, _ resolution: Resolution) {
        let (end, caller) = state.withLock { state -> (OutgoingRequests.End?, UnsafeContinuation<Resolution, Never>?) in
            guard let end = state.outgoing.answered(id) else { return (nil, nil) }
            return (end, state.callers[id]?.resolve(resolution))
        }
        caller?.resume(returning: resolution)
        // Where nobody waits any more it has crossed a cancellation.
        if let end { ended(id, end) }
    }

    func requested(_ id: UInt64, timeout: UInt32?, method: ByteText, _ payload: Payload, isText: Bool) {
        let now = room.loop.turnTime
        let deadline = timeout.map { now + .milliseconds($0) }
        switch state.withLock({ $0.incoming.received(id, count: payload.count, deadline: deadline) }) {
        case .run: break
        case .busy:
            return fail(id, "busy", "this participant handles as many requests of yours as it can: try again later")
        case .duplicate: return room.metrics.ignored()
        }
        if let deadline { arm(deadline) }
        if let handler = room.handler(of: method) {
            run(handler, id, payload, isText: isText)
        } else if let graceEnd = room.graceEnd(now: now) {
            let early = EarlyRequest(id: id, method: method, payload: payload, isText: isText, graceEnd: graceEnd)
            state.withLock { $0.early.append(early) }
            arm(graceEnd)
        } else {
            refuseUnknown(id)
        }
    }

    /// A handler is there now: the requests that waited for it run.
    func handlerAdded(_ method: ByteText) {
        let early = state.withLock { state -> [EarlyRequest] in
            let early = state.early.filter { $0.method == method }
            if !early.isEmpty { state.early.removeAll { $0.method == method } }
            return early
        }
        guard !early.isEmpty else { return }
        for request in early {
            if let handler = room.handler(of: method) {
                run(handler, request.id, request.payload, isText: request.isText)
            } else {
                refuseUnknown(request.id)
            }
        }
    }

    func cancelledByCaller(_ id: UInt64) {
        let handler = state.withLock { state -> Task<Void, Never>? in
            guard state.incoming.cancelled(id) else { return nil }
            return state.stopEarly(id) ? nil : state.handlers[id]
        }
        handler?.cancel()
    }

    /// The participant had given this side up: it answers none of these requests, and waits for none of its own.
    func requestsRestarted(first: UInt64, last: UInt64) {
        let (ended, cancelled) = state.withLock { state in
            (state.outgoing.restartReceived(last: last), state.incoming.restartReceived(first: first))
        }
        for id in ended { refused(id, .gone) }
        for id in cancelled { cancelledByCaller(id) }
    }

    /// Ends what has had its time: requests of both directions, and the wait for handlers.
    func requestsLate(now: Timestamp) {
        let (late, handlers, unknown) = state.withLock { state in
            let handlers = state.incoming.late(now: now).compactMap { id in
                state.stopEarly(id) ? nil : state.handlers[id]
            }
            let unknown = state.early.filter { $0.graceEnd <= now }.map(\.id)
            state.early.removeAll { $0.graceEnd <= now }
            return (state.outgoing.late(now: now), handlers, unknown)
        }
        for id in late { giveUp(id, .timedOut) }
        for handler in handlers { handler.cancel() }
        for id in unknown { refuseUnknown(id) }
    }

    private func refuseUnknown(_ id: UInt64) {
        state.withLock { $0.incoming.finished(id) }
        fail(id, "unknown_method", "this participant handles no method of this name")
    }

    private func fail(_ id: UInt64, _ code: String, _ message: String) {
        sendControl(ExchangeHead.failure(id: id, code: code, message: message))
    }

    // MARK: Handlers

    private func run(_ handler: RoomExchange.Handler, _ id: UInt64, _ payload: Payload, isText: Bool) {
        let task = Task(executorPreference: handler.executor) {
            await self.handle(handler, id, payload, isText: isText)
        }
        // It may have ended already.
        state.withLock { if $0.incoming.isKnown(id), !$0.isClosed { $0.handlers[id] = task } }
    }

    private func handle(_ handler: RoomExchange.Handler, _ id: UInt64, _ payload: Payload, isText: Bool) async {
        do {
            let (answer, isText) = try await handler.run(payload, isText, link.participant)
            await sendAnswer(id, answer, isText: isText)
        } catch {
            if state.withLock({ $0.incoming.isWanted(id) && !$0.isClosed }) {
                let failure = error as? RequestFailure ?? RequestFailure(hiding: error)
                fail(id, failure.code, failure.message)
            }
        }
        state.withLock {
            $0.incoming.finished(id)
            $0.handlers[id] = nil
        }
    }

    private func sendAnswer(_ id: UInt64, _ answer: Payload, isText: Bool) async {
        let head = ExchangeHead.answer(id: id, isText: isText)
        while state.withLock({ $0.incoming.isWanted(id) && !$0.isClosed }) {
            let outcome = head.withUnsafeBytes { head in
                answer.withUnsafeBytes { link.send(exchange: head, $0, on: .reliable) }
            }
            switch outcome {
            case .accepted, .gone, .dropped: return
            case .tooLarge(let limit):
                return fail(id, "too_large", "the answer has \(answer.count) bytes, over the limit of \(limit)")
            case .full: await link.waitForCredit(.reliable)
            }
            if Task.isCancelled { return }
        }
    }
}

extension PeerExchange.State {
    /// Ends the wait for a handler. False: the request does not wait for one.
    fileprivate mutating func stopEarly(_ id: UInt64) -> Bool {
        guard let index = early.firstIndex(where: { $0.id == id }) else { return false }
        early.remove(at: index)
        incoming.finished(id)
        return true
    }
}

extension Duration {
    /// The duration in milliseconds, at least 1, as the wire has it.
    fileprivate var wireMilliseconds: UInt32 { UInt32(clamping: max(1, saturatedNanoseconds / 1_000_000)) }
}
