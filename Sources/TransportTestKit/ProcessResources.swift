internal import CLinux
internal import Glibc
internal import TransportPluginAPI

/// The resources that this process holds.
package struct ProcessResources {
    var descriptors: Int
    var threads: Int
    /// Bytes that `malloc` has given out. Zero under a sanitizer, which has its own allocator (and leak checker).
    var bytes: Int

    /// Whether memory is counted. False under a sanitizer: no clause can find a leak of memory there, and the sanitizer
    /// does.
    package static var countsMemory: Bool { CLinux_allocated_bytes() > 0 }

    static func now() -> ProcessResources {
        func count(_ path: String) -> Int {
            guard let directory = opendir(path) else { return 0 }
            defer { closedir(directory) }
            var entries = 0
            while readdir(directory) != nil { entries += 1 }
            return entries
        }
        return ProcessResources(
            descriptors: count("/proc/self/fd"), threads: count("/proc/self/task"),
            bytes: CLinux_allocated_bytes())
    }
}

/// Runs `cycle` a thousand times, and fails when each run leaves a descriptor, a thread or memory behind.
///
/// Other tests may run in this process, and caches fill up, slowly where each of many threads has one. So the check
/// looks for growth with the number of cycles, in quarters of the thousand. Two of the last four quarters without
/// growth are enough, and up to eight more are run to get there. One alone may be due to memory that another test has
/// freed.
func expectNoLeak(bytesPerCycle: Int = 32, _ cycle: @Sendable (Int) async throws -> Void) async throws {
    let quarter = 250
    for number in 0..<50 { try await cycle(number) }
    try await pause()
    let before = ProcessResources.now()
    var last = before.bytes
    var growths: [Int] = []
    while growths.count < 4 || growths.count < 12 && isGrowing(growths, by: bytesPerCycle * quarter) {
        for number in 0..<quarter { try await cycle(growths.count * quarter + number) }
        try await pause()
        let bytes = ProcessResources.now().bytes
        growths.append(bytes - last)
        last = bytes
    }
    try expect(
        !isGrowing(growths, by: bytesPerCycle * quarter),
        "cycles leave memory behind, in bytes for each of \(quarter): \(growths.map { $0 / quarter })")
    try await eventually("giving 1,000 cycles' descriptors and threads back") {
        let now = ProcessResources.now()
        return now.descriptors < before.descriptors + 100 && now.threads < before.threads + 100
    }
}

private func isGrowing(_ growths: [Int], by limit: Int) -> Bool {
    growths.suffix(4).count { $0 <= limit } < 2
}

/// Gives background work time to end.
private func pause() async throws { try await Task.sleep(for: .milliseconds(100)) }
