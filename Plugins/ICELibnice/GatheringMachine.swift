/// Decides when an agent has found all of its candidates: libnice is done, all names of relays have been looked up, and
/// no STUN server's answer is waited for. Pure.
struct GatheringMachine: Equatable {
    private enum State: Equatable {
        /// Can transition to: running.
        case idle
        /// Can transition to: ended.
        case running(Running)
        /// The end was reported.
        case ended
    }

    private struct Running: Equatable {
        /// Not all servers have been asked a first time.
        var isStarting = true
        /// Relays that libnice does not know of yet.
        var pendingRelays: Int
        /// libnice has reported its end, which ignores pending relays.
        var isLibniceDone = false
    }

    private var state = State.idle

    var isBegun: Bool { state != .idle }
    var isEnded: Bool { state == .ended }
    var isLibniceDone: Bool { if case .running(let running) = state { running.isLibniceDone } else { false } }

    /// Gathering begins, with this many relays whose address is still to be found.
    mutating func began(relays: Int) { state = .running(Running(pendingRelays: relays)) }

    /// All servers whose address is known have been asked.
    mutating func started() { update { $0.isStarting = false } }

    mutating func libniceDone() { update { $0.isLibniceDone = true } }

    /// libnice has got a relay, or the relay has no address. With `asksAgain`, libnice was done and gathers again
    /// because of it; it will report its end again.
    mutating func relayLookedUp(asksAgain: Bool) {
        update {
            $0.pendingRelays -= 1
            if asksAgain { $0.isLibniceDone = false }
        }
    }

    /// Returns whether the end must be reported now; true once. `isSTUNOver` says that no STUN server's answer is
    /// expected.
    mutating func takeEnd(isSTUNOver: Bool) -> Bool {
        guard isSTUNOver, case .running(let running) = state, running.isLibniceDone, !running.isStarting,
            running.pendingRelays == 0
        else { return false }
        state = .ended
        return true
    }

    private mutating func update(_ change: (inout Running) -> Void) {
        guard case .running(var running) = state else { return }
        change(&running)
        state = .running(running)
    }
}
