internal import RoomCore
internal import TransportPluginAPI

/// The messages to one participant's session, which senders on any thread add and the peer loop takes, and the tasks
/// that wait for something about them.
struct SharedOutbox: Sendable {
    private struct State: Awaited {
        var outbox: DeliveryOutbox
        var isDrainScheduled = false
        var waiters = Waiters()
        /// A flush waits until the transport's other side has acknowledged what it took.
        var isTransportPending = false
    }

    private let state: Locked<State>

    init(_ outbox: sending DeliveryOutbox) { state = Locked(State(outbox: outbox)) }

    var isGone: Bool { state.withLock { $0.outbox.isGone } }

    /// Bytes of the frames into which streams are cut now.
    var bulkFrameLength: Int { state.withLock { $0.outbox.bulkFrameLength } }

    // MARK: Adding, from any thread

    /// Adds a message. `mustSchedule`: the loop does not know of it, and is to drain all channels.
    @inline(__always)
    func append(
        isOnLoop: Bool, _ accept: (inout DeliveryOutbox) -> DeliveryOutbox.Outcome
    ) -> (outcome: DeliveryOutbox.Outcome, mustSchedule: Bool) {
        state.withLock { state in
            let outcome = accept(&state.outbox)
            guard !isOnLoop, !state.isDrainScheduled, case .accepted = outcome else { return (outcome, false) }
            state.isDrainScheduled = true
            return (outcome, true)
        }
    }

    /// Counts a message as given up that was never accepted, where the connection is broken. False: it is not.
    func giveUpIfBroken() -> Bool {
        state.withLock { state in
            guard state.outbox.isDroppable else { return false }
            state.outbox.giveUpMessage()
            return true
        }
    }

    // MARK: Taking, on the loop

    /// The loop drains all channels now. What is added from now on makes it come again.
    func drainBegan() { state.withLock { $0.isDrainScheduled = false } }

    /// Uses the outbox, where nobody can wait for what is changed.
    @inline(__always)
    func use<Result>(_ body: (inout DeliveryOutbox) -> Result) -> Result { state.withLock { body(&$0.outbox) } }

    /// Changes the outbox, and wakes those that wait for it.
    func change<Result>(_ body: (inout DeliveryOutbox) -> Result) -> Result {
        let (result, waiters) = state.withLock { state in
            (body(&state.outbox), state.waiters.isEmpty ? [] : state.waiters.removeAll())
        }
        for waiter in waiters { waiter.resume() }
        return result
    }

    /// Frees the frames up to and including `sequence`. Returns whether the channel has credit then.
    func release(upTo sequence: UInt64, on channel: DeliveryChannel, now: Timestamp) -> Bool {
        change { outbox in
            outbox.release(upTo: sequence, on: channel, now: now)
            return outbox.hasCredit(on: channel, mayDrop: false)
        }
    }

    /// `isPending`: the transport's other side has not acknowledged all that the transport took.
    func setTransportPending(_ isPending: Bool) {
        let waiters = state.withLock { state in
            state.isTransportPending = isPending
            return isPending || state.waiters.isEmpty ? [] : state.waiters.removeAll()
        }
        for waiter in waiters { waiter.resume() }
    }

    // MARK: Waiting. Each returns also when the task is cancelled.

    /// Returns when the channel has credit again, or the session is gone. `mayDrop`: or none is needed.
    nonisolated(nonsending) func waitForCredit(_ channel: DeliveryChannel, mayDrop: Bool) async {
        await state.wait { $0.outbox.hasCredit(on: channel, mayDrop: mayDrop) }
    }

    /// Returns when the connection is broken, or the session is gone.
    nonisolated(nonsending) func waitUntilBroken() async {
        await state.wait { $0.outbox.isGone || $0.outbox.isDroppable }
    }

    /// Returns when what was accepted before the call is released, or the session is gone. True when all is released.
    nonisolated(nonsending) func waitUntilReleased() async -> Bool {
        let targets = state.withLock { $0.outbox.lastSequences }
        await state.wait { $0.outbox.isGone || $0.outbox.isReleased(upTo: targets) }
        return state.withLock { $0.outbox.isReleased(upTo: targets) }
    }

    /// Returns when nothing is pending in the transport.
    nonisolated(nonsending) func waitForTransport() async { await state.wait { !$0.isTransportPending } }
}
