internal import Glibc
internal import TransportPluginAPI
internal import TransportTestKit
internal import WebSocketWire

/// Sends every WebSocket message back, as fast as one thread can: the other end of the scenario `signaling`. It does
/// not check rules that our clients keep, and is for loopback only.
// SAFETY: everything but the constant listener belongs to the loop's thread.
package final class EchoServer: @unchecked Sendable {
    package var port: UInt16 { listener.port }
    private let loop: TransportLoop
    private let listener: LoopbackListener
    private var connections: [Int32: EchoConnection] = [:]

    package init() async throws {
        loop = try TransportLoop(name: "echo")
        listener = try LoopbackListener(backlog: 1024)
        _ = fcntl(listener.descriptor, F_SETFL, O_NONBLOCK)
        try await loop.runThrowing { () throws(TransportError) in
            _ = try self.loop.watch(self.listener.descriptor, for: .readable) { _ in self.acceptAll() }
        }
    }

    private func acceptAll() {
        while true {
            let descriptor = accept(listener.descriptor, nil, nil)
            guard descriptor >= 0 else { return }
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
            var on: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, 4)
            let connection = EchoConnection(descriptor)
            connections[descriptor] = connection
            connection.watch = try? loop.watch(descriptor, for: .readable) { _ in
                guard !connection.isReady() else { return }
                connection.watch?.cancel()
                close(descriptor)
                self.connections[descriptor] = nil
            }
        }
    }
}

/// One client, from its handshake on.
private final class EchoConnection {
    private static let capacity = 4 << 20

    var watch: LoopWatch?
    private let descriptor: Int32
    private let input = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
    private var start = 0
    private var end = 0
    private let output = UnsafeMutableRawPointer.allocate(byteCount: capacity + 64, alignment: 16)
    private var pending = 0
    private var isOpen = false
    private var head = HTTPHeadBuffer<RequestHead>()

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit {
        input.deallocate()
        output.deallocate()
    }

    /// Returns false when the connection has ended.
    func isReady() -> Bool {
        guard write() else { return false }
        if pending == 0 {
            if start > 0 {
                memmove(input, input + start, end - start)
                end -= start
                start = 0
            }
            let count = recv(descriptor, input + end, min(256 << 10, Self.capacity - end), 0)
            guard count > 0 || count < 0 && errno == EAGAIN else { return false }
            end += max(0, count)
            guard isOpen || readHandshake() else { return true }
            echo()
            guard write() else { return false }
        }
        watch?.interest = pending > 0 ? .writable : .readable
        return true
    }

    private func write() -> Bool {
        guard pending > 0 else { return true }
        let count = send(descriptor, output, pending, Int32(MSG_NOSIGNAL))
        guard count >= 0 else { return errno == EAGAIN }
        memmove(output, output + count, pending - count)
        pending -= count
        return true
    }

    private func readHandshake() -> Bool {
        var bytes = UnsafeRawBufferPointer(start: input, count: end)
        guard let request = try? head.take(&bytes), let handshake = try? ServerHandshake(request) else {
            end = 0
            return false
        }
        let fields = handshake.fields().map { "\($0.name): \($0.value)\r\n" }.joined()
        let answer = "HTTP/1.1 101 Switching Protocols\r\n\(fields)\r\n"
        append(Array(answer.utf8))
        end = 0
        isOpen = true
        return true
    }

    private func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { (output + pending).copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        pending += bytes.count
    }

    /// Moves whole frames to the output, unmasked.
    private func echo() {
        while end - start >= 6 {
            let frame = input + start
            let first = frame.load(as: UInt8.self)
            var length = Int(frame.load(fromByteOffset: 1, as: UInt8.self) & 0x7F)
            var header = 2
            if length == 126 {
                length = Int(UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
                header = 4
            } else if length == 127 {
                guard end - start >= 14 else { return }
                length = Int(UInt64(bigEndian: frame.loadUnaligned(fromByteOffset: 2, as: UInt64.self)) & 0xFFFF_FFFF)
                header = 10
            }
            guard end - start >= header + 4 + length else { return }
            let target = output + pending
            target.copyMemory(from: frame, byteCount: header)
            // A ping is answered, with the mask bit cleared.
            target.storeBytes(of: first & 0x0F == 9 ? first + 1 : first, as: UInt8.self)
            target.storeBytes(
                of: frame.load(fromByteOffset: 1, as: UInt8.self) & 0x7F, toByteOffset: 1, as: UInt8.self)
            let key = frame.loadUnaligned(fromByteOffset: header, as: UInt32.self)
            let payload = UnsafeRawBufferPointer(start: frame + header + 4, count: length)
            FrameWriter.copy(payload, to: target + header, key: key)
            pending += header + length
            start += header + 4 + length
        }
    }
}
