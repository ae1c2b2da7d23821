import Glibc
import TransportPluginAPI

/// A TCP connection on 127.0.0.1 that carries frames.
///
/// SAFETY of `@unchecked Sendable`: touched only on the loop.
final class PeerLink: @unchecked Sendable {
    /// Bytes that may wait for the socket before messages have to; the same number again before reading stops.
    private static let limit = 256 << 10

    private let descriptor: Int32
    private let loop: TransportLoop
    private var reader: PeerFrameReader
    private var watch: LoopWatch?
    private var unwritten: [UInt8] = []
    private var onFrame: ((PeerFrame) throws(TransportError) -> Void)?
    private var onEnd: ((TransportError) -> Void)?
    private var onRoom: (() -> Void)?

    init(_ descriptor: Int32, _ loop: TransportLoop, _ configuration: PeerConnectionConfiguration) {
        self.descriptor = descriptor
        self.loop = loop
        reader = PeerFrameReader(maximumMessageSize: configuration.maximumMessageSize)
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
    }

    /// Throws `.resourceExhausted` or `.unreachable`.
    convenience init(
        connectingTo port: UInt16, _ loop: TransportLoop, _ configuration: PeerConnectionConfiguration
    ) throws(TransportError) {
        let descriptor = try makeSocket()
        var address = loopback(port: port)
        guard withSocketAddress(&address, { connect(descriptor, $0, $1) }) == 0 || errno == EINPROGRESS else {
            let error = TransportError(.unreachable, "cannot connect to 127.0.0.1:\(port): \(errorText())")
            Glibc.close(descriptor)
            throw error
        }
        self.init(descriptor, loop, configuration)
    }

    func start(
        onFrame: @escaping (PeerFrame) throws(TransportError) -> Void, onEnd: @escaping (TransportError) -> Void,
        onRoom: @escaping () -> Void
    ) {
        self.onFrame = onFrame
        self.onEnd = onEnd
        self.onRoom = onRoom
        guard watch == nil else { return }
        do throws(TransportError) {
            watch = try loop.watch(descriptor, for: .readable) { [weak self] ready in
                if ready.contains(.writable) { self?.write() }
                if !ready.isDisjoint(with: [.readable, .failed]) { self?.read() }
            }
        } catch {
            fail(error)
        }
    }

    var hasRoom: Bool { unwritten.count < Self.limit }

    /// Sends a frame in this turn of the loop or a later one.
    func send(_ frame: PeerFrame) {
        guard onEnd != nil else { return }
        let wasEmpty = unwritten.isEmpty
        unwritten += frame.bytes
        if wasEmpty { loop.execute { [weak self] in self?.write() } }
    }

    /// Sends a frame, as far as the system accepts it now.
    func sendLast(_ frame: PeerFrame) {
        guard onEnd != nil else { return }
        unwritten += frame.bytes
        _ = flush()
    }

    func close() {
        guard onEnd != nil else { return }
        (onFrame, onEnd, onRoom) = (nil, nil, nil)
        watch?.cancel()
        watch = nil
        Glibc.close(descriptor)
    }

    deinit { close() }

    private func read() {
        guard onFrame != nil else { return }
        var result = 0
        var failure: TransportError?
        withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 1) { piece in
            result = recv(descriptor, piece.baseAddress, piece.count, 0)
            guard result > 0 else { return }
            do throws(TransportError) {
                for frame in try reader.append(UnsafeRawBufferPointer(rebasing: piece[..<result])) {
                    // The handler of a frame may close this link.
                    try onFrame?(frame)
                }
            } catch {
                failure = error
            }
        }
        if let failure { return fail(failure) }
        if result == 0 { fail(TransportError(.io, "the other side is gone without a goodbye", isRetryable: true)) }
        if result < 0, errno != EAGAIN, errno != EINTR {
            fail(TransportError(.io, "the connection failed: \(errorText())", isRetryable: true))
        }
    }

    private func write() {
        guard onEnd != nil else { return }
        let hadRoom = hasRoom
        guard flush() else {
            if errno == EAGAIN || errno == EINTR || errno == ENOTCONN {
                watch?.interest.insert(.writable)
                settleReading()
                return
            }
            return fail(TransportError(.io, "the connection failed: \(errorText())", isRetryable: true))
        }
        watch?.interest.remove(.writable)
        settleReading()
        if !hadRoom || unwritten.isEmpty { onRoom?() }
    }

    /// A side that does not read gets no answers. Then it is not read either.
    private func settleReading() {
        if unwritten.count > 2 * Self.limit {
            watch?.interest.remove(.readable)
        } else {
            watch?.interest.insert(.readable)
        }
    }

    /// Returns false when the system accepts no more; `errno` has the reason.
    private func flush() -> Bool {
        var written = 0
        defer { unwritten.removeFirst(written) }
        while written < unwritten.count {
            let count = unwritten.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + written, $0.count - written, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            written += count
        }
        return true
    }

    private func fail(_ error: TransportError) {
        let onEnd = onEnd
        close()
        onEnd?(error)
    }
}

func errorText() -> String { String(cString: strerror(errno)) }

func makeSocket() throws(TransportError) -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw TransportError(.resourceExhausted, "no socket: \(errorText())") }
    return descriptor
}

func loopback(port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port.bigEndian)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
}

func withSocketAddress<Result>(
    _ address: inout sockaddr_in, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
}
