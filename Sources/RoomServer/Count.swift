internal import Metrics
internal import Synchronization
internal import TransportValues

/// A number that one event loop changes and every thread reads: a counter, or a gauge.
///
/// Changing it costs as much as changing a plain integer, since there is one writer.
struct Count: ~Copyable, Sendable {
    private let number = Atomic(0)

    var value: Int { number.load(ordering: .relaxed) }

    /// Adds to the number. Only its own loop does.
    func add(_ more: Int = 1) { set(value &+ more) }

    /// Replaces the number. Only its own loop does.
    func set(_ value: Int) { number.store(value, ordering: .relaxed) }
}

/// A `Count` in a list.
final class CountBox: Sendable {
    let count = Count()
}

/// The counters of one event loop for each of some labels, which are known beforehand.
struct LabelledCounts<Label: Hashable & Sendable>: Sendable {
    let labels: [Label]
    private let counts: [CountBox]

    /// - Parameter hasOthers: Whether everything else is counted, too, as one.
    init(_ labels: [Label], hasOthers: Bool = false) {
        self.labels = labels
        counts = (0..<labels.count + (hasOthers ? 1 : 0)).map { _ in CountBox() }
    }

    func add(_ label: Label) {
        let index = labels.firstIndex(of: label) ?? labels.count
        if index < counts.count { counts[index].count.add() }
    }

    /// The counts of the labels, and in the end that of all others.
    var values: [Int] { counts.map { $0.count.value } }
}

/// How often durations were observed on one event loop, in buckets.
final class DurationCounts: Sendable {
    /// The upper limits of the buckets, in seconds. The last bucket has none.
    let limits: [Double]
    private let nanoseconds: [Int64]
    private let counts: [CountBox]
    private let sum = Count()
    /// The same for swift-metrics.
    private let timer: Metrics.Timer

    /// - Parameter limits: At most 12, in increasing order.
    init(_ name: String, _ limits: [Double]) {
        self.limits = limits
        timer = Metrics.Timer(label: name)
        nanoseconds = limits.map { Int64($0 * 1e9) }
        counts = (0...limits.count).map { _ in CountBox() }
    }

    func add(_ duration: Duration) {
        let time = max(0, duration.saturatedNanoseconds)
        counts[nanoseconds.firstIndex { time <= $0 } ?? limits.count].count.add()
        sum.add(Int(time))
        timer.recordNanoseconds(time)
    }

    /// The number of durations in each bucket, and the sum of all durations.
    var value: (buckets: [Int], seconds: Double) { (counts.map { $0.count.value }, Double(sum.value) / 1e9) }
}
