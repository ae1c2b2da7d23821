internal import NIOCore
internal import RoomServerCore
internal import TransportPluginAPI

/// A kick or the end of a room on its way to where a restart does not lose it. Lives on the loop of the room.
///
/// Until then, or for `limit`, everything waits that would confirm it: messages to the members, the answer to an
/// operator, events. So nobody is told of a decision that a `kill -9` then undoes.
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

/// The decisions that the output of one connection waits for, in their order. What was written before a decision was
/// made goes out with it, whatever is decided later: nothing waits for longer than twice its limit.
struct Holds {
    private var all: [(decision: Decision, end: Int, isOver: Bool)] = []
    private var free = 0

    /// The position up to which output may go; nil: all of it.
    var end: Int? { all.isEmpty ? nil : free }

    /// Makes the output up to the position wait for the decision.
    mutating func add(_ decision: Decision, upTo position: Int) {
        if all.last?.decision !== decision { all.append((decision, position, false)) }
    }

    mutating func release(_ decision: Decision) {
        guard let index = all.firstIndex(where: { $0.decision === decision }) else { return }
        all[index].isOver = true
        let over = all.prefix { $0.isOver }
        free = over.last?.end ?? free
        all.removeFirst(over.count)
    }
}

extension ServerLoop {
    /// Gives the marks of a step to the journal. If they have a decision, holds back what the step has sent, also to
    /// the connections that it closes, and returns the decision, which begins once the cluster has it, too.
    func keepMarks(closing: [any ServerConnection]) -> Decision? {
        defer { marks.removeAll(keepingCapacity: true) }
        guard marks.contains(where: \.mustSync) else {
            journal?.append(marks)
            return nil
        }
        let decision = Decision(on: eventLoop)
        if let journal { decision.keep { journal.append(marks, whenKept: $0) } }
        holdBack(until: decision, closing)
        lastDecision = decision.outcome
        return decision
    }

    /// Flushes the connections that the step has written to when the decision is kept.
    private func holdBack(until decision: Decision, _ closing: [any ServerConnection]) {
        var held = closing
        for case .send(_, let id) in actions {
            if let connection = connections[id] { held.append(connection) }
        }
        for connection in held { connection.holds.add(decision, upTo: connection.position) }
        decision.outcome.assumeIsolated().whenComplete { _ in
            for connection in held {
                connection.holds.release(decision)
                connection.flush()
            }
        }
    }
}
