internal import CNice
internal import Glibc
internal import TransportPluginAPI

/// The limit of agents in this process. A closed agent keeps its sockets until the loop's next turn, or until its
/// relays have answered. GLib ends the whole process when it gets no descriptor for the wake-up of an agent, so the
/// descriptors are checked before.
final class AgentBudget: Sendable {
    static let shared = AgentBudget()

    /// The number of agents, with those that are closing.
    static let maximumAgents = 16_384
    static let maximumClosing = 1024
    /// The number of descriptors that must be free for another agent: its wake-ups, two sockets for each of 16
    /// addresses, and some for other users.
    private static let descriptors: Int32 = 64

    private struct Counts {
        var agents = 0
        var closing = 0
    }
    private let counts = Locked(Counts())

    /// The number of agents that still hold resources.
    var agentCount: Int { counts.withLock { $0.agents } }

    /// Throws `.resourceExhausted` when another agent is not possible now.
    func check() throws(TransportError) {
        let (agents, closing) = counts.withLock { ($0.agents, $0.closing) }
        guard agents < Self.maximumAgents else {
            throw exhausted("it has \(agents), which is the limit")
        }
        guard closing < Self.maximumClosing else {
            throw exhausted("\(closing) are still closing: try again in a moment")
        }
        let error = CNice_try_descriptors(Self.descriptors)
        guard error == 0 else {
            throw exhausted(
                error == ENFILE
                    ? "the system is out of file descriptors (fs.file-max)"
                    : "it is almost out of file descriptors: raise their limit (ulimit -n, LimitNOFILE=)")
        }
    }

    private func exhausted(_ reason: String) -> TransportError {
        TransportError(.resourceExhausted, "this process cannot make another ICE agent: \(reason)", isRetryable: true)
    }

    func made() { counts.withLock { $0.agents += 1 } }

    func closing() { counts.withLock { $0.closing += 1 } }

    func closed() {
        counts.withLock {
            $0.agents -= 1
            $0.closing -= 1
        }
    }
}
