#if NIO
    internal import NIOCore
    internal import NIOPosix
    internal import TransportPluginAPI

    /// A transport's event loop, with its drivers.
    // SAFETY: `state` is behind its lock; `drivers` and `isEnding` are touched only on the event loop.
    final class Loop: @unchecked Sendable {
        private enum State: Sendable {
            case running
            case ending([@Sendable () -> Void])
            case ended
        }

        static let shutDown = TransportError(.closed, "the transport was shut down")

        private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let eventLoop: any EventLoop
        private let state = Locked(State.running)
        private var drivers: [ObjectIdentifier: NIODriver] = [:]
        private var isEnding = false

        init() { eventLoop = group.next() }

        // MARK: From any thread

        var isRunning: Bool {
            state.withLock { state in
                if case .running = state { true } else { false }
            }
        }

        /// Runs `work` on the event loop, in the order of the calls. Returns false and drops `work` when the transport
        /// is ending or has ended. SwiftNIO accepts nothing on an ended loop, so the lock is held until it has accepted
        /// the work.
        @discardableResult
        func post(_ work: @escaping @Sendable () -> Void) -> Bool {
            state.withLock { state in
                guard case .running = state else { return false }
                eventLoop.execute(work)
                return true
            }
        }

        /// Ends open connections and the thread, then calls `done`. Idempotent.
        func end(_ done: @escaping @Sendable () -> Void) {
            enum Step: Sendable { case first, wait, done }
            let step = state.withLock { state -> Step in
                switch state {
                case .running:
                    state = .ending([done])
                    eventLoop.execute {
                        self.isEnding = true
                        for driver in self.drivers.values { driver.end() }
                        self.finishEnding()
                    }
                    return .first
                case .ending(let waiting):
                    state = .ending(waiting + [done])
                    return .wait
                case .ended: return .done
                }
            }
            if case .done = step { done() }
        }

        // MARK: On the event loop

        func schedule(at deadline: Timestamp, _ work: @escaping @Sendable () -> Void) -> Scheduled<Void> {
            let delay = min(max(deadline - .now(), .zero), .seconds(365 * 86_400))
            return eventLoop.scheduleTask(in: .nanoseconds(delay.saturatedNanoseconds), work)
        }

        /// Adds a driver. Returns false when the transport is ending.
        func register(_ driver: NIODriver) -> Bool {
            guard !isEnding else { return false }
            drivers[ObjectIdentifier(driver)] = driver
            return true
        }

        func unregister(_ driver: NIODriver) {
            guard drivers.removeValue(forKey: ObjectIdentifier(driver)) != nil else { return }
            finishEnding()
        }

        private func finishEnding() {
            guard isEnding, drivers.isEmpty else { return }
            group.shutdownGracefully { _ in
                let waiting = self.state.withLock { state -> [@Sendable () -> Void] in
                    guard case .ending(let waiting) = state else { return [] }
                    state = .ended
                    return waiting
                }
                for done in waiting { done() }
            }
        }
    }
#endif
