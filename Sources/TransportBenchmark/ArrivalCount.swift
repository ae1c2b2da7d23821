internal import CommandLineIO
internal import TransportPluginAPI

/// A count of what has arrived at one end of a measured pair, since it was made.
struct ArrivalCount: Sendable {
    private(set) var messages = 0
    private var bytes = 0
    private var first = Timestamp.zero
    private var last = Timestamp.zero
    private let cpuAtStart = cpuTime()

    mutating func add(bytes length: Int) {
        let now = Timestamp.now()
        if messages == 0 { first = now }
        last = now
        messages += 1
        bytes += length
    }

    /// Adds the bytes, the time from the first to the last message, and the cost since the start.
    func report(to line: inout JSONLine) {
        line.add("bytes", bytes)
        line.add("seconds", (last - first).inSeconds)
        line.add("cpu", cpuTime() - cpuAtStart)
        line.add("memory", proportionalSetSize())
    }
}
