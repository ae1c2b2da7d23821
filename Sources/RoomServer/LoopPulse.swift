internal import Glibc
internal import NIOCore
internal import TransportPluginAPI

/// The pulse of an event loop: when it last did what was due.
final class LoopPulse: Sendable {
    static let interval: Duration = .milliseconds(250)
    /// A loop without a pulse for so long is stuck.
    static let limit: Duration = .seconds(10)
    private static let window: Duration = .seconds(30)

    private let last = Count()
    private let windowBegan = Count()
    /// The longest delay of this window and of the one before, in nanoseconds.
    private let longest = Count()
    private let longestBefore = Count()
    private let cpuNanoseconds = Count()

    /// Records that the loop does at `now` what was due at `due`. Called on the loop.
    func beat(at now: Timestamp, due: Timestamp) {
        last.set(Int(now.nanoseconds))
        cpuNanoseconds.set(Int(ProcessFigures.cpuTime(CLOCK_THREAD_CPUTIME_ID) * 1e9))
        if now - Timestamp(nanoseconds: Int64(windowBegan.value)) >= Self.window {
            windowBegan.set(Int(now.nanoseconds))
            longestBefore.set(longest.value)
            longest.set(0)
        }
        longest.set(max(longest.value, Int((now - due).saturatedNanoseconds)))
    }

    /// Whether the loop is not stuck. A loop that has not begun counts as alive.
    func isAlive(at now: Timestamp) -> Bool { silence(at: now) < Self.limit }

    /// The longest delay of the last half minute at least, a minute at most; a delay that goes on included.
    func lag(at now: Timestamp) -> Duration {
        max(.nanoseconds(max(longest.value, longestBefore.value)), silence(at: now) - Self.interval)
    }

    /// The CPU time of the loop's thread.
    var cpuSeconds: Double { Double(cpuNanoseconds.value) / 1e9 }

    private func silence(at now: Timestamp) -> Duration {
        last.value == 0 ? .zero : now - Timestamp(nanoseconds: Int64(last.value))
    }
}

/// Makes the pulse of an event loop.
final class LoopTicker {
    private let eventLoop: any EventLoop
    private let pulse: LoopPulse
    private let onTick: (Timestamp) -> Void
    private var next: Scheduled<Void>?

    /// Begins at once, on `eventLoop`, which the caller is on.
    init(_ eventLoop: any EventLoop, _ pulse: LoopPulse, onTick: @escaping (Timestamp) -> Void) {
        self.eventLoop = eventLoop
        self.pulse = pulse
        self.onTick = onTick
        tick(due: .now())
    }

    func stop() {
        next?.cancel()
        next = nil
    }

    private func tick(due: Timestamp) {
        let now = Timestamp.now()
        pulse.beat(at: now, due: due)
        let delay = TimeAmount.nanoseconds(LoopPulse.interval.saturatedNanoseconds)
        next = eventLoop.assumeIsolated().scheduleTask(in: delay) { self.tick(due: now + LoopPulse.interval) }
        onTick(now)
    }
}
