package import CommandLineIO
internal import TransportPluginAPI

/// One end of a measured pair: performs the runner's requests, one at a time.
package final class BenchmarkEnd: Sendable {
    private struct PingPong {
        var histogram = LatencyHistogram()
        /// The number of round trips that are not recorded yet.
        var warmUp = 0
        /// The number of remaining round trips, including the warm-up.
        var remaining = 0
        var sentAt = Timestamp.zero
        var done: CheckedContinuation<LatencyHistogram, Never>?

        /// Records the end of a round trip. After the last one, returns the waiting continuation and its result.
        mutating func ended(at now: Timestamp) -> (CheckedContinuation<LatencyHistogram, Never>, LatencyHistogram)? {
            guard remaining > 0 else { return nil }
            remaining -= 1
            if warmUp > 0 {
                warmUp -= 1
            } else {
                histogram.record(nanoseconds: (now - sentAt).saturatedNanoseconds)
            }
            guard remaining == 0, let done else { return nil }
            self.done = nil
            return (done, histogram)
        }
    }

    /// The conversation for scenarios with outages.
    package let talk: BenchmarkTalk
    let subject: any BenchmarkSubject
    private let count = Locked(ArrivalCount())
    private let pingPong = Locked(PingPong())

    package init(_ subject: any BenchmarkSubject) {
        self.subject = subject
        talk = BenchmarkTalk(subject)
    }

    /// Echoes every message, from the handler or from a task that reads the async sequence.
    package func echo(from receiver: BenchmarkReceiver) async throws {
        let subject = subject
        if receiver == .handler {
            await subject.setHandler { subject.reply($0) }
        } else {
            try await subject.consume(onLoop: receiver == .loopSequence) { payload in
                let bytes = payload.withUnsafeBytes { $0 }
                try await subject.send(bytes)
                withExtendedLifetime(payload) {}
            }
        }
    }

    /// Starts counting messages.
    package func startCounting() async {
        count.withLock { $0 = ArrivalCount() }
        await subject.setHandler { [count] bytes in
            let length = bytes.count
            count.withLock { $0.add(bytes: length) }
        }
    }

    /// Returns the counts since then.
    package func counted() -> JSONLine {
        let count = count.withLock { $0 }
        var line = JSONLine()
        line.add("event", "counted")
        line.add("messages", count.messages)
        count.report(to: &line)
        return line
    }

    /// Returns the CPU time of this process so far in seconds, and its memory in bytes.
    package func usage() -> JSONLine {
        var line = JSONLine()
        line.add("event", "usage")
        line.add("cpu", cpuTime())
        line.add("memory", proportionalSetSize())
        return line
    }

    /// Returns the cost of doing nothing, in per cent of a core.
    package func idle(seconds: Double) async throws -> JSONLine {
        let cpu = cpuTime()
        try await Task.sleep(for: .milliseconds(Int(seconds * 1000)))
        var line = JSONLine()
        line.add("event", "idled")
        line.add("cpu_percent", (cpuTime() - cpu) / seconds * 100, digits: 3)
        return line
    }

    /// Sends messages of `size` bytes, one way, for `seconds`.
    package func flood(size: Int, as form: BenchmarkForm, seconds: Double) async throws -> JSONLine {
        let cpu = cpuTime()
        let bytes = [UInt8](repeating: 0x5A, count: size)
        let payload = Payload(bytes)
        let pointer = payload.withUnsafeBytes { $0 }
        let end = Timestamp.now() + .nanoseconds(Int64(seconds * 1e9))
        let sent = try await subject.flood(pointer, as: form, until: end)
        withExtendedLifetime(payload) {}
        try await subject.flush()
        var line = JSONLine()
        line.add("event", "flooded")
        line.add("messages", sent)
        line.add("cpu", cpuTime() - cpu)
        line.add("memory", proportionalSetSize())
        return line
    }

    /// Ping-pong of `count` messages of 64 bytes.
    package func roundTrips(_ count: Int, at receiver: BenchmarkReceiver) async throws -> JSONLine {
        let warmUp = count / 10
        let histogram =
            receiver == .handler
            ? await handlerRoundTrips(count, warmUp)
            : try await sequenceRoundTrips(count, warmUp, onLoop: receiver == .loopSequence)
        var line = JSONLine()
        line.add("event", "roundTrips")
        line.add("messages", 2 * (count + warmUp))
        try line.add("histogram", encoding: histogram)
        return line
    }

    /// Answers requests from now on.
    package func answerRequests(onLoop: Bool) throws { try subject.answerRequests(onLoop: onLoop) }

    /// Makes `count` requests of 64 bytes, one after the other.
    package func requests(_ count: Int, onLoop: Bool) async throws -> JSONLine {
        let histogram = Locked(LatencyHistogram())
        try await subject.request(count / 10, onLoop: onLoop) { _ in }
        try await subject.request(count, onLoop: onLoop) { time in
            histogram.withLock { $0.record(nanoseconds: time.saturatedNanoseconds) }
        }
        var line = JSONLine()
        line.add("event", "requests")
        line.add("messages", 2 * (count + count / 10))
        try line.add("histogram", encoding: histogram.withLock { $0 })
        return line
    }

    /// Sends the first ping, and returns the times of all exchanges after the last. The receiver sends the others.
    private func exchange(_ count: Int, _ warmUp: Int) async -> LatencyHistogram {
        let subject = subject
        let ping = [UInt8](repeating: 1, count: 64)
        return await withCheckedContinuation { continuation in
            pingPong.withLock { state in
                state = PingPong()
                state.warmUp = warmUp
                state.remaining = count + warmUp
                state.done = continuation
                state.sentAt = .now()
            }
            Task { try await ping.withUnsafeBytesAsync { try await subject.send($0) } }
        }
    }

    private func handlerRoundTrips(_ count: Int, _ warmUp: Int) async -> LatencyHistogram {
        let subject = subject
        let pingPong = pingPong
        await subject.setHandler { bytes in
            let now = Timestamp.now()
            let done = pingPong.withLock { state in
                defer { state.sentAt = now }
                return state.ended(at: now)
            }
            if let (continuation, histogram) = done {
                continuation.resume(returning: histogram)
            } else {
                subject.reply(bytes)
            }
        }
        return await exchange(count, warmUp)
    }

    private func sequenceRoundTrips(_ count: Int, _ warmUp: Int, onLoop: Bool) async throws -> LatencyHistogram {
        let subject = subject
        let pingPong = pingPong
        let ended = Locked(false)
        try await subject.consume(onLoop: onLoop) { payload in
            let now = Timestamp.now()
            let done = pingPong.withLock { $0.ended(at: now) }
            if let (continuation, histogram) = done {
                ended.withLock { $0 = true }
                continuation.resume(returning: histogram)
            } else if !ended.withLock({ $0 }) {
                pingPong.withLock { $0.sentAt = .now() }
                let bytes = payload.withUnsafeBytes { $0 }
                try await subject.send(bytes)
                withExtendedLifetime(payload) {}
            }
        }
        return await exchange(count, warmUp)
    }
}

extension [UInt8] {
    /// Calls `body` with the bytes as one stable block for the duration of an async call.
    func withUnsafeBytesAsync<Result>(_ body: (UnsafeRawBufferPointer) async throws -> Result) async rethrows -> Result
    {
        let payload = Payload(self)
        let bytes = payload.withUnsafeBytes { $0 }
        let result = try await body(bytes)
        withExtendedLifetime(payload) {}
        return result
    }
}
