import Glibc
import TransportPluginAPI

/// One open connection.
///
/// SAFETY of `@unchecked Sendable`: the buffers and `state` have their own locks. Everything else is touched only on
/// the loop.
public final class FrameConnection: SignalingConnection, @unchecked Sendable {
    private struct State {
        var closeReason: SignalingClose?
        var hasEnded = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    /// The local address of a socket that has one. From it, rooms notice at once when this machine loses the address.
    public let localAddress: String?
    private let endpoint: SignalingEndpoint
    private let loop: TransportLoop
    private let inbound: MessageBuffer
    private let outbound: MessageBuffer
    private let state = Locked(State())

    // On the loop only.
    private let descriptor: Int32
    private let onEnd: (FrameConnection) -> Void
    private var watch: LoopWatch?
    private var deadline: LoopTimer?
    private var reader: FrameReader
    private var unwritten: ArraySlice<UInt8> = []
    private var closeToSend: SignalingClose?
    private var isClosing = false
    private var hasSentClose = false
    private var hasReceivedClose = false

    init(
        _ descriptor: Int32, _ endpoint: SignalingEndpoint, _ loop: TransportLoop,
        onEnd: @escaping (FrameConnection) -> Void
    ) {
        self.descriptor = descriptor
        self.endpoint = endpoint
        self.loop = loop
        self.onEnd = onEnd
        localAddress = TCPConnector.localAddress(of: descriptor)
        reader = FrameReader(maximumMessageSize: endpoint.maximumMessageSize)
        let reference = Reference()
        inbound = MessageBuffer(
            limit: endpoint.bufferLimit, onRoom: { loop.execute { reference.connection?.resumeReading() } })
        outbound = MessageBuffer(
            limit: endpoint.bufferLimit, onMessage: { loop.execute { reference.connection?.write() } })
        reference.connection = self
    }

    /// Lets the buffers reach the connection, which is made after them.
    private final class Reference: @unchecked Sendable {
        // SAFETY: set once in `init`, read only on the loop afterwards.
        weak var connection: FrameConnection?
    }

    // MARK: From any task

    public var closeReason: SignalingClose? { state.withLock { $0.closeReason } }

    public nonisolated(nonsending) func send(_ message: SignalingMessage) async throws(TransportError) {
        try endpoint.check(message)
        try await outbound.append(message)
    }

    public nonisolated(nonsending) func receive() async throws(TransportError) -> SignalingMessage? {
        try await inbound.next()
    }

    public nonisolated(nonsending) func close(_ reason: SignalingClose, within deadline: Duration) async {
        // No more messages are accepted; those that were accepted still go out.
        outbound.finish()
        loop.execute { self.beginClose(reason, deadline) }
        await withCheckedContinuation { continuation in
            let hasEnded = state.withLock { state in
                if !state.hasEnded { state.waiting.append(continuation) }
                return state.hasEnded
            }
            if hasEnded { continuation.resume() }
        }
    }

    public func abort() {
        inbound.finish(Self.closed, discarding: true)
        outbound.finish(Self.closed, discarding: true)
        loop.execute { self.end(Self.closed) }
    }

    private static let closed = TransportError(.closed, "the connection is closed")
    private static let broken = TransportError(
        .closed, "the other side is gone without a close frame", isRetryable: true)

    // MARK: On the loop

    func start() {
        guard !hasEnded else { return }
        do throws(TransportError) {
            watch = try loop.watch(descriptor, for: .readable) { [self] ready in
                if ready.contains(.writable) { write() }
                if !ready.isDisjoint(with: [.readable, .failed]) { read() }
            }
            write()
        } catch {
            end(error)
        }
    }

    private var hasEnded: Bool { state.withLock { $0.hasEnded } }

    private func read() {
        guard !hasEnded else { return }
        withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 1) { piece in
            let count = recv(descriptor, piece.baseAddress, piece.count, Int32(MSG_DONTWAIT))
            guard count > 0 else {
                if count < 0, errno == EAGAIN || errno == EINTR { return }
                return end(isClosing ? Self.closed : Self.broken)
            }
            reader.append(UnsafeRawBufferPointer(rebasing: piece[..<count]))
            do throws(TransportError) { while let frame = try reader.next() { take(frame) } } catch { end(error) }
        }
    }

    private func take(_ frame: Frame) {
        guard !hasReceivedClose else { return }
        switch frame {
        case .message(let message):
            // The limit is reached. Further bytes from the other side wait in the socket, and then on its side.
            if !inbound.appendNow(message), !isClosing { watch?.interest.remove(.readable) }
        case .close(let reason):
            hasReceivedClose = true
            if !isClosing {
                state.withLock { $0.closeReason = reason }
                inbound.finish()
                outbound.finish(Self.closed, discarding: true)
                beginClose(reason, .seconds(1))
            }
            write()
        }
    }

    private func resumeReading() { watch?.interest.insert(.readable) }

    private func write() {
        guard let watch else { return }
        while true {
            if unwritten.isEmpty {
                if let message = outbound.popFirst() {
                    unwritten = Frame.message(message).bytes[...]
                } else if let reason = closeToSend {
                    closeToSend = nil
                    hasSentClose = true
                    unwritten = Frame.close(reason).bytes[...]
                } else {
                    break
                }
            }
            let count = unwritten.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            }
            if count >= 0 {
                unwritten = unwritten.dropFirst(count)
            } else if errno == EAGAIN {
                watch.interest.insert(.writable)
                return
            } else if errno != EINTR {
                return end(isClosing ? Self.closed : Self.broken)
            }
        }
        watch.interest.remove(.writable)
        if hasSentClose, hasReceivedClose { end(Self.closed) }
    }

    private func beginClose(_ reason: SignalingClose, _ limit: Duration) {
        guard !hasEnded, !isClosing else { return }
        isClosing = true
        closeToSend = reason
        deadline = loop.schedule(after: limit) { [weak self] in self?.end(Self.closed) }
        if !hasReceivedClose { inbound.finish(Self.closed, discarding: true) }
        resumeReading()
        write()
    }

    private func end(_ error: TransportError) {
        let waiting = state.withLock { state -> [CheckedContinuation<Void, Never>]? in
            guard !state.hasEnded else { return nil }
            state.hasEnded = true
            defer { state.waiting = [] }
            return state.waiting
        }
        guard let waiting else { return }
        watch?.cancel()
        watch = nil
        deadline?.cancel()
        Glibc.close(descriptor)
        outbound.finish(error.code == .closed ? error : Self.closed, discarding: true)
        // Messages that arrived before are delivered first.
        inbound.finish(error)
        onEnd(self)
        for continuation in waiting { continuation.resume() }
    }
}
