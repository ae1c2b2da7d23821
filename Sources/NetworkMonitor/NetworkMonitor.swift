internal import CLinux
internal import Glibc
package import TransportPluginAPI

/// Watches this machine from a transport loop: says when addresses, carriers or default routes have changed, and when it has slept.
///
/// The kernel's messages (rtnetlink) only say that it is time to look; what counts is whether two looks differ. So a machine on which they
/// do not come (some containers) is looked at now and then, by the same code.
///
/// A sleep shows in the distance between CLOCK_BOOTTIME, which goes on, and CLOCK_MONOTONIC, which stands still. A timer on the wall clock
/// that the kernel cancels when that clock jumps (`TFD_TIMER_CANCEL_ON_SET`, which a resume does) says when to look; so does every other
/// look.
///
/// **Isolation.** The loop's own thread, `init` excepted.
// SAFETY of `@unchecked Sendable`: touched only on the loop.
package final class NetworkMonitor: @unchecked Sendable {
    /// From the kernel's first message to the look: changes come in groups.
    private static let settleTime: Duration = .milliseconds(20)
    /// Between looks that nothing gave reason for: with the kernel's messages, and without.
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
    /// Two clocks are not read at the same moment: less is no sleep.
    private static let shortestSleep: Duration = .milliseconds(100)

    /// - Parameters:
    ///   - look: how to see the network; for tests.
    ///   - sleptUntilNow: how long this machine has slept since it was booted; for tests.
    ///   - onChange: called on the loop with what there is now.
    ///   - onWake: called on the loop with the length of the sleep.
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

    /// By how much CLOCK_BOOTTIME is before CLOCK_MONOTONIC. Read again where this thread was held up between the two clocks.
    package static func sleptUntilNow() -> Duration {
        var least = Duration.seconds(Int64.max)
        for _ in 0..<5 {
            let start = Timestamp.now()
            least = min(least, Timestamp.bootTime() - start)
            if Timestamp.now() - start < .milliseconds(1) { break }
        }
        return least
    }

    /// Whether the kernel tells of changes; otherwise looks are all there is.
    package var hasMessages: Bool { watch != nil }

    package func start() {
        loop.preconditionIsCurrent()
        guard timer == nil else { return }
        descriptor = CLinux_netlink_open()
        if descriptor >= 0 {
            watch = try? loop.watch(descriptor, for: .readable) { [weak self] _ in self?.messagesCame() }
        }
        watchClock()
        last = look()
        wait(hasMessages ? interval.watched : interval.blind)
    }

    /// Idempotent.
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

    /// Whether the kernel tells of a resume; otherwise looks are all there is.
    package var hasClockMessages: Bool { jumps.watch != nil }

    private func watchClock() {
        lastSlept = sleptUntilNow()
        jumps.descriptor = CLinux_clock_jumps_open()
        guard jumps.descriptor >= 0 else { return }
        jumps.watch = try? loop.watch(jumps.descriptor, for: .readable) { [weak self] _ in self?.clockJumped() }
    }

    private func clockJumped() {
        CLinux_clock_jumps_rearm(jumps.descriptor)
        lookAtClock()
    }

    private func lookAtClock() {
        let slept = sleptUntilNow()
        let sleep = slept - lastSlept
        lastSlept = slept
        if sleep >= Self.shortestSleep { onWake(sleep) }
    }

    private func messagesCame() {
        CLinux_netlink_drain(descriptor)
        guard !isSettling else { return }
        isSettling = true
        wait(Self.settleTime)
    }

    private func wait(_ time: Duration) {
        timer?.cancel()
        timer = loop.schedule(after: time) { [weak self] in self?.lookAgain() }
    }

    private func lookAgain() {
        isSettling = false
        lookAtClock()
        wait(hasMessages ? interval.watched : interval.blind)
        let now = look()
        guard now != last else { return }
        last = now
        onChange(now)
    }
}
