package import TransportValues

/// How many bytes of bulk to have under way to a participant, and how long a chunk of a stream is.
///
/// More than the path carries only waits in queues, where it delays everything else on the path. So the limit follows
/// the rate at which bytes are acknowledged and the time that an acknowledgement takes at least, with a reserve. One
/// frame at a time is followed from being handed to the transport until it is acknowledged.
///
/// The shortest time is measured anew every ten seconds, with few bytes under way for a moment: otherwise the queue
/// that the stream itself makes would be taken for the path.
package struct BulkPace: Sendable {
    package static let minimumLimit = 65_536
    package static let initialLimit = 262_144
    package static let maximumLimit = 4 << 20
    /// The reserve, as a time at the present rate: that long a queue may grow.
    private static let reserve: Duration = .milliseconds(50)
    private static let maximumReserve = 1_048_576.0
    private static let period: Duration = .seconds(10)
    /// Bytes per second from which on chunks are long, and below which they are short again.
    private static let fast = 20_000_000.0
    private static let slow = 10_000_000.0
    /// The whole frame of a chunk. At 20 Mbit/s a short one takes 7 ms.
    package static let shortFrame = 16_384
    package static let longFrame = 65_536

    private struct Probe: Sendable {
        var sequence: UInt64
        var at: Timestamp
        var acknowledgedBytes: UInt64
        /// Little was under way: the rate may be higher than it seems.
        var isCold: Bool
        /// Somebody waited for the buffer meanwhile.
        var wasFull = false
    }

    /// The moment with few bytes under way.
    private struct Drain: Sendable {
        /// Frames that were sent before wait in the queue until then.
        var queueEnd: Timestamp
    }

    package private(set) var frame = Self.shortFrame
    /// Bytes per second that are acknowledged while the buffer is full.
    package private(set) var rate = 0.0
    private var steadyLimit: Int
    private let minimum: Int
    private var probe: Probe?
    private var drain: Drain?
    private var nextDrain: Timestamp?
    private var acknowledgedBytes: UInt64 = 0
    /// The shortest acknowledgement time.
    private var base: Duration?

    /// `limit`: the first one; later ones are not below it where it is small.
    package init(limit: Int = Self.initialLimit) {
        steadyLimit = limit
        minimum = min(limit, Self.minimumLimit)
    }

    /// Bytes that may be under way.
    package var limit: Int { drain == nil ? steadyLimit : max(steadyLimit / 4, minimum) }

    /// The transport has taken the frame `sequence`; `buffered`: bytes that are not acknowledged.
    package mutating func frameTaken(_ sequence: UInt64, buffered: Int, now: Timestamp) {
        guard probe == nil else { return }
        probe = Probe(
            sequence: sequence, at: now, acknowledgedBytes: acknowledgedBytes, isCold: buffered <= steadyLimit / 2)
    }

    /// A chunk was refused because the buffer is full.
    package mutating func bufferWasFull() { probe?.wasFull = true }

    /// Frames up to `sequence`, of so many bytes, were acknowledged.
    package mutating func acknowledged(upTo sequence: UInt64, bytes: Int, now: Timestamp) {
        acknowledgedBytes &+= UInt64(bytes)
        guard let probe, sequence >= probe.sequence else { return }
        self.probe = nil
        let elapsed = max(now - probe.at, .microseconds(100))
        if let drain {
            guard probe.at >= drain.queueEnd else { return }
            base = elapsed
            self.drain = nil
            nextDrain = now + Self.period
            return
        }
        let shortest = min(base ?? elapsed, elapsed)
        base = shortest
        let sample = Double(acknowledgedBytes &- probe.acknowledgedBytes) / elapsed.inSeconds
        // What was not sent says nothing about the path.
        guard probe.wasFull && !probe.isCold || sample > rate else { return }
        rate = sample > rate ? sample : rate * 0.875 + sample * 0.125
        if rate > Self.fast { frame = Self.longFrame } else if rate < Self.slow { frame = Self.shortFrame }
        let needed =
            rate * shortest.inSeconds * 1.25 + min(rate * Self.reserve.inSeconds, Self.maximumReserve)
        // Not at once: a sample may be off.
        let next = min(max(Int(min(needed, 1e9)), steadyLimit / 2), steadyLimit * 2)
        steadyLimit = min(max(next, minimum), Self.maximumLimit)
        guard let nextDrain else {
            self.nextDrain = now + Self.period
            return
        }
        if now >= nextDrain { drain = Drain(queueEnd: now + elapsed) }
    }

    /// The path, or the whole connection, is another one.
    package mutating func connectionEnded() {
        probe = nil
        drain = nil
        nextDrain = nil
        base = nil
        rate = 0
        frame = Self.shortFrame
    }
}
