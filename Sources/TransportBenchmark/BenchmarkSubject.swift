internal import Glibc
package import TransportPluginAPI

package struct BenchmarkError: Error, CustomStringConvertible {
    package var description: String
    package init(_ description: String) { self.description = description }
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
    /// Returns when everything has arrived, or at least left.
    func flush() async throws
    /// The messages as an async sequence, echoed or counted by `body` in a task. Nil where there is none.
    func consume(_ body: @escaping @Sendable (Payload) async throws -> Void) async throws
}

/// CPU time of this process so far, user and system, all threads.
func cpuTime() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Resident memory of this process, bytes.
func residentMemory() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var buffer = [CChar](repeating: 0, count: 256)
    guard fgets(&buffer, 256, file) != nil else { return 0 }
    let text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let fields = text.split(separator: " ")
    return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
}
