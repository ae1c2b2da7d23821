internal import Foundation
internal import TransportPluginAPI

/// A thread that spins at the lowest priority, so that a core never sleeps.
package final class BusyLoop: Sendable {
    private let isStopped = Locked(false)

    package init() {
        let thread = Thread { [isStopped] in
            nice(19)
            var turns: UInt64 = 0
            while true {
                turns &+= 1
                if turns & 0xFFFFF == 0, isStopped.withLock({ $0 }) { return }
            }
        }
        thread.start()
    }

    package func stop() { isStopped.withLock { $0 = true } }
}
