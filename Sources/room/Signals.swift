@preconcurrency internal import Dispatch
internal import Glibc
internal import TransportPluginAPI

/// Calls back for a signal that would otherwise end the process.
final class SignalWatch: Sendable {
    private let source: any DispatchSourceSignal

    init(_ number: Int32, _ handler: @escaping @Sendable (Int32) -> Void) {
        signal(number, SIG_IGN)
        source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler { handler(number) }
        source.activate()
    }

    func cancel() { source.cancel() }

    /// The signals that end a command: SIGINT, SIGTERM, and SIGHUP, which a closing terminal sends.
    static let ending = [SIGINT, SIGTERM] + (isIgnored(SIGHUP) ? [] : [SIGHUP])

    /// Watches the signals that end a command: calls `stop`, and ends the process with the status of an interruption.
    static func interrupting(_ stop: @escaping @Sendable () -> Void) -> [SignalWatch] {
        ending.map { number in
            SignalWatch(number) { _ in
                stop()
                exit(ExitStatus.interrupted.rawValue)
            }
        }
    }

    /// Whether the parent process wants the signal ignored, as `nohup` does.
    static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        guard sigaction(number, nil, &action) == 0, action.sa_flags & SA_SIGINFO == 0 else { return false }
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
    }
}

/// The external reasons for a command to end: SIGINT, SIGTERM, SIGHUP, and a reader of its output that is gone.
final class StopSignals: Sendable {
    enum Stop: Sendable {
        case signal(Int32)
        case readerGone
    }

    private struct State {
        var firstAt: Timestamp?
        var isOver = false
        var watches: [SignalWatch] = []
    }

    let stops: AsyncStream<Stop>
    private let feed: AsyncStream<Stop>.Continuation
    private let state = Locked(State())

    init() {
        (stops, feed) = AsyncStream.makeStream(of: Stop.self)
        let watches = SignalWatch.ending.map { SignalWatch($0) { [weak self] number in self?.received(number) } }
        state.withLock { $0.watches = watches }
    }

    var hasStopped: Bool { state.withLock { $0.firstAt != nil } }

    func readerIsGone() {
        state.withLock { $0.firstAt = $0.firstAt ?? .now() }
        feed.yield(.readerGone)
    }

    /// Records that everything is done except the final message: the next signal ends the process.
    func isOver() { state.withLock { $0.isOver = true } }

    func cancel() { for watch in state.withLock({ $0.watches }) { watch.cancel() } }

    private func received(_ number: Int32) {
        let mustEnd = state.withLock { state -> Bool in
            if state.isOver { return true }
            guard let first = state.firstAt else {
                state.firstAt = .now()
                return false
            }
            // A signal to a process and its group at the same time counts once.
            return number == SIGINT && .now() - first > .milliseconds(200)
        }
        if mustEnd { _exit(128 + number) }
        feed.yield(.signal(number))
    }
}
