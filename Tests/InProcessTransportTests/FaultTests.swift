import InProcessTransport
import Testing
import TransportPluginAPI

@Suite struct SignalingFaults {
    let network = InProcessSignalingNetwork()
    let control = SignalingFaultControl()

    typealias Client = FaultInjectingSignalingConnection<InProcessSignalingConnection>

    private func connect(
        _ body: (Client, InProcessSignalingConnection) async throws -> Void
    ) async throws {
        let listener = try network.listen()
        let transport = FaultInjectingSignalingTransport(
            InProcessSignalingTransport(network: network), control: control)
        let client = try await transport.connect(to: SignalingEndpoint(url: listener.url))
        var iterator = listener.makeAsyncIterator()
        let server = try #require(await iterator.next())
        try await body(client, server)
        await transport.shutdown()
        listener.close()
    }

    private func code(_ body: () async throws -> Void) async -> TransportError.Code? {
        do { try await body() } catch { return (error as? TransportError)?.code }
        return nil
    }

    @Test func aCutConnectionTakesMessagesAndLosesThemUnnoticed() async throws {
        try await connect { client, server in
            control.cut()
            try await client.send(.text(Payload("lost")))
            try await server.send(.text(Payload("lost too")))
            let receiver = Task { try await client.receive() }
            // The server does not notice a connection that the client drops while it is cut; restoring the path breaks
            // the connection.
            client.abort()
            #expect(await code { _ = try await receiver.value } == .closed)
            control.restore()
            #expect(await code { _ = try await server.receive() } == .closed)
        }
    }

    @Test func aRestoredConnectionThatWasCutIsBroken() async throws {
        try await connect { client, server in
            control.cut()
            try await client.send(.text(Payload("lost")))
            control.restore()
            #expect(await code { _ = try await client.receive() } == .closed)
            #expect(await code { _ = try await server.receive() } == .closed)
        }
    }

    @Test func connectionsMadeAfterACutWork() async throws {
        try await connect { _, _ in
            control.cut()
            try await connect { client, server in
                try await client.send(.text(Payload("x")))
                #expect(try await server.receive() == .text(Payload("x")))
            }
        }
    }

    @Test func aResetBreaksBothEnds() async throws {
        try await connect { client, server in
            control.reset()
            #expect(await code { _ = try await client.receive() } == .closed)
            #expect(await code { _ = try await server.receive() } == .closed)
        }
    }

    @Test func attemptsCanBeRefusedAndSwallowed() async throws {
        let listener = try network.listen()
        let transport = FaultInjectingSignalingTransport(
            InProcessSignalingTransport(network: network), control: control)
        var endpoint = try SignalingEndpoint(url: listener.url)
        endpoint.connectTimeout = .milliseconds(50)
        control.admission = .refused(status: 503, retryAfter: .seconds(3))
        do {
            _ = try await transport.connect(to: endpoint)
            Issue.record("the attempt should have been refused")
        } catch {
            #expect(error.code == .refused && error.status == 503 && error.retryAfter == .seconds(3))
        }
        control.cut(newConnectionsToo: true)
        #expect(await code { _ = try await transport.connect(to: endpoint) } == .timedOut)
        control.restore()
        let connection = try await transport.connect(to: endpoint)
        connection.abort()
    }
}

/// Agents that are connected directly: the datagrams of one go to the other.
private final class PairedAgent: ICEAgent {
    let localCredentials = ICECredentials(usernameFragment: "u", password: "p")
    var handler: (any ICEAgentHandler)?
    weak var other: PairedAgent?
    var candidates: [String] = []
    var selectedPath: PeerPath? { nil }

    init(_ handler: any ICEAgentHandler) { self.handler = handler }
    func gather() { handler?.iceAgent(didEmit: .candidate("mine")) }
    func setRemoteCredentials(_ credentials: ICECredentials) {}
    func addRemoteCandidate(_ candidate: String) { candidates.append(candidate) }
    func endOfRemoteCandidates() { candidates.append("end") }
    func send(_ batch: DatagramBatch) {
        other?.handler?.iceAgent(didReceive: batch)
        batch.removeAll()
    }
    func close() { handler = nil }
}

// SAFETY: touched only on the loop.
private final class PairedProvider: ICEAgentProvider, @unchecked Sendable {
    var agents: [PairedAgent] = []
    func makeAgent(
        _ configuration: ICEAgentConfiguration, on loop: TransportLoop, handler: any ICEAgentHandler
    ) -> PairedAgent {
        agents.append(PairedAgent(handler))
        return agents[agents.count - 1]
    }
}

// SAFETY: touched only on the loop.
private final class Recorder: ICEAgentHandler, @unchecked Sendable {
    var candidates: [String] = []
    var datagrams = 0
    func iceAgent(didEmit event: ICEAgentEvent) {
        if case .candidate(let text) = event { candidates.append(text) }
    }
    func iceAgent(didReceive batch: DatagramBatch) { datagrams += batch.count }
}

@Suite struct ICEFaults {
    @Test func cuttingDropsDatagramsBothWaysAndARestartCanHeal() async throws {
        let loop = try TransportLoop(name: "faults")
        let control = ICEFaultControl()
        let base = PairedProvider()
        let recorder = Recorder()
        let provider = FaultInjectingICEAgentProvider(base, control: control)

        func exchange(_ left: Int, _ right: Int) {
            base.agents[left].other = base.agents[right]
            base.agents[right].other = base.agents[left]
        }
        @Sendable func datagram() -> DatagramBatch {
            let batch = DatagramBatch(capacity: 64, maximumCount: 1)
            _ = [UInt8](repeating: 1, count: 8).withUnsafeBytes { batch.append($0) }
            return batch
        }
        let configuration = ICEAgentConfiguration(isControlling: true)
        try await loop.runThrowing { () throws(TransportError) in
            let first = try provider.makeAgent(configuration, on: loop, handler: recorder)
            let second = try provider.makeAgent(configuration, on: loop, handler: recorder)
            base.agents[0].other = base.agents[1]
            base.agents[1].other = base.agents[0]
            first.send(datagram())
            #expect(recorder.datagrams == 1)
            control.cut(newAgentsToo: true)
            loop.execute { [first, second] in
                let batch = datagram()
                first.send(batch)
                second.send(datagram())
                #expect(batch.isEmpty && recorder.datagrams == 1)
            }
        }
        try await loop.runThrowing { () throws(TransportError) in
            // An agent that starts cut learns nothing before the path is restored.
            let third = try provider.makeAgent(configuration, on: loop, handler: recorder)
            try third.gather()
            try third.addRemoteCandidate("theirs")
            third.endOfRemoteCandidates()
            #expect(recorder.candidates.isEmpty && base.agents[2].candidates.isEmpty)
            control.restore()
            loop.execute { [third] in
                #expect(recorder.candidates == ["mine"] && base.agents[2].candidates == ["theirs", "end"])
                third.close()
            }
        }
        try await loop.runThrowing { () throws(TransportError) in
            control.cut(newAgentsToo: false)
            let fresh = try provider.makeAgent(configuration, on: loop, handler: recorder)
            try fresh.gather()
            #expect(recorder.candidates == ["mine", "mine"])
            for agent in base.agents { agent.close() }
        }
        await loop.shutdown()
    }
}
