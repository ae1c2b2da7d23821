internal import RoomCore
internal import RoomProtocol
internal import TransportValues

// Streams beside the messages: what the applications write, read and give up, checked byte by byte.
extension Simulation {
    private func key(sentBy stream: PeerStream, _ id: UInt64) -> Transfer.Key { .init(ledger: stream.outgoing, id: id) }
    private func key(readBy stream: PeerStream, _ id: UInt64) -> Transfer.Key { .init(ledger: stream.incoming, id: id) }

    /// The first message after this side has given the other one up and met it again.
    func beginTransfers(_ stream: PeerStream, _ record: StreamRecord) {
        if let restart = record.restart { sendControl(restart, on: .bulk, stream) }
    }

    /// The link has ended for this side, and its streams with it.
    func endTransfers(_ stream: PeerStream) -> StreamRecord {
        let record = StreamRecord(stream.transfers.outgoing.streams, stream.transfers.incoming.streams)
        for id in stream.transfers.outgoing.removeAll() { giveUp(key(sentBy: stream, id)) }
        for id in stream.transfers.withIncoming({ $0.removeAll(&$1) }) { giveUp(key(readBy: stream, id)) }
        return record
    }

    private func giveUp(_ key: Transfer.Key) { transfers[key.ledger][key.id]?.isGivenUp = true }

    // MARK: Writing

    func write(_ stream: PeerStream) {
        guard stream.link.level == .exchange else { return }
        if chance(0.15) { beginTransfer(stream) }
        continueTransfers(stream)
    }

    private func beginTransfer(_ stream: PeerStream) {
        let length = chance(0.1) ? 0 : Int.random(in: 1...2500, using: &random)
        let announced = chance(0.5) ? UInt64(length) : nil
        guard let id = stream.transfers.outgoing.open(length: announced) else { return }
        transfers[stream.outgoing][id] = Transfer(length: length)
        sendControl(
            ExchangeHead.open(stream: id, .init(name: "x", length: announced, metadata: [:])), on: .bulk, stream)
    }

    /// Writes as much as the windows and the buffer take.
    func continueTransfers(_ stream: PeerStream) {
        for id in stream.transfers.outgoing.ids {
            let key = key(sentBy: stream, id)
            guard let transfer = transfers[stream.outgoing][id], !transfer.isEnded else { continue }
            if chance(0.005) {
                _ = stream.transfers.outgoing.cancel(id)
                giveUp(key)
                sendControl(ExchangeHead.reset(stream: id, code: "cancelled", message: ""), on: .bulk, stream)
                continue
            }
            var isFull = false
            while !isFull, transfer.sent < transfer.length {
                guard let isTaken = writeChunk(of: transfer, key, stream) else { break }
                isFull = !isTaken
            }
            if transfer.sent == transfer.length {
                guard stream.transfers.outgoing.end(id) else {
                    report("\(stream.node.name) cannot end a stream to \(name(of: stream.remote))")
                    continue
                }
                transfer.isEnded = true
                sendControl(ExchangeHead.end(stream: id), on: .bulk, stream)
            }
            if isFull { break }
        }
        drain(stream, .bulk)
    }

    /// Nil: the window is closed. False: the buffer is full.
    private func writeChunk(of transfer: Transfer, _ key: Transfer.Key, _ stream: PeerStream) -> Bool? {
        let longest = chance(0.1) ? TransferEnds.longestChunk : 100
        let offset = transfer.sent
        let count = min(transfer.length - offset, Int.random(in: 1...longest, using: &random))
        switch stream.transfers.outgoing.begin(key.id, count: count) {
        case .begun: break
        case .wait: return nil
        case .tooLong, .closed:
            report("\(stream.node.name) cannot write to a stream to \(name(of: stream.remote))")
            return nil
        }
        let outcome = withUnsafeTemporaryAllocation(byteCount: count, alignment: 1) { bytes in
            Transfer.write(to: bytes, key, offset)
            return ExchangeHead.data(stream: key.id).withUnsafeBytes {
                stream.outbox.accept(exchange: $0, UnsafeRawBufferPointer(bytes), on: .bulk)
            }
        }
        guard outcome == .accepted else {
            stream.transfers.outgoing.undo(key.id, count: count)
            if outcome != .full { report("\(stream.node.name) cannot send a chunk: \(outcome)") }
            return false
        }
        transfer.sent += count
        return true
    }

    func sendControl(_ message: [UInt8], on channel: DeliveryChannel, _ stream: PeerStream) {
        let outcome = message.withUnsafeBytes {
            stream.outbox.accept(exchange: .init(start: nil, count: 0), $0, on: channel, isUrgent: true)
        }
        if outcome != .accepted { report("\(stream.node.name) cannot send an urgent message: \(outcome)") }
        drain(stream, channel)
    }

    // MARK: Reading

    func deliverExchange(_ bytes: UnsafeRawBufferPointer, on channel: DeliveryChannel, _ stream: PeerStream) {
        var sender: String { name(of: stream.remote) }
        guard let message = ExchangeMessage(bytes) else {
            return report("\(stream.node.name) gets a torn message of a stream from \(sender)")
        }
        switch message {
        case .open(let id, let opening):
            switch stream.transfers.withIncoming({ $0.openReceived(id, length: opening.length, &$1) }) {
            case .taken: break
            case .refused(let code):
                giveUp(key(readBy: stream, id))
                sendControl(ExchangeHead.stop(stream: id, code: code, message: ""), on: .reliable, stream)
            case .malformed: report("\(stream.node.name) gets stream \(id) of \(sender) twice")
            }
        case .data(let id, let body):
            data(id, UnsafeRawBufferPointer(rebasing: bytes.dropFirst(body)), stream)
        case .end(let id):
            switch stream.transfers.withIncoming({ $0.endReceived(id, &$1) }) {
            case .taken:
                stream.transfers.ended.insert(id)
                scheduleRead(id, stream)
            case .ignored: break
            case .refused(let code): report("\(stream.node.name) refuses the end of stream \(id) of \(sender): \(code)")
            }
        case .reset(let id, _, _): _ = stream.transfers.withIncoming({ $0.resetReceived(id, &$1) })
        case .window(let id, let consumed, let limit):
            if let consumed = stream.transfers.outgoing.windowReceived(id, consumed: consumed, limit: limit),
                Int(consumed) > transfers[stream.outgoing][id]?.consumed ?? 0
            {
                report("\(stream.node.name) hears that more of stream \(id) to \(sender) was read than is true")
            }
            continueTransfers(stream)
        case .stop(let id, _, _):
            if stream.transfers.outgoing.stopReceived(id) { giveUp(key(sentBy: stream, id)) }
        case .finished(let id): finished(id, stream)
        case .restart(let first, let last):
            for id in stream.transfers.withIncoming({ $0.restartReceived(first: first, &$1) }) {
                giveUp(key(readBy: stream, id))
            }
            for id in stream.transfers.outgoing.restartReceived(last: last) { giveUp(key(sentBy: stream, id)) }
        case .topicMessage, .topicWindow, .topicPosition, .request, .answer, .failure, .cancel, .requestRestart:
            deliverTopicsAndRequests(message, bytes, on: channel, stream)
        }
    }

    private func data(_ id: UInt64, _ bytes: UnsafeRawBufferPointer, _ stream: PeerStream) {
        let key = key(readBy: stream, id)
        var sender: String { name(of: stream.remote) }
        switch stream.transfers.withIncoming({ $0.dataReceived(id, count: bytes.count, &$1) }) {
        case .taken: break
        case .ignored: return
        case .refused(let code):
            return report("\(stream.node.name) refuses bytes of stream \(id) of \(sender): \(code)")
        case .malformed: return report("\(stream.node.name) gets bytes of an unknown stream of \(sender)")
        }
        guard let transfer = transfers[stream.incoming][id] else { return }
        let offset = transfer.received
        if !Transfer.areBytes(bytes, key, offset),
            let index = bytes.indices.first(where: { bytes[$0] != Transfer.byte(key, offset + $0) })
        {
            report("\(stream.node.name) gets wrong bytes of stream \(id) of \(sender) at \(offset + index)")
        }
        transfer.received += bytes.count
        streamBytesDelivered += bytes.count
        stream.transfers.unread[id, default: []].append(bytes.count)
        // What waits for a reader is bounded, however slow it is: by the largest window and a chunk.
        if stream.transfers.incoming.unconsumed(id) > ReceiveWindow.maximumSize + UInt64(TransferEnds.longestChunk) {
            report("\(stream.node.name) keeps too much of stream \(id) of \(sender)")
        }
        scheduleRead(id, stream)
    }

    private func finished(_ id: UInt64, _ stream: PeerStream) {
        guard let count = stream.transfers.outgoing.finishedReceived(id), let transfer = transfers[stream.outgoing][id]
        else { return }
        transfer.isFinished = true
        if !transfer.hasSeenEnd || transfer.consumed != Int(count) || transfer.length != Int(count) {
            report("\(stream.node.name) hears too early that stream \(id) to \(name(of: stream.remote)) was read")
        }
    }

    private func scheduleRead(_ id: UInt64, _ stream: PeerStream) {
        guard stream.transfers.reading.insert(id).inserted else { return }
        // Some readers are slow, as long as others talk.
        let pause: Duration = now < lastChatter && id % 5 == 0 ? .milliseconds(800) : .milliseconds(30)
        queue.push(.delivery(.read(stream, id)), at: now + random.duration(upTo: pause))
    }

    /// An application reads a chunk or all that has come, or sees the end.
    func read(_ id: UInt64, _ stream: PeerStream) {
        stream.transfers.reading.remove(id)
        let key = key(readBy: stream, id)
        guard stream.transfers.incoming.isOpen(id) else {
            stream.transfers.unread[id] = nil
            return
        }
        if chance(0.003) {
            _ = stream.transfers.withIncoming({ $0.stop(id, &$1) })
            giveUp(key)
            sendControl(ExchangeHead.stop(stream: id, code: "cancelled", message: ""), on: .reliable, stream)
            return
        }
        if let chunks = stream.transfers.unread[id], !chunks.isEmpty {
            let taken = chance(0.7) ? chunks.count : 1
            let count = chunks.prefix(taken).reduce(0, +)
            stream.transfers.unread[id]?.removeFirst(taken)
            transfers[stream.incoming][id]?.consumed += count
            let grant = stream.transfers.withIncoming {
                $0.consume(
                    id, count: count, now: now + stream.node.clockOffset, &$1)
            }
            if let grant {
                let window = ExchangeHead.window(stream: id, consumed: grant.consumed, limit: grant.limit)
                sendControl(window, on: .reliable, stream)
            }
            return scheduleRead(id, stream)
        }
        guard stream.transfers.ended.remove(id) != nil else { return }
        let transfer = transfers[stream.incoming][id]
        if transfer?.hasSeenEnd == true || transfer?.consumed != transfer?.length {
            report("\(stream.node.name) sees a wrong end of stream \(id) of \(name(of: stream.remote))")
        }
        transfer?.hasSeenEnd = true
        streamsDelivered += 1
        if stream.transfers.withIncoming({ $0.finish(id, &$1) }) {
            sendControl(ExchangeHead.finished(stream: id), on: .reliable, stream)
        } else {
            report("\(stream.node.name) cannot finish stream \(id) of \(name(of: stream.remote))")
        }
    }

    /// Reports violations in the end: every stream has arrived whole, or was given up, and both sides know.
    func complaintsOfTransfers(_ stream: PeerStream) -> [String] {
        var peer: String { name(of: stream.remote) }
        if let id = stream.transfers.outgoing.ids.first {
            let transfer = transfers[stream.outgoing][id]
            return ["stream \(id) of \(stream.node.name) to \(peer) does not end: \(transfer.map { "\($0)" } ?? "")"]
        }
        if let id = stream.transfers.incoming.ids.first {
            return ["\(stream.node.name) waits for stream \(id) of \(peer), which has ended"]
        }
        for (id, transfer) in transfers[stream.outgoing] where !transfer.isGivenUp {
            guard transfer.isFinished else {
                return ["stream \(id) of \(stream.node.name) to \(peer) has ended without an end: \(transfer)"]
            }
        }
        return []
    }
}
