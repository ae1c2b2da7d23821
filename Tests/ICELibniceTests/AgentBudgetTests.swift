import Glibc
import Testing
import TransportPluginAPI

@testable import ICELibnice

/// GLib ends a process that has no descriptor for it. Each test runs in a separate process, since descriptors belong to
/// the process.
@Suite struct AgentBudgetTests {
    @Test func anAgentIsRefusedBeforeGLibRunsOutOfDescriptors() async {
        await #expect(processExitsWith: .success) {
            limitDescriptors(to: 256)
            try await withLoops(1) { loops in
                let (peers, refusal) = await loops[0].run { () -> ([TestPeer], TransportError) in
                    var peers: [TestPeer] = []
                    while true {
                        let peer = TestPeer(loop: loops[0])
                        do throws(TransportError) {
                            try peer.make(controlling: false)
                            try peer.agent.gather()
                            peers.append(peer)
                        } catch { return (peers, error) }
                    }
                }
                guard refusal.code == .resourceExhausted, refusal.isRetryable, peers.count > 10 else {
                    exit(2)
                }
                // What is given back can be had again.
                for peer in peers { await peer.close() }
                while AgentBudget.shared.agentCount > 0 { await loops[0].run {} }
                let fresh = try await TestPeer.make(on: loops[0], controlling: false)
                await fresh.close()
            }
        }
    }

    /// However many descriptors are left, and wherever they run out: an error, not the end of the process.
    @Test func everyNumberOfDescriptorsLeftIsSurvived() async {
        await #expect(processExitsWith: .success) {
            limitDescriptors(to: 512)
            try await withLoops(1) { loops in
                await loops[0].run {
                    var taken: [Int32] = []
                    while case let descriptor = dup(STDERR_FILENO), descriptor >= 0 { taken.append(descriptor) }
                    while let descriptor = taken.popLast(), taken.count > 300 {
                        close(descriptor)
                        let peer = TestPeer(loop: loops[0])
                        do throws(TransportError) {
                            try peer.make(controlling: true)
                            defer { peer.agent.close() }
                            try peer.agent.gather()
                        } catch {
                            guard error.code == .resourceExhausted || error.code == .unreachable else { exit(2) }
                        }
                    }
                }
            }
        }
    }
}

private func limitDescriptors(to count: rlim_t) {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = count
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
