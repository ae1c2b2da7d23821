internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// An event of an association or of a stream over it.
enum DeliveryOccurrence {
    /// Somebody says something to everybody.
    case sendMessages(node: Int, life: Int)
    /// The path is there for the first time: the handshakes are made.
    case establish(PeerPair)
    case carry(PeerPair, fromOfferer: Bool)
    case timer(PeerStream, DeliveryLink.TimerID, UInt64)
    /// An application reads of a stream.
    case read(PeerStream, UInt64)
    /// Something of topics and requests.
    case exchange(ExchangeOccurrence)
    /// A datagram with the message of this number.
    case plain(PeerPair, fromOfferer: Bool, UInt64)
    /// A channel that an end has asked for is open.
    case opened(Endpoint, ChannelID)
    /// A channel that an end has closed is closed.
    case closed(Endpoint, ChannelID)
}

// A model of SCTP and its data channels: what is ordered comes in order and without loss while the association lives;
// whatever is under way when it dies is lost.
extension Simulation {
    func handle(_ occurrence: DeliveryOccurrence) {
        switch occurrence {
        case .sendMessages(let index, let life): sendMessages(index, life)
        case .establish(let pair): establish(pair)
        case .carry(let pair, let fromOfferer): carry(pair, fromOfferer: fromOfferer)
        case .plain(let pair, let fromOfferer, let number): arrivePlain(pair, fromOfferer: fromOfferer, number)
        case .timer(let stream, let timer, let token):
            guard stream.timers[timer] == token, isAwake(stream.node, occurrence) else { return }
            timerFired(timer, of: stream)
        case .read(let stream, let id):
            guard isAwake(stream.node, occurrence) else { return }
            read(id, stream)
        case .exchange(let exchange):
            guard isAwake(node(of: exchange), occurrence) else { return }
            handle(exchange)
        case .opened(let endpoint, let id):
            guard !endpoint.isClosed, isAwake(endpoint.node, occurrence) else { return }
            // Not before the other side has acknowledged it (RFC 8832 §5.2).
            guard works(endpoint.pair) else { return queue.push(.delivery(occurrence), at: now + .milliseconds(200)) }
            notifyOpened(id, endpoint)
        case .closed(let endpoint, let id):
            guard !endpoint.isClosed, isAwake(endpoint.node, occurrence) else { return }
            channelClosed(id, at: endpoint)
        }
    }

    /// Whether the node runs; for one that sleeps, the occurrence waits.
    private func isAwake(_ node: Node, _ occurrence: DeliveryOccurrence) -> Bool {
        guard node.suspendedUntil > now else { return true }
        queue.push(.delivery(occurrence), at: node.suspendedUntil)
        return false
    }

    // MARK: Channels

    /// Opens a data channel, when the association is there.
    func openChannel(_ parameters: ChannelParameters, _ endpoint: Endpoint) -> ChannelID {
        endpoint.lastChannel += 2
        // RFC 8832 §6: each side has its own ids.
        let id = ChannelID(rawValue: endpoint.lastChannel + (endpoint.isOfferer ? 0 : 1))
        if endpoint.pair.isEstablished {
            begin(id, parameters, endpoint)
            queue.push(.delivery(.opened(endpoint, id)), at: now + .milliseconds(1))
        } else {
            endpoint.waiting.append((id, parameters))
        }
        return id
    }

    private func begin(_ id: ChannelID, _ parameters: ChannelParameters, _ endpoint: Endpoint) {
        endpoint.channels.append(.init(id, parameters))
        append(.open(id, parameters), from: endpoint)
    }

    private func establish(_ pair: PeerPair) {
        guard !pair.isEstablished, let offerer = pair.offerer, !offerer.isClosed, pair.answerer?.isClosed == false
        else { return }
        pair.isEstablished = true
        for endpoint in [pair.offerer, pair.answerer].compactMap(\.self) {
            for (id, parameters) in endpoint.waiting {
                begin(id, parameters, endpoint)
                notifyOpened(id, endpoint)
            }
            endpoint.waiting = []
        }
    }

    /// A channel that this end has asked for is open: also if the other side's first message says so.
    private func notifyOpened(_ id: ChannelID, _ endpoint: Endpoint) {
        guard let index = endpoint.channels.firstIndex(where: { $0.id == id }), !endpoint.channels[index].isReported
        else {
            return
        }
        endpoint.channels[index].isReported = true
        channelOpened(id, endpoint.channels[index].parameters, at: endpoint)
    }

    /// Closes a data channel; the other end is told behind what was sent before.
    func closeChannel(_ id: ChannelID, _ endpoint: Endpoint) {
        guard let index = endpoint.channels.firstIndex(where: { $0.id == id }) else { return }
        endpoint.channels.remove(at: index)
        append(.close(id), from: endpoint)
        queue.push(.delivery(.closed(endpoint, id)), at: now + .milliseconds(1))
    }

    /// Takes one message. Not nil: nothing was taken.
    func transmit(
        _ bytes: UnsafeRawBufferPointer, isText: Bool, on id: ChannelID, from endpoint: Endpoint
    ) -> TransportError.Code? {
        guard let channel = endpoint.kind(of: id) else { return .closed }
        guard bytes.count <= PeerStream.frameLimit else { return .messageTooLarge }
        if channel == .reliable {
            let pipe = endpoint.pair.pipe(fromOfferer: endpoint.isOfferer)
            guard pipe.frames.count < Pipe.highWater else {
                pipe.blocked.insert(id)
                return .wouldBlock
            }
            append(.message(id, Packet(bytes, isText: isText)), from: endpoint)
            return nil
        }
        guard !endpoint.plainPipe.isFull(channel) else {
            endpoint.plainPipe.blocked[channel.rawValue] = id
            return .wouldBlock
        }
        // Topics count their messages themselves.
        guard let number = channel == .topics ? 0 : TestMessage(bytes)?.number else {
            report("\(endpoint.node.name) sends a torn message")
            return nil
        }
        transmitPlain(
            .init(id: id, channel: channel, number: number, packet: Packet(bytes, isText: isText)), from: endpoint)
        return nil
    }

    /// Bytes of a channel that the other end has not acknowledged.
    func buffered(_ id: ChannelID, of endpoint: Endpoint) -> Int {
        endpoint.kind(of: id).map { endpoint.plainPipe.bytes[$0.rawValue] } ?? 0
    }

    // MARK: Ordered channels

    func append(_ frame: consuming Frame, from endpoint: Endpoint) {
        endpoint.pair.pipe(fromOfferer: endpoint.isOfferer).frames.append(frame)
        scheduleCarry(endpoint.pair, fromOfferer: endpoint.isOfferer)
    }

    private func scheduleCarry(_ pair: PeerPair, fromOfferer: Bool) {
        let pipe = pair.pipe(fromOfferer: fromOfferer)
        guard !pipe.isScheduled, !pipe.frames.isEmpty, carries(pair, fromOfferer: fromOfferer),
            let offerer = pair.offerer, let answerer = pair.answerer
        else { return }
        pipe.isScheduled = true
        queue.push(
            .delivery(.carry(pair, fromOfferer: fromOfferer)), at: now + latency(between: offerer.node, answerer.node))
    }

    /// The path of a pair is there again, or another one.
    func resumeCarrying(_ pair: PeerPair) {
        for fromOfferer in [true, false] {
            pair.pipe(fromOfferer: fromOfferer).credit = Pipe.window
            scheduleCarry(pair, fromOfferer: fromOfferer)
            resumePlain(pair, fromOfferer: fromOfferer)
        }
    }

    /// The association has lost one end: what was under way to it is lost, and from it all that was not there yet.
    func cutAssociation(_ endpoint: Endpoint) {
        cutPlain(endpoint)
        endpoint.pair.pipe(fromOfferer: !endpoint.isOfferer).frames.removeAll()
        let pipe = endpoint.pair.pipe(fromOfferer: endpoint.isOfferer)
        guard !pipe.frames.isEmpty else { return }
        pipe.frames.truncate(to: Int.random(in: 0...pipe.frames.count, using: &random))
        carry(endpoint.pair, fromOfferer: endpoint.isOfferer)
    }

    private func carry(_ pair: PeerPair, fromOfferer: Bool) {
        let pipe = pair.pipe(fromOfferer: fromOfferer)
        pipe.isScheduled = false
        let isAcknowledged = carries(pair, fromOfferer: !fromOfferer)
        while !pipe.frames.isEmpty, carries(pair, fromOfferer: fromOfferer),
            let reader = pair.end(isOfferer: !fromOfferer)
        {
            if !isAcknowledged {
                // The window closes.
                if pipe.credit == 0 { return }
                pipe.credit -= 1
            }
            guard let frame = pipe.frames.popFirst() else { break }
            arrive(frame, at: reader)
        }
        guard let writer = pair.end(isOfferer: fromOfferer), pipe.frames.count <= Pipe.lowWater
        else { return }
        guard !pipe.blocked.isEmpty else { return }
        let waiting = pipe.blocked.sorted { $0.rawValue < $1.rawValue }
        pipe.blocked = []
        for id in waiting { channelWritable(id, at: writer) }
    }

    private func arrive(_ frame: Frame, at endpoint: Endpoint) {
        switch frame {
        case .open(let id, let parameters):
            endpoint.channels.append(.init(id, parameters))
            notifyOpened(id, endpoint)
        case .message(let id, let packet):
            notifyOpened(id, endpoint)
            if endpoint.kind(of: id) != nil { received(packet, on: id, at: endpoint) }
        case .close(let id):
            guard let index = endpoint.channels.firstIndex(where: { $0.id == id }) else { return }
            endpoint.channels.remove(at: index)
            channelClosed(id, at: endpoint)
        }
    }

    // MARK: Unordered channels

    private func transmitPlain(_ message: PlainPipe.Message, from endpoint: Endpoint) {
        guard let stream = endpoint.stream else { return }
        if message.channel != .topics {
            plainLedgers[plainLedger(stream.outgoing, message.channel)].open.insert(message.number)
        }
        let number = endpoint.plainPipe.push(message)
        schedulePlain(number, from: endpoint)
        if chance(scenario.datagramDuplication) { schedulePlain(number, from: endpoint) }
    }

    private func schedulePlain(_ number: UInt64, from endpoint: Endpoint, after delay: Duration = .zero) {
        let pair = endpoint.pair
        queue.push(
            .delivery(.plain(pair, fromOfferer: endpoint.isOfferer, number)),
            at: now + delay + latency() + endpoint.node.slowness)
    }

    /// The path is there again: what was not acknowledged is sent again, whether it has come or not.
    private func resumePlain(_ pair: PeerPair, fromOfferer: Bool) {
        guard let endpoint = pair.end(isOfferer: fromOfferer), carries(pair, fromOfferer: fromOfferer) else { return }
        for number in endpoint.plainPipe.numbers { schedulePlain(number, from: endpoint) }
    }

    private func arrivePlain(_ pair: PeerPair, fromOfferer: Bool, _ number: UInt64) {
        let pipe = pair.plainPipe(fromOfferer: fromOfferer)
        // SCTP has it, or it is lost with the association.
        guard let message = pipe.underWay[number], let writer = pair.end(isOfferer: fromOfferer) else {
            plainStatistics.repeated += 1
            return
        }
        let isCarried = carries(pair, fromOfferer: fromOfferer)
        if !isCarried || isLost(pair) {
            switch message.channel {
            case .lossy, .topics:
                _ = pipe.take(number)
                lose(message, from: writer)
                reportWritable(message.channel, writer)
            // Asked for again by what comes behind it, or when its time is over.
            case .reliable, .unordered, .bulk:
                if isCarried { schedulePlain(number, from: writer, after: .milliseconds(200)) }
            }
            return
        }
        guard let reader = pair.end(isOfferer: !fromOfferer), !reader.isClosed, let stream = reader.stream,
            stream.endpoint === reader
        else {
            _ = pipe.take(number)
            return lose(message, from: writer)
        }
        guard reader.kind(of: message.id) != nil else {
            // Ordered behind the message that opens its channel, as long as that is under way (RFC 8832 §6).
            if writer.kind(of: message.id) != nil {
                return schedulePlain(number, from: writer, after: .milliseconds(20))
            }
            _ = pipe.take(number)
            lose(message, from: writer)
            return reportWritable(message.channel, writer)
        }
        _ = pipe.take(number)
        notifyOpened(message.id, reader)
        received(message.packet, on: message.id, at: reader)
        reportWritable(message.channel, writer)
    }

    private func reportWritable(_ channel: DeliveryChannel, _ writer: Endpoint) {
        if let id = writer.plainPipe.takeWritable(channel) { channelWritable(id, at: writer) }
    }

    private func lose(_ message: PlainPipe.Message, from endpoint: Endpoint) {
        guard let stream = endpoint.stream, message.channel != .topics else { return }
        noteLost(message.number, on: message.channel, of: stream)
    }

    /// The association has lost one end: of what was under way from it, some comes nevertheless.
    private func cutPlain(_ endpoint: Endpoint) {
        let toIt = endpoint.pair.plainPipe(fromOfferer: !endpoint.isOfferer)
        if let writer = endpoint.pair.end(isOfferer: !endpoint.isOfferer) {
            for number in toIt.numbers { if let message = toIt.take(number) { lose(message, from: writer) } }
        }
        for number in endpoint.plainPipe.numbers {
            if chance(0.5) { arrivePlain(endpoint.pair, fromOfferer: endpoint.isOfferer, number) }
            if let message = endpoint.plainPipe.take(number) { lose(message, from: endpoint) }
        }
    }
}
