internal import RoomCore
internal import RoomProtocol
internal import TransportValues

// The messages of the applications to each other, and the reports about their fate, checked as they come.
extension Simulation {
    func ledger(from: SessionID, to: SessionID) -> Int {
        let pair = SessionPair(from: from, to: to)
        if let index = ledgerIndex[pair] { return index }
        ledgers.append(Ledger())
        plainLedgers += [PlainLedger(), PlainLedger()]
        transfers.append([:])
        exchangeBooks.append(ExchangeBook())
        ledgerIndex[pair] = ledgers.count - 1
        return ledgers.count - 1
    }

    func plainLedger(_ reliable: Int, _ channel: DeliveryChannel) -> Int {
        reliable * 2 + (channel == .unordered ? 0 : 1)
    }

    func name(of participant: ParticipantID) -> String { nodes[directory[participant] ?? 0].name }

    // MARK: Sending

    func sendMessages(_ index: Int, _ life: Int) {
        let node = nodes[index]
        guard node.life == life, let chatter = scenario.chatter, now < lastChatter else { return }
        let pause = max(.milliseconds(50), random.duration(upTo: chatter * 2))
        queue.push(.delivery(.sendMessages(node: index, life: life)), at: now + pause)
        guard node.end == nil, node.suspendedUntil <= now else { return }
        changeSubscriptions(of: node)
        let count = chance(0.05) ? 30 : chance(0.3) ? Int.random(in: 2...4, using: &random) : 1
        for id in node.streams.keys.sorted() {
            guard let stream = node.streams[id] else { continue }
            for _ in 0..<count { sendReliable(stream, parts: chance(0.1) ? Int.random(in: 2...5, using: &random) : 1) }
            drain(stream, .reliable)
            write(stream)
            if chance(0.3) { sendPlain(stream) }
            useExchange(stream)
        }
    }

    /// Sends many messages at once, in parts.
    func sendBurst(_ stream: PeerStream) {
        for _ in 0..<3 { sendReliable(stream, parts: 5) }
        sendPlain(stream)
        drain(stream, .reliable)
    }

    private func sendReliable(_ stream: PeerStream, parts: Int) {
        let length = parts == 1 ? 24 : (parts - 1) * 55 + 20
        let number = ledgers[stream.outgoing].sent + 1
        switch accept(.init(ledger: stream.outgoing, channel: .reliable, number: number, length: length), stream) {
        case .accepted:
            ledgers[stream.outgoing].sent = number
            stream.exchange?.note(.message, unacknowledged: stream.outbox.messageCount(on: .reliable))
        case .dropped: stream.unreported += 1
        case .full: inspectWait(stream)
        case .gone, .tooLarge: report("\(stream.node.name) cannot send to \(name(of: stream.remote))")
        }
    }

    private func sendPlain(_ stream: PeerStream) {
        for channel in [DeliveryChannel.unordered, .lossy] {
            let ledger = plainLedger(stream.outgoing, channel)
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let number = plainLedgers[ledger].sent + 1
                // Now and then one that turns out to be too large when its connection is there.
                let length = number % 16 == 0 ? PeerStream.frameLimit + 1 : 20
                let message = TestMessage(ledger: stream.outgoing, channel: channel, number: number, length: length)
                switch accept(message, stream) {
                case .accepted: plainLedgers[ledger].sent = number
                case .dropped: if channel == .unordered { stream.unreported += 1 }
                case .full: inspectWait(stream)
                case .tooLarge:
                    // Nobody has it.
                    plainLedgers[ledger].sent = number
                    plainLedgers[ledger].dropped += 1
                    if length <= PeerStream.frameLimit { report("\(stream.node.name) cannot send \(length) bytes") }
                case .gone: report("\(stream.node.name) cannot send to \(name(of: stream.remote))")
                }
            }
            drain(stream, channel)
        }
    }

    private func accept(_ message: TestMessage, _ stream: PeerStream) -> DeliveryOutbox.Outcome {
        withUnsafeTemporaryAllocation(byteCount: message.length, alignment: 8) { bytes in
            message.write(to: bytes)
            return stream.outbox.accept(
                UnsafeRawBufferPointer(bytes), isText: message.isText, on: message.channel, mayDrop: true)
        }
    }

    /// Nobody waits for a participant whose connection is broken, and nobody for a lossy channel for long.
    private func inspectWait(_ stream: PeerStream) {
        guard case .recovering(let rung, _, _)? = stream.node.reading({ $0.peerStatus(of: stream.remote) }),
            rung != .wait
        else { return }
        report("\(stream.node.name) waits for \(name(of: stream.remote)), whose connection is broken")
    }

    // MARK: Receiving

    func deliver(_ bytes: UnsafeRawBufferPointer, isText: Bool, on channel: DeliveryChannel, _ stream: PeerStream) {
        var sender: String { name(of: stream.remote) }
        guard let message = TestMessage(bytes), message.isText == isText else {
            return report("\(stream.node.name) gets a torn message from \(sender), \(channel)")
        }
        guard message.ledger == stream.incoming, message.channel == channel else {
            return report("\(stream.node.name) gets a message of another session from \(sender), \(channel)")
        }
        guard channel == .reliable else { return deliverPlain(message, stream) }
        let delivered = ledgers[message.ledger].delivered
        if message.number <= delivered {
            return report("\(stream.node.name) gets message \(message.number) after \(delivered) from \(sender)")
        }
        var missing = delivered + 1
        while missing < message.number {
            if !ledgers[message.ledger].isGivenUp(missing) {
                report("\(stream.node.name) never gets message \(missing) from \(sender)")
                break
            }
            missing += 1
        }
        ledgers[message.ledger].delivered = message.number
        messagesDelivered += 1
    }

    private func deliverPlain(_ message: TestMessage, _ stream: PeerStream) {
        let index = plainLedger(stream.incoming, message.channel)
        guard plainLedgers[index].open.remove(message.number) != nil else {
            let sender = name(of: stream.remote)
            return report("\(stream.node.name) gets \(message.channel) message \(message.number) of \(sender) twice")
        }
        plainStatistics.delivered += 1
        plainLedgers[index].delivered += 1
        if message.number < plainLedgers[index].latest { plainStatistics.overtaken += 1 }
        plainLedgers[index].latest = max(message.number, plainLedgers[index].latest)
    }

    // MARK: Losses

    /// A datagram was lost for good.
    func noteLost(_ number: UInt64, on channel: DeliveryChannel, of stream: PeerStream) {
        let index = plainLedger(stream.outgoing, channel)
        plainLedgers[index].open.remove(number)
        plainLedgers[index].lost += 1
        plainStatistics.lost += 1
    }

    /// Accepted messages were dropped.
    func noteDropped(_ count: Int, on channel: DeliveryChannel, of stream: PeerStream) {
        plainLedgers[plainLedger(stream.outgoing, channel)].dropped += UInt64(count)
        if channel == .unordered { stream.unreported += count }
    }

    /// The application is told how many messages were given up while the connection was broken.
    func noteGivenUp(_ count: Int, of stream: PeerStream) {
        if count != stream.unreported {
            report("\(stream.node.name) is told that \(count) messages were given up instead of \(stream.unreported)")
        }
        stream.unreported = 0
    }

    /// The stream ends: the application is told how many messages were given up, with those of before.
    func noteEnd(of stream: PeerStream, _ close: () -> Int) {
        let waiting = stream.outbox.messageCount(on: .unordered)
        let unacknowledged = UInt64(stream.outbox.messageCount(on: .reliable))
        noteGivenUp(close() - waiting - Int(unacknowledged), of: stream)
        plainLedgers[plainLedger(stream.outgoing, .unordered)].dropped += UInt64(waiting)
        let sent = ledgers[stream.outgoing].sent
        let messages = UInt64(noteGivenUp(latest: Int(unacknowledged), of: stream))
        if messages > 0 { ledgers[stream.outgoing].givenUp.append((sent - messages + 1)...sent) }
    }
}
