package import TransportPluginAPI

/// Numbered messages at a steady pace through outages, and the record of those of the other side.
package final class BenchmarkTalk: Sendable {
    private struct State {
        var record = SequenceRecord()
        var sent = 0
        var lastArrival = Timestamp.now()
        var longestSilence = Duration.zero
        /// The first arrival since `resetFirstArrival`.
        var first: Timestamp?
        var waiting: CheckedContinuation<Timestamp, Never>?
        var sender: Task<Void, any Error>?
    }

    /// The interval between messages, and therefore the precision of a time of arrival.
    package static let interval = Duration.milliseconds(5)
    private let subject: any BenchmarkSubject
    private let state = Locked(State())

    package init(_ subject: any BenchmarkSubject) { self.subject = subject }

    package func start() async {
        let subject = subject
        let state = state
        state.withLock { $0 = State() }
        await subject.setHandler { bytes in
            guard bytes.count >= 8 else { return }
            let number = Int(truncatingIfNeeded: bytes.loadUnaligned(as: UInt64.self))
            let now = Timestamp.now()
            let waiting = state.withLock { state -> CheckedContinuation<Timestamp, Never>? in
                state.record.received(number)
                state.longestSilence = max(state.longestSilence, now - state.lastArrival)
                state.lastArrival = now
                guard state.first == nil else { return nil }
                state.first = now
                defer { state.waiting = nil }
                return state.waiting
            }
            waiting?.resume(returning: now)
        }
        let task = Task {
            var message = [UInt8](repeating: 0, count: 64)
            var next = ContinuousClock.now
            while !Task.isCancelled {
                let number = state.withLock { $0.sent + 1 }
                message.withUnsafeMutableBytes { $0.storeBytes(of: UInt64(number), as: UInt64.self) }
                do {
                    try await message.withUnsafeBytesAsync { try await subject.send($0) }
                } catch  where Task.isCancelled { return }
                state.withLock { $0.sent = number }
                next = next.advanced(by: Self.interval)
                try? await Task.sleep(until: next)
            }
        }
        state.withLock { $0.sender = task }
    }

    /// Makes the next arrival the first, and starts the longest silence with the current one.
    package func resetFirstArrival() {
        state.withLock { state in
            state.first = nil
            state.longestSilence = .zero
        }
    }

    /// Returns the time of the first message since `resetFirstArrival`, waiting for it.
    package func firstArrival() async -> Timestamp {
        await withCheckedContinuation { continuation in
            let first = state.withLock { state -> Timestamp? in
                if state.first == nil { state.waiting = continuation }
                return state.first
            }
            if let first { continuation.resume(returning: first) }
        }
    }

    package var longestSilence: Duration { state.withLock { $0.longestSilence } }

    /// Stops sending. Returns the number of sent messages when all have arrived or ten seconds have passed.
    package func stop() async throws -> Int {
        let sender = state.withLock { $0.sender }
        sender?.cancel()
        try await sender?.value
        let subject = subject
        await withTaskGroup(of: Void.self) { group in
            // Messages that have not arrived by then are lost, and the other side counts them.
            group.addTask { try? await subject.flush() }
            group.addTask { try? await Task.sleep(for: .seconds(10)) }
            await group.next()
            group.cancelAll()
        }
        return state.withLock { $0.sent }
    }

    /// Returns how many of the `sent` messages of the other side were lost or duplicated.
    package func losses(of sent: Int) -> (lost: Int, duplicated: Int) {
        state.withLock { ($0.record.lost(of: sent), $0.record.duplicated) }
    }
}
