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

    /// Waits until the process holds almost as few descriptors and threads again.
    ///
    /// - Parameter except: How many more are accepted. Other tests may run in this process, so a check looks for growth
    ///   with the number of its rounds.
    func expectGivenBack(_ whose: String, except more: Int) async throws {
        try await eventually("giving \(whose) descriptors and threads back") {
            let now = Self.now()
            return now.descriptors < descriptors + more && now.threads < threads + more
        }
    }
}

/// Runs `cycle` a thousand times, and fails when each run leaves a descriptor, a thread or memory behind.
///
/// Other tests may run in this process, so the check looks for growth with the number of cycles, in quarters of the
/// thousand (`MemoryGrowth`).
func expectNoLeak(bytesPerCycle: Int = 32, _ cycle: @Sendable (Int) async throws -> Void) async throws {
    let quarter = 250
    for number in 0..<50 { try await cycle(number) }
    try await pause()
    let before = ProcessResources.now()
    var last = before.bytes
    var growth = MemoryGrowth(limit: bytesPerCycle * quarter)
    while growth.isLeak == nil {
        for number in 0..<quarter { try await cycle(growth.quarters.count * quarter + number) }
        try await pause()
        let bytes = ProcessResources.now().bytes
        growth.quarters.append(bytes - last)
        last = bytes
    }
    try expect(
        growth.isLeak == false,
        "cycles leave memory behind, in bytes for each of \(quarter): \(growth.quarters.map { $0 / quarter })")
    try await eventually("giving 1,000 cycles' descriptors and threads back") {
        let now = ProcessResources.now()
        return now.descriptors < before.descriptors + 100 && now.threads < before.threads + 100
    }
}

/// The growth of a process's memory from one quarter of a thousand cycles to the next, and the judgement of it.
///
/// Caches fill up, slowly where each of many threads has one, and other tests and ended threads give memory back in the
/// meantime. So three of four quarters in a row without growth are enough, and up to twelve more quarters are run to
/// get there. After those, two of the last four are enough.
package struct MemoryGrowth {
    /// The bytes that each quarter has added so far; negative where memory was freed.
    package var quarters: [Int] = []
    /// The bytes by which memory may grow in a quarter without growth.
    private let limit: Int

    package init(limit: Int) { self.limit = limit }

    /// Whether the cycles leak; nil while that takes more quarters.
    package var isLeak: Bool? {
        let flat = quarters.suffix(4).count { $0 <= limit }
        if quarters.count >= 4, flat >= 3 { return false }
        return quarters.count < 16 ? nil : flat < 2
    }
}

/// Gives background work time to end.
private func pause() async throws { try await Task.sleep(for: .milliseconds(100)) }
