internal import RoomCore
internal import RoomProtocol
internal import RoomValues
internal import TransportValues

// Topics, requests and streams between two participants, and the deadline of a join.
extension VectorWalks {
    // MARK: Requests and topics

    static func outgoingRequests(seed: UInt64, steps: Int, on tape: VectorTape) {
        var walk = VectorWalk<OutgoingRequests, Never>(OutgoingRequests(after: seed), [seed], on: tape, seed: seed) {
            [("nextDeadline", $0.nextDeadline as Any), ("newestID", $0.newestID)]
        }
        var last = seed
        // First more than can be outstanding, then fewer.
        for step in 0..<steps {
            walk.pass(upTo: .milliseconds(100))
            let now = walk.now
            let id = max(last, 80) - UInt64(walk.number(0...80)) + UInt64(walk.number(0...1))
            if walk.chance(step < steps / 2 ? 0.5 : 0.2) {
                let deadline = walk.chance(0.5) ? now + walk.dice.duration(upTo: .seconds(5)) : nil
                last = walk.ask("begin", [deadline as Any]) { $0.begin(deadline: deadline) }.id
                continue
            }
            switch walk.number(0...5) {
            case 0, 1: walk.ask("sent", [id]) { $0.sent(id) }
            case 2: walk.ask("answered", [id]) { $0.answered(id) }
            case 3: walk.ask("giveUp", [id]) { $0.giveUp(id) }
            case 4:
                walk.ask("refused", [id]) { $0.refused(id) }
                walk.ask("restartReceived", [id]) { $0.restartReceived(last: id) }
            default:
                walk.ask("isStarted", [id]) { $0.isStarted(id) }
                for id in walk.ask("late", [now], { $0.late(now: now) }) { walk.ask("giveUp", [id]) { $0.giveUp(id) } }
            }
        }
        walk.ask("close", []) { $0.close() }
        walk.ask("begin", []) { $0.begin(deadline: nil) }
    }

    static func incomingRequests(seed: UInt64, steps: Int, on tape: VectorTape) {
        var walk = VectorWalk<IncomingRequests, Never>(IncomingRequests(), [], on: tape, seed: seed) {
            [("nextDeadline", $0.nextDeadline as Any), ("newestID", $0.newestID)]
        }
        var last: UInt64 = 0
        for step in 0..<steps {
            walk.pass(upTo: .milliseconds(100))
            let now = walk.now
            let id = max(last, 40) - UInt64(walk.number(0...40))
            if walk.chance(step < steps / 2 ? 0.6 : 0.3) {
                last += 1
                let received = walk.chance(0.95) ? last : id
                let count = step == 0 ? 9 << 20 : walk.chance(0.1) ? 4 << 20 : walk.number(0...4000)
                let deadline = walk.chance(0.5) ? now + walk.dice.duration(upTo: .seconds(5)) : nil
                walk.ask("received", [received, count, deadline as Any]) {
                    $0.received(received, count: count, deadline: deadline)
                }
                continue
            }
            switch walk.number(0...3) {
            case 0:
                walk.ask("cancelled", [id]) { $0.cancelled(id) }
                walk.ask("restartReceived", [id]) { $0.restartReceived(first: id) }
            case 1, 2:
                walk.ask("isWanted", [id]) { $0.isWanted(id) }
                walk.ask("finished", [id]) { $0.finished(id) }
            default:
                walk.ask("isKnown", [id]) { $0.isKnown(id) }
                walk.ask("late", [now]) { $0.late(now: now) }
            }
        }
    }

    // MARK: Streams

    static func pace(seed: UInt64, steps: Int, on tape: VectorTape) {
        var walk = VectorWalk<BulkPace, Never>(BulkPace(limit: 65_536), [65_536], on: tape, seed: seed) {
            [("limit", $0.limit), ("frame", $0.frame)]
        }
        var (taken, acknowledged) = (UInt64(0), UInt64(0))
        for _ in 0..<steps {
            walk.now = walk.now + walk.dice.duration(upTo: .milliseconds(walk.chance(0.2) ? 300 : 10))
            let now = walk.now
            switch walk.number(0...9) {
            case 0...3:
                taken += 1
                let (sequence, buffered) = (taken, walk.number(0...200_000))
                walk.ask("frameTaken", [sequence, buffered, now]) {
                    $0.frameTaken(sequence, buffered: buffered, now: now)
                }
            case 4...7:
                acknowledged = min(taken, acknowledged + UInt64(walk.number(0...4)))
                let (sequence, bytes) = (acknowledged, walk.number(0...500_000))
                walk.ask("acknowledged", [sequence, bytes, now]) {
                    $0.acknowledged(upTo: sequence, bytes: bytes, now: now)
                }
            case 8: walk.ask("bufferWasFull", []) { $0.bufferWasFull() }
            default: if walk.chance(0.1) { walk.ask("connectionEnded", []) { $0.connectionEnded() } }
            }
        }
    }

    static func outgoingStreams(seed: UInt64, steps: Int, on tape: VectorTape) {
        let window: UInt64 = 1000
        var walk = VectorWalk<OutgoingStreams, Never>(
            OutgoingStreams(lastID: seed, window: window), [seed, window], on: tape, seed: seed
        ) { [("ids", $0.ids), ("newestID", $0.newestID), ("count", $0.ids.count)] }
        for _ in 0..<steps {
            let id = walk.machine.newestID + 1 - UInt64(walk.number(0...min(4, Int(walk.machine.newestID))))
            let (count, consumed, limit) = (
                walk.number(0...600), UInt64(walk.number(0...1500)), UInt64(walk.number(0...3000))
            )
            switch walk.number(0...13) {
            case 0...2:
                let length = walk.chance(0.5) ? nil : UInt64(walk.number(0...1500))
                walk.ask("open", [length as Any]) { $0.open(length: length) }
            case 3...6: walk.ask("begin", [id, count]) { $0.begin(id, count: count) }
            case 7:
                walk.ask("sent", [id]) { $0.sent(id) }
                walk.ask("undo", [id, 10]) { $0.undo(id, count: 10) }
            case 8: walk.ask("end", [id]) { $0.end(id) }
            case 9, 10:
                walk.ask("windowReceived", [id, consumed, limit]) {
                    $0.windowReceived(id, consumed: consumed, limit: limit)
                }
            case 11: walk.ask("finishedReceived", [id]) { $0.finishedReceived(id) }
            case 12:
                walk.ask("isOpen", [id]) { $0.isOpen(id) }
                walk.ask("isIncomplete", [id]) { $0.isIncomplete(id) }
                if walk.chance(0.3) { walk.ask("cancel", [id]) { $0.cancel(id) } }
            default:
                if walk.chance(0.3) { walk.ask("stopReceived", [id]) { $0.stopReceived(id) } }
                if walk.chance(0.1) { walk.ask("restartReceived", [id]) { $0.restartReceived(last: id) } }
            }
        }
        walk.ask("removeAll", []) { $0.removeAll() }
    }

    private static let budgetName = VectorJSON(text: "{\"$budget\":true}")

    static func incomingStreams(seed: UInt64, steps: Int, on tape: VectorTape) {
        let window: UInt64 = 1000
        var budget = ReceiveWindow.Budget()
        var walk = VectorWalk<IncomingStreams, Never>(
            IncomingStreams(lastID: seed, window: window), [seed, window], on: tape, seed: seed
        ) { [("ids", $0.ids), ("newestID", $0.newestID), ("count", $0.ids.count)] }
        for _ in 0..<steps {
            walk.now = walk.now + walk.dice.duration(upTo: .milliseconds(80))
            let now = walk.now
            let id = walk.machine.newestID + 1 - UInt64(walk.number(0...min(4, Int(walk.machine.newestID))))
            let count = walk.number(0...600)
            switch walk.number(0...12) {
            case 0...2:
                let length = walk.chance(0.5) ? nil : UInt64(walk.number(0...1500))
                walk.ask("openReceived", [id, length as Any, budgetName]) {
                    $0.openReceived(id, length: length, &budget)
                }
            case 3...6:
                walk.ask("dataReceived", [id, count, budgetName]) { $0.dataReceived(id, count: count, &budget) }
            case 7: walk.ask("endReceived", [id, budgetName]) { $0.endReceived(id, &budget) }
            case 8...10:
                walk.ask("unconsumed", [id]) { $0.unconsumed(id) }
                walk.ask("consume", [id, count, now, budgetName]) { $0.consume(id, count: count, now: now, &budget) }
            case 11: walk.ask("finish", [id, budgetName]) { $0.finish(id, &budget) }
            default:
                if walk.chance(0.3) { walk.ask("resetReceived", [id, budgetName]) { $0.resetReceived(id, &budget) } }
                if walk.chance(0.3) { walk.ask("stop", [id, budgetName]) { $0.stop(id, &budget) } }
                if walk.chance(0.1) {
                    walk.ask("restartReceived", [id, budgetName]) { $0.restartReceived(first: id, &budget) }
                }
            }
        }
        walk.ask("removeAll", [budgetName]) { $0.removeAll(&budget) }
    }

    static func topics(seed: UInt64, steps: Int, on tape: VectorTape) {
        var sender = VectorWalk<TopicSender, Never>(TopicSender(), [], on: tape, seed: seed)
        // In Unicode's canonical equivalence, but not the same bytes.
        let names = ["a", "b", "caf\u{E9}", "cafe\u{301}"] + (0..<260).map { "topic \($0)" }
        var receiver = VectorWalk<TopicReceiver, Never>(TopicReceiver(), [], on: tape, seed: seed)
        var budget = ReceiveWindow.Budget()
        for step in 0..<steps {
            receiver.now = receiver.now + receiver.dice.duration(upTo: .milliseconds(80))
            let now = receiver.now
            let name = sender.chance(0.9) ? names[sender.number(0...3)] : names[step % names.count]
            let topic = ByteText(name)
            let count = sender.chance(0.2) ? sender.number(0...60_000) : sender.number(0...2000)
            sender.ask("begin", [topic, count]) { $0.begin(topic, count: count) }
            if sender.chance(0.1) { sender.ask("undo", [topic, count]) { $0.undo(topic, count: count) } }
            sender.ask("isOpen", [topic]) { $0.isOpen(topic) }
            var bytes = Array(name.utf8)
            let index = receiver.ask("index", [bytes, budgetName]) { machine in
                bytes.withUnsafeBytes { machine.index(of: $0, &budget) }
            }
            bytes = []
            guard let index else { continue }
            receiver.ask("name", [index]) { $0.name(of: index) }
            receiver.ask("receive", [index, count]) { $0.receive(index, count: count) }
            if receiver.chance(0.1) { continue }
            let cost = TopicLimits.cost(ofBody: count)
            let isDue = receiver.ask("consume", [index, cost]) { $0.consume(index, cost: cost) }
            guard isDue || receiver.chance(0.1) else { continue }
            let limit = receiver.ask("grant", [index, now, budgetName]) { $0.grant(index, now: now, &budget) }
            if let limit { sender.ask("grant", [topic, limit]) { $0.grant(topic, limit: limit) } }
            guard receiver.chance(0.3) else { continue }
            // What is more than has come, less, and what cannot be.
            let farthest = receiver.pick([1 << 40, 2000, (limit ?? 0) + 100_000] as [UInt64])
            let sent = UInt64(receiver.number(0...Int(farthest)))
            if receiver.ask("skip", [index, sent], { $0.skip(index, to: sent) }) {
                receiver.ask("grant", [index, now, budgetName]) { $0.grant(index, now: now, &budget) }
            }
            sender.ask("positions", []) { $0.positions }
            if receiver.chance(0.2) { receiver.ask("restart", [budgetName]) { $0.restart(&budget) } }
        }
        // Much that nobody reads any more.
        for _ in 0..<3 { receiver.ask("receive", [0, 100_000]) { $0.receive(0, count: 100_000) } }
        exchangeRecord(sender, receiver, hasRequests: false, seed: seed, on: tape)
        exchangeRecord(sender, receiver, hasRequests: true, seed: seed, on: tape)
    }

    /// The end of topics: one side gives up the other, and meets it again.
    private static func exchangeRecord(
        _ sender: VectorWalk<TopicSender, Never>, _ receiver: VectorWalk<TopicReceiver, Never>, hasRequests: Bool,
        seed: UInt64, on tape: VectorTape
    ) {
        var outgoing = VectorWalk<OutgoingRequests, Never>(OutgoingRequests(after: seed), [seed], on: tape, seed: seed)
        if hasRequests { outgoing.ask("begin", []) { $0.begin(deadline: nil) } }
        let last: UInt64 = hasRequests && outgoing.chance(0.5) ? 9 : 0
        let incoming = VectorWalk<IncomingRequests, Never>(IncomingRequests(after: last), [last], on: tape, seed: seed)
        var record = VectorWalk<ExchangeRecord, Never>(
            ExchangeRecord(sender.machine, receiver.machine, outgoing.machine, incoming.machine),
            [sender.reference, receiver.reference, outgoing.reference, incoming.reference], on: tape, seed: seed
        ) { [("lastRequest", $0.lastRequest)] }
        var budget = ReceiveWindow.Budget()
        record.ask("restart", [seed + 70, budgetName]) { $0.restart(firstRequest: seed + 70, &budget) }
    }

    // MARK: Joining

    static func joinDeadline(seed: UInt64, steps: Int, on tape: VectorTape) {
        let limit = Duration.seconds(30)
        var walk = VectorWalk<JoinDeadline, Never>(
            JoinDeadline(within: limit, now: .zero), [limit, Timestamp.zero], on: tape, seed: seed
        ) { [("at", $0.at)] }
        for _ in 0..<steps {
            walk.pass(to: walk.machine.at)
            let now = walk.now
            let waiting = SignalingFailure("waiting", cause: .waitingForRoom)
            let status = walk.pick([
                SignalingStatus.connecting(attempt: 2, nextAttemptAt: nil, cause: waiting),
                .connecting(attempt: 2, nextAttemptAt: nil, cause: SignalingFailure("lost")),
                .connecting(attempt: 1, nextAttemptAt: nil, cause: nil), .disconnected(cause: waiting),
                .disconnected(cause: nil),
            ])
            walk.ask("hasPassed", [status, now]) { $0.hasPassed(status, now: now) }
        }
    }
}
