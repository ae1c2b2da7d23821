import Glibc
import TransportPluginAPI
import WebSocketWire

@testable import SignalingFoundation

/// Accepts connections on 127.0.0.1 and runs a script with blocking reads and writes on each, on a thread of its own.
// SAFETY: constant.
final class RawServer: @unchecked Sendable {
    private let listener: Int32
    let port: UInt16

    init(_ script: @escaping @Sendable (RawConnection) -> Void) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        self.listener = listener
        port = try listenOnLoopback(listener, backlog: 64)
        startThread {
            while true {
                let descriptor = accept(listener, nil, nil)
                if descriptor < 0, errno == EINTR || errno == ECONNABORTED { continue }
                guard descriptor >= 0 else { break }
                startThread {
                    let connection = RawConnection(descriptor)
                    script(connection)
                    connection.end()
                }
            }
            close(listener)
        }
    }

    var endpoint: SignalingEndpoint { get throws { try SignalingEndpoint(url: "ws://127.0.0.1:\(port)/") } }

    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }
}

/// The server's end, used by its script's thread only. Every call gives up after 60 s.
final class RawConnection {
    let descriptor: Int32

    init(_ descriptor: Int32) {
        self.descriptor = descriptor
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Bytes up to an empty line; nil at the end.
    func readHead() -> String? {
        var head: [UInt8] = []
        while head.suffix(4) != [13, 10, 13, 10] {
            guard let byte = read(1) else { return nil }
            head += byte
        }
        return String(decoding: head, as: UTF8.self)
    }

    /// Reads the request and answers it.
    func open() {
        guard let request = readHead(),
            let line = request.split(separator: "\r\n").first(where: { $0.lowercased().hasPrefix("sec-websocket-key:") }
            )
        else { return }
        let key = String(line.split(separator: ":")[1].drop { $0 == " " })
        write(
            Array(
                ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Accept: \(HandshakeKey.accept(key))\r\n\r\n").utf8))
    }

    func read(_ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress! + done, count - done, 0) }
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { return nil }
            done += got
        }
        return bytes
    }

    /// A client's frame, unmasked.
    func readFrame() -> (opcode: UInt8, payload: [UInt8])? {
        guard let head = read(2) else { return nil }
        var length = Int(head[1] & 0x7F)
        if length >= 126 {
            guard let more = read(length == 126 ? 2 : 8) else { return nil }
            length = more.reduce(0) { $0 << 8 | Int($1) }
        }
        guard let key = read(4), var payload = read(length) else { return nil }
        for index in payload.indices { payload[index] ^= key[index & 3] }
        return (head[0] & 0x0F, payload)
    }

    @discardableResult
    func write(_ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                send(descriptor, $0.baseAddress! + done, bytes.count - done, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }

    /// Reads until the client ends the connection.
    func drain() { while read(1) != nil {} }

    func end() { close(descriptor) }
}

/// Binds to any free port.
func listenOnLoopback(_ listener: Int32, backlog: Int32) throws -> UInt16 {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isListening = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
            bind(listener, address, length) == 0 && listen(listener, backlog) == 0
                && getsockname(listener, address, &length) == 0
        }
    }
    guard isListening else { throw TransportError(.io, "cannot listen on 127.0.0.1") }
    return UInt16(bigEndian: address.sin_port)
}

func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let box = Unmanaged.passRetained(Box(body))
    let status = pthread_create(
        &thread, nil,
        { raw in
            Unmanaged<Box>.fromOpaque(raw!).takeRetainedValue().body()
            return nil
        }, box.toOpaque())
    if status == 0 { pthread_detach(thread) } else { box.release() }
}
