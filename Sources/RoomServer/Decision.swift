internal import NIOCore
internal import RoomServerCore
internal import TransportPluginAPI

/// A kick or the end of a room on its way to where a restart does not lose it. Lives on the loop of the room.
///
/// Until then, or for `limit`, everything waits that would confirm it: messages to the members, the answer to an
/// operator. So nobody is told of a decision that a `kill -9` then undoes.
final class Decision {
    /// The time that a slow disk or store may take. Clients consider a server dead after several times as much.
    static let limit = Duration.seconds(1)

    /// Succeeds with whether it is kept at every place for it, of which there is one at least.
    let outcome: EventLoopFuture<Bool>
    private let promise: EventLoopPromise<Bool>
    private let timer: Scheduled<Void>
    private var places = 0
    private var isUnderWay = false

    init(on eventLoop: any EventLoop) {
        let promise = eventLoop.makePromise(of: Bool.self)
        self.promise = promise
        outcome = promise.futureResult
        timer = eventLoop.scheduleTask(in: .nanoseconds(Self.limit.saturatedNanoseconds)) { promise.succeed(false) }
    }

    /// Adds a place: `keep` is called at once, and calls what it is given once, on any thread.
    func keep(at place: (@escaping @Sendable (Bool) -> Void) -> Void) {
        places += 1
        let own = NIOLoopBound(self, eventLoop: outcome.eventLoop)
        place { isKept in own.eventLoop.execute { own.value.settle(isKept) } }
    }

    /// Every place is known by now.
    func begin() {
        isUnderWay = true
        if places == 0 { end(false) }
    }

    private func settle(_ isKept: Bool) {
        places -= 1
        if !isKept || (isUnderWay && places == 0) { end(isKept) }
    }

    private func end(_ isKept: Bool) {
        timer.cancel()
        promise.succeed(isKept)
    }
}

extension ServerLoop {
    /// Gives the marks of a step to the journal. If they have a decision, holds back what the step has sent, and
    /// returns the decision, which begins once the cluster has it, too.
    func keepMarks() -> Decision? {
        defer { marks.removeAll(keepingCapacity: true) }
        guard marks.contains(where: \.mustSync) else {
            journal?.append(marks)
            return nil
        }
        let decision = Decision(on: eventLoop)
        if let journal { decision.keep { journal.append(marks, whenKept: $0) } }
        holdBack(until: decision)
        lastDecision = decision.outcome
        return decision
    }

    /// Flushes the connections that the step has written to when the decision is kept. One that is closed meanwhile has
    /// flushed by itself.
    private func holdBack(until decision: Decision) {
        var held: [any ServerConnection] = []
        for case .send(_, let id) in actions {
            // It stays marked as written to, so that nothing else makes the loop flush it.
            guard let connection = connections[id], let index = unflushed.firstIndex(where: { $0 === connection })
            else {
                continue
            }
            connection.isHeld = true
            held.append(unflushed.remove(at: index))
        }
        decision.outcome.assumeIsolated().whenComplete { _ in
            for connection in held {
                connection.isHeld = false
                connection.needsFlush = false
                connection.flush()
            }
        }
    }
}
