internal import CLinux
internal import Glibc
package import TransportPluginAPI

/// Watches this machine's network from a transport loop: says when addresses, carriers or default routes have changed.
///
/// The kernel's messages (rtnetlink) only say that it is time to look; what counts is whether two looks differ. So a machine on which they
/// do not come (some containers) is looked at now and then, by the same code.
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
    private var last = NetworkSnapshot()
    private var descriptor: Int32 = -1
    private var watch: LoopWatch?
    private var timer: LoopTimer?
    private var isSettling = false

    /// - Parameters:
    ///   - look: how to see the network; for tests.
    ///   - onChange: called on the loop with what there is now.
    package init(
        on loop: TransportLoop, interval: (watched: Duration, blind: Duration) = (.seconds(10), .seconds(2)),
        look: @escaping () -> NetworkSnapshot = NetworkSnapshot.current,
        onChange: @escaping (NetworkSnapshot) -> Void
    ) {
        self.loop = loop
        self.interval = interval
        self.look = look
        self.onChange = onChange
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Whether the kernel tells of changes; otherwise looks are all there is.
    package var hasMessages: Bool { watch != nil }

    package func start() {
        loop.preconditionIsCurrent()
        guard timer == nil else { return }
        descriptor = CLinux_netlink_open()
        if descriptor >= 0 {
            watch = try? loop.watch(descriptor, for: .readable) { [weak self] _ in self?.messagesCame() }
        }
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
        wait(hasMessages ? interval.watched : interval.blind)
        let now = look()
        guard now != last else { return }
        last = now
        onChange(now)
    }
}
