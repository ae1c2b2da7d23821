internal import RoomCore
internal import RoomProtocol
internal import TransportValues

// Requests beside the messages: what the applications ask, answer and cancel. Each ends exactly once.
extension Simulation {
    /// Answers, fails, runs until it is cancelled, and is handled by nobody.
    private static let methods = ["echo", "echo", "echo", "fail", "endless", "none"]

    func handle(_ occurrence: ExchangeOccurrence) {
        switch occurrence {
        case .read(let index, let life, let topic):
            if nodes[index].life == life { read(topic, nodes[index]) }
        case .handled(let stream, let id, let method): if let ends = open(stream) { handled(id, method, stream, ends) }
        case .cancel(let stream, let id): if let ends = open(stream) { giveUp(id, .cancelled, stream, ends) }
        case .timer(let stream): if let ends = open(stream) { timerFired(stream, ends) }
        case .retry(let stream): if let ends = open(stream) { sendUnsent(stream, ends) }
        }
    }

    /// The participant that an occurrence is about.
    func node(of occurrence: ExchangeOccurrence) -> Node {
        switch occurrence {
        case .read(let index, _, _): nodes[index]
        case .handled(let stream, _, _), .cancel(let stream, _), .timer(let stream), .retry(let stream): stream.node
        }
    }

    private func open(_ stream: PeerStream) -> ExchangeEnds? {
        guard let ends = stream.exchange, !ends.isClosed else { return nil }
        return ends
    }

    // MARK: Asking

    func makeRequests(_ stream: PeerStream, _ ends: ExchangeEnds) {
        guard exchangeChance(0.4) else { return }
        // Now and then more than may be outstanding.
        let count = exchangeChance(0.02) ? RequestLimits.outstanding + 10 : 1
        for _ in 0..<count { makeRequest(stream, ends) }
    }

    private func makeRequest(_ stream: PeerStream, _ ends: ExchangeEnds) {
        let method = Self.methods.randomElement(using: &exchangeRandom) ?? "echo"
        let timeout: Duration? =
            exchangeChance(0.6) ? .milliseconds(Int.random(in: 300...8000, using: &exchangeRandom)) : nil
        let deadline = timeout.map { now + stream.node.clockOffset + $0 }
        let (id, isStarted) = ends.outgoing.begin(deadline: deadline)
        book(stream.outgoing).calls[id] = .init()
        ends.calls[id] = (method, deadline)
        // Somebody has to end what goes on for ever.
        if exchangeChance(0.2) || method == "endless" && deadline == nil {
            queue.push(
                .delivery(.exchange(.cancel(stream, id))), at: now + exchangeRandom.duration(upTo: .seconds(5)))
        }
        arm(stream, ends)
        if isStarted { send(id, stream, ends) }
    }

    /// It is a request's turn.
    private func send(_ id: UInt64, _ stream: PeerStream, _ ends: ExchangeEnds) {
        guard let (method, deadline) = ends.calls[id] else {
            return report("\(stream.node.name) is to send request \(id), which has ended")
        }
        let body = ExchangeBody(ledger: stream.outgoing, number: id)
        let left = deadline.map { max(1, ($0 - (now + stream.node.clockOffset)).saturatedNanoseconds / 1_000_000) }
        let head = ExchangeHead.request(
            id: id, timeout: left.map { UInt32(clamping: $0) }, method: method, isText: body.isText)
        switch accept(head, body.encoded, on: .reliable, stream) {
        case .accepted:
            if let end = ends.outgoing.sent(id) { follow(end, of: id, stream, ends) }
            drain(stream, .reliable)
        case .full, .dropped:
            // The application may not come by any more.
            if ends.unsent.isEmpty { queue.push(.delivery(.exchange(.retry(stream))), at: now + .milliseconds(250)) }
            ends.unsent.append(id)
        case .gone, .tooLarge:
            report("\(stream.node.name) cannot ask \(name(of: stream.remote))")
            refuse(id, stream, ends)
        }
    }

    /// The buffer may have room again.
    func sendUnsent(_ stream: PeerStream, _ ends: ExchangeEnds) {
        let unsent = ends.unsent
        ends.unsent = []
        for id in unsent where ends.calls[id] != nil { send(id, stream, ends) }
    }

    /// Tells the other side where it has to know, and lets the next request go out.
    private func follow(_ end: OutgoingRequests.End, of id: UInt64, _ stream: PeerStream, _ ends: ExchangeEnds) {
        if end.mustCancel { sendControl(ExchangeHead.cancel(id: id), on: .reliable, stream) }
        if let next = end.started { send(next, stream, ends) }
    }

    private func giveUp(_ id: UInt64, _ reason: ExchangeBook.CallEnd, _ stream: PeerStream, _ ends: ExchangeEnds) {
        guard let end = ends.outgoing.giveUp(id) else { return }
        endCall(id, reason, stream, ends)
        follow(end, of: id, stream, ends)
        guard let index = ends.unsent.firstIndex(of: id) else { return }
        ends.unsent.remove(at: index)
        follow(ends.outgoing.refused(id), of: id, stream, ends)
    }

    private func refuse(_ id: UInt64, _ stream: PeerStream, _ ends: ExchangeEnds) {
        let end = ends.outgoing.refused(id)
        if ends.calls[id] != nil { endCall(id, .gone, stream, ends) }
        ends.unsent.removeAll { $0 == id }
        follow(end, of: id, stream, ends)
    }

    /// The application hears what has become of a request.
    func endCall(_ id: UInt64, _ end: ExchangeBook.CallEnd, _ stream: PeerStream, _ ends: ExchangeEnds) {
        let book = book(stream.outgoing)
        ends.calls[id] = nil
        if let earlier = book.calls[id]?.end {
            return report("request \(id) of \(stream.node.name) ends twice: \(earlier), \(end)")
        }
        book.calls[id]?.end = end
        switch end {
        case .answer: exchangeCounts[.answers, default: 0] += 1
        case .failure: exchangeCounts[.failures, default: 0] += 1
        case .timedOut: exchangeCounts[.timeouts, default: 0] += 1
        case .cancelled: exchangeCounts[.cancellations, default: 0] += 1
        case .gone: exchangeCounts[.gone, default: 0] += 1
        }
    }

    // MARK: Messages

    func deliverTopicsAndRequests(
        _ message: ExchangeMessage, _ bytes: UnsafeRawBufferPointer, on channel: DeliveryChannel, _ stream: PeerStream
    ) {
        guard let ends = stream.exchange else { return }
        func part(from offset: Int) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[offset...]) }
        switch message {
        case .topicMessage(let name, let isText, let body):
            topicMessage(name.text(in: bytes), isText: isText, part(from: body), on: channel, stream, ends)
        case .topicWindow(let name, let limit): topicWindow(name.text(in: bytes), limit: limit, stream, ends)
        case .topicPosition(let name, let sent): topicPosition(name.text(in: bytes), sent: sent, stream, ends)
        case .request(let id, let timeout, let method, _, let body):
            guard ExchangeBody(part(from: body))?.number == id else {
                return report("\(stream.node.name) gets a torn request of \(name(of: stream.remote))")
            }
            requested(id, timeout: timeout, method.text(in: bytes), count: bytes.count - body, stream, ends)
        case .answer(let id, _, let body):
            let answer = ExchangeBody(part(from: body))
            if answer?.number != id || answer?.ledger != stream.outgoing {
                report("\(stream.node.name) gets a wrong answer to request \(id) from \(name(of: stream.remote))")
            }
            answered(id, .answer, stream, ends)
        case .failure(let id, _, _): answered(id, .failure, stream, ends)
        case .cancel(let id): if ends.incoming.cancelled(id) { cancelHandler(id, ends) }
        case .requestRestart(let first, let last):
            let ended = ends.outgoing.restartReceived(last: last)
            for id in ends.incoming.restartReceived(first: first) where ends.incoming.cancelled(id) {
                cancelHandler(id, ends)
            }
            for id in ended { refuse(id, stream, ends) }
        default: break
        }
    }

    private func answered(
        _ id: UInt64, _ kind: ExchangeBook.CallEnd, _ stream: PeerStream, _ ends: ExchangeEnds
    ) {
        if book(stream.outgoing).calls[id]?.isAnswered != true {
            report("\(stream.node.name) gets an answer to request \(id) that \(name(of: stream.remote)) did not give")
        }
        // It has crossed a cancellation.
        guard let end = ends.outgoing.answered(id) else { return }
        endCall(id, kind, stream, ends)
        follow(end, of: id, stream, ends)
    }

    // MARK: Answering

    private func requested(
        _ id: UInt64, timeout: UInt32?, _ method: String, count: Int, _ stream: PeerStream, _ ends: ExchangeEnds
    ) {
        let book = book(stream.incoming)
        let deadline = timeout.map { now + stream.node.clockOffset + .milliseconds($0) }
        switch ends.incoming.received(id, count: count, deadline: deadline) {
        case .run: break
        case .busy: return fail(id, "busy", stream)
        case .duplicate: return report("\(stream.node.name) gets request \(id) of \(name(of: stream.remote)) twice")
        }
        book.calls[id]?.runs += 1
        if book.calls[id]?.runs != 1 {
            report("\(stream.node.name) runs request \(id) of \(name(of: stream.remote)) twice")
        }
        guard method != "none" else {
            ends.incoming.finished(id)
            return fail(id, "unknown_method", stream)
        }
        ends.handlers.insert(id)
        arm(stream, ends)
        guard method != "endless" else { return }
        queue.push(
            .delivery(.exchange(.handled(stream, id, method: method))),
            at: now + exchangeRandom.duration(upTo: exchangeChance(0.3) ? .seconds(3) : .milliseconds(20)))
    }

    private func fail(_ id: UInt64, _ code: String, _ stream: PeerStream) {
        book(stream.incoming).calls[id]?.isAnswered = true
        sendControl(ExchangeHead.failure(id: id, code: code, message: ""), on: .reliable, stream)
    }

    private func handled(_ id: UInt64, _ method: String, _ stream: PeerStream, _ ends: ExchangeEnds) {
        guard ends.handlers.contains(id) else { return }
        if !ends.incoming.isWanted(id) {
            report("\(stream.node.name) lets the handler of request \(id) run, which nobody wants")
        } else if method == "fail" {
            fail(id, "failed", stream)
        } else {
            let answer = ExchangeBody(ledger: stream.incoming, number: id)
            let head = ExchangeHead.answer(id: id, isText: answer.isText)
            switch accept(head, answer.encoded, on: .reliable, stream) {
            case .accepted: book(stream.incoming).calls[id]?.isAnswered = true
            case .full, .dropped:
                return queue.push(
                    .delivery(.exchange(.handled(stream, id, method: method))), at: now + .milliseconds(100))
            case .gone, .tooLarge: report("\(stream.node.name) cannot answer \(name(of: stream.remote))")
            }
            drain(stream, .reliable)
        }
        ends.handlers.remove(id)
        ends.incoming.finished(id)
    }

    /// The handler of a request that nobody wants any more ends.
    private func cancelHandler(_ id: UInt64, _ ends: ExchangeEnds) {
        ends.handlers.remove(id)
        ends.incoming.finished(id)
    }

    // MARK: Deadlines

    /// Looks at the deadlines at the next of them. They are those of the participant's clock.
    private func arm(_ stream: PeerStream, _ ends: ExchangeEnds) {
        let deadlines = [ends.outgoing.nextDeadline(), ends.incoming.nextDeadline()].compactMap(\.self)
        guard let deadline = deadlines.min() else { return }
        let due = max(now, deadline - stream.node.clockOffset)
        if let present = ends.timerAt, present <= due, present >= now { return }
        ends.timerAt = due
        queue.push(.delivery(.exchange(.timer(stream))), at: due)
    }

    private func timerFired(_ stream: PeerStream, _ ends: ExchangeEnds) {
        ends.timerAt = nil
        let time = now + stream.node.clockOffset
        for id in ends.outgoing.late(now: time) {
            if let deadline = ends.calls[id]?.deadline, deadline > time {
                report("request \(id) of \(stream.node.name) has its time-out too early")
            }
            giveUp(id, .timedOut, stream, ends)
        }
        for id in ends.incoming.late(now: time) { cancelHandler(id, ends) }
        arm(stream, ends)
    }

    // MARK: The end of a run

    /// Reports violations in the end: no request and no handler is left, and new ones could go out.
    func complaintsOfExchange(_ stream: PeerStream) -> [String] {
        guard let ends = stream.exchange else { return [] }
        let peer = name(of: stream.remote)
        if let id = ends.calls.keys.min() {
            return ["request \(id) of \(stream.node.name) to \(peer) does not end: \(ends.calls[id]?.method ?? "")"]
        }
        if let id = ends.handlers.min() {
            return ["\(stream.node.name) still handles request \(id) of \(peer), which has ended"]
        }
        var outgoing = ends.outgoing.machine
        for _ in 0..<RequestLimits.outstanding where !outgoing.begin(deadline: nil).isStarted {
            return ["\(stream.node.name) has no request to \(peer) under way, and can make no new one"]
        }
        return complaintsOfTopics(stream, ends)
    }
}
