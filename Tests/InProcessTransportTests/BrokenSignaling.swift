import Glibc
import InProcessTransport
import TransportPluginAPI

/// A signaling transport that breaks the contract in one way.
struct BrokenSignaling: SignalingTransport {
    enum Fault: String, Sendable, CaseIterable {
        case swapsMessages, forgetsTheCloseReason, hasNoMaximum, turnsTextIntoBinary, neverWaits, connectsAfterShutdown
        case leaksADescriptor, leaksMemory, ignoresAbort, losesWhatCameEarly

        /// The clauses that it breaks.
        var breaks: Set<String> {
            switch self {
            case .swapsMessages: []
            case .forgetsTheCloseReason: ["signaling.end.01"]
            case .hasNoMaximum: ["signaling.message.04"]
            case .turnsTextIntoBinary: []
            case .neverWaits: []
            case .connectsAfterShutdown: []
            case .leaksADescriptor: []
            case .leaksMemory: ["signaling.life.04"]
            case .ignoresAbort: []
            case .losesWhatCameEarly: ["signaling.message.07"]
            }
        }
    }

    let base: InProcessSignalingTransport
    let fault: Fault

    nonisolated(nonsending) func connect(to endpoint: SignalingEndpoint) async throws(TransportError)
        -> BrokenConnection
    {
        var endpoint = endpoint
        if fault == .hasNoMaximum { endpoint.maximumMessageSize = .max }
        if fault == .neverWaits { endpoint.bufferLimit = 1 << 30 }
        let connection = BrokenConnection(base: try await base.connect(to: endpoint), fault: fault)
        if fault == .leaksADescriptor { _ = dup(0) }
        if fault == .leaksMemory { _ = malloc(100) }
        return connection
    }

    nonisolated(nonsending) func shutdown() async {
        if fault != .connectsAfterShutdown { await base.shutdown() }
    }
}

final class BrokenConnection: SignalingConnection {
    let base: InProcessSignalingConnection
    let fault: BrokenSignaling.Fault
    private let held = Locked<SignalingMessage?>(nil)
    private let hasSent = Locked(false)

    init(base: InProcessSignalingConnection, fault: BrokenSignaling.Fault) {
        self.base = base
        self.fault = fault
    }

    nonisolated(nonsending) func send(_ message: SignalingMessage) async throws(TransportError) {
        hasSent.withLock { $0 = true }
        guard fault == .swapsMessages else {
            return try await base.send(fault == .turnsTextIntoBinary ? .binary(message.payload) : message)
        }
        // Every other message goes out before the one that came first; a message alone goes out when it is asked for.
        let earlier = held.withLock { held in
            defer { held = held == nil ? message : nil }
            return held
        }
        guard let earlier else { return }
        try await base.send(message)
        try await base.send(earlier)
    }

    nonisolated(nonsending) func receive() async throws(TransportError) -> SignalingMessage? {
        if let alone = held.withLock({ $0.take() }) { try await base.send(alone) }
        let message = try await base.receive()
        // The first of several that came before anybody asked.
        if fault == .losesWhatCameEarly, message?.payload == Payload("0") { return try await base.receive() }
        return message
    }

    var closeReason: SignalingClose? { fault == .forgetsTheCloseReason ? nil : base.closeReason }

    nonisolated(nonsending) func close(_ reason: SignalingClose, within deadline: Duration) async {
        await base.close(reason, within: deadline)
    }

    func abort() { if fault != .ignoresAbort { base.abort() } }
}
