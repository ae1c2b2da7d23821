internal import TransportPluginAPI

/// One end of a measured pair: performs what the runner asks for, one request at a time.
package final class BenchmarkEnd: Sendable {
    private struct Count {
        var messages = 0
        var bytes = 0
        var first = Timestamp.zero
        var last = Timestamp.zero
        var cpuAtStart = 0.0
    }

    private struct PingPong {
        var samples: [Int64] = []
        var remaining = 0
        var sentAt = Timestamp.zero
        var done: CheckedContinuation<[Int64], Never>?
    }

    private let subject: any BenchmarkSubject
    private let count = Locked(Count())
    private let pingPong = Locked(PingPong())

    package init(_ subject: any BenchmarkSubject) { self.subject = subject }

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

    /// Counts messages from now on.
    package func startCounting() async {
        count.withLock {
            $0 = Count()
            $0.cpuAtStart = cpuTime()
        }
        await subject.setHandler { [count] bytes in
            let length = bytes.count
            count.withLock { count in
                let now = Timestamp.now()
                if count.messages == 0 { count.first = now }
                count.last = now
                count.messages += 1
                count.bytes += length
            }
        }
    }

    /// What has been counted since.
    package func counted() -> JSONLine {
        let count = count.withLock { $0 }
        var line = JSONLine()
        line.add("event", "counted")
        line.add("messages", count.messages)
        line.add("bytes", count.bytes)
        line.add("seconds", (count.last - count.first).inSeconds)
        line.add("cpu", cpuTime() - count.cpuAtStart)
        line.add("memory", proportionalSetSize())
        return line
    }

    package static func proportionalMemory() -> Int { proportionalSetSize() }

    /// What doing nothing costs, in per cent of a core.
    package func idle(seconds: Double) async throws -> JSONLine {
        let cpu = cpuTime()
        try await Task.sleep(for: .milliseconds(Int(seconds * 1000)))
        var line = JSONLine()
        line.add("event", "idled")
        line.add("cpu_percent", (cpuTime() - cpu) / seconds * 100, digits: 3)
        return line
    }

    /// Sends messages of `size` bytes, one way, for `seconds`.
    package func flood(size: Int, seconds: Double) async throws -> JSONLine {
        let cpu = cpuTime()
        let bytes = [UInt8](repeating: 0x5A, count: size)
        let payload = Payload(bytes)
        let pointer = payload.withUnsafeBytes { $0 }
        let end = Timestamp.now() + .nanoseconds(Int64(seconds * 1e9))
        let sent = try await subject.flood(pointer, until: end)
        withExtendedLifetime(payload) {}
        try await subject.flush()
        var line = JSONLine()
        line.add("event", "flooded")
        line.add("messages", sent)
        line.add("cpu", cpuTime() - cpu)
        line.add("memory", proportionalSetSize())
        return line
    }

    /// Ping-pong of `count` messages of 64 bytes; latencies in microseconds.
    package func roundTrips(_ count: Int, at receiver: BenchmarkReceiver) async throws -> JSONLine {
        let warmUp = count / 10
        let cpu = cpuTime()
        var samples =
            receiver == .handler
            ? await handlerRoundTrips(count + warmUp)
            : try await sequenceRoundTrips(count + warmUp, onLoop: receiver == .loopSequence)
        samples.removeFirst(min(warmUp, samples.count))
        samples.sort()
        func percentile(_ share: Double) -> Double {
            samples.isEmpty ? .nan : Double(samples[min(samples.count - 1, Int(Double(samples.count) * share))]) / 1000
        }
        var line = JSONLine()
        line.add("event", "roundTrips")
        line.add("p50_us", percentile(0.5), digits: 1)
        line.add("p90_us", percentile(0.9), digits: 1)
        line.add("p99_us", percentile(0.99), digits: 1)
        line.add("cpu", cpuTime() - cpu)
        return line
    }

    private func handlerRoundTrips(_ count: Int) async -> [Int64] {
        let subject = subject
        let pingPong = pingPong
        let ping = [UInt8](repeating: 1, count: 64)
        await subject.setHandler { bytes in
            let now = Timestamp.now()
            let done = pingPong.withLock { state -> (CheckedContinuation<[Int64], Never>, [Int64])? in
                guard state.remaining > 0 else { return nil }
                state.samples.append((now - state.sentAt).saturatedNanoseconds)
                state.remaining -= 1
                state.sentAt = now
                guard state.remaining == 0, let done = state.done else { return nil }
                state.done = nil
                return (done, state.samples)
            }
            if let (continuation, samples) = done {
                continuation.resume(returning: samples)
            } else {
                subject.reply(bytes)
            }
        }
        return await withCheckedContinuation { continuation in
            pingPong.withLock { state in
                state = PingPong()
                state.samples.reserveCapacity(count)
                state.remaining = count
                state.done = continuation
                state.sentAt = .now()
            }
            Task { try await ping.withUnsafeBytesAsync { try await subject.send($0) } }
        }
    }

    private func sequenceRoundTrips(_ count: Int, onLoop: Bool) async throws -> [Int64] {
        let subject = subject
        let pingPong = pingPong
        let ping = [UInt8](repeating: 1, count: 64)
        let ended = Locked(false)
        try await subject.consume(onLoop: onLoop) { payload in
            let now = Timestamp.now()
            let done = pingPong.withLock { state -> (CheckedContinuation<[Int64], Never>, [Int64])? in
                guard state.remaining > 0 else { return nil }
                state.samples.append((now - state.sentAt).saturatedNanoseconds)
                state.remaining -= 1
                guard state.remaining == 0, let done = state.done else { return nil }
                state.done = nil
                return (done, state.samples)
            }
            if let (continuation, samples) = done {
                ended.withLock { $0 = true }
                continuation.resume(returning: samples)
            } else if !ended.withLock({ $0 }) {
                pingPong.withLock { $0.sentAt = .now() }
                let bytes = payload.withUnsafeBytes { $0 }
                try await subject.send(bytes)
                withExtendedLifetime(payload) {}
            }
        }
        return await withCheckedContinuation { continuation in
            pingPong.withLock { state in
                state = PingPong()
                state.samples.reserveCapacity(count)
                state.remaining = count
                state.done = continuation
                state.sentAt = .now()
            }
            Task { try await ping.withUnsafeBytesAsync { try await subject.send($0) } }
        }
    }
}

extension [UInt8] {
    /// The bytes as one stable block for the duration of an async call.
    func withUnsafeBytesAsync<Result>(_ body: (UnsafeRawBufferPointer) async throws -> Result) async rethrows -> Result
    {
        let payload = Payload(self)
        let bytes = payload.withUnsafeBytes { $0 }
        let result = try await body(bytes)
        withExtendedLifetime(payload) {}
        return result
    }
}
