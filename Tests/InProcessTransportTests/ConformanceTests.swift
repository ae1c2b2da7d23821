import InProcessTransport
import Testing
import TransportPluginAPI
import TransportTestKit

@Suite struct InProcessSignalingConformance {
    static let network = InProcessSignalingNetwork()

    static let subject = carryingHeaders(
        SignalingSubject(
            capabilities: [], makeTransport: { InProcessSignalingTransport(network: network) },
            startServer: { try InProcessTestServer(network: network, behaviour: $0) }))

    /// Headers are carried: the server's end sees the endpoint itself.
    private static func carryingHeaders<Transport>(
        _ subject: SignalingSubject<Transport>
    ) -> SignalingSubject<Transport> {
        var subject = subject
        subject.carriesHeaders = true
        return subject
    }

    @Test(arguments: SignalingConformance.clauses(of: subject))
    func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }

    /// The decorator without a fault, which must be invisible.
    static let decorated = carryingHeaders(
        SignalingSubject(
            capabilities: [],
            makeTransport: {
                FaultInjectingSignalingTransport(
                    InProcessSignalingTransport(network: network), control: SignalingFaultControl())
            },
            startServer: { try InProcessTestServer(network: network, behaviour: $0) }))

    @Test(arguments: SignalingConformance.clauses(of: decorated))
    func keepsTheContractBehindTheFaultDecorator(_ clause: ConformanceClause) async throws { try await clause.run() }
}

@Suite struct InProcessPeerConformance {
    static let subject = PeerSubject(
        capabilities: [.pathRestart],
        makeTransports: {
            let network = InProcessPeerNetwork(loop: try TransportLoop(name: "peers"))
            return (InProcessPeerTransport(network: network), InProcessPeerTransport(network: network))
        },
        setPath: { isUp, left, _ in
            if isUp { left.network.restore() } else { left.network.cut() }
            await left.loop.run {}
        },
        tearDown: { left, _ in await left.loop.shutdown() })

    @Test(arguments: PeerConformance.clauses(of: subject))
    func keepsTheContract(_ clause: ConformanceClause) async throws { try await clause.run() }
}

/// The behaviour of the kit's server, in memory.
struct InProcessTestServer: SignalingTestServer {
    let endpoint: SignalingEndpoint
    private let listener: InProcessSignalingListener
    private let gate = AsyncStream<Void>.makeStream()
    private let task: Task<Void, Never>

    /// - Parameter messages: Sent first, to each connection.
    init(
        network: InProcessSignalingNetwork, behaviour: SignalingServerBehaviour,
        saying messages: [SignalingMessage] = []
    ) throws {
        let listener = try network.listen()
        let gate = gate
        self.listener = listener
        endpoint = try SignalingEndpoint(url: listener.url)
        task = Task {
            await withDiscardingTaskGroup { group in
                for await connection in listener {
                    group.addTask {
                        for message in messages { try? await connection.send(message) }
                        try? await behaviour.perform(on: connection, until: gate.stream)
                    }
                }
            }
        }
    }

    func resume() { gate.continuation.finish() }

    func stop() {
        listener.close()
        gate.continuation.finish()
        task.cancel()
    }
}
