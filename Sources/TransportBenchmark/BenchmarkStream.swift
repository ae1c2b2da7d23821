package import CommandLineIO
package import RoomConnection
internal import TransportPluginAPI

/// A subject that has streams beside messages.
package protocol BenchmarkStreamSubject: BenchmarkSubject {
    func openStream() async throws -> RoomOutgoingStream
    func nextStream() async throws -> RoomIncomingStream
}

extension RoomSubject: BenchmarkStreamSubject {
    package func openStream() async throws -> RoomOutgoingStream { try await room.openStream("bench", to: peer) }

    package func nextStream() async throws -> RoomIncomingStream {
        var streams = room.incomingStreams().makeAsyncIterator()
        guard let stream = await streams.next() else { throw BenchmarkError("the room ended before a stream came") }
        return stream
    }
}

/// A stream at full speed, and messages beside it.
package final class BenchmarkStream: Sendable {
    private struct Pings {
        var histogram = LatencyHistogram()
        var waiting: CheckedContinuation<Void, Never>?
    }

    /// Between a pong and the next ping.
    private static let pause = Duration.milliseconds(2)
    private let subject: any BenchmarkStreamSubject
    private let count = Locked(ArrivalCount())
    private let begun = AsyncStream.makeStream(of: Void.self)
    private let reader = Locked<Task<Void, any Error>?>(nil)

    package init(_ subject: any BenchmarkSubject) throws {
        guard let subject = subject as? any BenchmarkStreamSubject else {
            throw BenchmarkError("this subject has no streams")
        }
        self.subject = subject
    }

    /// Reads the next stream, and echoes messages.
    package func receive() async {
        let subject = subject
        await subject.setHandler { subject.reply($0) }
        count.withLock { $0 = ArrivalCount() }
        let task = Task { [count, begun] in
            for try await chunk in try await subject.nextStream() {
                count.withLock { $0.add(bytes: chunk.count) }
                begun.continuation.finish()
            }
        }
        reader.withLock { $0 = task }
    }

    /// Returns when the first bytes have come.
    package func waitUntilBegun() async { for await _ in begun.stream {} }

    /// Returns what has come, at the end of the stream.
    package func received() async throws -> JSONLine {
        try await reader.withLock { $0 }?.value
        let count = count.withLock { $0 }
        var line = JSONLine(event: "received")
        count.report(to: &line)
        return line
    }

    /// Writes a stream for `seconds`; with `pings`, measures the round trips of messages of 64 bytes beside it.
    package func send(seconds: Double, pings: Bool) async throws -> JSONLine {
        let cpu = cpuTime()
        let stream = try await subject.openStream()
        let end = Timestamp.now() + .nanoseconds(Int64(seconds * 1e9))
        let histogram: LatencyHistogram? = try await withThrowingTaskGroup(of: LatencyHistogram?.self) { group in
            if pings { group.addTask { try await self.ping(until: end) } }
            group.addTask {
                let block = Payload([UInt8](repeating: 0x5A, count: 1 << 20))
                while Timestamp.now() < end { try await stream.write(block) }
                try await stream.finish()
                return nil
            }
            var result: LatencyHistogram?
            for try await histogram in group { result = histogram ?? result }
            return result
        }
        var line = JSONLine(event: "streamed")
        line.add("bytes", Int(stream.acknowledgedCount))
        line.add("cpu", cpuTime() - cpu)
        line.add("memory", proportionalSetSize())
        if let histogram { try line.add("histogram", encoding: histogram) }
        return line
    }

    private func ping(until end: Timestamp) async throws -> LatencyHistogram {
        let pings = Locked(Pings())
        let sentAt = Locked(Timestamp.zero)
        await subject.setHandler { _ in
            let elapsed = Timestamp.now() - sentAt.withLock { $0 }
            let waiting = pings.withLock { pings -> CheckedContinuation<Void, Never>? in
                pings.histogram.record(nanoseconds: elapsed.saturatedNanoseconds)
                return pings.waiting.take()
            }
            waiting?.resume()
        }
        let message = Payload([UInt8](repeating: 1, count: 64))
        let bytes = message.withUnsafeBytes { $0 }
        defer { withExtendedLifetime(message) {} }
        while Timestamp.now() < end {
            await withCheckedContinuation { continuation in
                pings.withLock { $0.waiting = continuation }
                sentAt.withLock { $0 = .now() }
                // It takes credit only.
                subject.reply(bytes)
            }
            try await Task.sleep(for: Self.pause)
        }
        return pings.withLock { $0.histogram }
    }
}
