internal import TransportPluginAPI

/// Decides which candidates of the other side libnice gets, and when. Pure.
///
/// libnice checks one pair in each interval, in its own order: by each machine's list of interfaces. With sixteen
/// addresses on both sides that takes more than a second, and the pair that works may be the last one. So libnice gets
/// only as many candidates at a time as it can check soon, in the order of arrival, but of each kind in turn: a relayed
/// candidate does not wait for all others.
struct CandidatePacing {
    /// Candidates of the other side beyond this many are ignored.
    static let maximumCount = 64
    /// The time for checks that libnice may have before it.
    private static let lookahead = Duration.milliseconds(150)

    private let interval: Duration
    /// The sockets from which each candidate is checked.
    var localCount = 1
    /// Candidates that were taken so far.
    private var count = 0
    private var waiting: [CandidateLine] = []
    private var added: [String: Int] = [:]
    /// The time at which libnice has checked everything, as far as is known.
    private var busyUntil = Timestamp.zero
    private var ending = End.open

    private enum End { case open, waiting, told }

    init(interval: Duration) { self.interval = interval }

    var isWaiting: Bool { !waiting.isEmpty }

    /// Takes a candidate. False for one that is not used: it cannot be checked from here, or it is beyond the limit.
    /// `takesLoopback`: whether the other side may be on this machine.
    mutating func append(_ line: CandidateLine, takesLoopback: @autoclosure () -> Bool) -> Bool {
        guard line.isUsable, count < Self.maximumCount else { return false }
        if IPAddress(line.address)?.isLoopback == true, !takesLoopback() { return false }
        count += 1
        waiting.append(line)
        return true
    }

    /// Returns the next candidate for libnice, if one is due. Once connected, all are due: one of them may be better.
    mutating func next(at now: Timestamp, isConnected: Bool) -> CandidateLine? {
        guard isConnected || busyUntil - now < Self.lookahead else { return nil }
        guard let index = waiting.indices.min(by: { rank($0) < rank($1) }) else { return nil }
        let line = waiting.remove(at: index)
        added[line.kind, default: 0] += 1
        busyUntil = max(busyUntil, now) + interval * localCount
        return line
    }

    private func rank(_ index: Int) -> (Int, Int) { (added[waiting[index].kind, default: 0], index) }

    /// The pause until `next` has another one; nil when none waits.
    func pause(at now: Timestamp) -> Duration? {
        waiting.isEmpty ? nil : max(.milliseconds(1), busyUntil - now - Self.lookahead)
    }

    /// No candidates follow.
    mutating func end() { if ending == .open { ending = .waiting } }

    /// Returns whether libnice must get the end of candidates now; true once.
    mutating func takeEnd() -> Bool {
        guard ending == .waiting, waiting.isEmpty else { return false }
        ending = .told
        return true
    }

    mutating func close() { waiting = [] }
}
