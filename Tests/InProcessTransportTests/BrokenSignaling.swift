import Glibc
import InProcessTransport
import TransportPluginAPI

/// A signaling transport that breaks the contract in one way.
struct BrokenSignaling: SignalingTransport {
    enum Fault: String, Sendable, CaseIterable {
        case swapsMessages, forgetsTheCloseReason, hasNoMaximum, losesEmptyMessages, connectsAfterShutdown
        case leaksMemory, losesWhatCameEarly

        /// The clauses that it breaks.
        var breaks: Set<String> {
            switch self {
            case .swapsMessages: ["signaling.message.05"]
            case .forgetsTheCloseReason: ["signaling.end.01"]
            case .hasNoMaximum: ["signaling.message.04"]
            case .losesEmptyMessages: ["signaling.message.01"]
            case .connectsAfterShutdown: ["signaling.connect.04"]
            case .leaksMemory: ["signaling.life.04"]
            case .losesWhatCameEarly: ["signaling.message.07"]
            }
        }
    }

    let base: InProcessSignalingTransport
    let spare: InProcessSignalingTransport
    let fault: Fault
    private let isOver = Locked(false)

    init(network: InProcessSignalingNetwork, fault: Fault) {
        base = InProcessSignalingTransport(network: network)
        spare = InProcessSignalingTransport(network: network)
        self.fault = fault
    }

    nonisolated(nonsending) func connect(to endpoint: SignalingEndpoint) async throws(TransportError)
        -> BrokenConnection
    {
        if fault == .connectsAfterShutdown, isOver.withLock({ $0 }) {
            // Somewhere else, where nobody shut anything down.
            return BrokenConnection(base: try await spare.connect(to: endpoint), fault: fault)
        }
        var endpoint = endpoint
        if fault == .hasNoMaximum { endpoint.maximumMessageSize = .max }
        let connection = BrokenConnection(base: try await base.connect(to: endpoint), fault: fault)
        if fault == .leaksMemory { _ = malloc(100) }
        return connection
    }

    nonisolated(nonsending) func shutdown() async {
        isOver.withLock { $0 = true }
        await base.shutdown()
    }
}

final class BrokenConnection: SignalingConnection {
    let base: InProcessSignalingConnection
    let fault: BrokenSignaling.Fault
    private let held = Locked<SignalingMessage?>(nil)
    private let hasSentLast = Locked(false)

    init(base: InProcessSignalingConnection, fault: BrokenSignaling.Fault) {
        self.base = base
        self.fault = fault
    }

    nonisolated(nonsending) func send(_ message: SignalingMessage) async throws(TransportError) {
        if message == .text(Payload("last")) { hasSentLast.withLock { $0 = true } }
        switch fault {
        case .losesEmptyMessages where message.payload.isEmpty: return
        case .swapsMessages where message == .text(Payload("1000")): held.withLock { $0 = message }
        default:
            try await base.send(message)
            if let earlier = held.withLock({ $0.take() }) { try await base.send(earlier) }
        }
    }

    nonisolated(nonsending) func receive() async throws(TransportError) -> SignalingMessage? {
        let message = try await base.receive()
        // Of a server that counts, the first.
        if fault == .losesWhatCameEarly, message == .text(Payload("0")), hasSentLast.withLock({ $0 }) {
            return try await base.receive()
        }
        return message
    }

    var closeReason: SignalingClose? { fault == .forgetsTheCloseReason ? nil : base.closeReason }

    nonisolated(nonsending) func close(_ reason: SignalingClose, within deadline: Duration) async {
        await base.close(reason, within: deadline)
    }

    func abort() { base.abort() }
}
