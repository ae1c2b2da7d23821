internal import RoomCore
internal import RoomProtocol
internal import TransportPluginAPI

extension PeerExchange {
    /// The result of publishing one message.
    enum Published: Equatable {
        case accepted
        /// The topic is lossy, or the participant's connection is broken and its buffer or window full.
        case dropped
        /// Wait until the participant has consumed more of this topic.
        case windowClosed
        /// Wait until the buffer takes more.
        case bufferFull
        case gone
        case tooLarge(limit: Int)
        case tooManyTopics

        var mustWait: Bool { self == .windowClosed || self == .bufferFull }
    }

    // MARK: Publishing, from any thread

    /// Takes one message, without waiting. `mayDrop`: the publisher does not wait for a participant whose connection is
    /// broken.
    func publish(_ message: TopicPublication, mayDrop: Bool) -> Published {
        let (topic, body) = (message.topic, message.body)
        if message.isLossy {
            let outcome = message.head.withUnsafeBytes { head in
                body.withUnsafeBytes { link.send(exchange: head, $0, on: .topics) }
            }
            return Published(outcome)
        }
        let start = state.withLock { state -> TopicSender.Start? in
            state.isClosed ? nil : state.topicSender.begin(topic, count: body.count)
        }
        switch start {
        case .begun: break
        case .wait:
            guard mayDrop, link.giveUpIfBroken() else { return .windowClosed }
            return .dropped
        case .tooMany: return .tooManyTopics
        case nil: return .gone
        }
        let outcome = message.head.withUnsafeBytes { head in
            body.withUnsafeBytes { link.send(exchange: head, $0, on: .reliable, isCounted: true, mayDrop: mayDrop) }
        }
        if outcome != .accepted { state.withLock { $0.topicSender.undo(topic, count: body.count) } }
        return Published(outcome)
    }

    /// Publishes one message. Waits until the participant has consumed enough of this topic and the buffer has room.
    nonisolated(nonsending) func publishWaiting(_ message: TopicPublication, mayDrop: Bool) async -> Published {
        while true {
            let published = publish(message, mayDrop: mayDrop)
            switch published {
            case .windowClosed: await waitForWindow(message.topic, mayDrop: mayDrop)
            case .bufferFull: await link.waitForCredit(.reliable, mayDrop: mayDrop)
            case .accepted, .dropped, .gone, .tooLarge, .tooManyTopics: return published
            }
            if Task.isCancelled { return published }
        }
    }

    private nonisolated(nonsending) func waitForWindow(_ topic: ByteText, mayDrop: Bool) async {
        guard mayDrop else { return await waitForGrant(topic) }
        // Not longer than the connection works.
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.waitForGrant(topic) }
            group.addTask { [link] in await link.waitUntilBroken() }
            await group.next()
            group.cancelAll()
        }
    }

    private nonisolated(nonsending) func waitForGrant(_ topic: ByteText) async {
        while !Task.isCancelled {
            let id = state.withLock { state -> UInt64? in
                state.isClosed || state.topicSender.isOpen(topic) ? nil : state.publishers.makeID()
            }
            guard let id else { return }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let resumeNow = state.withLock { state -> Bool in
                        if state.isClosed || state.topicSender.isOpen(topic) || Task.isCancelled { return true }
                        state.publishers.add(id, continuation)
                        return false
                    }
                    if resumeNow { continuation.resume() }
                }
            } onCancel: {
                state.withLock { $0.publishers.remove(id) }?.resume()
            }
        }
    }

    // MARK: What comes, on the loop

    func topicWindow(_ topic: ByteText, limit: UInt64) {
        let (isKnown, waiting) = state.withLock { state in
            let grant = state.topicSender.grant(topic, limit: limit)
            return (grant != nil, grant == true && !state.publishers.isEmpty ? state.publishers.removeAll() : [])
        }
        if !isKnown { room.metrics.ignored() }
        for publisher in waiting { publisher.resume() }
    }

    /// The participant had given this side up, and has dropped what it had sent of a topic up to `sent`.
    func topicPosition(_ name: ExchangeMessage.Name, sent: UInt64, _ bytes: UnsafeRawBufferPointer) {
        let topic = state.withLock { state -> Int? in
            guard let topic = state.topicReceiver.index(of: name.bytes(in: bytes), &state.budget),
                state.topicReceiver.skip(topic, to: sent)
            else { return nil }
            return topic
        }
        if let topic { topicConsumed(topic, cost: 0) }
    }

    func topicMessage(
        _ name: ExchangeMessage.Name, isText: Bool, body: Int, _ bytes: UnsafeRawBufferPointer
    ) {
        let count = bytes.count - body
        let place = state.withLock { state -> (topic: Int, inbox: TopicInbox?)? in
            guard let topic = state.topicReceiver.index(of: name.bytes(in: bytes), &state.budget),
                state.topicReceiver.receive(topic, count: count)
            else { return nil }
            while state.inboxes.count <= topic { state.inboxes.append(nil) }
            return (topic, state.inboxes[topic])
        }
        // Too many topics, or beyond the window.
        guard let place else { return room.metrics.ignored() }
        let cost = TopicLimits.cost(ofBody: count)
        func append(to inbox: TopicInbox) -> TopicInbox.Arrival {
            inbox.append {
                TopicInbox.Message(
                    from: link.participant, isText: isText,
                    payload: Payload(copying: UnsafeRawBufferPointer(rebasing: bytes[body...])), cost: cost,
                    source: (self, place.topic))
            }
        }
        var arrival = place.inbox.map(append) ?? .unwanted
        // A subscription may have begun meanwhile, with another inbox.
        if case .unwanted = arrival {
            let inbox = room.inbox(of: ByteText(name.text(in: bytes)))
            if inbox !== place.inbox { state.withLock { $0.inboxes[place.topic] = inbox } }
            if let inbox { arrival = append(to: inbox) }
        }
        switch arrival {
        case .kept: break
        case .consumed: topicConsumed(place.topic, cost: cost)
        case .unwanted:
            room.metrics.unsubscribed()
            topicConsumed(place.topic, cost: cost)
        }
    }

    func lossyTopicMessage(
        _ name: ExchangeMessage.Name, isText: Bool, body: Int, _ bytes: UnsafeRawBufferPointer
    ) {
        guard let inbox = room.inbox(of: ByteText(name.text(in: bytes))) else { return room.metrics.unsubscribed() }
        let arrival = inbox.append {
            TopicInbox.Message(
                from: link.participant, isText: isText,
                payload: Payload(copying: UnsafeRawBufferPointer(rebasing: bytes[body...])),
                cost: TopicLimits.cost(ofBody: bytes.count - body), source: nil)
        }
        if case .unwanted = arrival { room.metrics.unsubscribed() }
    }

    /// Messages of a topic were consumed, which cost so much: the participant may send more. From any thread.
    func topicConsumed(_ topic: Int, cost: Int) {
        let isDue = state.withLock { $0.topicReceiver.consume(topic, cost: cost) && !$0.isClosed }
        guard isDue else { return }
        let now = Timestamp.now()
        let grant = state.withLock { state in
            state.topicReceiver.grant(topic, now: now, &state.budget).map {
                ExchangeHead.topicWindow(state.topicReceiver.name(of: topic), limit: $0)
            }
        }
        if let grant { sendControl(grant) }
    }
}

extension PeerExchange.Published {
    fileprivate init(_ outcome: DeliveryOutbox.Outcome) {
        switch outcome {
        case .accepted: self = .accepted
        case .full: self = .bufferFull
        case .dropped: self = .dropped
        case .gone: self = .gone
        case .tooLarge(let limit): self = .tooLarge(limit: limit)
        }
    }
}
