import TransportPluginAPI

@testable import FileTransfer

/// One end of a connection within the process, with a bounded queue in each direction.
final class PipeConnection: TransferConnection {
    /// The bytes in one direction.
    private final class Direction: Sendable {
        private struct State {
            var queue: [Payload] = []
            var count = 0
            var passed = 0
            var isClosed = false
            var isCut = false
            var cutAt: Int?
            var waiters: [CheckedContinuation<Void, Never>] = []
        }

        private let state = Locked(State())
        private static let limit = 1 << 20
        /// Changes what is written.
        private let tamper: @Sendable (Payload) -> Payload

        init(tamper: @escaping @Sendable (Payload) -> Payload = { $0 }) { self.tamper = tamper }

        /// Lets `count` bytes pass and then nothing any more.
        func cut(after count: Int) { change { $0.cutAt = count } }
        var isCut: Bool { state.withLock { $0.isCut } }
        func cut() { change { $0.isCut = true } }
        func close() { change { $0.isClosed = true } }

        private func change(_ body: (inout State) -> Void) {
            let waiters = state.withLock { state in
                body(&state)
                defer { state.waiters = [] }
                return state.waiters
            }
            for waiter in waiters { waiter.resume() }
        }

        private func wait(while isBlocked: @escaping (borrowing Checked) -> Bool) async {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let mustWait = state.withLock { state in
                        let checked = Checked(
                            isEmpty: state.queue.isEmpty, isFull: state.count >= Self.limit,
                            isOver: state.isCut || state.isClosed)
                        guard isBlocked(checked), !Task.isCancelled else { return false }
                        state.waiters.append(continuation)
                        return true
                    }
                    if !mustWait { continuation.resume() }
                }
            } onCancel: {
                change { _ in }
            }
        }

        struct Checked: ~Copyable {
            let isEmpty: Bool
            let isFull: Bool
            let isOver: Bool
        }

        func write(_ payload: Payload) async throws -> Bool {
            let bytes = tamper(payload)
            await wait { $0.isFull && !$0.isOver }
            try Task.checkCancellation()
            var isCut = false
            change { state in
                if let cutAt = state.cutAt, state.passed + bytes.count > cutAt { state.isCut = true }
                isCut = state.isCut
                guard !isCut else { return }
                state.queue.append(bytes)
                state.count += bytes.count
                state.passed += bytes.count
            }
            return !isCut
        }

        func read() async throws -> Payload? {
            await wait { $0.isEmpty && !$0.isOver }
            try Task.checkCancellation()
            var result: Payload?
            var isCut = false
            change { state in
                isCut = state.isCut
                guard !state.isCut, !state.queue.isEmpty else { return }
                let first = state.queue.removeFirst()
                state.count -= first.count
                result = first
            }
            if isCut { throw TransferError(.interrupted, "the pipe was cut") }
            return result
        }
    }

    private let incoming: Direction
    private let outgoing: Direction
    let security: PeerSecurity?
    let peerName: String
    /// Whether the other end counts as connected.
    let isReachable = Locked(true)
    let hasPinned = Locked(false)
    /// Whether the other end counts as one that may come back.
    let isExpectedBack = Locked(false)
    /// Nobody ever tells whether the other end may come back.
    private let isUndecided = Locked(false)
    private let (departures, departure) = AsyncStream.makeStream(of: Void.self)
    private let (farewells, farewell) = AsyncStream.makeStream(of: Void.self)
    private let (questions, question) = AsyncStream.makeStream(of: Void.self)

    private init(_ incoming: Direction, _ outgoing: Direction, _ security: PeerSecurity?, _ peerName: String) {
        self.incoming = incoming
        self.outgoing = outgoing
        self.security = security
        self.peerName = peerName
    }

    /// The two ends: the sender's, then the receiver's.
    ///
    /// - Parameters:
    ///   - middle: The certificate that somebody in the middle shows to both sides.
    ///   - tamper: Changes what the sender writes.
    static func pair(
        middle: String? = nil, hasCertificates: Bool = true, isUndecided: Bool = false,
        tamper: @escaping @Sendable (Payload) -> Payload = { $0 }
    ) -> (PipeConnection, PipeConnection) {
        let (there, back) = (Direction(tamper: tamper), Direction())
        func security(_ own: String, _ other: String) -> PeerSecurity? {
            hasCertificates
                ? PeerSecurity(localFingerprint: own, remoteFingerprint: middle ?? other, verificationCode: "") : nil
        }
        let sender = PipeConnection(back, there, security("sha-256 A1", "sha-256 B2"), "bob")
        let receiver = PipeConnection(there, back, security("sha-256 B2", "sha-256 A1"), "alice")
        receiver.isUndecided.withLock { $0 = isUndecided }
        return (sender, receiver)
    }

    func pinCertificate() { hasPinned.withLock { $0 = true } }

    func write(_ bytes: Payload) async throws {
        guard try await outgoing.write(bytes) else {
            incoming.cut()
            throw TransferError(.interrupted, "the pipe was cut")
        }
    }

    func read() async throws -> Payload? { try await incoming.read() }
    func close() async { outgoing.close() }
    var isConnected: Bool { !incoming.isCut && isReachable.withLock { $0 } }
    func cut(_ reason: TransferError) {
        cut()
        departure.finish()
        farewell.finish()
    }
    func mayReturn() async -> Bool {
        question.finish()
        if isUndecided.withLock({ $0 }) { for await _ in departures {} }
        return isExpectedBack.withLock { $0 }
    }

    /// Waits until somebody asks `mayReturn`.
    func isAsked() async { for await _ in questions {} }

    func hasLeft() async { for await _ in farewells {} }

    /// The other end has left in order after all.
    func leave() { farewell.finish() }

    /// Ends both directions at once, as when a machine is switched off.
    func cut() {
        incoming.cut()
        outgoing.cut()
    }

    /// Ends both directions when this many bytes have been written to this end.
    func cut(after count: Int) { outgoing.cut(after: count) }
}
