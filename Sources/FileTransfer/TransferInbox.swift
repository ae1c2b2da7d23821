internal import TransportPluginAPI

/// The bytes that have arrived from one participant and are not read yet, within a bound.
final class TransferInbox: Sendable {
    private struct State {
        var pieces: [Payload] = []
        var count = 0
        var hasEnded = false
        var failure: (any Error)?
        /// Those that wait for bytes or for space: one reader, one writer.
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    /// Bytes above which the transport is held back.
    private static let limit = 1 << 20
    private let state = Locked(State())

    /// The reason why this side has ended it.
    var failure: (any Error)? { state.withLock { $0.failure } }

    /// Adds a piece. Waits while there are too many, until somebody reads or the inbox ends.
    func add(_ piece: Payload) async {
        await wait { $0.count >= Self.limit && !$0.hasEnded }
        change { state in
            guard !state.hasEnded else { return }
            state.pieces.append(piece)
            state.count += piece.count
        }
    }

    /// Returns the next piece, or nil at the end. Throws the reason of `end`.
    func next() async throws -> Payload? {
        await wait { $0.pieces.isEmpty && !$0.hasEnded }
        try Task.checkCancellation()
        return try change { state -> Result<Payload?, any Error> in
            if let failure = state.failure { return .failure(failure) }
            guard !state.pieces.isEmpty else { return .success(nil) }
            let piece = state.pieces.removeFirst()
            state.count -= piece.count
            return .success(piece)
        }.get()
    }

    /// Ends the inbox. Without a failure what is in it can still be read. The first call counts.
    func end(_ failure: (any Error)? = nil) {
        change { state in
            guard !state.hasEnded else { return }
            state.hasEnded = true
            state.failure = failure
        }
    }

    @discardableResult
    private func change<Result>(_ body: (inout State) -> Result) -> Result {
        let (result, waiters) = state.withLock { state in
            let result = body(&state)
            defer { state.waiters = [] }
            return (result, state.waiters)
        }
        for waiter in waiters { waiter.resume() }
        return result
    }

    private func wait(while isBlocked: @escaping @Sendable (borrowing State) -> Bool) async {
        while !Task.isCancelled {
            let hasWaited = await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let mustWait = state.withLock { state in
                        guard isBlocked(state), !Task.isCancelled else { return false }
                        state.waiters.append(continuation)
                        return true
                    }
                    if !mustWait { continuation.resume() }
                }
                return state.withLock { isBlocked($0) }
            } onCancel: {
                change { _ in }
            }
            if !hasWaited { return }
        }
    }
}
