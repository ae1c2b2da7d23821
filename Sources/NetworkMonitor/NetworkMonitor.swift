internal import CLinux
internal import Glibc
package import TransportPluginAPI

/// Watches this machine's network and sleep from a transport loop: reports changed addresses, carriers and default
/// routes, and when the machine has slept.
///
/// A message from the kernel (rtnetlink) only triggers a check. A change is a difference between two checks. On
/// machines on which these messages do not arrive (some containers), the same code checks periodically.
///
/// A sleep shows in the difference between CLOCK_BOOTTIME, which continues during it, and CLOCK_MONOTONIC, which stops.
/// A timer on the wall clock, which the kernel cancels when that clock jumps (`TFD_TIMER_CANCEL_ON_SET`), for instance
/// after a resume, triggers a check. Every other check looks for a sleep, too.
///
/// **Isolation.** The loop's own thread, except for `init`.
// SAFETY of `@unchecked Sendable`: touched only on the loop.
package final class NetworkMonitor: @unchecked Sendable {
    /// The time from the kernel's first message to the check, since changes arrive in groups.
    private static let settleTime: Duration = .milliseconds(20)
    /// The time between periodic checks, with the kernel's messages (`watched`) and without (`blind`).
    private let interval: (watched: Duration, blind: Duration)

    private let loop: TransportLoop
    private let look: () -> NetworkSnapshot
    private let onChange: (NetworkSnapshot) -> Void
    private let sleptUntilNow: () -> Duration
    private let onWake: (Duration) -> Void
    private var last = NetworkSnapshot()
    private var descriptor: Int32 = -1
    private var watch: LoopWatch?
    private var timer: LoopTimer?
    private var isSettling = false
    private var jumps: (descriptor: Int32, watch: LoopWatch?) = (-1, nil)
    private var lastSlept = Duration.zero
    /// Shorter differences do not count as sleep: the two clocks are not read at the same moment.
    private static let shortestSleep: Duration = .milliseconds(100)

    /// - Parameters:
    ///   - look: Reads the network; replaced in tests.
    ///   - sleptUntilNow: Returns how long this machine has slept since boot; replaced in tests.
    ///   - onChange: Called on the loop with the new snapshot.
    ///   - onWake: Called on the loop with the length of the sleep.
    package init(
        on loop: TransportLoop, interval: (watched: Duration, blind: Duration) = (.seconds(10), .seconds(2)),
        look: @escaping () -> NetworkSnapshot = NetworkSnapshot.current,
        sleptUntilNow: @escaping () -> Duration = NetworkMonitor.sleptUntilNow,
        onChange: @escaping (NetworkSnapshot) -> Void, onWake: @escaping (Duration) -> Void = { _ in }
    ) {
        self.loop = loop
        self.interval = interval
        self.look = look
        self.onChange = onChange
        self.sleptUntilNow = sleptUntilNow
        self.onWake = onWake
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        if jumps.descriptor >= 0 { close(jumps.descriptor) }
    }

    /// Returns by how much CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC. Reads both again if this thread was delayed in
    /// between.
    package static func sleptUntilNow() -> Duration {
        var least = Duration.seconds(Int64.max)
        for _ in 0..<5 {
            let start = Timestamp.now()
            least = min(least, Timestamp.bootTime() - start)
            if Timestamp.now() - start < .milliseconds(1) { break }
        }
        return least
    }

    /// Whether the kernel reports changes. Otherwise there are only periodic checks.
    package var hasMessages: Bool { watch != nil }

    package func start() {
        loop.preconditionIsCurrent()
        guard timer == nil else { return }
        descriptor = CLinux_netlink_open()
        if descriptor >= 0 {
            watch = try? loop.watch(descriptor, for: .readable) { [weak self] _ in self?.messagesArrived() }
        }
        watchClock()
        last = look()
        wait(hasMessages ? interval.watched : interval.blind)
    }

    /// Stops watching. Idempotent.
    package func stop() {
        loop.preconditionIsCurrent()
        timer?.cancel()
        timer = nil
        watch?.cancel()
        watch = nil
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
        jumps.watch?.cancel()
        if jumps.descriptor >= 0 { close(jumps.descriptor) }
        jumps = (-1, nil)
    }

    /// Whether the kernel reports a resume. Otherwise there are only periodic checks.
    package var hasClockMessages: Bool { jumps.watch != nil }

    private func watchClock() {
        lastSlept = sleptUntilNow()
        jumps.descriptor = CLinux_clock_jumps_open()
        guard jumps.descriptor >= 0 else { return }
        jumps.watch = try? loop.watch(jumps.descriptor, for: .readable) { [weak self] _ in self?.clockJumped() }
    }

    private func clockJumped() {
        CLinux_clock_jumps_rearm(jumps.descriptor)
        checkClock()
    }

    private func checkClock() {
        let slept = sleptUntilNow()
        let sleep = slept - lastSlept
        lastSlept = slept
        if sleep >= Self.shortestSleep { onWake(sleep) }
    }

    private func messagesArrived() {
        CLinux_netlink_drain(descriptor)
        guard !isSettling else { return }
        isSettling = true
        wait(Self.settleTime)
    }

    private func wait(_ time: Duration) {
        timer?.cancel()
        timer = loop.schedule(after: time) { [weak self] in self?.checkNetwork() }
    }

    private func checkNetwork() {
        isSettling = false
        checkClock()
        wait(hasMessages ? interval.watched : interval.blind)
        let now = look()
        guard now != last else { return }
        last = now
        onChange(now)
    }
}
