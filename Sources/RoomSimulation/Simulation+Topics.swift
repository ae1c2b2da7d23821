internal import RoomCore
internal import RoomProtocol
internal import TransportValues

// Topics beside the messages: what the applications publish, subscribe to and read, checked as it comes.
extension Simulation {
    /// The most messages that one publisher lets wait.
    private static let waitingLimit = 20

    func exchangeChance(_ probability: Double) -> Bool {
        Double.random(in: 0..<1, using: &exchangeRandom) < probability
    }

    func book(_ ledger: Int) -> ExchangeBook { exchangeBooks[ledger] }

    // MARK: Begin and end

    /// A link begins, maybe after this side has given the other one up.
    func beginExchange(_ stream: PeerStream, _ record: ExchangeRecord) {
        guard scenario.hasTopicsAndRequests, stream.link.level == .exchange else { return }
        var record = record
        var tapes = exchangeTapes[stream.outgoing] ?? ExchangeTapes(tape)
        if exchangeTapes[stream.outgoing] == nil {
            record = ExchangeRecord(window: ExchangeEnds.window)
            tapes.recordMade(window: ExchangeEnds.window)
        }
        let base = stream.node.exchangeLinks << 32
        stream.node.exchangeLinks += 1
        var budget = ReceiveWindow.Budget()
        let restart = record.restart(firstRequest: base + 1, &budget)
        tapes.recordRestarted(firstRequest: base + 1, restart)
        tapes.requestsMade(base: base, lastIncoming: record.lastRequest)
        exchangeTapes[stream.outgoing] = tapes
        let ends = ExchangeEnds(record, base: base, tapes)
        ends.budget = budget
        stream.exchange = ends
        if !restart.isEmpty { exchangeCounts[.restarts, default: 0] += 1 }
        for message in restart { sendControl(message, on: .reliable, stream) }
    }

    /// The link has ended for this side, with all that was not acknowledged. Returns what is remembered.
    func endExchange(_ stream: PeerStream) -> ExchangeRecord? {
        guard let ends = stream.exchange else { return nil }
        let record = ends.end()
        exchangeTapes[stream.outgoing]?.recordKept()
        for id in ends.calls.keys.sorted() { endCall(id, .gone, stream, ends) }
        ends.outgoing.close()
        return record
    }

    /// The latest messages on the reliable channel were given up. Returns how many of them are no topic's.
    func noteGivenUp(latest count: Int, of stream: PeerStream) -> Int {
        guard let ends = stream.exchange else { return count }
        var messages = 0
        for counted in ends.counted.suffix(count) {
            switch counted {
            case .message: messages += 1
            case .topic(let topic, let number): book(stream.outgoing)[topic].givenUp.insert(number)
            }
        }
        return messages
    }

    // MARK: Publishing

    /// An application publishes and asks, now and then.
    func useExchange(_ stream: PeerStream) {
        guard let ends = stream.exchange else { return }
        publishWaiting(stream, ends)
        sendUnsent(stream, ends)
        for topic in ExchangeBook.topics where exchangeChance(0.4) {
            let count = exchangeChance(0.15) ? 12 : Int.random(in: 1...2, using: &exchangeRandom)
            for _ in 0..<count { publish(topic, stream, ends) }
            if exchangeChance(0.3) { publishLossy(topic, stream) }
        }
        drain(stream, .reliable)
        drain(stream, .topics)
        makeRequests(stream, ends)
    }

    private func publish(_ topic: String, _ stream: PeerStream, _ ends: ExchangeEnds) {
        if ends.waiting[topic, default: 0] == 0, publishNow(topic, stream, ends) { return }
        guard ends.waiting[topic, default: 0] < Self.waitingLimit else { return }
        exchangeCounts[.waits, default: 0] += 1
        ends.waiting[topic, default: 0] += 1
    }

    /// Publishes what waits, as far as that is possible now.
    private func publishWaiting(_ stream: PeerStream, _ ends: ExchangeEnds) {
        for topic in ends.waiting.keys.sorted() {
            while let count = ends.waiting[topic], count > 0, publishNow(topic, stream, ends) {
                ends.waiting[topic] = count - 1
            }
        }
        drain(stream, .reliable)
    }

    /// False: the publisher waits.
    private func publishNow(_ topic: String, _ stream: PeerStream, _ ends: ExchangeEnds) -> Bool {
        let book = book(stream.outgoing)
        let number = book[topic].sent + 1
        let body = ExchangeBody(ledger: stream.outgoing, number: number)
        let bytes = body.encoded
        switch ends.topicSender.begin(ByteText(topic), count: bytes.count) {
        case .begun: break
        case .wait:
            guard stream.outbox.outbox.isDroppable else { return false }
            stream.outbox.giveUpMessage()
            stream.unreported += 1
            return true
        case .tooMany:
            report("\(stream.node.name) has too many topics")
            return true
        }
        let head = ExchangeHead.topicMessage(topic, isText: body.isText)
        switch accept(head, bytes, on: .reliable, isCounted: true, mayDrop: true, stream) {
        case .accepted:
            book[topic].sent = number
            ends.note(.topic(topic, number), unacknowledged: stream.outbox.messageCount(on: .reliable))
            return true
        case .full:
            ends.topicSender.undo(ByteText(topic), count: bytes.count)
            return false
        case .dropped: stream.unreported += 1
        case .gone, .tooLarge: report("\(stream.node.name) cannot publish to \(name(of: stream.remote))")
        }
        ends.topicSender.undo(ByteText(topic), count: bytes.count)
        return true
    }

    private func publishLossy(_ topic: String, _ stream: PeerStream) {
        let book = book(stream.outgoing)
        let number = book[topic].lossySent + 1
        let body = ExchangeBody(ledger: stream.outgoing, number: number)
        switch accept(ExchangeHead.topicMessage(topic, isText: body.isText), body.encoded, on: .topics, stream) {
        case .accepted: book[topic].lossySent = number
        case .dropped: break
        case .full, .gone, .tooLarge: report("\(stream.node.name) cannot publish a lossy message")
        }
    }

    func accept(
        _ head: [UInt8], _ body: [UInt8], on channel: DeliveryChannel, isCounted: Bool = false, mayDrop: Bool = false,
        _ stream: PeerStream
    ) -> DeliveryOutbox.Outcome {
        head.withUnsafeBytes { head in
            body.withUnsafeBytes { body in
                stream.outbox.accept(exchange: head, body, on: channel, isCounted: isCounted, mayDrop: mayDrop)
            }
        }
    }

    // MARK: Receiving

    func topicMessage(
        _ topic: String, isText: Bool, _ bytes: UnsafeRawBufferPointer, on channel: DeliveryChannel,
        _ stream: PeerStream, _ ends: ExchangeEnds
    ) {
        var place: String { "topic \(topic) of \(name(of: stream.remote))" }
        guard let body = ExchangeBody(bytes), body.isText == isText else {
            return report("\(stream.node.name) gets a torn message of \(place)")
        }
        guard body.ledger == stream.incoming else {
            return report("\(stream.node.name) gets a message of another session in \(place)")
        }
        guard channel == .reliable else { return lossyTopicMessage(topic, body.number, stream) }
        let book = book(stream.incoming)
        let arrived = book[topic].arrived
        if body.number <= arrived {
            return report("\(stream.node.name) gets message \(body.number) of \(place) after \(arrived)")
        }
        for missing in (arrived + 1)..<body.number where !book[topic].givenUp.contains(missing) {
            report("\(stream.node.name) never gets message \(missing) of \(place)")
            break
        }
        book[topic].arrived = body.number
        guard let index = ends.index(of: topic),
            ends.topicReceiver.receive(index, count: bytes.count)
        else { return report("\(stream.node.name) gets more of \(place) than it has allowed") }
        let cost = TopicLimits.cost(ofBody: bytes.count)
        guard stream.node.subscriptions.contains(topic) else {
            exchangeCounts[.unwanted, default: 0] += 1
            return consume(index, cost: cost, stream, ends)
        }
        stream.node.unread[topic, default: []].append(
            .init(stream: stream, topic: index, cost: cost, number: body.number))
        scheduleRead(of: topic, stream.node)
    }

    private func lossyTopicMessage(_ topic: String, _ number: UInt64, _ stream: PeerStream) {
        let book = book(stream.incoming)
        if !book[topic].lossyArrived.insert(number).inserted {
            report("\(stream.node.name) gets lossy message \(number) of topic \(topic) twice")
        }
        exchangeCounts[.lossy, default: 0] += 1
        guard stream.node.subscriptions.contains(topic) else { return }
        stream.node.unread[topic, default: []].append(.init(stream: stream, topic: nil, cost: 0, number: number))
        scheduleRead(of: topic, stream.node)
    }

    /// The receiver had given this side up, and has met it again: what it had sent until then is as if it had come.
    func topicPosition(_ topic: String, sent: UInt64, _ stream: PeerStream, _ ends: ExchangeEnds) {
        guard let index = ends.index(of: topic),
            ends.topicReceiver.skip(index, to: sent)
        else { return }
        consume(index, cost: 0, stream, ends)
    }

    func topicWindow(_ topic: String, limit: UInt64, _ stream: PeerStream, _ ends: ExchangeEnds) {
        guard ends.topicSender.grant(ByteText(topic), limit: limit) == true else { return }
        publishWaiting(stream, ends)
    }

    private func consume(_ index: Int, cost: Int, _ stream: PeerStream, _ ends: ExchangeEnds) {
        guard ends.topicReceiver.consume(index, cost: cost), !ends.isClosed,
            let limit = ends.grant(index, now: now + stream.node.clockOffset)
        else { return }
        sendControl(
            ExchangeHead.topicWindow(ends.topicReceiver.name(of: index), limit: limit), on: .reliable, stream)
    }

    // MARK: Subscribing

    /// A participant subscribes to a topic, or ends a subscription.
    func changeSubscriptions(of node: Node) {
        guard scenario.hasTopicsAndRequests, exchangeChance(0.1),
            let topic = ExchangeBook.topics.randomElement(using: &exchangeRandom)
        else { return }
        guard node.subscriptions.remove(topic) != nil else {
            node.subscriptions.insert(topic)
            // A new subscriber gets nothing of what was published before.
            node.unread[topic] = nil
            return
        }
        for message in node.unread.removeValue(forKey: topic) ?? [] { done(with: message) }
    }

    private func done(with message: UnreadTopicMessage) {
        guard let index = message.topic, let ends = message.stream.exchange else { return }
        consume(index, cost: message.cost, message.stream, ends)
    }

    private func scheduleRead(of topic: String, _ node: Node) {
        guard node.reading.insert(topic).inserted else { return }
        // One topic has a slow reader, as long as others talk.
        let pause: Duration = now < lastChatter && topic == "b" ? .milliseconds(900) : .milliseconds(30)
        queue.push(
            .delivery(.exchange(.read(node: node.index, life: node.life, topic: topic))),
            at: now + exchangeRandom.duration(upTo: pause))
    }

    /// A subscriber reads one message of a topic, or all that have come.
    func read(_ topic: String, _ node: Node) {
        node.reading.remove(topic)
        guard let unread = node.unread[topic], !unread.isEmpty else { return }
        if !node.subscriptions.contains(topic) {
            report("\(node.name) reads of topic \(topic), to which it does not subscribe")
        }
        let count = exchangeChance(0.6) ? unread.count : 1
        node.unread[topic]?.removeFirst(count)
        for message in unread.prefix(count) {
            exchangeCounts[.read, default: 0] += 1
            if message.topic != nil {
                let book = book(message.stream.incoming)
                let before = book[topic].read
                if message.number <= before {
                    report("\(node.name) reads message \(message.number) of topic \(topic) after \(before)")
                }
                book[topic].read = message.number
            }
            done(with: message)
        }
        if count < unread.count { scheduleRead(of: topic, node) }
    }

    // MARK: The end of a run

    /// Reports violations in the end: every message has come or was given up, nobody waits, and windows are open.
    func complaintsOfTopics(_ stream: PeerStream, _ ends: ExchangeEnds) -> [String] {
        let peer = name(of: stream.remote)
        for topic in ExchangeBook.topics {
            let known = book(stream.outgoing)[topic]
            if known.arrived < known.sent, !known.givenUp.contains(known.sent) {
                return [
                    "\(peer) got \(known.arrived) of \(known.sent) messages of topic \(topic) of \(stream.node.name)"
                ]
            }
            if let count = ends.waiting[topic], count > 0 {
                return ["\(count) messages of \(stream.node.name) to \(peer) wait for topic \(topic)"]
            }
            // All is read, so at least half of the window is open.
            var sender = ends.topicSender.machine
            let half = Int(ExchangeEnds.window / 2)
            if sender.begin(ByteText(topic), count: half - 1 - TopicLimits.overhead) != .begun
                || !sender.isOpen(ByteText(topic))
            {
                return ["topic \(topic) of \(stream.node.name) to \(peer) is closed, and everything is read"]
            }
        }
        return []
    }
}
