internal import Glibc
package import TransportPluginAPI

package struct BenchmarkError: Error, CustomStringConvertible {
    package var description: String
    /// What was asked for cannot be done, as opposed to: it went wrong.
    package var isUsage: Bool
    package init(_ description: String, isUsage: Bool = false) {
        self.description = description
        self.isUsage = isUsage
    }
}

/// Where messages are received.
package enum BenchmarkReceiver: String, Sendable, CaseIterable {
    /// In the handler, on the loop.
    case handler
    /// From the async sequence, by a task on the pool.
    case sequence
    /// From the async sequence, by a task that prefers the loop's thread.
    case loopSequence

    /// As it is named in results.
    package var scenario: String {
        switch self {
        case .handler: "rtt"
        case .sequence: "rtt sequence"
        case .loopSequence: "rtt sequence on the loop"
        }
    }
}

/// What is measured: one end of a connection, whatever it is made of.
///
/// The handler runs where the messages arrive, with the bytes in place; it may answer with `reply`, which sends at once.
package protocol BenchmarkSubject: Sendable {
    typealias Handler = @Sendable (UnsafeRawBufferPointer) -> Void

    func setHandler(_ handler: @escaping Handler) async
    /// Sends from within a handler. Drops when the buffer is full: only for ping-pong.
    func reply(_ bytes: UnsafeRawBufferPointer)
    /// Sends from any task; waits at the high-water mark.
    func send(_ bytes: UnsafeRawBufferPointer) async throws
    /// Sends the same message over and over; returns how often.
    func flood(_ bytes: UnsafeRawBufferPointer, until end: Timestamp) async throws -> Int
    /// Returns when everything has arrived, or at least left.
    func flush() async throws
    /// The messages as an async sequence, echoed or counted by `body` in a task: on the loop's thread, or on the pool as every task.
    func consume(onLoop: Bool, _ body: @escaping @Sendable (Payload) async throws -> Void) async throws
}

extension BenchmarkSubject {
    package func flood(_ bytes: UnsafeRawBufferPointer, until end: Timestamp) async throws -> Int {
        var sent = 0
        repeat {
            for _ in 0..<32 { try await send(bytes) }
            sent += 32
        } while Timestamp.now() < end
        return sent
    }
}

/// CPU time of this process so far, user and system, all threads.
func cpuTime() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Memory of this process, bytes: its own pages and its share of those that it shares (PSS).
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
