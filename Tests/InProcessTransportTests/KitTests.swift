import InProcessTransport
import Testing
import TransportPluginAPI
import TransportTestKit

/// Transports that break the contract: the kit must notice.
@Suite struct TheKit {
    enum Fault: String, Sendable, CaseIterable {
        case swapsMessages = "signaling.message.05"
        case forgetsTheCloseReason = "signaling.end.01"
        case hasNoMaximum = "signaling.message.04"
        case turnsTextIntoBinary = "signaling.message.01"
        case neverWaits = "signaling.pressure.01"
        case connectsAfterShutdown = "signaling.connect.04"
    }

    @Test(arguments: Fault.allCases)
    func noticesATransportThat(_ fault: Fault) async throws {
        let network = InProcessSignalingNetwork()
        let subject = SignalingSubject(
            capabilities: [],
            makeTransport: { BrokenTransport(base: InProcessSignalingTransport(network: network), fault: fault) },
            startServer: { try InProcessTestServer(network: network, behaviour: $0) })
        let clause = try #require(SignalingConformance.clauses(of: subject).first { $0.id == fault.rawValue })
        await #expect(throws: ConformanceFailure.self) { try await clause.run() }
    }

    @Test func givesEachClauseAnIdentifierOfItsOwn() {
        let subject = SignalingSubject(
            capabilities: [],
            makeTransport: { InProcessSignalingTransport(network: InProcessSignalingNetwork()) })
        let identifiers = SignalingConformance.clauses(of: subject).map(\.id)
        #expect(Set(identifiers).count == identifiers.count && identifiers.count > 40)
    }
}

private struct BrokenTransport: SignalingTransport {
    let base: InProcessSignalingTransport
    let fault: TheKit.Fault

    nonisolated(nonsending) func connect(to endpoint: SignalingEndpoint) async throws(TransportError)
        -> BrokenConnection
    {
        var endpoint = endpoint
        if fault == .hasNoMaximum { endpoint.maximumMessageSize = .max }
        if fault == .neverWaits { endpoint.bufferLimit = 1 << 30 }
        return BrokenConnection(base: try await base.connect(to: endpoint), fault: fault)
    }

    nonisolated(nonsending) func shutdown() async {
        if fault != .connectsAfterShutdown { await base.shutdown() }
    }
}

private final class BrokenConnection: SignalingConnection {
    let base: InProcessSignalingConnection
    let fault: TheKit.Fault
    private let held = Locked<SignalingMessage?>(nil)

    init(base: InProcessSignalingConnection, fault: TheKit.Fault) {
        self.base = base
        self.fault = fault
    }

    nonisolated(nonsending) func send(_ message: SignalingMessage) async throws(TransportError) {
        if fault == .swapsMessages {
            let earlier = held.withLock { held in
                defer { held = held == nil ? message : nil }
                return held
            }
            guard let earlier else { return }
            try await base.send(message)
            return try await base.send(earlier)
        }
        try await base.send(fault == .turnsTextIntoBinary ? .binary(message.payload) : message)
    }

    nonisolated(nonsending) func receive() async throws(TransportError) -> SignalingMessage? {
        try await base.receive()
    }
    var closeReason: SignalingClose? { fault == .forgetsTheCloseReason ? nil : base.closeReason }
    nonisolated(nonsending) func close(_ reason: SignalingClose, within deadline: Duration) async {
        await base.close(reason, within: deadline)
    }
    func abort() { base.abort() }
}
