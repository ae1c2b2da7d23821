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
    let batch = 25
    let quarter = batch * MemoryGrowth.batchesPerQuarter
    for number in 0..<50 { try await cycle(number) }
    try await pause()
    let before = ProcessResources.now()
    var last = before.bytes
    var growth = MemoryGrowth(limit: bytesPerCycle * batch)
    while growth.isLeak == nil {
        for _ in 0..<MemoryGrowth.batchesPerQuarter {
            for number in 0..<batch { try await cycle(growth.batches.count * batch + number) }
            if growth.batches.count % MemoryGrowth.batchesPerQuarter == MemoryGrowth.batchesPerQuarter - 1 {
                try await pause()
            }
            let bytes = CLinux_allocated_bytes()
            growth.batches.append(bytes - last)
            last = bytes
        }
    }
    try expect(
        growth.isLeak == false,
        "cycles leave memory behind, in bytes for each of \(quarter): \(growth.quarters.map { $0 / quarter })")
    try await eventually("giving 1,000 cycles' descriptors and threads back") {
        let now = ProcessResources.now()
        return now.descriptors < before.descriptors + 100 && now.threads < before.threads + 100
    }
}

/// The growth of a process's memory over a thousand cycles, in quarters of ten batches each, and the judgement of it.
///
/// Caches fill up, slowly where each of many threads has one. So three of four quarters in a row without growth are
/// enough, and up to twelve more quarters are run to get there. After those, two of the last four are enough.
///
/// Others give memory back in the meantime: a thread that ends frees its cache, of some 50 kB, which is as much as a
/// small leak takes in a quarter. Three such threads would hide the leak. But they fall into a few batches, and a leak
/// shows in all others. So while the median batch grows, the quarters say nothing, and more of them are run.
package struct MemoryGrowth {
    package static let batchesPerQuarter = 10
    /// The bytes that each batch has added so far; negative where memory was freed.
    package var batches: [Int] = []
    /// The bytes by which memory may grow in a batch without growth.
    private let limit: Int

    package init(limit: Int) { self.limit = limit }

    /// The bytes that each complete quarter has added.
    package var quarters: [Int] {
        let size = Self.batchesPerQuarter
        return (0..<batches.count / size).map { batches[$0 * size..<($0 + 1) * size].reduce(0, +) }
    }

    /// Whether the cycles leak; nil while that takes more quarters.
    package var isLeak: Bool? {
        let quarters = quarters
        guard quarters.count >= 4 else { return nil }
        let flat = quarters.suffix(4).count { $0 <= limit * Self.batchesPerQuarter }
        let recent = batches.suffix(4 * Self.batchesPerQuarter).sorted()
        if flat >= 3, recent[recent.count / 2] <= limit { return false }
        return quarters.count < 16 ? nil : flat < 2
    }
}

/// Gives background work time to end.
private func pause() async throws { try await Task.sleep(for: .milliseconds(100)) }
