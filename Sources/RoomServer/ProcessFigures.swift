internal import Glibc
internal import TransportPluginAPI

/// The system's figures of this process.
struct ProcessFigures: Sendable {
    /// Seconds since 1970.
    var startTime: Double?
    var cpuSeconds: Double
    var residentBytes: Int?
    var virtualBytes: Int?
    var openDescriptors: Int?
    var maximumDescriptors: Int?

    /// Reads the figures. Takes milliseconds where thousands of descriptors are open, so not for an event loop.
    static func read() -> ProcessFigures {
        let pages = text("/proc/self/statm")?.split(separator: " ").compactMap { Int($0) } ?? []
        let pageSize = sysconf(Int32(_SC_PAGESIZE))
        return ProcessFigures(
            startTime: start, cpuSeconds: cpuTime(CLOCK_PROCESS_CPUTIME_ID),
            residentBytes: pages.count > 1 ? pages[1] * pageSize : nil, virtualBytes: pages.first.map { $0 * pageSize },
            openDescriptors: descriptors(), maximumDescriptors: descriptorLimit())
    }

    /// Returns the seconds of a clock of CPU time.
    static func cpuTime(_ clock: clockid_t) -> Double {
        var time = timespec()
        guard clock_gettime(clock, &time) == 0 else { return 0 }
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static let start: Double? = {
        // proc(5): field 22, counted behind the name, which may contain blanks.
        guard let stat = text("/proc/self/stat"), let end = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[end...].split(separator: " ")
        guard fields.count > 20, let ticks = Double(fields[20]) else { return nil }
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let age = Timestamp.bootTime().seconds - ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
        return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9 - age
    }()

    private static let lastCount = Locked<(time: Timestamp, count: Int)?>(nil)

    /// Returns the number of open descriptors. It is counted at most once a second.
    private static func descriptors() -> Int? {
        var status = stat()
        // Linux 6.2 and later.
        if stat("/proc/self/fd", &status) == 0, status.st_size > 0 { return Int(status.st_size) }
        let now = Timestamp.now()
        if let last = lastCount.withLock({ $0 }), now - last.time < .seconds(1) { return last.count }
        guard let folder = opendir("/proc/self/fd") else { return nil }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        closedir(folder)
        // Without `.`, `..` and the folder itself.
        count -= 3
        lastCount.withLock { $0 = (now, count) }
        return count
    }

    private static func descriptorLimit() -> Int? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return Int(clamping: limit.rlim_cur)
    }

    private static func text(_ path: String) -> String? {
        guard let file = fopen(path, "re") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}
