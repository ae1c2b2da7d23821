import Glibc
import InProcessTransport
import TransportPluginAPI

/// A signaling transport that breaks the contract in one way. It simulates what an in-process network cannot show (a
/// silent host, names, hostile bytes), correctly unless that is the fault.
struct BrokenSignaling: SignalingTransport {
    enum Fault: String, Sendable, CaseIterable {
        // First, because resources that others free later would hide it.
        case leaksMemory
        case swapsMessages, forgetsTheCloseReason, hasNoMaximum, losesEmptyMessages, connectsAfterShutdown
        case losesWhatCameEarly
        case forgetsTheTimeout, ignoresCancellation, forgetsAttemptsInShutdown, leaksAttempts, callsUnknownNamesRefused
        case ignoresHeaders, ignoresSubprotocols, believesText, takesAnySize, losesWhatCameBeforeTheEnd

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
            case .forgetsTheTimeout: ["signaling.connect.07"]
            case .ignoresCancellation: ["signaling.connect.08"]
            case .forgetsAttemptsInShutdown: ["signaling.connect.09"]
            case .leaksAttempts: ["signaling.connect.07", "signaling.connect.08", "signaling.connect.09"]
            case .callsUnknownNamesRefused: ["signaling.connect.10"]
            case .ignoresHeaders, .ignoresSubprotocols: ["signaling.connect.11"]
            case .believesText: ["signaling.message.08"]
            case .takesAnySize: ["signaling.message.09"]
            case .losesWhatCameBeforeTheEnd: ["signaling.message.08", "signaling.message.09"]
            }
        }
    }

    /// Attempts that get no answer. Some faults never end theirs, so the test does; otherwise their tasks would outlive
    /// it.
    final class Attempts: Sendable {
        private let waiting = Locked<[MessageBuffer]>([])

        func add(_ attempt: MessageBuffer) { waiting.withLock { $0.append(attempt) } }

        func end() {
            for attempt in waiting.withLock({ $0 }) {
                attempt.finish(TransportError(.closed, "the transport is shut down"))
            }
        }
    }

    /// The name of a host that answers nothing.
    static let silentHost = "silent"

    let base: InProcessSignalingTransport
    let spare: InProcessSignalingTransport
    let fault: Fault?
    private let isOver = Locked(false)
    private let attempts = Attempts()
    private let allAttempts: Attempts

    init(network: InProcessSignalingNetwork, fault: Fault?, allAttempts: Attempts) {
        self.allAttempts = allAttempts
        base = InProcessSignalingTransport(network: network)
        spare = InProcessSignalingTransport(network: network)
        self.fault = fault
    }

    nonisolated(nonsending) func connect(to endpoint: SignalingEndpoint) async throws(TransportError)
        -> BrokenConnection
    {
        guard endpoint.headers.isEmpty || fault == .ignoresHeaders,
            endpoint.subprotocols.isEmpty || fault == .ignoresSubprotocols
        else { throw TransportError(.notSupported, "no headers and no subprotocols are carried") }
        if endpoint.host == Self.silentHost { try await waitInVain(endpoint.connectTimeout) }
        if endpoint.host.hasSuffix(".invalid"), fault != .callsUnknownNamesRefused {
            throw TransportError(.nameNotResolved, "there is no \(endpoint.host)", isRetryable: true)
        }
        if fault == .connectsAfterShutdown, isOver.withLock({ $0 }) {
            // On another network, which nobody shut down.
            return BrokenConnection(base: try await spare.connect(to: endpoint), endpoint, fault: fault)
        }
        // The server's end has the same endpoint, and must be able to send too much.
        var unlimited = endpoint
        unlimited.maximumMessageSize = .max
        let connection = BrokenConnection(base: try await base.connect(to: unlimited), endpoint, fault: fault)
        if fault == .leaksMemory { Leak.allocate() }
        return connection
    }

    private nonisolated(nonsending) func waitInVain(_ limit: Duration) async throws(TransportError) {
        let attempt = MessageBuffer(limit: 1)
        // As a socket would be.
        let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
        defer { if fault != .leaksAttempts { close(descriptor) } }
        attempts.add(attempt)
        allAttempts.add(attempt)
        if isOver.withLock({ $0 }) { attempt.finish(TransportError(.closed, "the transport is shut down")) }
        let timer = Task { [fault] in
            try await Task.sleep(for: limit)
            if fault != .forgetsTheTimeout {
                attempt.finish(TransportError(.timedOut, "nobody answered", isRetryable: true))
            }
        }
        defer { timer.cancel() }
        guard fault == .ignoresCancellation else {
            _ = try await attempt.next()
            return
        }
        let outcome = await Task { () -> Result<Void, TransportError> in
            do throws(TransportError) { return .success(_ = try await attempt.next()) } catch { return .failure(error) }
        }.value
        try outcome.get()
    }

    nonisolated(nonsending) func shutdown() async {
        isOver.withLock { $0 = true }
        if fault != .forgetsAttemptsInShutdown { attempts.end() }
        await base.shutdown()
    }
}

final class BrokenConnection: SignalingConnection {
    let base: InProcessSignalingConnection
    let fault: BrokenSignaling.Fault?
    private let maximum: Int
    private let held = Locked<SignalingMessage?>(nil)
    private let hasSentLast = Locked(false)

    init(base: InProcessSignalingConnection, _ endpoint: SignalingEndpoint, fault: BrokenSignaling.Fault?) {
        self.base = base
        self.fault = fault
        maximum = endpoint.maximumMessageSize
    }

    nonisolated(nonsending) func send(_ message: SignalingMessage) async throws(TransportError) {
        guard message.payload.count <= maximum || fault == .hasNoMaximum else {
            throw TransportError(.messageTooLarge, "\(message.payload.count) bytes are too many")
        }
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
        // The first message of a server that counts.
        if fault == .losesWhatCameEarly, message == .text(Payload("0")), hasSentLast.withLock({ $0 }) {
            return try await base.receive()
        }
        if fault == .losesWhatCameBeforeTheEnd, message == .text(Payload("before")) { return try await receive() }
        if case .text(let payload) = message, payload.utf8Text == nil, fault != .believesText {
            base.abort()
            throw TransportError(.protocolViolation, "a text came that is no UTF-8")
        }
        if let message, message.payload.count > maximum, fault != .takesAnySize {
            base.abort()
            throw TransportError(.messageTooLarge, "\(message.payload.count) bytes came")
        }
        return message
    }

    var closeReason: SignalingClose? { fault == .forgetsTheCloseReason ? nil : base.closeReason }

    nonisolated(nonsending) func close(_ reason: SignalingClose, within deadline: Duration) async {
        await base.close(reason, within: deadline)
    }

    func abort() { base.abort() }
}

/// Memory that is never given back.
enum Leak {
    /// The optimizer removes an allocation whose address goes nowhere.
    private static let latest = Locked<UInt>(0)

    static func allocate() { latest.withLock { $0 = UInt(bitPattern: malloc(100)) } }
}
