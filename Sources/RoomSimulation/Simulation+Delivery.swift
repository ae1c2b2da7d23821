internal import RoomCore
internal import RoomProtocol
internal import TransportValues

// The shell around each `DeliveryLink`: it performs what the link decides, over a model of SCTP
// (`Simulation+Association`).
extension Simulation {
    // MARK: Streams

    func makeStream(_ node: Node, to participant: Participant) {
        dropStream(node, to: participant.id)
        guard let own = node.membership?.session else { return }
        let streams = node.memory.take(session: own, peerSession: participant.session)
        let hasExchange = node.hasExchange && participant.capabilities.contains(ExchangeProtocol.capability)
        let stream = PeerStream(
            node: node, remote: participant.id, streams: streams, level: hasExchange ? .exchange : .delivery,
            outgoing: ledger(from: own, to: participant.session), incoming: ledger(from: participant.session, to: own),
            tape: tape)
        node.streams[participant.id] = stream
        beginTransfers(stream, streams.record)
        beginExchange(stream, streams.exchange)
    }

    /// The participant's session is no more for this end: what was not acknowledged is given up, and the application is
    /// told.
    func dropStream(_ node: Node, to participant: ParticipantID) {
        guard let stream = node.streams.removeValue(forKey: participant) else { return }
        detach(stream)
        noteEnd(of: stream) { stream.link.close(&stream.outbox) }
        var streams = stream.link.streams
        streams.record = endTransfers(stream)
        if let record = endExchange(stream) { streams.exchange = record }
        node.memory.store(streams)
        stream.link.noteStored(in: node.machineName, streams.record)
    }

    func statusChanged(_ node: Node, _ participant: ParticipantID, _ status: PeerStatus) {
        guard let stream = node.streams[participant] else { return }
        let lost = stream.link.statusChanged(status, &stream.outbox)
        guard case .connected = status else { return }
        noteGivenUp(lost, of: stream)
    }

    // MARK: Connections

    func attach(_ stream: PeerStream, _ endpoint: Endpoint) {
        if stream.endpoint != nil { detach(stream) }
        stream.endpoint = endpoint
        for channel in stream.link.attached(isOpener: endpoint.isOfferer) {
            stream.link.opening(
                channel, as: openChannel(channel.parameters(stream.link.level), endpoint))
        }
    }

    private func detach(_ stream: PeerStream) {
        guard stream.endpoint != nil else { return }
        stream.endpoint = nil
        stream.link.detached()
        stream.timers.removeAll()
        let ofTopics = stream.outbox.messageCount(on: .topics)
        noteDropped(stream.outbox.connectionEnded() - ofTopics, on: .lossy, of: stream)
    }

    func detach(_ endpoint: Endpoint) {
        if let stream = endpoint.stream, stream.endpoint === endpoint { detach(stream) }
    }

    /// The transport is connected. The machine hears of it when the channel of the reliable stream is open, too.
    func connected(_ endpoint: Endpoint) {
        if let stream = endpoint.stream, stream.endpoint === endpoint {
            stream.outbox.connected(maximumMessageSize: PeerStream.frameLimit)
            guard stream.link.isReady else { return }
        }
        notify(endpoint, .state(.connected))
    }

    func perform(_ actions: [DeliveryLink.Action], of stream: PeerStream) {
        for action in actions {
            guard let endpoint = stream.endpoint else { return }
            switch action {
            case .openChannel(let channel):
                let parameters = channel.parameters(stream.link.level)
                stream.link.opening(channel, as: openChannel(parameters, endpoint))
            case .beginSending: stream.outbox.connected(maximumMessageSize: PeerStream.frameLimit)
            case .suspendSending: stream.outbox.disconnected()
            case .sendResume(let frame, let id):
                // The first on a new channel: there is room for it.
                append(.message(id, frame.encoded.withUnsafeBytes { Packet($0, isText: false) }), from: endpoint)
            case .drain(let channel): drain(stream, channel)
            case .scheduleTimer(let timer, let delay): schedule(timer, of: stream, after: delay)
            case .cancelTimer(let timer): stream.timers[timer] = nil
            }
        }
    }

    // MARK: Timers

    private func schedule(_ timer: DeliveryLink.TimerID, of stream: PeerStream, after delay: Duration) {
        lastToken += 1
        stream.timers[timer] = lastToken
        queue.push(.delivery(.timer(stream, timer, lastToken)), at: now + delay)
    }

    func timerFired(_ timer: DeliveryLink.TimerID, of stream: PeerStream) {
        stream.timers[timer] = nil
        switch timer {
        case .acknowledgement(let channel):
            stream.link.acknowledgementTimerFired(channel)
            sendAck(stream, on: channel)
        case .reopening(let channel): perform(stream.link.reopeningTimerFired(channel), of: stream)
        case .watch:
            guard let endpoint = stream.endpoint else { return }
            let (delay, isMissing) = stream.link.watchTimerFired { buffered($0, of: endpoint) }
            if let delay { schedule(.watch, of: stream, after: delay) }
            if let isMissing { notify(endpoint, isMissing ? .unacknowledged : .acknowledged) }
        }
    }

    // MARK: Sending

    func drain(_ stream: PeerStream, _ channel: DeliveryChannel) {
        guard let endpoint = stream.endpoint, let id = stream.link.writable(channel) else { return }
        sending: while true {
            var batch = stream.link.nextFrames(on: channel, in: &stream.outbox)
            for index in 0..<batch.count {
                let sequence = batch.first + UInt64(index)
                let frame = batch[index]
                if batch.hasHeaders { stream.link.stamp(frame, on: channel) }
                let bytes = UnsafeRawBufferPointer(frame)
                if let code = transmit(bytes, isText: batch.isText(index), on: id, from: endpoint) {
                    switch stream.link.frameRefused(sequence, code, on: channel) {
                    case .wait: break sending
                    case .drop:
                        if !channel.isLossy { stream.outbox.giveUpMessage() }
                        if channel != .topics { noteDropped(1, on: channel, of: stream) }
                        continue
                    case .close(let id):
                        if let id { closeChannel(id, endpoint) }
                        if !stream.link.isReady { notify(endpoint, .channelClosed) }
                        break sending
                    }
                }
                stream.link.frameTaken(sequence, count: frame.count, on: channel)
                if channel == .bulk { stream.outbox.bulkTaken(sequence, now: now) }
                if scenario.repeats, channel == .reliable { keep(bytes, sequence, of: stream) }
            }
            if batch.count < FrameBatch.capacity { break }
        }
        if let sequence = stream.link.takeReleasable(on: channel) {
            stream.outbox.release(upTo: sequence, on: channel, now: now)
        }
        if let delay = stream.link.watch(channel, buffered: { buffered($0, of: endpoint) }) {
            schedule(.watch, of: stream, after: delay)
        }
    }

    func send(_ hint: DeliveryProtocol.Hint, from endpoint: Endpoint) {
        guard let stream = endpoint.stream, stream.endpoint === endpoint, let id = stream.link.hintChannel else {
            return
        }
        hint.encoded.withUnsafeBytes { bytes in
            if let code = transmit(bytes, isText: false, on: id, from: endpoint) {
                stream.link.refused(code, on: .reliable)
            }
        }
    }

    func sendAcks(_ stream: PeerStream) {
        for channel in stream.link.level.channels where stream.link.level.isNumbered(channel) {
            sendAck(stream, on: channel)
        }
    }

    private func sendAck(_ stream: PeerStream, on channel: DeliveryChannel) {
        guard let endpoint = stream.endpoint, let (frame, id) = stream.link.acknowledgementFrame(channel) else {
            return
        }
        frame.span.withUnsafeBytes { bytes in
            if let code = transmit(bytes, isText: false, on: id, from: endpoint) {
                stream.link.refused(code, on: channel)
            } else {
                stream.link.acknowledgementTaken(channel)
            }
        }
    }

    // MARK: Events of connections

    func channelOpened(_ id: ChannelID, _ parameters: ChannelParameters, at endpoint: Endpoint) {
        guard let stream = endpoint.stream, stream.endpoint === endpoint else { return }
        let wasReady = stream.link.isReady
        perform(stream.link.channelOpened(id, parameters), of: stream)
        if !wasReady, stream.link.isReady, endpoint.state == .connected { notify(endpoint, .state(.connected)) }
    }

    func channelClosed(_ id: ChannelID, at endpoint: Endpoint) {
        guard let stream = endpoint.stream, stream.endpoint === endpoint else { return }
        perform(stream.link.channelClosed(id, now: now), of: stream)
        if !stream.link.isReady { notify(endpoint, .channelClosed) }
    }

    func channelWritable(_ id: ChannelID, at endpoint: Endpoint) {
        guard let stream = endpoint.stream, stream.endpoint === endpoint,
            let channel = stream.link.channelWritable(id)
        else { return }
        drain(stream, channel)
        if stream.link.isAcknowledgementOverdue(channel) { sendAck(stream, on: channel) }
    }

    func received(_ packet: Packet, on id: ChannelID, at endpoint: Endpoint) {
        guard let stream = endpoint.stream, stream.endpoint === endpoint else { return }
        packet.withUnsafeBytes { received($0, isText: packet.isText, on: id, stream, endpoint) }
    }

    private func received(
        _ bytes: UnsafeRawBufferPointer, isText: Bool, on id: ChannelID, _ stream: PeerStream, _ endpoint: Endpoint
    ) {
        guard let channel = stream.link.channel(of: id) else { return }
        let verdict = stream.link.received(bytes, isText: isText, on: channel)
        if stream.link.takeIsFirstSinceBreak() { notify(endpoint, .dataArrived) }
        if let sequence = stream.link.takeReleasable(on: channel) {
            stream.outbox.release(upTo: sequence, on: channel, now: now)
            if channel == .bulk, stream.outbox.hasCredit(on: .bulk, mayDrop: false) { continueTransfers(stream) }
        }
        switch verdict {
        case .deliver(let channel, let isText, let offset):
            deliver(UnsafeRawBufferPointer(rebasing: bytes[offset...]), isText: isText, on: channel, stream)
            if offset == 0 { return }
        case .deliverAssembled(let isText):
            stream.link.takeAssembled().withUnsafeBytes { deliver($0, isText: isText, on: .reliable, stream) }
        case .exchange(_, let offset):
            deliverExchange(UnsafeRawBufferPointer(rebasing: bytes[offset...]), on: channel, stream)
            if offset == 0 { return }
        case .exchangeAssembled:
            stream.link.takeAssembled(on: channel).withUnsafeBytes { deliverExchange($0, on: channel, stream) }
        case .absorbed: break
        case .hint(let hint):
            switch hint {
            case .serverIsBack: notify(endpoint, .serverIsBack)
            case .leaving: notify(endpoint, .leaving)
            case .unheard: notify(endpoint, .unheard)
            }
            return
        case .resumed:
            if channel == .reliable { repeatFrames(stream, behind: bytes, on: id, endpoint) }
            return drain(stream, channel)
        case .ignored: return
        case .violation:
            report("\(stream.node.name) calls it a violation of \(name(of: stream.remote)): \([UInt8](bytes))")
            return endConnection(endpoint, PeerFailure("the delivery protocol was broken"))
        }
        switch stream.link.acknowledgementUrgency(afterFrameOf: bytes.count, on: channel) {
        case .none: break
        case .soon: schedule(.acknowledgement(channel), of: stream, after: DeliveryMachine.ackDelay)
        case .now: sendAck(stream, on: channel)
        }
    }

    // MARK: Repetitions

    private func keep(_ frame: UnsafeRawBufferPointer, _ sequence: UInt64, of stream: PeerStream) {
        stream.sent.append((Packet(frame, isText: false), sequence))
        if stream.sent.count > 3 { stream.sent.removeFirst() }
    }

    /// An implementation may send again what the other side has.
    private func repeatFrames(
        _ stream: PeerStream, behind resume: UnsafeRawBufferPointer, on id: ChannelID, _ endpoint: Endpoint
    ) {
        guard !stream.sent.isEmpty, case .resume(let resume)? = DeliveryProtocol.decode(resume) else { return }
        for (frame, sequence) in stream.sent where sequence <= resume.received {
            frame.withUnsafeBytes { bytes in
                var copy = [UInt8](bytes)
                copy.withUnsafeMutableBytes { stream.link.stamp($0, on: .reliable) }
                copy.withUnsafeBytes { _ = transmit($0, isText: false, on: id, from: endpoint) }
            }
        }
    }
}
