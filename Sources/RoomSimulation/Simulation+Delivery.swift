internal import RoomCore
internal import RoomProtocol
internal import TransportValues

/// What an association and the streams over it do by themselves.
enum DeliveryOccurrence {
    /// Somebody says something to everybody.
    case chat(node: Int, life: Int)
    /// The path is there for the first time: the handshakes are made.
    case establish(Line)
    case carry(Line, fromOfferer: Bool)
    case ackTimer(ReliableStream, UInt64)
    /// A datagram with the message of this number.
    case plain(Line, fromOfferer: Bool, UInt64)
}

// The reliable streams, driven as `PeerLink` and `PeerManager` drive them, over a model of SCTP: in order and without loss while the
// association lives; whatever is under way when it dies is lost.
extension Simulation {
    func happen(_ occurrence: DeliveryOccurrence) {
        switch occurrence {
        case .chat(let index, let life): chat(index, life)
        case .establish(let line): establish(line)
        case .carry(let line, let fromOfferer): carry(line, fromOfferer: fromOfferer)
        case .plain(let line, let fromOfferer, let number): arrivePlain(line, fromOfferer: fromOfferer, number)
        case .ackTimer(let stream, let token):
            guard stream.ackTimer == token else { return }
            guard stream.node.suspendedUntil <= now else {
                queue.push(.delivery(occurrence), at: stream.node.suspendedUntil)
                return
            }
            stream.ackTimer = nil
            sendAck(stream)
        }
    }

    // MARK: Who there is to talk to

    func makeStream(_ node: Node, to participant: Participant) {
        dropStream(node, to: participant.id)
        guard let own = node.membership?.session else { return }
        let (machine, parts) = node.memory.take(session: own, peerSession: participant.session)
        node.streams[participant.id] = ReliableStream(
            node: node, remote: participant.id, machine: machine, parts: parts ?? [],
            outgoing: ledger(from: own, to: participant.session), incoming: ledger(from: participant.session, to: own))
    }

    private func ledger(from: SessionID, to: SessionID) -> Int {
        let pair = SessionPair(from: from, to: to)
        if let index = ledgerIndex[pair] { return index }
        ledgers.append(Ledger())
        plainLedgers += [PlainLedger(), PlainLedger()]
        ledgerIndex[pair] = ledgers.count - 1
        return ledgers.count - 1
    }

    /// The participant's session is no more for this end: what was not acknowledged is given up, and the application is told.
    func dropStream(_ node: Node, to participant: ParticipantID) {
        guard let stream = node.streams.removeValue(forKey: participant) else { return }
        detach(stream)
        if let oldest = stream.kept.first {
            ledgers[stream.outgoing].givenUp.append(oldest.number...ledgers[stream.outgoing].sent)
        }
        stream.kept.removeAll()
        stream.waiting.removeAll()
        node.memory.store(stream.machine, stream.parts)
    }

    // MARK: The application

    private func chat(_ index: Int, _ life: Int) {
        let node = nodes[index]
        guard node.life == life, let chatter = scenario.chatter, now < lastChatter else { return }
        let pause = max(.milliseconds(50), random.duration(upTo: chatter * 2))
        queue.push(.delivery(.chat(node: index, life: life)), at: now + pause)
        guard node.end == nil, node.suspendedUntil <= now else { return }
        let count = chance(0.05) ? 30 : chance(0.3) ? Int.random(in: 2...4, using: &random) : 1
        for id in node.streams.keys.sorted() {
            guard let stream = node.streams[id] else { continue }
            for _ in 0..<count { say(stream, parts: chance(0.1) ? UInt8.random(in: 2...5, using: &random) : 1) }
            drain(stream)
            if chance(0.3) { sayPlain(stream) }
        }
    }

    /// Much at once, in parts.
    func burst(_ stream: ReliableStream) {
        for _ in 0..<3 { say(stream, parts: 5) }
        sayPlain(stream)
        drain(stream)
    }

    private func say(_ stream: ReliableStream, parts: UInt8) {
        guard stream.kept.count + Int(parts) <= ReliableStream.limit else { return }
        ledgers[stream.outgoing].sent += 1
        let number = ledgers[stream.outgoing].sent
        for part in 1...parts {
            stream.kept.append(
                Body(kind: part == parts ? .text : .part, ledger: stream.outgoing, number: number, part: part))
        }
        stream.machine.framesAccepted(upTo: stream.machine.accepted + UInt64(parts))
    }

    // MARK: Channels

    private func detach(_ stream: ReliableStream) {
        guard stream.endpoint != nil else { return }
        stream.endpoint = nil
        stream.isOpen = false
        stream.isBlocked = false
        stream.machine.channelLost()
        stream.ackTimer = nil
    }

    func detach(_ endpoint: Endpoint) {
        if let stream = endpoint.stream, stream.endpoint === endpoint { detach(stream) }
    }

    private func establish(_ line: Line) {
        guard !line.isEstablished, let offerer = line.offerer, !offerer.isClosed, line.answerer?.isClosed == false
        else { return }
        line.isEstablished = true
        guard let stream = offerer.stream, stream.endpoint === offerer else { return }
        _ = push(.open, from: offerer)
        opened(stream, offerer)
    }

    private func opened(_ stream: ReliableStream, _ endpoint: Endpoint) {
        stream.isOpen = true
        stream.isBlocked = false
        let frame = stream.machine.channelOpened()
        _ = push(.resume(Frame.Resume(frame)), from: endpoint)
        drain(stream)
        drainPlain(stream)
    }

    /// False: nothing was taken.
    private func push(_ frame: Frame, from endpoint: Endpoint) -> Bool {
        let pipe = endpoint.line.pipe(fromOfferer: endpoint.isOfferer)
        guard pipe.frames.count < Pipe.highWater else { return false }
        pipe.frames.append(frame)
        scheduleCarry(endpoint.line, fromOfferer: endpoint.isOfferer)
        return true
    }

    private func scheduleCarry(_ line: Line, fromOfferer: Bool) {
        let pipe = line.pipe(fromOfferer: fromOfferer)
        guard !pipe.isScheduled, !pipe.frames.isEmpty, carries(line, fromOfferer: fromOfferer),
            let offerer = line.offerer, let answerer = line.answerer
        else { return }
        pipe.isScheduled = true
        queue.push(
            .delivery(.carry(line, fromOfferer: fromOfferer)), at: now + latency(between: offerer.node, answerer.node))
    }

    /// The path of a line is there again, or another one.
    func resumeCarrying(_ line: Line) {
        for fromOfferer in [true, false] {
            line.pipe(fromOfferer: fromOfferer).credit = Pipe.window
            scheduleCarry(line, fromOfferer: fromOfferer)
            resumePlain(line, fromOfferer: fromOfferer)
        }
    }

    /// The association has lost one end: what was under way to it is lost, and from it all that was not there yet.
    func cutAssociation(_ endpoint: Endpoint) {
        cutPlain(endpoint)
        endpoint.line.pipe(fromOfferer: !endpoint.isOfferer).frames.removeAll()
        let pipe = endpoint.line.pipe(fromOfferer: endpoint.isOfferer)
        guard !pipe.frames.isEmpty else { return }
        pipe.frames.truncate(to: Int.random(in: 0...pipe.frames.count, using: &random))
        carry(endpoint.line, fromOfferer: endpoint.isOfferer)
    }

    private func carry(_ line: Line, fromOfferer: Bool) {
        let pipe = line.pipe(fromOfferer: fromOfferer)
        pipe.isScheduled = false
        let isAcknowledged = carries(line, fromOfferer: !fromOfferer)
        while !pipe.frames.isEmpty, carries(line, fromOfferer: fromOfferer),
            let reader = line.end(isOfferer: !fromOfferer)
        {
            if !isAcknowledged {
                // The window closes.
                if pipe.credit == 0 { return }
                pipe.credit -= 1
            }
            guard let frame = pipe.frames.popFirst() else { break }
            receive(frame, at: reader)
        }
        guard let writer = line.end(isOfferer: fromOfferer), let stream = writer.stream, stream.endpoint === writer,
            stream.isBlocked, pipe.frames.count <= Pipe.lowWater
        else { return }
        stream.isBlocked = false
        drain(stream)
        if stream.ackTimer == nil { sendAck(stream) }
    }

    // MARK: Frames

    private func drain(_ stream: ReliableStream) {
        guard stream.isOpen, !stream.isBlocked, let endpoint = stream.endpoint else { return }
        while let sequence = stream.machine.nextToTransmit {
            guard sequence >= stream.first else {
                report("\(stream.node.name) wants to send frame \(sequence), which it has let go")
                return
            }
            let body = stream.kept[Int(sequence - stream.first)]
            guard push(data(body, sequence, of: stream), from: endpoint) else {
                stream.isBlocked = true
                return
            }
            stream.machine.frameTransmitted(sequence)
            guard scenario.repeats else { continue }
            stream.sent.append((body, sequence))
            if stream.sent.count > 3 { stream.sent.removeFirst() }
        }
    }

    private func data(_ body: Body, _ sequence: UInt64, of stream: ReliableStream) -> Frame {
        .data(
            body, sequence: UInt32(truncatingIfNeeded: sequence),
            ack: UInt32(truncatingIfNeeded: stream.machine.received))
    }

    private func release(_ stream: ReliableStream) {
        while !stream.kept.isEmpty, stream.first <= stream.machine.acknowledged { _ = stream.kept.popFirst() }
        if stream.machine.unacknowledged > UInt64(ReliableStream.limit) {
            report("\(stream.node.name) keeps \(stream.machine.unacknowledged) frames for \(stream.remote)")
        }
    }

    private func receive(_ frame: Frame, at endpoint: Endpoint) {
        guard let stream = endpoint.stream, stream.endpoint === endpoint else { return }
        if stream.isAwaited {
            stream.isAwaited = false
            tell(endpoint, .dataArrived)
        }
        switch frame {
        case .open: opened(stream, endpoint)
        case .resume(let resume):
            guard stream.machine.resumeReceived(resume.frame) else {
                return violated(stream, endpoint, "resume frame \(resume.frame)")
            }
            release(stream)
            for (body, sequence) in stream.sent where sequence <= resume.frame.received {
                _ = push(data(body, sequence, of: stream), from: endpoint)
            }
            drain(stream)
        case .ack(let ack):
            guard stream.machine.ackReceived(ack) else { return violated(stream, endpoint, "acknowledgement \(ack)") }
            release(stream)
        case .data(let body, let sequence, let ack):
            let verdict = stream.machine.dataReceived(kind: body.kind, sequence: sequence, ack: ack)
            release(stream)
            switch verdict {
            case .deliver: deliver([body], stream)
            case .begin: stream.parts = [body]
            case .append: stream.parts.append(body)
            case .complete:
                deliver(stream.parts + [body], stream)
                stream.parts = []
            case .duplicate: break
            case .violation: return violated(stream, endpoint, "frame \(sequence)")
            }
            switch stream.machine.ackUrgency(afterFrameOf: 1000) {
            case .none: break
            case .soon:
                guard stream.ackTimer == nil else { break }
                lastToken += 1
                stream.ackTimer = lastToken
                queue.push(.delivery(.ackTimer(stream, lastToken)), at: now + DeliveryMachine.ackDelay)
            case .now: sendAck(stream)
            }
        }
    }

    private func sendAck(_ stream: ReliableStream) {
        guard !stream.isBlocked, stream.isOpen, let endpoint = stream.endpoint, let ack = stream.machine.ackToSend
        else { return }
        if push(.ack(ack), from: endpoint) {
            stream.machine.ackTransmitted()
        } else {
            stream.isBlocked = true
        }
    }

    private func violated(_ stream: ReliableStream, _ endpoint: Endpoint, _ what: String) {
        report("\(stream.node.name) calls it a violation of \(nodes[directory[stream.remote] ?? 0].name): \(what)")
        finish(endpoint, PeerFailure("the delivery protocol was broken"))
    }

    /// What an application gets, checked as it comes.
    private func deliver(_ bodies: [Body], _ stream: ReliableStream) {
        guard let last = bodies.last else { return }
        var name: String { nodes[directory[stream.remote] ?? 0].name }
        guard last.ledger == stream.incoming else {
            return report("\(stream.node.name) gets a message of another session from \(name)")
        }
        if bodies.contains(where: { $0.number != last.number }) || bodies.map(\.part) != Array(1...last.part) {
            return report("\(stream.node.name) gets a torn message \(last.number) from \(name)")
        }
        let delivered = ledgers[last.ledger].delivered
        if last.number <= delivered {
            return report("\(stream.node.name) gets message \(last.number) after \(delivered) from \(name)")
        }
        var missing = delivered + 1
        while missing < last.number {
            if !ledgers[last.ledger].isGivenUp(missing) {
                report("\(stream.node.name) never gets message \(missing) from \(name)")
                break
            }
            missing += 1
        }
        ledgers[last.ledger].delivered = last.number
        messagesDelivered += 1
    }
}

struct SessionPair: Hashable {
    var from: SessionID
    var to: SessionID
}
