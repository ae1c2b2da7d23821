internal import Glibc
package import TransportPluginAPI

package struct BenchmarkError: Error, CustomStringConvertible {
    package var description: String
    /// Whether the request cannot be performed, as opposed to having failed.
    package var isUsage: Bool
    package init(_ description: String, isUsage: Bool = false) {
        self.description = description
        self.isUsage = isUsage
    }
}

/// The code that receives messages.
package enum BenchmarkReceiver: String, Sendable, CaseIterable {
    /// The handler, on the loop.
    case handler
    /// A task on the pool, which reads the async sequence.
    case sequence
    /// A task that prefers the loop's thread, which reads the async sequence.
    case loopSequence

    /// The scenario's name in results.
    package var scenario: String {
        switch self {
        case .handler: "rtt"
        case .sequence: "rtt sequence"
        case .loopSequence: "rtt sequence on the loop"
        }
    }
}

/// The type in which an application hands the bytes of a message to a room.
package enum BenchmarkForm: String, Sendable, CaseIterable {
    case array
    case payload
    /// Of memory that the application owns.
    case span
}

/// The subject of a measurement: one end of a connection of any kind.
///
/// The handler runs where the messages arrive, with the bytes in place. It may answer with `reply`, which sends at
/// once.
package protocol BenchmarkSubject: Sendable {
    typealias Handler = @Sendable (UnsafeRawBufferPointer) -> Void

    func setHandler(_ handler: @escaping Handler) async
    /// Sends from within a handler. Drops when the buffer is full: only for ping-pong.
    func reply(_ bytes: UnsafeRawBufferPointer)
    /// Sends from any task; waits at the high-water mark.
    func send(_ bytes: UnsafeRawBufferPointer) async throws
    /// Sends the same message repeatedly, and returns how often.
    func flood(_ bytes: UnsafeRawBufferPointer, as form: BenchmarkForm, until end: Timestamp) async throws -> Int
    /// Returns when everything has arrived, or at least gone out.
    func flush() async throws
    /// Passes the messages of the async sequence to `body`, in a task on the loop's thread or, like every task, on the
    /// pool.
    func consume(onLoop: Bool, _ body: @escaping @Sendable (Payload) async throws -> Void) async throws
    /// Answers requests with their own bytes, in a task on the loop's thread or on the pool.
    func answerRequests(onLoop: Bool) throws
    /// Makes requests in sequence, and passes the time of each to `record`, in a task on the loop's thread or on the
    /// pool.
    func request(_ count: Int, onLoop: Bool, _ record: @escaping @Sendable (Duration) -> Void) async throws
}

extension BenchmarkSubject {
    package func flood(
        _ bytes: UnsafeRawBufferPointer, as form: BenchmarkForm, until end: Timestamp
    ) async throws -> Int {
        var sent = 0
        repeat {
            for _ in 0..<32 { try await send(bytes) }
            sent += 32
        } while Timestamp.now() < end
        return sent
    }

    package func answerRequests(onLoop: Bool) throws { throw BenchmarkError("a bare transport has no requests") }

    package func request(
        _ count: Int, onLoop: Bool, _ record: @escaping @Sendable (Duration) -> Void
    ) async throws { throw BenchmarkError("a bare transport has no requests") }
}

/// Returns the CPU time of this process so far: user and system, all threads.
func cpuTime() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Returns the memory of this process in bytes: its own pages and its share of those that it shares (PSS).
func proportionalSetSize() -> Int {
    guard let file = fopen("/proc/self/smaps_rollup", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, 256, file) != nil {
        let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard text.hasPrefix("Pss:") else { continue }
        return (Int(text.split(separator: " ").dropFirst().first ?? "0") ?? 0) * 1024
    }
    return 0
}
